/**
 * What a screen reader is told of the conversation: whole messages and questions when they come, not
 * every word while it streams, and nothing because a row was scrolled into being.
 */
import { useEffect, useRef, useState } from "react";
import type { Approval } from "../../api/types";
import type { Row } from "../../live/rows";
import { question, subjectLine } from "./approvals";

/** Longer messages are announced by their beginning; the rest is in the log. */
const MAX_CHARS = 400;
/** More than come at once. */
const RECENT_ROWS = 20;

const asked = (approval: Approval) =>
  `Needs you: ${question(approval)} ${subjectLine(approval)}`.slice(0, MAX_CHARS);

function announcement(row: Row): string | undefined {
  switch (row.kind) {
    case "agent":
      return row.streaming ? undefined : `Agent: ${row.item.body.text.slice(0, MAX_CHARS)}`;
    case "approval":
      return row.entry.resolved ? undefined : asked(row.entry.approval);
    case "turn":
      return row.entry.outcome.status === "failed"
        ? `The turn failed: ${row.entry.outcome.message}`
        : undefined;
    default:
      return undefined;
  }
}

/** What is told last. Said twice it is another one, which a screen reader would otherwise not say again. */
export interface Announced {
  count: number;
  text: string;
}

export function useAnnouncer(rows: readonly Row[], caughtUp: boolean): Announced {
  const told = useRef<Set<string> | undefined>(undefined);
  const [announced, setAnnounced] = useState<Announced>({ count: 0, text: "" });
  useEffect(() => {
    if (!caughtUp) return;
    const first = told.current === undefined;
    told.current ??= new Set();
    const latest: string[] = [];
    // New rows are at the end; an unfinished one is told when it is finished.
    for (const row of rows.slice(-RECENT_ROWS)) {
      if (told.current.has(row.key)) continue;
      const said = announcement(row);
      if (said === undefined) continue;
      told.current.add(row.key);
      latest.push(said);
    }
    if (latest.length > 0 && !first) {
      setAnnounced(({ count }) => ({ count: count + 1, text: latest.join("\n") }));
    }
  }, [rows, caughtUp]);
  return announced;
}
