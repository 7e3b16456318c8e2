/**
 * Messages that no server has taken yet, kept by this browser: neither a reload nor a page that is
 * closed while the server is away loses one. Each has an entry of its own, so that two tabs do not
 * write over each other; both may send it, because its key makes that once.
 */
import { ApiError } from "../api/client";
import type { Problem } from "../api/types";
import { askBeforeLeaving } from "../ui/leaving";
import { readStored, storedKeys, tryStore, writeStored } from "../ui/storage";
import { isUnanswered } from "./outbox";
import type { LocalMessage } from "./pending";

/** The server knows a key for a day. One that may have been taken that long ago is the person's to decide about. */
const SENDS_ITSELF_MS = 20 * 3_600_000;
/** Longer than a holiday; nobody comes back for what is older. */
const KEPT_MS = 60 * 24 * 3_600_000;

type Kept = Omit<LocalMessage, "status" | "error" | "messageId"> & {
  /** What the server said when it did not take it. */
  refused?: Problem;
};

const keyOf = (session: string, localId: string) => `unsent:${session}:${localId}`;
const ACTION = "Send message";

const TOO_OLD: Problem = {
  type: "unsent-too-long",
  title: "Not sent",
  status: 408,
  detail: "It was written long ago and got no answer. Look whether it is there, and send it again if not.",
};

function restored({ refused, ...message }: Kept, session: string, now: number): LocalMessage {
  const problem = refused ?? (now - message.at > SENDS_ITSELF_MS ? TOO_OLD : undefined);
  if (!problem) return { ...message, status: "sending" };
  const error = new ApiError(ACTION, "POST", `/sessions/${session}/messages`, problem);
  return { ...message, status: "failed", error };
}

/** What was written and not sent in a session, in the order in which it was written. */
export function unsentIn(session: string, now = Date.now()): LocalMessage[] {
  const found: LocalMessage[] = [];
  for (const key of storedKeys(keyOf(session, ""))) {
    const kept = readStored<Kept | undefined>(key, undefined);
    if (!kept) continue;
    if (now - kept.at > KEPT_MS) writeStored(key, undefined);
    else found.push(restored(kept, session, now));
  }
  return found.sort((a, b) => a.at - b.at);
}

/** The sessions in which something was written and not sent. */
export function sessionsWithUnsent(): string[] {
  const sessions = storedKeys("unsent:").map((key) => key.split(":")[1]);
  return [...new Set(sessions)].filter((id) => id !== undefined);
}

export function keepUnsent(session: string, message: LocalMessage): void {
  const { status, error, messageId: _, ...rest } = message;
  const refused = status === "failed" && !isUnanswered(error) ? error?.problem : undefined;
  const key = keyOf(session, message.localId);
  const kept: Kept = { ...rest, refused };
  // Without storage it is in this page alone.
  askBeforeLeaving(key, !tryStore(key, kept));
}

export function forgetUnsent(session: string, localId: string): void {
  const key = keyOf(session, localId);
  writeStored(key, undefined);
  askBeforeLeaving(key, false);
}
