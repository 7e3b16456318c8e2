/** Asks before the page is left, as long as something would be lost with it. */
const reasons = new Set<string>();

/** The browser asks in its own words whether to leave. */
const askFirst = (event: BeforeUnloadEvent) => event.preventDefault();

/** Says whether leaving would lose something. A page that listens always is not kept for "Back". */
export function askBeforeLeaving(reason: string, would: boolean): void {
  if (would) reasons.add(reason);
  else reasons.delete(reason);
  if (reasons.size > 0) window.addEventListener("beforeunload", askFirst);
  else window.removeEventListener("beforeunload", askFirst);
}
