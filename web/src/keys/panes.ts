/** F6 goes round the panes: elements with `data-pane`, in the order of the page. */

function panes(): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>("[data-pane]")].filter(
    (pane) => pane.offsetParent !== null,
  );
}

const FOCUSABLE =
  "a[href], button:not(:disabled), textarea:not(:disabled), input:not(:disabled), [tabindex]:not([tabindex='-1'])";

export function focusPane(pane: HTMLElement): void {
  const target =
    pane.querySelector<HTMLElement>("[data-pane-focus]") ??
    (pane.matches(FOCUSABLE) ? pane : pane.querySelector<HTMLElement>(FOCUSABLE)) ??
    pane;
  target.focus();
}

export function cyclePane(step: 1 | -1): void {
  const all = panes();
  if (all.length === 0) return;
  const current = all.findIndex((pane) => pane.contains(document.activeElement));
  const next = all[(current === -1 && step === -1 ? 0 : current + step + all.length) % all.length];
  if (next) focusPane(next);
}
