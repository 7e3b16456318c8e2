/** The terminal's colours: surfaces from the tokens, sixteen colours for each theme. */
import type { ITheme } from "@xterm/xterm";
import type { Theme } from "../../ui/theme";

const LIGHT: ITheme = {
  black: "#1b1b19",
  red: "#c02d22",
  green: "#19753f",
  yellow: "#8a5a00",
  blue: "#2563c9",
  magenta: "#9333a8",
  cyan: "#0f7285",
  white: "#6d6d66",
  brightBlack: "#575752",
  brightRed: "#a3261c",
  brightGreen: "#146034",
  brightYellow: "#704900",
  brightBlue: "#1e52a8",
  brightMagenta: "#7a2a8c",
  brightCyan: "#0c5d6d",
  brightWhite: "#1b1b19",
};

const DARK: ITheme = {
  black: "#3a3a37",
  red: "#ff8a7f",
  green: "#5cc489",
  yellow: "#e9ad4e",
  blue: "#78a8ff",
  magenta: "#d79bf0",
  cyan: "#62c8da",
  white: "#d6d6d0",
  brightBlack: "#8d8d86",
  brightRed: "#ffa59c",
  brightGreen: "#7fd6a4",
  brightYellow: "#f2c478",
  brightBlue: "#9bbfff",
  brightMagenta: "#e3b6f6",
  brightCyan: "#87d8e6",
  brightWhite: "#ffffff",
};

export function terminalTheme(theme: Theme): ITheme {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(name).trim();
  return {
    ...(theme === "dark" ? DARK : LIGHT),
    background: token("--pane"),
    foreground: token("--ink"),
    cursor: token("--ink"),
    cursorAccent: token("--pane"),
    selectionBackground: `${token("--focus")}44`,
    scrollbarSliderBackground: token("--line"),
    scrollbarSliderHoverBackground: token("--line-strong"),
    scrollbarSliderActiveBackground: token("--line-strong"),
  };
}
