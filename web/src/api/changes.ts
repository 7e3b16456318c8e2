/** What the API says and does about the changes of a working tree, and comments on them. */
import { API, ApiError, request } from "./client";
import type { components } from "./schema";

type Schemas = components["schemas"];

export type ChangedFile = Schemas["ChangedFile"];
export type ChangesHead = Schemas["ChangesHead"];
export type ChangesLine = Schemas["ChangesLine"];
export type ChangesTotals = Schemas["ChangesTotals"];
export type Discard = Schemas["Discard"];
export type Discarded = Schemas["Discarded"];
export type FileDiff = Schemas["FileDiff"];
export type Hunk = Schemas["Hunk"];
export type HunkRange = Schemas["HunkRange"];
export type Line = Schemas["DiffLine"];
export type RepoPath = Schemas["RepoPath"];
export type Scope = Schemas["Scope"];
export type Side = Schemas["Side"];
export type Comment = Schemas["Comment"];
export type CommentAnchor = Schemas["CommentAnchor"];
export type MarkViewed = Schemas["MarkViewed"];
export type Viewed = Schemas["Viewed"];

/** What is compared, and how. */
export interface Comparison {
  session: string;
  /** The workspace's folder; the primary one otherwise. */
  folder?: string | undefined;
  scope: Scope;
  ignoreWhitespace: boolean;
}

/** A path's identity: two files whose bytes differ may read the same. */
export const keyOf = (path: RepoPath): string => path.bytes ?? path.text;

const base = (session: string) => `/sessions/${encodeURIComponent(session)}`;

function query({ folder, scope, ignoreWhitespace }: Comparison): URLSearchParams {
  const search = new URLSearchParams({ scope });
  if (folder) search.set("cwd", folder);
  if (ignoreWhitespace) search.set("ignore_whitespace", "true");
  return search;
}

const inFolder = (folder: string | undefined) => (folder ? `?${new URLSearchParams({ cwd: folder })}` : "");

function fileQuery(comparison: Comparison, file: ChangedFile): URLSearchParams {
  const search = query(comparison);
  const set = (name: string, path: RepoPath) =>
    path.bytes ? search.set(`${name}_bytes`, path.bytes) : search.set(name, path.text);
  set("path", file.path);
  if (file.old_path) set("old_path", file.old_path);
  return search;
}

export interface DiffOptions {
  full?: boolean;
  context?: number;
}

/** The longest line of the list that is read. */
const MAX_LINE = 8 * 1024 * 1024;

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) if (part.trim()) yield part;
      if (rest.length > MAX_LINE) throw new Error("a line of the list is too long");
    }
    if (rest.trim()) yield rest;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

export const changesApi = {
  /** The changed files as they are found. */
  async *list(comparison: Comparison, signal: AbortSignal): AsyncGenerator<ChangesLine> {
    const action = "Load changes";
    const path = `${API}${base(comparison.session)}/changes?${query(comparison)}`;
    let response: Response;
    try {
      response = await fetch(path, { credentials: "same-origin", signal });
    } catch (error) {
      if (signal.aborted) throw error;
      throw new ApiError(action, "GET", path, undefined, error);
    }
    if (!response.ok || !response.body) {
      const problem = await response.json().catch(() => undefined);
      const fallback = {
        type: `http-${response.status}`,
        title: response.statusText,
        status: response.status,
      };
      throw new ApiError(action, "GET", path, { ...fallback, ...problem });
    }
    try {
      for await (const line of linesOf(response.body)) yield JSON.parse(line) as ChangesLine;
    } catch (error) {
      if (signal.aborted) throw error;
      throw new ApiError(action, "GET", path, undefined, error);
    }
  },

  diff(comparison: Comparison, file: ChangedFile, options: DiffOptions, signal?: AbortSignal) {
    const search = fileQuery(comparison, file);
    if (options.full) search.set("full", "true");
    if (options.context !== undefined) search.set("context", String(options.context));
    return request<FileDiff>(`${base(comparison.session)}/changes/diff?${search}`, {
      action: "Load diff",
      signal,
    });
  },

  blobUrl(comparison: Comparison, file: ChangedFile, side: Side): string {
    const search = fileQuery(comparison, file);
    search.set("side", side);
    return `${API}${base(comparison.session)}/changes/blob?${search}`;
  },

  patchUrl: (comparison: Comparison) =>
    `${API}${base(comparison.session)}/changes/patch?${query(comparison)}`,

  discard: ({ session, folder }: Comparison, body: Discard) =>
    request<Discarded>(`${base(session)}/changes/discard${inFolder(folder)}`, {
      action: "Discard changes",
      method: "POST",
      body,
    }),
  restore: ({ session, folder }: Comparison, undo: string) =>
    request<void>(`${base(session)}/changes/restore${inFolder(folder)}`, {
      action: "Undo",
      method: "POST",
      body: { undo },
    }),

  viewed: (session: string) =>
    request<Viewed[]>(`${base(session)}/changes/viewed`, { action: "Load viewed files" }),
  markViewed: (session: string, body: MarkViewed) =>
    request<void>(`${base(session)}/changes/viewed`, { action: "Mark as viewed", method: "PUT", body }),

  /** The comments, with their places in what a scope shows. */
  comments: (session: string, scope: Scope) =>
    request<Comment[]>(`${base(session)}/comments?${new URLSearchParams({ scope })}`, {
      action: "Load comments",
    }),
  createComment: (session: string, anchor: CommentAnchor, text: string, idempotencyKey: string) =>
    request<Comment>(`${base(session)}/comments`, {
      action: "Save comment",
      method: "POST",
      body: { anchor, text },
      idempotencyKey,
    }),
  patchComment: (session: string, comment: string, text: string) =>
    request<Comment>(`${base(session)}/comments/${encodeURIComponent(comment)}`, {
      action: "Change comment",
      method: "PATCH",
      body: { text },
    }),
  removeComment: (session: string, comment: string) =>
    request<void>(`${base(session)}/comments/${encodeURIComponent(comment)}`, {
      action: "Delete comment",
      method: "DELETE",
    }),
};
