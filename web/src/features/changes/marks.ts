/** What people leave on changes: comments and "viewed". Kept by the server, shown at once. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import {
  type ChangedFile,
  type Comment,
  type CommentAnchor,
  changesApi,
  keyOf,
  type RepoPath,
  type Scope,
  type Viewed,
} from "../../api/changes";
import { newIdempotencyKey } from "../../api/client";
import { say, sayError } from "../../ui/toasts";
import type { Range } from "./layout";

const commentsKey = (session: string) => ["comments", session];
const viewedKey = (session: string) => ["viewed", session];

/** Where a comment is; its own lines when nobody looked. */
export function rangeOf({ anchor, placement }: Comment): Range {
  const place = placement && placement.kind !== "outdated" ? placement : anchor;
  return { side: anchor.side, start: place.start_line, end: place.end_line };
}

/** The file that a comment's lines are shown with: it may have been renamed since. */
export function pathOf({ anchor, placement }: Comment): RepoPath {
  return (placement && placement.kind !== "outdated" && placement.path) || anchor.path;
}

const NO_COMMENTS: readonly Comment[] = [];

/**
 * The session's comments, with their places in a scope; looked at again when `tick` says that the tree
 * or the record changed.
 */
export function useComments(session: string, scope: Scope, tick: unknown): readonly Comment[] {
  const client = useQueryClient();
  const { data, isPlaceholderData } = useQuery({
    queryKey: [...commentsKey(session), scope],
    queryFn: () => changesApi.comments(session, scope),
    placeholderData: (before) => before,
    retry: false,
    staleTime: Number.POSITIVE_INFINITY,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: a tick is the reason to look again
  useEffect(() => {
    void client.invalidateQueries({ queryKey: commentsKey(session) });
  }, [client, session, tick]);
  return useMemo(() => {
    if (!data) return NO_COMMENTS;
    // Old lines are elsewhere in another scope; where, is not known yet.
    const forget = (comment: Comment) =>
      comment.anchor.side === "old" ? { ...comment, placement: null } : comment;
    return isPlaceholderData ? data.map(forget) : data;
  }, [data, isPlaceholderData]);
}

export function useCommentActions(session: string) {
  const client = useQueryClient();
  return useMemo(() => {
    const key = commentsKey(session);
    const update = (change: (comments: Comment[]) => Comment[]) =>
      client.setQueriesData<Comment[]>({ queryKey: key }, (comments) => change(comments ?? []));
    const create = async (anchor: CommentAnchor, text: string) => {
      await client.cancelQueries({ queryKey: key });
      const made = await changesApi.createComment(session, anchor, text, newIdempotencyKey());
      update((comments) => [...comments.filter((comment) => comment.id !== made.id), made]);
    };
    return {
      create,
      change: async (comment: Comment, text: string) => {
        await client.cancelQueries({ queryKey: key });
        const changed = await changesApi.patchComment(session, comment.id, text);
        update((comments) => comments.map((other) => (other.id === comment.id ? changed : other)));
      },
      /** Gone at once; a toast brings it back. */
      remove: async (comment: Comment) => {
        await client.cancelQueries({ queryKey: key });
        update((comments) => comments.filter((other) => other.id !== comment.id));
        try {
          await changesApi.removeComment(session, comment.id);
          say("Comment deleted", {
            label: "Undo",
            run: () => void create(comment.anchor, comment.text).catch((error) => sayError(error, "Undo")),
          });
        } catch (error) {
          void client.invalidateQueries({ queryKey: key });
          sayError(error, "Delete comment");
        }
      },
      /** Those that leave with a message are no drafts any more. */
      leave: (ids: readonly string[]) =>
        update((comments) =>
          comments.map((comment) => (ids.includes(comment.id) ? { ...comment, state: "sent" } : comment)),
        ),
      /** Those of a message that was taken back are drafts again. */
      stay: (ids: readonly string[]) =>
        update((comments) =>
          comments.map((comment) => (ids.includes(comment.id) ? { ...comment, state: "draft" } : comment)),
        ),
    };
  }, [client, session]);
}

export interface Views {
  isViewed: (file: ChangedFile) => boolean;
  mark: (file: ChangedFile, viewed: boolean) => void;
}

/** A mark remembers the latest diffs of its file that were viewed: each scope has one of its own. */
const MARKED_DIFFS = 3;

/** Whether a mark is about the diff with this fingerprint. */
export const isMarked = (mark: string | undefined, fingerprint: string): boolean =>
  mark?.split(" ").includes(fingerprint) ?? false;

/** A mark with a diff added or taken away; none when it is about nothing any more. */
export function marked(mark: string | undefined, fingerprint: string, viewed: boolean): string | null {
  const others = mark?.split(" ").filter((other) => other !== fingerprint) ?? [];
  const diffs = viewed ? [fingerprint, ...others].slice(0, MARKED_DIFFS) : others;
  return diffs.length > 0 ? diffs.join(" ") : null;
}

/** Marks of a session know paths alone: of several repositories, each is named before its paths. */
export function markedPath(path: RepoPath, folder: string | undefined): RepoPath {
  if (folder === undefined) return path;
  const before = `${folder.slice(folder.lastIndexOf("/") + 1)}/`;
  const text = before + path.text;
  return path.bytes ? { text, bytes: btoa(before + atob(path.bytes)) } : { text };
}

export function useViews(session: string, folder: string | undefined): Views {
  const client = useQueryClient();
  const { data } = useQuery({
    queryKey: viewedKey(session),
    queryFn: () => changesApi.viewed(session),
    retry: false,
    staleTime: Number.POSITIVE_INFINITY,
    // Another browser of the same person may have marked files meanwhile.
    refetchOnWindowFocus: "always",
  });
  const tabs = useRef<BroadcastChannel>(undefined);
  useEffect(() => {
    const channel = new BroadcastChannel(`mistle viewed ${session}`);
    channel.onmessage = () => void client.invalidateQueries({ queryKey: viewedKey(session) });
    tabs.current = channel;
    return () => channel.close();
  }, [client, session]);
  return useMemo(() => {
    const known = new Map((data ?? []).map(({ path, fingerprint }) => [keyOf(path), fingerprint]));
    const mark = async (file: ChangedFile, viewed: boolean) => {
      const queryKey = viewedKey(session);
      const path = markedPath(file.path, folder);
      // An answer that is on its way does not know of this mark. It is not waited for: the box is as it was
      // clicked at once, or it would be drawn as it was before for a moment.
      if (client.getQueryData(queryKey)) void client.cancelQueries({ queryKey });
      const marks = client.getQueryData<Viewed[]>(queryKey) ?? [];
      const before = marks.find((other) => keyOf(other.path) === keyOf(path));
      const fingerprint = marked(before?.fingerprint, file.fingerprint, viewed);
      const others = marks.filter((other) => other !== before);
      client.setQueryData<Viewed[]>(queryKey, fingerprint ? [...others, { path, fingerprint }] : others);
      try {
        await changesApi.markViewed(session, { path, fingerprint });
        tabs.current?.postMessage("marked");
      } catch (error) {
        void client.invalidateQueries({ queryKey });
        sayError(error, "Mark as viewed");
      }
    };
    return {
      isViewed: (file) => isMarked(known.get(keyOf(markedPath(file.path, folder))), file.fingerprint),
      mark: (file, viewed) => void mark(file, viewed),
    };
  }, [client, session, folder, data]);
}
