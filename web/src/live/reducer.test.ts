import { describe, expect, test } from "vitest";
import { Recorder } from "../../dev/recordings/recorder";
import { RECORDINGS } from "../../dev/recordings/sessions";
import type { Item, SessionEvent } from "../api/types";
import {
  bounded,
  EMPTY,
  type Entry,
  MAX_OUTPUT_CHARS,
  reduce,
  type Transcript,
  waitingApprovals,
} from "./reducer";

const AT = Date.UTC(2026, 10, 22, 12);
const items = (transcript: Transcript): Item[] =>
  transcript.entries.flatMap((entry: Entry) => (entry.kind === "item" ? [entry.item] : []));
const texts = (transcript: Transcript) =>
  items(transcript).map(({ body }) => ("text" in body ? body.text : "output" in body ? body.output : ""));

/** One after the other, as they come live. */
const oneByOne = (events: readonly SessionEvent[]) =>
  events.reduce((state, event) => reduce(state, [event]), EMPTY);

function streamed(): { recorder: Recorder; message: string } {
  const recorder = new Recorder(AT).started();
  recorder.begin("Say hello");
  const message = recorder.open({ kind: "agent_message", text: "" });
  return { recorder, message };
}

describe("a record", () => {
  test.each(RECORDINGS.map((recording) => [recording.session.title, recording] as const))(
    "%s reads the same at once, one by one, cut anywhere, and twice",
    (_, { events, live }) => {
      const all = [...events, ...live];
      const whole = reduce(EMPTY, all);
      if (all.length < 500) expect(oneByOne(all)).toEqual(whole);
      for (const cut of [1, Math.floor(all.length / 3), all.length - 1]) {
        const first = reduce(EMPTY, all.slice(0, cut));
        expect(reduce(first, all.slice(cut))).toEqual(whole);
        // A page that connects again may be given what it has.
        expect(reduce(first, all.slice(Math.max(0, cut - 10)))).toEqual(whole);
      }
      expect(reduce(whole, all)).toBe(whole);
    },
  );

  test("without the deltas of completed items reads the same", () => {
    for (const { events, live } of RECORDINGS) {
      const all = [...events, ...live];
      const completed = new Set(
        all.flatMap(({ event }) => (event.type === "item.completed" ? [event.item.id] : [])),
      );
      const compacted = all.filter(
        ({ event }) => event.type !== "item.delta" || !completed.has(event.item_id),
      );
      expect(reduce(EMPTY, compacted)).toEqual(reduce(EMPTY, all));
    }
  });

  test("is not changed by what follows", () => {
    const { recorder, message } = streamed();
    const before = reduce(EMPTY, recorder.events);
    const copy = structuredClone(before);
    recorder.delta(message, "Hello").end();
    reduce(before, recorder.events);
    expect(before).toEqual(copy);
  });
});

describe("items", () => {
  test("grow by deltas and are replaced by the completed item", () => {
    const { recorder, message } = streamed();
    recorder.delta(message, "Hel").delta(message, "lo");
    expect(texts(reduce(EMPTY, recorder.events))).toEqual(["Say hello", "Hello"]);
    const started = items(reduce(EMPTY, recorder.events))[1] as Item;
    recorder.say({
      type: "item.completed",
      item: { ...started, status: "completed", body: { kind: "agent_message", text: "Hello, world" } },
    });
    expect(texts(reduce(EMPTY, recorder.events))).toEqual(["Say hello", "Hello, world"]);
    recorder.delta(message, " again");
    expect(texts(reduce(EMPTY, recorder.events))).toEqual(["Say hello", "Hello, world"]);
  });

  test("keep what streamed when the turn is interrupted, and do not go on", () => {
    const { recorder, message } = streamed();
    recorder.delta(message, "Half an ans").end({ status: "interrupted" }).delta(message, "wer");
    const transcript = reduce(EMPTY, recorder.events);
    expect(texts(transcript)).toEqual(["Say hello", "Half an ans"]);
    expect(
      transcript.entries.find((entry) => entry.kind === "item" && entry.item.id === message),
    ).toMatchObject({ interrupted: true });
    expect(transcript.turnId).toBeNull();
  });

  test("deltas of unknown items are ignored", () => {
    const recorder = new Recorder(AT).started().delta("nothing", "text");
    expect(reduce(EMPTY, recorder.events).entries.filter((entry) => entry.kind === "item")).toEqual([]);
  });

  test("long output keeps its beginning and its end", () => {
    const recorder = new Recorder(AT).started();
    recorder.begin("Say much");
    const command = recorder.open({
      kind: "command",
      command: "yes",
      cwd: "/",
      output: "",
      output_truncated: false,
    });
    recorder.delta(command, "begin\n");
    for (let i = 0; i < 40; i++) recorder.delta(command, "y\n".repeat(8 * 1024));
    recorder.delta(command, "end\n");
    const output = texts(reduce(EMPTY, recorder.events))[1] ?? "";
    expect(output.length).toBeLessThanOrEqual(MAX_OUTPUT_CHARS);
    expect(output.startsWith("begin\n")).toBe(true);
    expect(output.endsWith("end\n")).toBe(true);
    expect(bounded("short")).toBe("short");
  });
});

