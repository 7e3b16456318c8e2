/**
 * What a person wrote and the record does not show yet. Three sources, one list: messages whose
 * request is under way or failed (this page only), messages in the server's queue, and messages
 * that left the queue because the runtime took them, until their item appears.
 */
import type { Attachment } from "../api/attachments";
import type { ApiError } from "../api/client";
import type { Delivery, Destination, QueuedMessage, Session } from "../api/types";
import type { Transcript } from "./reducer";
import { ownText } from "./told";

/** A message goes where another one goes that starts a conversation and that no server has yet. */
export interface Follows {
  kind: "follows";
  localId: string;
}

/** A message of this page that the server may not have. */
export interface LocalMessage {
  /** Also its idempotency key. */
  localId: string;
  /** When it was written, in milliseconds; a later one has more. */
  at: number;
  text: string;
  delivery: Delivery;
  model: string | null;
  effort: string | null;
  /** Comments that leave with it, by id. */
  comments: readonly string[];
  /** The conversation that it goes to. */
  destination: Destination | Follows;
  /** Files that go with it. */
  attachments: readonly Attachment[];
  status: "sending" | "sent" | "failed";
  /** Its id, once the server gave one. */
  messageId?: string;
  error?: ApiError;
}

/** A message shown at the end of the conversation. */
export interface PendingBubble {
  key: string;
  text: string;
  attachments: readonly Attachment[];
  status: "sending" | "waiting" | "failed";
  local?: LocalMessage;
}

export interface PendingView {
  bubbles: PendingBubble[];
  /** Messages that wait, to be shown as a list that can be edited. */
  queue: QueuedMessage[];
}

interface Sources {
  local: readonly LocalMessage[];
  queue: readonly QueuedMessage[];
  /** Messages that left the queue, by id. */
  left: ReadonlyMap<string, QueuedMessage>;
  transcript: Transcript;
  session: Pick<Session, "state" | "turn_id"> | undefined;
}

/** Whether a queued message goes to the agent by itself right away, so that a list is no help. */
function isImmediate(message: QueuedMessage, { session, transcript }: Sources, position: number): boolean {
  if (message.error) return false;
  if (message.sending) return true;
  if (session?.state === "created" || session?.state === "starting") {
    // The task of a session that starts is the beginning of its conversation.
    return position === 0 && transcript.shown.size === 0;
  }
  if (session?.state !== "running") return false;
  return message.delivery === "steer" || (position === 0 && !session.turn_id);
}

const waiting = (message: QueuedMessage): PendingBubble => ({
  key: message.id,
  text: ownText(message),
  attachments: message.attachments ?? [],
  status: "waiting",
});

export function pendingView(sources: Sources): PendingView {
  const { local, queue, left, transcript } = sources;
  const bubbles: PendingBubble[] = [];
  const listed: QueuedMessage[] = [];
  const queued = new Set(queue.map((message) => message.id));

  for (const message of left.values()) {
    if (queued.has(message.id) || transcript.shown.has(message.id)) continue;
    if (transcript.delivered.has(message.id)) {
      bubbles.push(waiting(message));
    }
  }
  queue.forEach((message, position) => {
    if (transcript.shown.has(message.id)) return;
    if (isImmediate(message, sources, position)) {
      bubbles.push(waiting(message));
    } else {
      listed.push(message);
    }
  });
  // The queue may tell of a message before the answer to its request does.
  const unclaimed = new Map<string, number>();
  const claimed = new Set(local.map((message) => message.messageId));
  for (const message of [...queue, ...left.values()]) {
    const text = ownText(message);
    if (!claimed.has(message.id)) unclaimed.set(text, (unclaimed.get(text) ?? 0) + 1);
  }
  for (const message of local) {
    const id = message.messageId;
    const twins = unclaimed.get(message.text) ?? 0;
    if (!id && message.status === "sending" && twins > 0) {
      unclaimed.set(message.text, twins - 1);
      continue;
    }
    if (id && (queued.has(id) || left.has(id) || transcript.shown.has(id) || transcript.delivered.has(id))) {
      continue;
    }
    bubbles.push({
      key: message.localId,
      text: message.text,
      attachments: message.attachments,
      status: message.status === "failed" ? "failed" : "sending",
      local: message,
    });
  }
  return { bubbles, queue: listed };
}
