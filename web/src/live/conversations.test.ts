import { describe, expect, it } from "vitest";
import type { ConversationSummary, QueuedMessage, Session, SessionEvent } from "../api/types";
import {
  activeView,
  firstView,
  goesTo,
  groupConversations,
  localGoesTo,
  NEW,
  resolve,
  sessionIn,
  transcriptIn,
} from "./conversations";
import type { LocalMessage } from "./pending";
import { EMPTY, reduce } from "./reducer";

const at = (minute: number) => new Date(Date.UTC(2026, 10, 1, 0, minute)).toISOString();

const conversation = (id: string, more: Partial<ConversationSummary> = {}): ConversationSummary => ({
  id,
  title: id,
  named: false,
  cwd: "/workspace/api",
  archived: false,
  lost: false,
  turn_id: null,
  approvals: 0,
  usage: null,
  created_at: at(1),
  updated_at: at(1),
  ...more,
});

const session = (conversations: ConversationSummary[], more: Partial<Session> = {}) =>
  ({
    conversations,
    approvals: [],
    conversation_id: conversations[0]?.id ?? null,
    ...more,
  }) as unknown as Session;

const queued = (id: string, destination: QueuedMessage["destination"]) =>
  ({ id, destination, text: id }) as QueuedMessage;

const local = (more: Partial<LocalMessage>) =>
  ({ localId: "l", text: "x", destination: { kind: "active" }, ...more }) as LocalMessage;

const events: SessionEvent[] = [
  { seq: 1, at: at(0), event: { type: "session.state", state: "running", trouble: null } },
  {
    seq: 2,
    at: at(1),
    event: {
      type: "conversation.started",
      conversation: { id: "a", cwd: "/workspace", title: null, created_at: at(1) },
      message_id: "msg_a",
    },
  },
  {
    seq: 3,
    at: at(1),
    event: { type: "turn.completed", conversation_id: "a", turn_id: "ta", outcome: { status: "completed" } },
  },
  {
    seq: 4,
    at: at(5),
    event: { type: "message.delivered", message_id: "msg_b", conversation_id: "b", turn_id: "tb" },
  },
  {
    seq: 5,
    at: at(6),
    event: { type: "turn.completed", conversation_id: "b", turn_id: "tb", outcome: { status: "completed" } },
  },
  {
    seq: 6,
    at: at(7),
    event: { type: "notice", level: "warning", code: "x", message: "for all", conversation_id: null },
  },
  {
    seq: 7,
    at: at(8),
    event: { type: "notice", level: "info", code: "y", message: "for a", conversation_id: "a" },
  },
];
const transcript = reduce(EMPTY, events);
const both = session([conversation("a"), conversation("b", { created_at: at(5) })]);
const keys = (view: string) =>
  transcriptIn(transcript, both, view, () => false).entries.map((entry) => entry.key);

describe("a conversation in view", () => {
  it("shows its own entries, and what befell the session since it began", () => {
    expect(keys("a")).toEqual(["event:1", "turn:ta", "event:6", "event:7"]);
    expect(keys("b")).toEqual(["turn:tb", "event:6"]);
    expect(keys(NEW)).toEqual([]);
  });

  it("is the whole transcript while there is one only", () => {
    const alone = reduce(EMPTY, events.slice(0, 3));
    expect(transcriptIn(alone, session([conversation("a")]), "a", () => false)).toBe(alone);
  });

  it("takes the place of the message that started it", () => {
    expect(resolve("msg_b", transcript.conversationOf)).toBe("b");
    expect(resolve("msg_c", transcript.conversationOf)).toBe("msg_c");
  });

  it("says its own turn, tokens and questions in place of the active one's", () => {
    const busy = session([conversation("a", { turn_id: "t" }), conversation("b")], {
      turn_id: "t",
      activity: "working",
      approvals: [{ conversation_id: "a" }] as Session["approvals"],
    });
    expect(sessionIn(busy, "b")).toMatchObject({
      conversation_id: "b",
      turn_id: null,
      approvals: [],
      activity: "idle",
    });
    expect(sessionIn(busy, "a")).toMatchObject({ turn_id: "t", activity: "needs_you" });
    expect(sessionIn(busy, NEW)).toMatchObject({ conversation_id: null, activity: "idle" });
  });
});

