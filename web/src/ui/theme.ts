import { useEffect, useSyncExternalStore } from "react";
import { useStored } from "./storage";

export type ThemeChoice = "system" | "light" | "dark";
export type Theme = "light" | "dark";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function useSystemTheme(): Theme {
  return useSyncExternalStore(
    (listener) => {
      dark.addEventListener("change", listener);
      return () => dark.removeEventListener("change", listener);
    },
    () => (dark.matches ? "dark" : "light"),
  );
}

export function useThemeChoice(): [ThemeChoice, (choice: ThemeChoice) => void] {
  return useStored<ThemeChoice>("theme", "system");
}

export function useTheme(): Theme {
  const [choice] = useThemeChoice();
  const system = useSystemTheme();
  return choice === "system" ? system : choice;
}

/** Puts the theme on the document. Once, at the root of the page. */
export function useApplyTheme(): void {
  const theme = useTheme();
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
}
