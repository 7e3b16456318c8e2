/** Key combinations: `mod+k` is Cmd on a Mac and Ctrl elsewhere; `ctrl+k` is Ctrl everywhere. */

export const isMac = /mac|iphone|ipad/i.test(globalThis.navigator?.platform ?? "");

export interface Chord {
  key: string;
  mod: boolean;
  ctrl: boolean;
  shift: boolean;
  alt: boolean;
}

export function parseChord(text: string): Chord {
  const parts = text.toLowerCase().split("+");
  const key = parts.pop() ?? "";
  const has = (modifier: string) => parts.includes(modifier);
  return { key, mod: has("mod"), ctrl: has("ctrl"), shift: has("shift"), alt: has("alt") };
}

type KeyLike = Pick<KeyboardEvent, "key" | "code" | "metaKey" | "ctrlKey" | "altKey" | "shiftKey">;

export function matches(chord: Chord, event: KeyLike, mac = isMac): boolean {
  const meta = mac && chord.mod;
  const ctrl = chord.ctrl || (!mac && chord.mod);
  if (event.metaKey !== meta || event.ctrlKey !== ctrl || event.altKey !== chord.alt) return false;
  const key = event.key.toLowerCase();
  // Characters such as "?" need Shift on some keyboards and not on others.
  const isSymbol = chord.key.length === 1 && !/[a-z0-9]/.test(chord.key);
  if (!isSymbol && event.shiftKey !== chord.shift) return false;
  if (key === chord.key) return true;
  // Other scripts, and Shift, give other characters; the place of the key still counts with a modifier.
  if (!meta && !ctrl && !chord.alt) return false;
  return event.code.toLowerCase() === (chord.key === "`" ? "backquote" : `key${chord.key}`);
}

const NAMES: Record<string, [mac: string, other: string]> = {
  mod: ["⌘", "Ctrl"],
  ctrl: ["⌃", "Ctrl"],
  shift: ["⇧", "Shift"],
  alt: ["⌥", "Alt"],
  enter: ["↵", "Enter"],
  escape: ["Esc", "Esc"],
  tab: ["⇥", "Tab"],
  arrowup: ["↑", "↑"],
  arrowdown: ["↓", "↓"],
  arrowleft: ["←", "←"],
  arrowright: ["→", "→"],
};

/** The keys of a chord as a person reads them. */
export function chordLabels(text: string, mac = isMac): string[] {
  return text
    .toLowerCase()
    .split("+")
    .map(
      (part) => NAMES[part]?.[mac ? 0 : 1] ?? (part.length === 1 ? part.toUpperCase() : part.toUpperCase()),
    );
}

/** `aria-keyshortcuts` for a chord. */
export function ariaChord(text: string, mac = isMac): string {
  return text
    .split("+")
    .map((part) =>
      part === "mod"
        ? mac
          ? "Meta"
          : "Control"
        : part === "ctrl"
          ? "Control"
          : part.length === 1
            ? part
            : part[0]?.toUpperCase() + part.slice(1),
    )
    .join("+");
}
