/** The list of sessions as it is drawn: headings and rows, one below the other. Pure. */
import type { Session } from "../../api/types";
import { GROUPS, type StatusGroup, statusOf } from "../session/status";

export type Line =
  | { kind: "group"; key: string; group: StatusGroup; count: number }
  /** `place` is which one of all rows it is, from 1. */
  | { kind: "session"; key: string; session: Session; place: number };

/** Those that need a person first, and in each group the latest. */
export function linesOf(sessions: readonly Session[]): Line[] {
  const groups = new Map(GROUPS.map((group) => [group, [] as Session[]]));
  for (const session of sessions)
    if (session.state !== "deleted") groups.get(statusOf(session).group)?.push(session);
  const lines: Line[] = [];
  let place = 0;
  for (const [group, rows] of groups) {
    if (rows.length === 0) continue;
    lines.push({ kind: "group", key: group, group, count: rows.length });
    rows.sort((a, b) => b.created_at.localeCompare(a.created_at));
    for (const session of rows) lines.push({ kind: "session", key: session.id, session, place: ++place });
  }
  return lines;
}

/** The next row from a line, in a direction; none at an end. */
export function rowAfter(lines: readonly Line[], from: number, by: 1 | -1): number | undefined {
  for (let index = from + by; index >= 0 && index < lines.length; index += by)
    if (lines[index]?.kind === "session") return index;
  return undefined;
}
