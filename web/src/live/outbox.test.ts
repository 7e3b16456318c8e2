import { describe, expect, it } from "vitest";
import { ApiError } from "../api/client";
import { accepted, again, failed, nextOf, starterOf, without } from "./outbox";
import type { LocalMessage } from "./pending";

const message = (localId: string, patch: Partial<LocalMessage> = {}): LocalMessage => ({
  localId,
  at: 1,
  text: localId,
  delivery: "steer",
  model: null,
  effort: null,
  comments: [],
  destination: { kind: "active" },
  attachments: [],
  status: "sending",
  ...patch,
});
const NO_ANSWER = new ApiError("Send message", "POST", "/", undefined);
const REFUSED = new ApiError("Send message", "POST", "/", { type: "x", title: "No", status: 422 });
const states = (outbox: readonly LocalMessage[]) =>
  outbox.map(({ localId, status }) => `${localId} ${status}`);
const places = (outbox: readonly LocalMessage[]) => outbox.map(({ destination }) => destination);
const follows = (localId: string) => ({ kind: "follows", localId }) as const;

describe("messages that no server has", () => {
  it("go in their order, one that was refused aside", () => {
    const both = [message("a"), message("b")];
    expect(nextOf(both)?.localId).toBe("a");
    const sent = accepted(both, "a", "msg_1");
    expect(nextOf(sent)?.localId).toBe("b");
    const refused = failed(both, "a", REFUSED);
    expect(states(refused)).toEqual(["a failed", "b sending"]);
    expect(nextOf(refused)?.localId).toBe("b");
    expect(states(again(refused))).toEqual(["a failed", "b sending"]);
    expect(states(again(refused, "a"))).toEqual(["a sending", "b sending"]);
  });

  it("all wait while nobody answers, and then go in their order again", () => {
    const down = failed([message("a"), message("b")], "a", NO_ANSWER);
    expect(states(down)).toEqual(["a failed", "b failed"]);
    expect(nextOf(down)).toBeUndefined();
    // What is written then does not pass what waits.
    expect(nextOf(again([...down, message("c")]))?.localId).toBe("a");
  });

  it("follow the one that starts their conversation", () => {
    const box = [message("a", { destination: { kind: "new" } }), message("b", { destination: follows("a") })];
    expect(starterOf(box)?.localId).toBe("a");
    expect(nextOf(failed(box, "a", REFUSED))).toBeUndefined();
    const begun = accepted(box, "a", "msg_1");
    expect(places(begun)).toEqual([{ kind: "new" }, { kind: "started_by", message_id: "msg_1" }]);
    expect(starterOf(begun)).toBeUndefined();
    expect(nextOf(begun)?.localId).toBe("b");
  });

  it("have a new first when that one is taken back", () => {
    const box = [
      message("a", { destination: { kind: "new" } }),
      message("b", { destination: follows("a") }),
      message("c", { destination: follows("a") }),
    ];
    expect(places(without(box, "a"))).toEqual([{ kind: "new" }, follows("b")]);
    expect(states(without(box, "b"))).toEqual(["a sending", "c sending"]);
  });
});
