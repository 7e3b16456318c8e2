/**
 * The list of changed files: read as a stream, read again when the working tree changed. The first
 * answer shows file by file; a later one replaces the list at once, so that nothing jumps meanwhile.
 */
import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react";
import {
  type ChangedFile,
  type ChangesHead,
  type ChangesTotals,
  type Comparison,
  changesApi,
} from "../../api/changes";
import { ApiError, asApiError } from "../../api/client";
import { keepSame } from "./tree";

export interface ChangeList {
  head: ChangesHead | undefined;
  files: readonly ChangedFile[];
  totals: ChangesTotals | undefined;
  loading: boolean;
  /** Why the last attempt failed; what was known stays. */
  error: ApiError | undefined;
}

const NOTHING: ChangeList = {
  head: undefined,
  files: [],
  totals: undefined,
  loading: true,
  error: undefined,
};
/** Between two looks of a list that is being read: to draw thousands of files for each few of them takes seconds. */
const SHOW_EVERY_MS = 250;
/** How long the next reading waits at most: as long as the last one took, so that git has half of the time. */
const MAX_PAUSE_MS = 2_000;

class ListReader {
  #list = NOTHING;
  #running: AbortController | undefined;
  #again = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #comparison: Comparison;
  readonly #listeners = new Set<() => void>();

  constructor(comparison: Comparison) {
    this.#comparison = comparison;
  }

  readonly get = () => this.#list;
  readonly subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };

  /** Reads the list; once more when it is being read, because that may have begun too early. */
  read(): void {
    if (this.#running || this.#timer) this.#again = true;
    else void this.#run();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#again = false;
    this.#running?.abort();
    this.#running = undefined;
  }

  async #run(): Promise<void> {
    const abort = new AbortController();
    this.#running = abort;
    const began = performance.now();
    const first = this.#list.totals === undefined;
    let retrying = false;
    if (first) this.#set({ loading: true });
    try {
      await this.#take(abort.signal, first);
    } catch (error) {
      if (abort.signal.aborted) return;
      const failed = asApiError(error, "Load changes");
      this.#set({ loading: false, error: failed });
      // Busy or out of reach: once more, after the pause.
      if ([0, 502, 503, 504].includes(failed.status)) {
        this.#again = true;
        retrying = true;
      }
    }
    this.#running = undefined;
    const pause = retrying ? MAX_PAUSE_MS : Math.min(MAX_PAUSE_MS, performance.now() - began);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#again) return;
      this.#again = false;
      void this.#run();
    }, pause);
  }

  async #take(signal: AbortSignal, first: boolean): Promise<void> {
    let head: ChangesHead | undefined;
    const files: ChangedFile[] = [];
    let shownAt = Number.NEGATIVE_INFINITY;
    for await (const line of changesApi.list(this.#comparison, signal)) {
      if (line.type === "head") {
        head = line.head;
        if (first) this.#set({ head });
      } else if (line.type === "files") {
        files.push(...line.files);
        if (!first || performance.now() - shownAt < SHOW_EVERY_MS) continue;
        this.#set({ files: [...files] });
        shownAt = performance.now();
      } else if (line.type === "end") {
        const kept = keepSame(this.#list.files, files);
        this.#set({ head, files: kept, totals: line.totals, loading: false, error: undefined });
      } else {
        throw new ApiError("Load changes", "GET", "", line.problem);
      }
    }
  }

  #set(patch: Partial<ChangeList>): void {
    this.#list = { ...this.#list, ...patch };
    for (const listener of this.#listeners) listener();
  }
}

/**
 * The changed files. `tick` counts the changes of the working tree; nothing is asked while the sandbox
 * does not run.
 */
export function useChangeList(
  { session, folder, scope, ignoreWhitespace }: Comparison,
  running: boolean,
  tick: number,
): ChangeList & { again: () => void } {
  const reader = useMemo(
    () => new ListReader({ session, folder, scope, ignoreWhitespace }),
    [session, folder, scope, ignoreWhitespace],
  );
  const list = useSyncExternalStore(reader.subscribe, reader.get);
  useEffect(() => () => reader.stop(), [reader]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a tick is the reason to read again
  useEffect(() => {
    if (running) reader.read();
  }, [reader, running, tick]);
  const again = useCallback(() => reader.read(), [reader]);
  return useMemo(() => ({ ...list, again }), [list, again]);
}
