/** What fits the trigger: asked for at once, and only the last answer counts. */
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { type ApiError, asApiError } from "../../../api/client";
import { completionApi, type FoundFiles } from "../../../api/completion";
import type { Session } from "../../../api/types";
import { commandOptions, fileOption, type Option } from "./options";
import { quotedPath, type Trigger } from "./trigger";

/** More than one looks through; typing on is faster. */
const MAX_OPTIONS = 50;
/** How long a list of commands is good: skills come and go with the files of the working tree. */
const COMMANDS_FRESH_MS = 5_000;

export interface Offer {
  options: readonly Option[];
  /** What the options answer. */
  query: string;
  /** How many there are in all. */
  total: number;
  loading: boolean;
  /** Why there is nothing, for a person. */
  note: string | undefined;
}

export const commandsKey = (session: Session) => ["commands", session.id, session.cwd];

export const commandsQuery = (session: Session) => ({
  queryKey: commandsKey(session),
  queryFn: () => completionApi.commands(session.id),
  staleTime: COMMANDS_FRESH_MS,
  retry: false,
});

function notRunning({ state }: Session): string | undefined {
  if (state === "running" || state === "disconnected") return undefined;
  return state === "created" || state === "starting"
    ? "The session is starting; its files are there when it is ready."
    : "The sandbox is stopped, and its files are in it. Start the session to search them.";
}

const NOTHING: FoundFiles = { files: [], total: 0, truncated: false };

/** The sandbox lists its files at the first search, which takes long when they are many: while one writes. */
function useFilesListed({ id, cwd, state }: Session, writes: boolean) {
  useEffect(() => {
    if (!writes || state !== "running") return;
    const abort = new AbortController();
    completionApi.files(id, cwd, "", 1, abort.signal).catch(() => undefined);
    return () => abort.abort();
  }, [id, cwd, state, writes]);
}

function useFiles(session: Session, query: string | undefined) {
  const [answer, setAnswer] = useState<{ query: string; found: FoundFiles; error?: ApiError }>();
  const { id, cwd } = session;
  const running = notRunning(session) === undefined;
  useEffect(() => {
    if (query === undefined) return setAnswer(undefined);
    if (!running) return;
    const abort = new AbortController();
    completionApi.files(id, cwd, query, MAX_OPTIONS, abort.signal).then(
      (found) => !abort.signal.aborted && setAnswer({ query, found }),
      (error) =>
        !abort.signal.aborted &&
        setAnswer({ query, found: NOTHING, error: asApiError(error, "Search files") }),
    );
    return () => abort.abort();
  }, [id, cwd, query, running]);
  return answer;
}

export function useOptions(session: Session, trigger: Trigger | undefined, writes: boolean): Offer {
  useFilesListed(session, writes);
  const query = trigger?.query ?? "";
  const files = useFiles(session, trigger?.kind === "file" ? trigger.query : undefined);
  const commands = useQuery({
    ...commandsQuery(session),
    enabled: trigger?.kind === "command" && notRunning(session) === undefined,
  });
  return useMemo((): Offer => {
    const off = notRunning(session);
    if (trigger?.kind === "command") {
      const options = off || !commands.data ? [] : commandOptions(commands.data, query);
      const failed = commands.error ? asApiError(commands.error, "Load commands").message : undefined;
      const note = off ? "Start the session to see what the agent can be told." : failed;
      return { options, query, total: options.length, loading: commands.isPending && !off, note };
    }
    if (off || !files) return { options: [], query, total: 0, loading: !off, note: off };
    const options = files.found.files.map((file) => fileOption(file, quotedPath));
    const note = files.error?.message ?? (options.length === 0 ? "No file matches." : undefined);
    return { options, query: files.query, total: files.found.total, loading: files.query !== query, note };
  }, [session, trigger?.kind, query, files, commands.data, commands.error, commands.isPending]);
}
