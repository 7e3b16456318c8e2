/** So many diffs are asked for at once: git answers each with processes of its own. */
const AT_ONCE = 4;

let running = 0;
const waiting: (() => void)[] = [];

/** Does the work when its turn comes, the latest first: that is what is looked at. */
export async function inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) {
    await new Promise<void>((resolve, reject) => {
      const go = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        waiting.splice(waiting.indexOf(go), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      waiting.push(go);
    });
  } else {
    running++;
  }
  try {
    return await work();
  } finally {
    // The turn is handed on, or ends.
    const next = waiting.pop();
    if (next) next();
    else running--;
  }
}
