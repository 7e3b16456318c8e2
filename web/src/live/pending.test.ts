import { expect, test } from "vitest";
import { Recorder } from "../../dev/recordings/recorder";
import type { QueuedMessage } from "../api/types";
import { type LocalMessage, type PendingView, pendingView } from "./pending";
import { EMPTY, reduce, type Transcript } from "./reducer";

const AT = Date.UTC(2026, 10, 22, 12);
const RUNNING = { state: "running", turn_id: "turn_1" } as const;
const IDLE = { state: "running", turn_id: null } as const;

const queued = (id: string, patch: Partial<QueuedMessage> = {}): QueuedMessage => ({
  id,
  text: `text of ${id}`,
  delivery: "queue",
  sending: false,
  created_at: new Date(AT).toISOString(),
  ...patch,
});
const local = (patch: Partial<LocalMessage> = {}): LocalMessage => ({
  localId: "local",
  at: AT,
  text: "hello",
  delivery: "steer",
  model: null,
  effort: null,
  comments: [],
  destination: { kind: "active" },
  attachments: [],
  status: "sending",
  ...patch,
});
const view = (sources: Partial<Parameters<typeof pendingView>[0]>): PendingView =>
  pendingView({ local: [], queue: [], left: new Map(), transcript: EMPTY, session: RUNNING, ...sources });
const shape = ({ bubbles, queue }: PendingView) => ({
  bubbles: bubbles.map(({ text, status }) => `${text}: ${status}`),
  queue: queue.map(({ id }) => id),
});
const delivered = (id: string, shown: boolean): Transcript => {
  const recorder = new Recorder(AT).started();
  if (shown) recorder.begin("hello", id);
  else
    recorder.say({
      type: "message.delivered",
      message_id: id,
      conversation_id: "thread_1",
      turn_id: "turn_1",
    });
  return reduce(EMPTY, recorder.events);
};

test("what was just written shows at once, and once, all the way into the record", () => {
  // The request is under way.
  expect(shape(view({ local: [local()] }))).toEqual({ bubbles: ["hello: sending"], queue: [] });
  // The queue tells of it before the answer does.
  const message = queued("m", { text: "hello", delivery: "steer" });
  expect(shape(view({ local: [local()], queue: [message] }))).toEqual({
    bubbles: ["hello: waiting"],
    queue: [],
  });
  // The answer came too.
  const sent = local({ status: "sent", messageId: "m" });
  expect(shape(view({ local: [sent], queue: [message] }))).toEqual({
    bubbles: ["hello: waiting"],
    queue: [],
  });
  // The runtime took it; its item is not there yet.
  const left = new Map([["m", message]]);
  expect(shape(view({ local: [sent], left, transcript: delivered("m", false) }))).toEqual({
    bubbles: ["hello: waiting"],
    queue: [],
  });
  expect(shape(view({ local: [sent], left, transcript: delivered("m", true) }))).toEqual({
    bubbles: [],
    queue: [],
  });
});

test("a message that was not sent stays, with its reason", () => {
  expect(shape(view({ local: [local({ status: "failed" })] }))).toEqual({
    bubbles: ["hello: failed"],
    queue: [],
  });
});

test("a message removed elsewhere leaves no trace", () => {
  expect(shape(view({ left: new Map([["m", queued("m")]]) }))).toEqual({ bubbles: [], queue: [] });
});

test("while a turn runs, messages for the next one are listed", () => {
  expect(shape(view({ queue: [queued("a"), queued("b")] }))).toEqual({ bubbles: [], queue: ["a", "b"] });
});

test("without a turn the first goes out by itself", () => {
  expect(shape(view({ queue: [queued("a"), queued("b")], session: IDLE }))).toEqual({
    bubbles: ["text of a: waiting"],
    queue: ["b"],
  });
});

test("the task of a session that starts is the beginning of its conversation; the rest is listed", () => {
  expect(
    shape(view({ queue: [queued("a"), queued("b")], session: { state: "starting", turn_id: null } })),
  ).toEqual({
    bubbles: ["text of a: waiting"],
    queue: ["b"],
  });
});

test("a session that does not run lists what waits", () => {
  expect(
    shape(
      view({ queue: [queued("a", { delivery: "steer" })], session: { state: "stopped", turn_id: null } }),
    ),
  ).toEqual({
    bubbles: [],
    queue: ["a"],
  });
});

test("a refused message is listed with its error", () => {
  expect(
    shape(view({ queue: [queued("a", { delivery: "steer", error: "too long" })], session: IDLE })),
  ).toEqual({ bubbles: [], queue: ["a"] });
});
