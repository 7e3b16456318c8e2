import { type ComponentType, lazy } from "react";

type Loaded<P> = { default: ComponentType<P> };

/** Runs when the page has drawn what it was opened for. */
function whenIdle(run: () => void): void {
  const soon = () => ("requestIdleCallback" in window ? requestIdleCallback(run) : setTimeout(run, 200));
  if (document.readyState === "complete") soon();
  else window.addEventListener("load", soon, { once: true });
}

/**
 * A component that is no part of what every visit waits for: its code comes when it is drawn, or when the
 * page has nothing else to do. What came before is drawn at once; React keeps a fallback that it has shown
 * for 300 ms (`FALLBACK_THROTTLE_MS`), however soon the code comes. A page that is older than its server
 * has what the server does not have any more. `instead` is drawn when the code can't be loaded.
 */
export function lazily<P>(load: () => Promise<Loaded<P>>, instead?: ComponentType<P>) {
  let loaded: Loaded<P> | undefined;
  const loading = async () => {
    loaded = await load();
    return loaded;
  };
  // A promise answers in the next microtask at the earliest: too late for this drawing.
  // biome-ignore lint/suspicious/noThenProperty: React calls it, as it calls a promise's
  const now = (module: Loaded<P>) => ({ then: (use: (module: Loaded<P>) => void) => use(module) });
  const drawing = () =>
    loading().catch((error) => {
      if (instead) return { default: instead };
      throw error;
    });
  // What can't be loaded now is asked for again when it is drawn.
  const preload = () => void loading().catch(() => {});
  whenIdle(preload);
  const component = lazy<ComponentType<P>>(() => (loaded ? (now(loaded) as Promise<Loaded<P>>) : drawing()));
  // For what this address is sure to draw: with what it waits for before.
  return Object.assign(component, { preload });
}