describe("approvals", () => {
  function asked(): Recorder {
    const recorder = new Recorder(AT).started();
    recorder.begin("Run it");
    const item = recorder.open({
      kind: "command",
      command: "ls",
      cwd: "/",
      output: "",
      output_truncated: false,
    });
    recorder.ask("apr_1", item, { kind: "command", command: "ls", cwd: "/" });
    return recorder;
  }
  const waiting = (recorder: Recorder) =>
    waitingApprovals(reduce(EMPTY, recorder.events)).map(({ id }) => id);

  test("wait until they are answered, wherever that happens", () => {
    const recorder = asked();
    expect(waiting(recorder)).toEqual(["apr_1"]);
    recorder.say({ type: "approval.resolved", approval_id: "apr_1", decision: "accept" });
    expect(waiting(recorder)).toEqual([]);
  });

  test("asked again after a restart are one question", () => {
    const recorder = asked();
    const approval = waitingApprovals(reduce(EMPTY, recorder.events))[0];
    if (approval) recorder.say({ type: "approval.requested", approval });
    expect(waiting(recorder)).toEqual(["apr_1"]);
  });

  test.each([
    ["the turn ends", (recorder: Recorder) => recorder.end({ status: "interrupted" })],
    [
      "the session stops",
      (recorder: Recorder) => recorder.say({ type: "session.state", state: "stopped", trouble: null }),
    ],
  ])("do not wait after %s", (_, act) => {
    const recorder = asked();
    act(recorder);
    expect(waiting(recorder)).toEqual([]);
  });
});

test("setup is told while it lasts", () => {
  const recorder = new Recorder(AT);
  recorder.say({ type: "session.state", state: "starting", trouble: null });
  expect(reduce(EMPTY, recorder.events).setup).toMatchObject({ step: null });
  recorder.say({ type: "setup.progress", step: "repository", detail: "Cloning" });
  expect(reduce(EMPTY, recorder.events).setup).toMatchObject({ step: "repository", detail: "Cloning" });
  recorder.say({ type: "runtime.ready", version: "1", models: [] });
  expect(reduce(EMPTY, recorder.events).setup).toBeNull();
});

// How long they take is measured by `cargo xtask bench reload`.
test("10,000 events are read at once as in the pages that the server sends", () => {
  const recorder = new Recorder(AT).started();
  while (recorder.events.length < 10_000) {
    recorder.begin("And again");
    for (let i = 0; i < 20; i++) recorder.command("ls", "a\nb\n", 10);
    recorder.answer("Done").end();
  }
  const { events } = recorder;
  const whole = reduce(EMPTY, events);
  expect(whole.lastSeq).toBe(events.length);
  const pages = Array.from({ length: Math.ceil(events.length / 500) }, (_, page) =>
    events.slice(page * 500, (page + 1) * 500),
  );
  expect(pages.reduce(reduce, EMPTY)).toEqual(whole);
});
