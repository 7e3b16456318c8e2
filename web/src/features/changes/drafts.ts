/** Comments that are being written. Their places and texts are kept by this browser, so that nothing typed is lost. */
import { useCallback, useMemo } from "react";
import { type Comment, type CommentAnchor, keyOf } from "../../api/changes";
import { newIdempotencyKey } from "../../api/client";
import { readStored, useStored, writeStored } from "../../ui/storage";
import { groupBy } from "./group";

export interface Draft {
  id: string;
  anchor: CommentAnchor;
  /** The comment that is changed; none when it is a new one. */
  edits?: string;
}

const NONE: readonly Draft[] = [];
const textKey = (id: string) => `comment:${id}`;

export const draftText = (id: string): string => readStored(textKey(id), "");
export const keepDraftText = (id: string, text: string): void => {
  writeStored(textKey(id), text || undefined);
};

export function useDrafts(session: string) {
  const [drafts, setDrafts] = useStored<readonly Draft[]>(`comments:${session}`, NONE);
  const change = useCallback(
    (change: (drafts: readonly Draft[]) => readonly Draft[]) =>
      setDrafts(change(readStored<readonly Draft[]>(`comments:${session}`, NONE))),
    [session, setDrafts],
  );
  const byFile = useMemo(() => groupBy(drafts, (draft) => keyOf(draft.anchor.path)), [drafts]);
  const open = useCallback(
    (anchor: CommentAnchor) =>
      change((known) => {
        const same = known.some(
          (draft) =>
            !draft.edits &&
            keyOf(draft.anchor.path) === keyOf(anchor.path) &&
            draft.anchor.side === anchor.side &&
            (anchor.side === "new" || draft.anchor.scope === anchor.scope) &&
            draft.anchor.end_line === anchor.end_line,
        );
        return same ? known : [...known, { id: newIdempotencyKey(), anchor }];
      }),
    [change],
  );
  const edit = useCallback(
    (comment: Comment) => {
      const id = `edit-${comment.id}`;
      change((known) => {
        if (known.some((draft) => draft.id === id)) return known;
        keepDraftText(id, comment.text);
        return [...known, { id, anchor: comment.anchor, edits: comment.id }];
      });
    },
    [change],
  );
  const close = useCallback(
    (id: string) => {
      keepDraftText(id, "");
      change((known) => known.filter((draft) => draft.id !== id));
    },
    [change],
  );
  /** Brings one that was closed back, with what was typed. */
  const reopen = useCallback(
    (draft: Draft, text: string) => {
      keepDraftText(draft.id, text);
      change((known) => (known.some((other) => other.id === draft.id) ? known : [...known, draft]));
    },
    [change],
  );
  return useMemo(
    () => ({ drafts, byFile, open, edit, close, reopen }),
    [drafts, byFile, open, edit, close, reopen],
  );
}

export type Drafts = ReturnType<typeof useDrafts>;
