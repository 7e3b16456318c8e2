/**
 * What a screen reader is told of the conversation: whole messages and questions when they come, not
 * every word while it streams, and nothing because a row was scrolled into being.
 */
import { useEffect, useRef, useState } from "react";
import type { Row } from "../../live/rows";
import { question } from "./approvals";

/** Longer messages are announced by their beginning; the rest is in the log. */
const MAX_CHARS = 400;

function announcement(row: Row): string | undefined {
  switch (row.kind) {
    case "agent":
      return row.streaming ? undefined : `Agent: ${row.item.body.text.slice(0, MAX_CHARS)}`;
    case "approval":
      return row.entry.resolved ? undefined : `Needs you: ${question(row.entry.approval)}`;
    case "turn":
      return row.entry.outcome.status === "failed"
        ? `The turn failed: ${row.entry.outcome.message}`
        : undefined;
    default:
      return undefined;
  }
}

export function useAnnouncer(rows: readonly Row[], caughtUp: boolean): string {
  const told = useRef<Set<string> | undefined>(undefined);
  const [text, setText] = useState("");
  useEffect(() => {
    if (!caughtUp) return;
    const first = told.current === undefined;
    told.current ??= new Set();
    let latest: string | undefined;
    // New rows are at the end; an unfinished one is told when it is finished.
    for (let i = rows.length - 1; i >= Math.max(0, rows.length - 20); i--) {
      const row = rows[i];
      if (!row || told.current.has(row.key)) continue;
      const said = announcement(row);
      if (said === undefined) continue;
      told.current.add(row.key);
      latest ??= said;
    }
    if (latest !== undefined && !first) setText(latest);
  }, [rows, caughtUp]);
  return text;
}
