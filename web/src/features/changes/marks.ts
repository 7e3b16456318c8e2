/** What people leave on changes: comments and "viewed". Kept by the server, shown at once. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import {
  type ChangedFile,
  type Comment,
  type CommentAnchor,
  changesApi,
  keyOf,
  type RepoPath,
  type Viewed,
} from "../../api/changes";
import { newIdempotencyKey } from "../../api/client";
import { say, sayError } from "../../ui/toasts";
import type { Range } from "./layout";

const commentsKey = (session: string) => ["comments", session];
const viewedKey = (session: string) => ["viewed", session];

/** Where a comment is; its own lines when nobody looked. */
export function rangeOf({ anchor, placement }: Comment): Range {
  const place = placement?.kind === "located" ? placement : anchor;
  return { side: anchor.side, start: place.start_line, end: place.end_line };
}

const NO_COMMENTS: readonly Comment[] = [];

/** The session's comments; looked at again when `tick` says that the tree or the record changed. */
export function useComments(session: string, tick: unknown): readonly Comment[] {
  const client = useQueryClient();
  const { data } = useQuery({
    queryKey: commentsKey(session),
    queryFn: () => changesApi.comments(session),
    retry: false,
    staleTime: Number.POSITIVE_INFINITY,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: a tick is the reason to look again
  useEffect(() => {
    void client.invalidateQueries({ queryKey: commentsKey(session) });
  }, [client, session, tick]);
  return data ?? NO_COMMENTS;
}

export function useCommentActions(session: string) {
  const client = useQueryClient();
  return useMemo(() => {
    const key = commentsKey(session);
    const update = (change: (comments: Comment[]) => Comment[]) =>
      client.setQueryData<Comment[]>(key, (comments) => change(comments ?? []));
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
    };
  }, [client, session]);
}

export interface Views {
  isViewed: (file: ChangedFile) => boolean;
  mark: (file: ChangedFile, viewed: boolean) => void;
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
  });
  return useMemo(() => {
    const known = new Map((data ?? []).map(({ path, fingerprint }) => [keyOf(path), fingerprint]));
    return {
      isViewed: (file) => known.get(keyOf(markedPath(file.path, folder))) === file.fingerprint,
      mark: (file, viewed) => {
        const { fingerprint } = file;
        const path = markedPath(file.path, folder);
        client.setQueryData<Viewed[]>(viewedKey(session), (marks = []) => {
          const others = marks.filter((mark) => keyOf(mark.path) !== keyOf(path));
          return viewed ? [...others, { path, fingerprint }] : others;
        });
        changesApi.markViewed(session, { path, fingerprint: viewed ? fingerprint : null }).catch((error) => {
          void client.invalidateQueries({ queryKey: viewedKey(session) });
          sayError(error, "Mark as viewed");
        });
      },
    };
  }, [client, session, folder, data]);
}
