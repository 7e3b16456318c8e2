import { CornerDownRight, GripVertical, MessageSquare, Pencil, Send, Trash2 } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { type ApiError, api, asApiError } from "../../api/client";
import type { QueuedMessage, Session } from "../../api/types";
import { ownText } from "../../live/told";
import { AttachmentNames } from "../../ui/AttachmentList";
import { Button, IconButton } from "../../ui/Button";
import { sayError } from "../../ui/toasts";
import { type Aside, type AsideField, sendAside, takeAside, useAside } from "./asides";
import "./queue.css";
import { useReorder } from "./use-reorder";

function attempt(action: string, work: Promise<unknown>): void {
  work.catch((error: unknown) => sayError(error, action));
}

const commentCount = ({ comments }: QueuedMessage): number => comments?.length ?? 0;

/** Comments that leave with a message; they are not the person's to edit here. */
function Comments({ message }: { message: QueuedMessage }) {
  const count = commentCount(message);
  if (count === 0) return null;
  return (
    <p className="queue-comments">
      <MessageSquare size={12} aria-hidden="true" />
      {count === 1 ? "1 comment on the changes" : `${count} comments on the changes`}
    </p>
  );
}

interface EditorProps {
  session: string;
  message: QueuedMessage;
  field: AsideField;
  /** Told of a message that is past being changed. */
  onLate: () => void;
}

function Editor({ session, message, field, onLate }: EditorProps) {
  const [saving, setSaving] = useState(false);
  const [error, setError] = useState<ApiError>();
  const area = useRef<HTMLTextAreaElement>(null);
  const text = field.aside?.text ?? "";
  const canSave =
    !saving && (text.trim() !== "" || (message.attachments?.length ?? 0) > 0 || commentCount(message) > 0);
  // The person has just asked to edit it, or was doing so when it was drawn anew.
  useEffect(() => {
    const { activeElement } = document;
    if (activeElement === document.body || activeElement?.closest("[data-pane=queue]")) area.current?.focus();
  }, []);
  const save = async () => {
    if (!canSave) return;
    setSaving(true);
    setError(undefined);
    try {
      await sendAside(session, message.id, async () => {
        await api.patchMessage(session, message.id, { text });
        return true;
      });
    } catch (thrown) {
      const failed = asApiError(thrown, "Change message");
      if (failed.status === 404 || failed.status === 409) onLate();
      else setError(failed);
    }
    setSaving(false);
  };
  return (
    <form
      className="queue-edit"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <textarea
        ref={area}
        aria-label="Queued message"
        rows={Math.min(8, text.split("\n").length + 1)}
        value={text}
        readOnly={saving}
        onChange={(event) => field.write(event.target.value)}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === "Escape") {
            event.preventDefault();
            field.close();
          } else if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            event.currentTarget.form?.requestSubmit();
          }
        }}
      />
      <Comments message={message} />
      {error && (
        <p className="field-error" role="alert">
          Not saved: {error.message}
        </p>
      )}
      <div className="queue-edit-actions">
        <Button type="submit" look="primary" disabled={!canSave}>
          {saving ? "Saving…" : "Save"}
        </Button>
        <Button look="ghost" onClick={field.close}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

interface ItemProps {
  session: Session;
  scope: string;
  message: QueuedMessage;
  isDragged: boolean;
  /** Makes its handle move it; none when there is nowhere to go. */
  handle?: ReturnType<ReturnType<typeof useReorder>["handle"]>;
  onLate: (id: string) => void;
}

function Item({ session, scope, message, isDragged, handle, onLate }: ItemProps) {
  const field = useAside(session.id, scope, "message", message.id);
  if (field.aside) {
    return (
      <li>
        <Editor session={session.id} message={message} field={field} onLate={() => onLate(message.id)} />
      </li>
    );
  }
  const own = ownText(message);
  return (
    <li className={isDragged ? "queue-item dragged" : "queue-item"}>
      {handle ? (
        <button
          type="button"
          className="queue-handle"
          aria-label={`Move “${own.slice(0, 60) || "comments"}”`}
          title="Drag, or use the arrow keys, to change the order"
          {...handle}
        >
          <GripVertical size={14} aria-hidden="true" />
        </button>
      ) : (
        <CornerDownRight size={14} aria-hidden="true" />
      )}
      <div className="queue-text">
        {own && <p>{own}</p>}
        <Comments message={message} />
        <AttachmentNames files={message.attachments ?? []} />
        {message.error && <p className="queue-error">Not taken: {message.error}</p>}
      </div>
      {session.state === "running" && (
        <IconButton
          label={message.error ? "Try again" : "Send now"}
          disabled={message.sending}
          onClick={() => attempt("Send now", api.patchMessage(session.id, message.id, { delivery: "steer" }))}
        >
          <Send size={14} />
        </IconButton>
      )}
      <IconButton label="Edit message" disabled={message.sending} onClick={() => field.write(own)}>
        <Pencil size={14} />
      </IconButton>
      <IconButton
        label="Remove message"
        disabled={message.sending}
        onClick={() => attempt("Remove message", api.removeMessage(session.id, message.id))}
      >
        <Trash2 size={14} />
      </IconButton>
    </li>
  );
}

interface QueueProps {
  session: Session;
  /** What drafts of the conversation are kept under. */
  scope: string;
  messages: readonly QueuedMessage[];
  /** Gives the words back that came too late to change a message. */
  onLate: (aside: Aside) => void;
}

/** Messages that wait for the agent, kept by the server. */
export function Queue({ session, scope, messages, onLate }: QueueProps) {
  const { shown, list, dragged, said, handle } = useReorder(session.id, messages);
  if (messages.length === 0) return null;
  const running = session.state === "running";
  const late = (id: string) => {
    const aside = takeAside(session.id, id);
    if (aside?.text.trim()) onLate(aside);
  };
  return (
    <section className="queue" aria-label="Queued messages" data-pane="queue">
      <h2>
        {messages.length === 1 ? "1 message waits" : `${messages.length} messages wait`}
        <span>{running ? "Sent when the turn is over" : "Sent when the session runs"}</span>
      </h2>
      <p className="hidden-text" role="status">
        {said}
      </p>
      <ol ref={list}>
        {shown.map((message) => (
          <Item
            key={message.id}
            session={session}
            scope={scope}
            message={message}
            isDragged={message.id === dragged}
            handle={shown.length > 1 && !message.sending ? handle(message.id) : undefined}
            onLate={late}
          />
        ))}
      </ol>
    </section>
  );
}
