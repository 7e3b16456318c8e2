/** Copy and paste of a terminal, by the keys that terminals have for it: Ctrl+C is the program's. */
import { isMac } from "../../keys/keys";
import { useCommands } from "../../keys/registry";
import { copyText } from "../../ui/CopyButton";
import { say } from "../../ui/toasts";
import type { Screen } from "./screen";

const COPY_KEYS = isMac ? "mod+c" : "ctrl+shift+c";
const PASTE_KEYS = isMac ? "mod+v" : "ctrl+shift+v";

/** Where a terminal is on the page, and what its commands call it. */
export type TerminalPlace = "terminal" | "tui";
const NAMES: Record<TerminalPlace, string> = { terminal: "terminal", tui: "TUI" };

/**
 * Text as it may be typed: without control characters. Pasted from a page that hides them, they would
 * end the bracket around a paste, and what follows would be typed as if by hand. Pure.
 */
export const pasteable = (text: string) => text.replace(/(?![\t\n\r])\p{Cc}/gu, "");

async function copy(screen: Screen, name: string): Promise<void> {
  const text = screen.xterm.getSelection();
  if (!text) return say(`Nothing is selected in the ${name}.`);
  if (!(await copyText(text))) say("The browser did not let the page copy.");
  screen.xterm.focus();
}

/** The keys are the browser's own. This is for the palette and the menu, where there is no such key. */
async function paste(screen: Screen): Promise<void> {
  screen.xterm.focus();
  try {
    screen.xterm.paste(pasteable(await navigator.clipboard.readText()));
  } catch {
    const keys = isMac ? "Cmd+V" : "Ctrl+Shift+V";
    say(`The browser does not show the page its clipboard. Press ${keys} in the terminal.`);
  }
}

/** Copy and paste as commands, while this screen is the one that is seen. */
export function useClipboard(screen: Screen | undefined, place: TerminalPlace): void {
  const name = NAMES[place];
  useCommands(
    screen
      ? [
          {
            id: `${place}.copy`,
            title: `Copy from ${name}`,
            group: "Terminal",
            keys: [COPY_KEYS],
            pane: place,
            inTerminal: true,
            run: () => void copy(screen, name),
          },
          {
            id: `${place}.paste`,
            title: `Paste into ${name}`,
            group: "Terminal",
            keys: [PASTE_KEYS],
            browserKeys: true,
            run: () => void paste(screen),
          },
        ]
      : [],
  );
}
