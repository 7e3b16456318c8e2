import { MessageSquare, X } from "lucide-react";
import type { Comment } from "../../api/changes";
import { Markdown } from "../../ui/markdown/Markdown";
import { Tip } from "../../ui/Tip";
import "./chips.css";
import { fileName, linesLabel } from "./layout";
import { pathOf, rangeOf } from "./marks";

/** What says where a comment is, in few characters: `retry.rs R41–44`. */
const label = (comment: Comment) => `${fileName(pathOf(comment))} ${linesLabel(rangeOf(comment))}`;

/** Comments that leave with the next message. */
export function CommentChips({
  comments,
  onShow,
  onRemove,
}: {
  comments: readonly Comment[];
  onShow: (comment: Comment) => void;
  onRemove: (comment: Comment) => void;
}) {
  if (comments.length === 0) return null;
  return (
    <ul className="chips" aria-label="Comments that leave with the message">
      {comments.map((comment) => (
        <li key={comment.id} className="chip">
          <Tip text={comment.text.length > 160 ? `${comment.text.slice(0, 160)}…` : comment.text}>
            <button type="button" className="chip-main" onClick={() => onShow(comment)}>
              <MessageSquare size={12} aria-hidden="true" />
              <span className="truncate">{label(comment)}</span>
              {comment.placement?.kind === "outdated" && <span className="chip-note">outdated</span>}
            </button>
          </Tip>
          <button
            type="button"
            className="chip-remove"
            aria-label={`Delete the comment on ${label(comment)}`}
            onClick={() => onRemove(comment)}
          >
            <X size={12} aria-hidden="true" />
          </button>
        </li>
      ))}
    </ul>
  );
}

/** Comments as they left with a message, in the conversation. */
export function SentComments({
  comments,
  onShow,
}: {
  comments: readonly Comment[];
  onShow: (comment: Comment) => void;
}) {
  return (
    <ul className="sent-comments" aria-label="Comments sent with this message">
      {comments.map((comment) => (
        <li key={comment.id}>
          <button type="button" className="sent-where" onClick={() => onShow(comment)}>
            <code className="truncate">{comment.anchor.path.text}</code>
            <span>
              {linesLabel({
                side: comment.anchor.side,
                start: comment.anchor.start_line,
                end: comment.anchor.end_line,
              })}
            </span>
          </button>
          <pre>{comment.anchor.quote.join("\n")}</pre>
          <div className="sent-text">
            <Markdown text={comment.text} />
          </div>
        </li>
      ))}
    </ul>
  );
}