describe("messages that wait", () => {
  const none = new Map<string, string>();
  it("belong to where they go", () => {
    const follows = queued("msg_2", { kind: "started_by", message_id: "msg_1" });
    expect(goesTo("a", queued("msg_1", { kind: "conversation", id: "a" }), none)).toBe(true);
    expect(goesTo("b", queued("msg_1", { kind: "conversation", id: "a" }), none)).toBe(false);
    expect(goesTo("msg_1", queued("msg_1", { kind: "new" }), none)).toBe(true);
    expect(goesTo("msg_1", follows, none)).toBe(true);
    expect(goesTo("c", follows, new Map([["msg_1", "c"]]))).toBe(true);
  });

  it("belong to the new conversation while nobody named it", () => {
    expect(localGoesTo(NEW, local({ destination: { kind: "new" } }), none)).toBe(true);
    expect(localGoesTo("a", local({ destination: { kind: "new" } }), none)).toBe(false);
    expect(localGoesTo("msg_1", local({ destination: { kind: "new" }, messageId: "msg_1" }), none)).toBe(
      true,
    );
    expect(localGoesTo(NEW, local({ destination: { kind: "follows", localId: "x" } }), none)).toBe(true);
    expect(localGoesTo("a", local({ destination: { kind: "follows", localId: "x" } }), none)).toBe(false);
  });
});

it("a page that was told nothing shows what is active, or what starts it", () => {
  expect(activeView({ conversation_id: "a", starter_id: null })).toBe("a");
  expect(activeView({ conversation_id: "a", starter_id: "msg_1" })).toBe("msg_1");
  expect(activeView({ conversation_id: null, starter_id: null }, [queued("msg_2", { kind: "new" })])).toBe(
    "msg_2",
  );
  expect(activeView({ conversation_id: null, starter_id: null })).toBe(NEW);
});

it("the first view is known from what waits, so that a draft of it is not taken for one of the next", () => {
  const nothing = { queue: [], left: new Map(), transcript: { conversationOf: new Map() } };
  const first = queued("msg_1", { kind: "new" });
  const both = [first, queued("msg_2", { kind: "new" })];
  const told = { conversationOf: new Map([["msg_1", "a"]]) };
  expect(firstView(session([]), nothing)).toBe(NEW);
  expect(firstView(session([], { starter_id: "msg_1" }), nothing)).toBe("msg_1");
  expect(firstView(session([]), { ...nothing, queue: both })).toBe("msg_1");
  expect(
    firstView(session([]), { ...nothing, queue: both.slice(1), left: new Map([["msg_1", first]]) }),
  ).toBe("msg_1");
  expect(firstView(session([]), { ...nothing, queue: both.slice(1), transcript: told })).toBe("a");
  expect(firstView(session([conversation("a"), conversation("b")]), nothing)).toBe("a");
});

it("conversations are grouped by their folder, the latest first, archived ones apart", () => {
  const workspaces = ["api", "web"].map((name) => ({
    name,
    path: `/workspace/${name}`,
    repository: null,
    branch: null,
  }));
  const conversations = [
    conversation("old"),
    conversation("put aside", { archived: true }),
    conversation("other", { cwd: "/workspace/web/src", updated_at: at(2) }),
    conversation("new", { updated_at: at(3) }),
  ];
  const { groups, archived } = groupConversations({ conversations, workspaces });
  expect(groups.map(({ name, conversations: of }) => [name, of.map(({ id }) => id)])).toEqual([
    ["api", ["new", "old"]],
    ["web", ["other"]],
  ]);
  expect(archived.map(({ id }) => id)).toEqual(["put aside"]);
  expect(groupConversations({ conversations, workspaces: workspaces.slice(0, 1) }).groups).toHaveLength(1);
});
