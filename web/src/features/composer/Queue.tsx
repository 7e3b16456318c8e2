import { CornerDownRight, GripVertical, Pencil, Send, Trash2 } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { QueuedMessage, Session } from "../../api/types";
import { AttachmentNames } from "../../ui/AttachmentList";
import { Button, IconButton } from "../../ui/Button";
import { sayError } from "../../ui/toasts";
import "./queue.css";
import { useReorder } from "./use-reorder";

function attempt(action: string, work: Promise<unknown>): void {
  work.catch((error: unknown) => sayError(error, action));
}

function Editor({
  message,
  onSave,
  onCancel,
}: {
  message: QueuedMessage;
  onSave: (text: string) => void;
  onCancel: () => void;
}) {
  const [text, setText] = useState(message.text);
  const canSave = text.trim() !== "" || (message.attachments?.length ?? 0) > 0;
  return (
    <form
      className="queue-edit"
      onSubmit={(event) => {
        event.preventDefault();
        if (canSave) onSave(text);
      }}
    >
      <textarea
        // biome-ignore lint/a11y/noAutofocus: the person has just asked to edit it
        autoFocus
        aria-label="Queued message"
        rows={Math.min(8, text.split("\n").length + 1)}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === "Escape") {
            event.preventDefault();
            onCancel();
          } else if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            event.currentTarget.form?.requestSubmit();
          }
        }}
      />
      <div className="queue-edit-actions">
        <Button type="submit" look="primary" disabled={!canSave}>
          Save
        </Button>
        <Button look="ghost" onClick={onCancel}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

interface QueueProps {
  session: Session;
  messages: readonly QueuedMessage[];
}

/** Messages that wait for the agent, kept by the server. */
export function Queue({ session, messages }: QueueProps) {
  const [editing, setEditing] = useState<string>();
  const { shown, list, dragged, said, handle } = useReorder(session.id, messages);
  if (messages.length === 0) return null;
  const running = session.state === "running";
  return (
    <section className="queue" aria-label="Queued messages">
      <h2>
        {messages.length === 1 ? "1 message waits" : `${messages.length} messages wait`}
        <span>{running ? "Sent when the turn is over" : "Sent when the session runs"}</span>
      </h2>
      <p className="hidden-text" role="status">
        {said}
      </p>
      <ol ref={list}>
        {shown.map((message) =>
          editing === message.id ? (
            <li key={message.id}>
              <Editor
                message={message}
                onCancel={() => setEditing(undefined)}
                onSave={(text) => {
                  setEditing(undefined);
                  attempt("Change message", api.patchMessage(session.id, message.id, { text }));
                }}
              />
            </li>
          ) : (
            <li key={message.id} className={message.id === dragged ? "queue-item dragged" : "queue-item"}>
              {shown.length > 1 && !message.sending ? (
                <button
                  type="button"
                  className="queue-handle"
                  aria-label={`Move “${message.text.slice(0, 60)}”`}
                  title="Drag, or use the arrow keys, to change the order"
                  {...handle(message.id)}
                >
                  <GripVertical size={14} aria-hidden="true" />
                </button>
              ) : (
                <CornerDownRight size={14} aria-hidden="true" />
              )}
              <div className="queue-text">
                {message.text && <p>{message.text}</p>}
                <AttachmentNames files={message.attachments ?? []} />
                {message.error && <p className="queue-error">Not taken: {message.error}</p>}
              </div>
              {running && (
                <IconButton
                  label={message.error ? "Try again" : "Send now"}
                  disabled={message.sending}
                  onClick={() =>
                    attempt("Send now", api.patchMessage(session.id, message.id, { delivery: "steer" }))
                  }
                >
                  <Send size={14} />
                </IconButton>
              )}
              <IconButton
                label="Edit message"
                disabled={message.sending}
                onClick={() => setEditing(message.id)}
              >
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
          ),
        )}
      </ol>
    </section>
  );
}
