/**
 * Every action of the page is one entry here: menus, the palette, the help page and the shortcuts
 * read from it. Components register what they can do while they are on the page.
 */
import { useEffect, useLayoutEffect, useRef, useSyncExternalStore } from "react";
import { matches, parseChord } from "./keys";

export type CommandGroup =
  | "Go to"
  | "Session"
  | "Message"
  | "Approval"
  | "Changes"
  | "Terminal"
  | "View"
  | "Account";

export interface Command {
  id: string;
  title: string;
  group: CommandGroup;
  keys?: string[];
  /** Whether it can be done right now; always, when absent. */
  when?: () => boolean;
  run: () => void;
  /** Works while a terminal has the keyboard. */
  inTerminal?: boolean;
  /** Works in a text field although it has no modifier. */
  inText?: boolean;
  /** Its keys work while this pane (`data-pane`), or one of these, has the keyboard, and then before all others. */
  pane?: string | readonly string[];
  /** Left out of the palette: makes sense by its key only. */
  hidden?: boolean;
  /** The browser does it by these keys, without the question that it asks before a page may. */
  browserKeys?: boolean;
}

const commands = new Map<string, Command>();
const listeners = new Set<() => void>();
let list: readonly Command[] = [];

function changed(): void {
  list = [...commands.values()];
  for (const listener of listeners) listener();
}

export function registerCommands(added: readonly Command[]): () => void {
  for (const command of added) commands.set(command.id, command);
  changed();
  return () => {
    for (const command of added) if (commands.get(command.id) === command) commands.delete(command.id);
    changed();
  };
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** All commands of the page. */
export function useCommandList(): readonly Command[] {
  return useSyncExternalStore(subscribe, () => list);
}

/** One command, to draw a control with its title and keys. */
export function useCommand(id: string): Command | undefined {
  return useSyncExternalStore(subscribe, () => commands.get(id));
}

export function runCommand(id: string): boolean {
  const command = commands.get(id);
  if (!command || command.when?.() === false) return false;
  command.run();
  return true;
}

/**
 * Registers commands while the component is on the page. What they do may change with each render;
 * who they are (id, title, keys) is what the list follows.
 */
export function useCommands(given: readonly Command[]): void {
  const latest = useRef(given);
  useLayoutEffect(() => {
    latest.current = given;
  });
  const identity = given
    .map((command) => `${command.id}|${command.title}|${command.keys?.join(" ") ?? ""}`)
    .join("\n");
  // biome-ignore lint/correctness/useExhaustiveDependencies: the identity stands for the list
  useEffect(() => {
    const find = (id: string) => latest.current.find((command) => command.id === id);
    return registerCommands(
      latest.current.map((command) => ({
        ...command,
        when: () => {
          const current = find(command.id);
          return current !== undefined && current.when?.() !== false;
        },
        run: () => find(command.id)?.run(),
      })),
    );
  }, [identity]);
}

export function isTextField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (
    target.isContentEditable ||
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement
  )
    return true;
  return (
    target instanceof HTMLInputElement &&
    !["checkbox", "radio", "button", "submit", "range"].includes(target.type)
  );
}

const isInTerminal = (target: EventTarget | null) =>
  target instanceof Element && target.closest("[data-terminal]") !== null;

/** Whether a menu, popover or dialog is open: it has the keyboard, and Escape is its own. */
export const isOverlayOpen = () =>
  document.querySelector(
    "[data-radix-popper-content-wrapper] [data-state=open], [role=dialog][data-state=open], [role=alertdialog][data-state=open]",
  ) !== null;

/** The command that a key press stands for, if any. */
export function commandFor(event: KeyboardEvent): Command | undefined {
  if (event.defaultPrevented || event.isComposing) return undefined;
  const inTerminal = isInTerminal(event.target);
  const inText = !inTerminal && isTextField(event.target);
  const overlay = isOverlayOpen();
  const pane =
    event.target instanceof Element && event.target.closest<HTMLElement>("[data-pane]")?.dataset.pane;
  const isHere = ({ pane: own }: Command) =>
    pane && (typeof own === "string" ? own === pane : own?.includes(pane));
  const here = list.filter(isHere);
  for (const command of [...here, ...list.filter((other) => other.pane === undefined)]) {
    if (!command.keys || command.browserKeys) continue;
    if (inTerminal && !command.inTerminal) continue;
    for (const keys of command.keys) {
      const chord = parseChord(keys);
      if (inText && !command.inText && !chord.mod && !chord.ctrl && !chord.key.startsWith("f")) continue;
      if (overlay && !chord.mod && !chord.ctrl) continue;
      if (matches(chord, event) && command.when?.() !== false) return command;
    }
  }
  return undefined;
}

/** Listens for the keys of all commands. Once, at the root of the page. */
export function useKeyboard(): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const command = commandFor(event);
      if (!command) return;
      event.preventDefault();
      command.run();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
}
