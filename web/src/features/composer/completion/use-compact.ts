/** Making room in a conversation that is full, when the runtime can do that by itself. */
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import type { Session } from "../../../api/types";
import type { Row } from "../../../live/rows";
import { sayError } from "../../../ui/toasts";
import { newRun, notRun, type RunNamed } from "./run";
import { commandsQuery } from "./use-options";

/** What runtimes call it. */
const COMMAND = "compact";

function isFull(rows: readonly Row[]): boolean {
  const last = rows.findLast((row) => row.kind === "turn");
  if (last?.kind !== "turn") return false;
  const { outcome } = last.entry;
  return outcome.status === "failed" && outcome.code === "context_full";
}

/** Does it; absent unless the last turn found no room and the runtime lists the command. */
export function useCompact(session: Session, rows: readonly Row[], run: RunNamed): (() => void) | undefined {
  const enabled = isFull(rows) && session.state === "running";
  const { data } = useQuery({ ...commandsQuery(session), enabled });
  const can = enabled && data?.some(({ name, kind }) => name === COMMAND && kind.kind === "action");
  return useMemo(() => {
    if (!can) return undefined;
    const key = newRun();
    return () => void run(COMMAND, "", key).catch((error) => sayError(notRun(error, COMMAND)));
  }, [can, run]);
}
