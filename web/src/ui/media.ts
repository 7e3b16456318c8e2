import { useSyncExternalStore } from "react";

/** Below this width there is one pane with tabs at the bottom. */
const narrow = window.matchMedia("(max-width: 899px)");

export function useIsNarrow(): boolean {
  return useSyncExternalStore(
    (listener) => {
      narrow.addEventListener("change", listener);
      return () => narrow.removeEventListener("change", listener);
    },
    () => narrow.matches,
  );
}
