import { expect, test } from "vitest";
import type { Session } from "../../api/types";
import { knownOf, newsOf } from "./events";

const session = (part: object = {}) =>
  ({
    id: "ses_1",
    title: "Fix it",
    state: "running",
    state_since: "2026-01-01T00:00:00Z",
    activity: "working",
    approvals: [],
    turn_id: "t1",
    queued: 0,
    ...part,
  }) as unknown as Session;
const after = (before: object, next: object) => newsOf(knownOf(session(before)), session(next))?.key;

test("a question is news once, and the most pressing", () => {
  const asks = { activity: "needs_you", approvals: [{ id: "a" }] };
  expect(after({}, asks)).toBe("approval a");
  expect(after(asks, asks)).toBeUndefined();
  expect(after(asks, { ...asks, approvals: [{ id: "a" }, { id: "b" }] })).toBe("approval b");
  expect(newsOf(undefined, session(asks))).toBeUndefined();
});

test("the end of a turn is news when nothing follows it", () => {
  const idle = { activity: "idle", turn_id: null };
  expect(after({}, idle)).toBe("turn ses_1 t1");
  expect(after(idle, idle)).toBeUndefined();
  expect(after({}, { ...idle, queued: 1 })).toBeUndefined();
  expect(after({}, { turn_id: "t2" })).toBeUndefined();
  expect(after({}, { ...idle, state: "stopped" })).toBeUndefined();
});

test("a failure is news, a deleted session is not", () => {
  expect(after({}, { state: "failed", turn_id: null })).toMatch(/^failed ses_1/);
  expect(after({}, { state: "failed", deletion: { at: "", until: "" } })).toBeUndefined();
});
