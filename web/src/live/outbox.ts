/**
 * The messages of this page that no server has taken, oldest first: which one goes next, and what an
 * answer makes of them. Pure. They go one after the other, so that they arrive in their order.
 *
 *   sending ──answered──► sent, until the queue or the record shows it
 *   sending ──refused───► failed: waits for the person, and the others pass it
 *   sending ──no answer─► failed, with all after it: tried again when a server answers
 */
import type { ApiError } from "../api/client";
import type { LocalMessage } from "./pending";

type Outbox = readonly LocalMessage[];

/** No server took or refused it: nobody answered, or only to say "later" or "sign in". */
export const isUnanswered = (error: ApiError | undefined): boolean =>
  error !== undefined && [0, 401, 502, 503, 504].includes(error.status);

const isFollowing = (message: LocalMessage, localId: string): boolean =>
  message.destination.kind === "follows" && message.destination.localId === localId;

/** The one to send next. One that follows another waits for it. */
export function nextOf(outbox: Outbox): LocalMessage | undefined {
  return outbox.find(
    ({ status, messageId, destination }) =>
      status === "sending" && messageId === undefined && destination.kind !== "follows",
  );
}

/** The one that starts the new conversation. */
export function starterOf(outbox: Outbox): LocalMessage | undefined {
  return outbox.find(({ destination, messageId }) => destination.kind === "new" && messageId === undefined);
}

export function accepted(outbox: Outbox, localId: string, messageId: string): LocalMessage[] {
  return outbox.map((message) => {
    if (message.localId === localId) return { ...message, status: "sent", messageId };
    if (!isFollowing(message, localId)) return message;
    return { ...message, destination: { kind: "started_by", message_id: messageId } };
  });
}

export function failed(outbox: Outbox, localId: string, error: ApiError): LocalMessage[] {
  const all = isUnanswered(error);
  return outbox.map((message) => {
    const is = message.localId === localId || (all && message.status === "sending" && !message.messageId);
    return is ? { ...message, status: "failed", error } : message;
  });
}

/** Lets those that got no answer go again, and the one that a person asks for. */
export function again(outbox: Outbox, localId?: string): LocalMessage[] {
  return outbox.map((message) => {
    const is = message.status === "failed" && (message.localId === localId || isUnanswered(message.error));
    return is ? { ...message, status: "sending", error: undefined } : message;
  });
}

/** Without one. The first of those that followed it takes its place. */
export function without(outbox: Outbox, localId: string): LocalMessage[] {
  const heir = outbox.find((message) => isFollowing(message, localId))?.localId;
  return outbox
    .filter((message) => message.localId !== localId)
    .map((message) => {
      if (heir === undefined || !isFollowing(message, localId)) return message;
      const follows = { kind: "follows", localId: heir } as const;
      return { ...message, destination: message.localId === heir ? { kind: "new" } : follows };
    });
}
