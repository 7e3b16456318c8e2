/** What the tabs of a session's terminals say. Pure. */
import { newIdempotencyKey } from "../../api/client";
import type { TerminalInfo } from "../../api/types";
import type { TerminalEnd } from "./connection";

/** What this page knows of a terminal beyond the server's list. */
export interface Seen {
  title?: string;
  end?: TerminalEnd;
  /** Something was written since it was last looked at. */
  unseen?: boolean;
}

export interface Tab {
  id: string;
  label: string;
  /** All of what its program calls itself. */
  title: string;
  /** Set when its program has ended: the exit code, or none when it is gone for another reason. */
  ended: TerminalEnd | undefined;
  unseen: boolean;
  /** Output before this byte was there when the list was read. */
  offset: number;
}

export const MAX_NAME = 40;

/** A new terminal's id: a UUIDv7, so that later ones come after it. */
export function newTerminalId(now = Date.now()): string {
  const time = now.toString(16).padStart(12, "0");
  const random = newIdempotencyKey();
  return `trm_${time}7${random.slice(0, 3)}8${random.slice(3, 18)}`;
}

/** Where a shell says in its title who and where it is: there is one host, and one may see who one is. */
const SHELL_TITLE = /^[\w.-]+@[\w.-]+: ?(\S.*)$/;

/** A title as short as it can be: of a shell's, the last part of its folder. */
export function shortTitle(title: string): string {
  const folder = SHELL_TITLE.exec(title)?.[1];
  return folder?.split("/").findLast((part) => part !== "") ?? folder ?? title;
}

/** Given names win over titles of programs; equal ones are counted. */
export function tabsOf(terminals: readonly TerminalInfo[], seen: ReadonlyMap<string, Seen>): Tab[] {
  const used = new Map<string, number>();
  return terminals.map((terminal) => {
    const known = seen.get(terminal.id);
    const title = known?.title || terminal.title || "Terminal";
    const text = terminal.name || shortTitle(title);
    const count = (used.get(text) ?? 0) + 1;
    used.set(text, count);
    return {
      id: terminal.id,
      label: count === 1 ? text : `${text} (${count})`,
      title,
      ended: known?.end ?? (terminal.exit_code == null ? undefined : { code: terminal.exit_code }),
      unseen: known?.unseen ?? false,
      offset: terminal.offset,
    };
  });
}

/** The tab to look at: the one that was, or the one that took the place of a closed one. */
export function activeTab(tabs: readonly Tab[], wanted: string | undefined, place: number): Tab | undefined {
  return tabs.find((tab) => tab.id === wanted) ?? tabs[Math.min(Math.max(place, 0), tabs.length - 1)];
}

/** A name as the server takes it; an empty one gives the title back. */
export const cleanName = (name: string) => name.replace(/\p{C}/gu, "").trim().slice(0, MAX_NAME);

export function endText({ code, message }: TerminalEnd): string {
  if (code === undefined) return message ?? "The terminal is gone.";
  return `The shell ended with exit code ${code}.${message ? ` ${message}` : ""}`;
}
