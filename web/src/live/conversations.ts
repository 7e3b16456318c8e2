/**
 * A session as one of its conversations sees it. Pure.
 *
 * A view is named by its conversation, by the message that starts it while that waits (`msg_…`), or
 * `new` while nothing was said. All events of a session come in one stream; a view is a selection.
 */
import type { ConversationSummary, Destination, QueuedMessage, Session } from "../api/types";
import type { LocalMessage } from "./pending";
import type { Entry, Transcript } from "./reducer";

/** Where nothing was said yet. */
export const NEW = "new";

export const isStarter = (view: string | undefined) => view?.startsWith("msg_") ?? false;

/** What a page shows that was not told otherwise. */
export function activeView(
  session: Pick<Session, "conversation_id" | "starter_id">,
  queue: readonly QueuedMessage[] = [],
): string {
  const first = queue.find((message) => message.destination?.kind === "new");
  return session.starter_id ?? session.conversation_id ?? first?.id ?? NEW;
}

/** What is known of a session besides itself: messages that wait, and what became of others. */
interface Known {
  queue: readonly QueuedMessage[];
  /** Messages that left the queue and are not in the record yet. */
  left: ReadonlyMap<string, QueuedMessage>;
  transcript: Pick<Transcript, "conversationOf">;
}

/**
 * The view that a session began with, also while only the message that starts it is known. `new` is
 * the first one only as long as nothing was said.
 */
export function firstView(
  session: Pick<Session, "conversations" | "starter_id">,
  { queue, left, transcript: { conversationOf } }: Known,
): string {
  const begun = session.conversations?.[0]?.id ?? conversationOf.values().next().value;
  const starter = waitingToStart([...left.values(), ...queue])[0]?.id ?? session.starter_id;
  return begun ?? (starter ? resolve(starter, conversationOf) : NEW);
}

export function conversationIn(session: Session, view: string): ConversationSummary | undefined {
  return session.conversations?.find((conversation) => conversation.id === view);
}

/** Where a view leads: to the conversation that its message started, if it did. */
export function resolve(view: string, conversationOf: Transcript["conversationOf"]): string {
  return conversationOf.get(view) ?? view;
}

function placeOf(
  destination: Destination | undefined,
  id: string | undefined,
  conversationOf: Transcript["conversationOf"],
): string | undefined {
  switch (destination?.kind) {
    case "conversation":
      return destination.id;
    case "started_by":
      return resolve(destination.message_id, conversationOf);
    case "new":
      return id === undefined ? NEW : resolve(id, conversationOf);
    default:
      return undefined;
  }
}

/** Whether a message of the server's queue belongs to a view. */
export function goesTo(
  view: string,
  message: QueuedMessage,
  conversationOf: Transcript["conversationOf"],
): boolean {
  const place = conversationOf.get(message.id) ?? placeOf(message.destination, message.id, conversationOf);
  return place === undefined || place === view;
}

/** Whether a message of this page belongs to a view. */
export function localGoesTo(
  view: string,
  { destination, messageId }: LocalMessage,
  conversationOf: Transcript["conversationOf"],
): boolean {
  const told = messageId && conversationOf.get(messageId);
  if (told) return told === view;
  // It follows a message that has no name yet.
  if (destination.kind === "follows") return view === NEW || isStarter(view);
  const place = placeOf(destination, messageId, conversationOf);
  return place === undefined || place === view;
}

/** The session with what it says of its active conversation said of the one in view. */
export function sessionIn(session: Session, view: string): Session {
  const conversation = conversationIn(session, view);
  const approvals = session.approvals.filter((approval) => approval.conversation_id === view);
  const turn = conversation?.turn_id ?? null;
  const isActive = session.conversation_id === view && !session.starter_id;
  return {
    ...session,
    conversation_id: conversation || isActive ? view : null,
    turn_id: turn,
    usage: conversation?.usage ?? (isActive ? session.usage : null),
    approvals,
    activity: approvals.length > 0 ? "needs_you" : turn ? "working" : "idle",
  };
}

/** The part of a transcript that a view shows: its conversation, and what befell the session since. */
export function transcriptIn(
  transcript: Transcript,
  session: Session,
  view: string,
  waits: (message: string) => boolean,
): Transcript {
  const conversations = session.conversations ?? [];
  const conversation = conversationIn(session, view);
  const isFirst = conversations.length === 0 || conversations[0]?.id === view;
  if (isFirst && conversations.length < 2) {
    const others = transcript.entries.some((entry) => isOther(entry, view));
    if (!others) return transcript;
  }
  const since = isFirst ? 0 : Date.parse(conversation?.created_at ?? "");
  const entries = transcript.entries.filter((entry) => {
    if (entry.kind === "rejected") return waits(entry.messageId) || (isFirst && conversations.length < 2);
    const of = conversationOfEntry(entry);
    if (of !== undefined) return of === view;
    return "at" in entry && Date.parse(entry.at) >= since;
  });
  // The index tells what there is, in any conversation; places are not looked up in a selection.
  return { ...transcript, entries };
}

function conversationOfEntry(entry: Entry): string | undefined {
  switch (entry.kind) {
    case "item":
      return entry.item.conversation_id;
    case "approval":
      return entry.approval.conversation_id;
    case "turn":
    case "lost":
    case "notice":
      return entry.conversation;
    default:
      return undefined;
  }
}

function isOther(entry: Entry, view: string): boolean {
  const of = conversationOfEntry(entry);
  return of !== undefined && of !== view;
}

/** What a conversation is called. */
export const titleOf = (conversation: Pick<ConversationSummary, "title">) =>
  conversation.title || "New conversation";

/** Conversations that wait to be started, as the queue has them. */
export function waitingToStart(queue: readonly QueuedMessage[]): QueuedMessage[] {
  return queue.filter((message) => message.destination?.kind === "new");
}

export interface Group {
  /** The workspace's name; none when the session has only one. */
  name: string | undefined;
  conversations: ConversationSummary[];
}

/** Conversations by the folder that they were started in, the most recent first; archived ones apart. */
export function groupConversations(session: Pick<Session, "conversations" | "workspaces">): {
  groups: Group[];
  archived: ConversationSummary[];
} {
  const recent = [...(session.conversations ?? [])].sort(
    (a, b) => Date.parse(b.updated_at) - Date.parse(a.updated_at),
  );
  const workspaces = session.workspaces ?? [];
  const several = workspaces.length > 1;
  const groups: Group[] = [];
  for (const conversation of recent) {
    if (conversation.archived) continue;
    const folder = workspaces.find(
      ({ path }) => conversation.cwd === path || conversation.cwd.startsWith(`${path}/`),
    );
    const name = several ? (folder?.name ?? conversation.cwd) : undefined;
    const group = groups.find((other) => other.name === name);
    if (group) group.conversations.push(conversation);
    else groups.push({ name, conversations: [conversation] });
  }
  return { groups, archived: recent.filter((conversation) => conversation.archived) };
}
