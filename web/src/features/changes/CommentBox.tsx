import { Pencil, Trash2 } from "lucide-react";
import { memo, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { Comment } from "../../api/changes";
import { type ApiError, asApiError } from "../../api/client";
import { Button, IconButton } from "../../ui/Button";
import { Markdown } from "../../ui/markdown/Markdown";
import { ago, useNow } from "../../ui/time";
import { scopeLabel } from "./describe";
import { type Draft, draftText, keepDraftText } from "./drafts";
import { linesLabel } from "./layout";
import { rangeOf } from "./marks";

/** What the server accepts, in bytes; checked in characters, which are fewer. */
const MAX_TEXT = 60_000;

/** The comment that has the keyboard; the commands of the panel act on it. */
export interface WritingComment {
  save: () => void;
  close: () => void;
}
let writing: WritingComment | undefined;
export const writingComment = (): WritingComment | undefined => writing;

/** The comment that is written while its lines move to another place: it is drawn anew there, and goes on. */
let moving: { id: string; start: number; end: number } | undefined;

interface DraftBoxProps {
  draft: Draft;
  label: string;
  onSave: (draft: Draft, text: string) => Promise<void>;
  onClose: (draft: Draft) => void;
}

/** A comment being written, where it belongs. */
export const DraftBox = memo(({ draft, label, onSave, onClose }: DraftBoxProps) => {
  const [text, setText] = useState(() => draftText(draft.id));
  const [saving, setSaving] = useState(false);
  const [error, setError] = useState<ApiError>();
  const area = useRef<HTMLTextAreaElement>(null);
  const handle = useRef<WritingComment>({ save: () => {}, close: () => {} });
  // Written in this moment: the person goes on typing. One that was left open waits.
  // biome-ignore lint/correctness/useExhaustiveDependencies: when it opens
  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    if (moving?.id === draft.id) {
      element.focus({ preventScroll: true });
      element.setSelectionRange(moving.start, moving.end);
    } else if (text === "" || draft.edits) element.focus({ preventScroll: true });
    return () => {
      if (document.activeElement !== element) return;
      moving = { id: draft.id, start: element.selectionStart, end: element.selectionEnd };
      queueMicrotask(() => {
        moving = undefined;
      });
    };
  }, []);
  useEffect(
    () => () => {
      if (writing === handle.current) writing = undefined;
    },
    [],
  );

  const save = async () => {
    const trimmed = text.trim();
    if (!trimmed || saving) return;
    setSaving(true);
    setError(undefined);
    try {
      await onSave(draft, trimmed);
    } catch (cause) {
      setError(asApiError(cause, "Save comment"));
      setSaving(false);
    }
  };
  handle.current.save = () => void save();
  handle.current.close = () => onClose(draft);

  return (
    <div className="comment draft">
      <textarea
        ref={area}
        aria-label={`Comment on ${label}`}
        placeholder="Say what should change"
        value={text}
        rows={2}
        maxLength={MAX_TEXT}
        onChange={(event) => {
          setText(event.target.value);
          keepDraftText(draft.id, event.target.value);
        }}
        onFocus={() => {
          writing = handle.current;
        }}
        onBlur={() => {
          if (writing === handle.current) writing = undefined;
        }}
      />
      {error && (
        <p className="field-error" role="alert">
          Not saved: {error.message}
        </p>
      )}
      <div className="comment-bar">
        <span className="comment-where">{label}</span>
        <span className="spacer" />
        <Button look="ghost" onClick={() => onClose(draft)}>
          Cancel
        </Button>
        <Button look="primary" keys="mod+enter" disabled={!text.trim() || saving} onClick={() => void save()}>
          {draft.edits ? "Save" : "Comment"}
        </Button>
      </div>
    </div>
  );
});

export interface CommentCardProps {
  comment: Comment;
  onEdit: (comment: Comment) => void;
  onRemove: (comment: Comment) => void;
  /** Set when the comment is to come into view; another object, another time. */
  target: object | undefined;
  /** It is on the page, as the target wants. */
  onArrive: (target: object, card: HTMLElement) => void;
  /** Shown with its file and its code, because these are not beside it. */
  apart?: boolean;
  /** Goes to where its lines are, when these are not of what is compared. */
  onShow?: (comment: Comment) => void;
}

export const CommentCard = memo((props: CommentCardProps) => {
  const { comment, onEdit, onRemove, target, onArrive, apart, onShow } = props;
  const now = useNow();
  const card = useRef<HTMLElement>(null);
  useEffect(() => {
    if (target && card.current) onArrive(target, card.current);
  }, [target, onArrive]);
  const outdated = comment.placement?.kind === "outdated";
  const label = linesLabel(rangeOf(comment));
  const scope = scopeLabel(comment.anchor.scope ?? "branch");
  return (
    <article
      ref={card}
      className={comment.state === "sent" ? "comment sent" : "comment"}
      aria-label={`Comment on ${comment.anchor.path.text}, ${label}`}
      data-comment={comment.id}
    >
      {(apart || outdated) && comment.anchor.quote.length > 0 && (
        <pre className="comment-quote">{comment.anchor.quote.join("\n")}</pre>
      )}
      <div className="comment-text">
        <Markdown text={comment.text} />
      </div>
      <div className="comment-bar">
        <span className="comment-where">
          {outdated && <span className="badge need">Outdated</span>} {onShow && `${scope} · `}
          {label}
          {comment.state === "draft"
            ? " · goes with your next message"
            : ` · sent ${ago(comment.updated_at, now)}`}
        </span>
        <span className="spacer" />
        {onShow && (
          <Button look="ghost" onClick={() => onShow(comment)}>
            Show in “{scope}”
          </Button>
        )}
        {comment.state === "draft" && (
          <>
            <IconButton label="Edit comment" onClick={() => onEdit(comment)}>
              <Pencil size={14} />
            </IconButton>
            <IconButton label="Delete comment" onClick={() => onRemove(comment)}>
              <Trash2 size={14} />
            </IconButton>
          </>
        )}
      </div>
    </article>
  );
});
