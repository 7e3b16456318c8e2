import { expect, test } from "vitest";
import { Recorder } from "../../dev/recordings/recorder";
import { RECORDINGS } from "../../dev/recordings/sessions";
import { EMPTY, reduce } from "./reducer";
import { didWork, foldRows, lastMessageOf, type Row } from "./rows";

const AT = Date.UTC(2026, 10, 22, 12);
const rowsOf = (recorder: Recorder) => foldRows(reduce(EMPTY, recorder.events));
const kinds = (rows: readonly Row[]) => rows.map((row) => row.kind);

test("consecutive steps fold; a message or an edit begins anew", () => {
  const recorder = new Recorder(AT).started();
  recorder.begin("Do it").think("Hm").command("ls", "", 1).command("cat a", "", 1).answer("So:");
  recorder.command("cargo test", "", 1).files([]).command("cargo test", "", 1).end();
  const rows = rowsOf(recorder);
  expect(kinds(rows)).toEqual(["user", "work", "agent", "work", "files", "work", "turn"]);
  expect(rows.flatMap((row) => (row.kind === "work" ? [row.steps.length] : []))).toEqual([3, 1, 1]);
});

test("thoughts without text are left out", () => {
  const recorder = new Recorder(AT).started();
  recorder.begin("Do it").think("").answer("Done").end();
  expect(kinds(rowsOf(recorder))).toEqual(["user", "agent", "turn"]);
});

test("a question stands in for the step that waits, and goes when it is answered", () => {
  const recorder = new Recorder(AT).started();
  recorder.begin("Do it");
  const item = recorder.open({
    kind: "command",
    command: "ls",
    cwd: "/",
    output: "",
    output_truncated: false,
  });
  recorder.ask("apr_1", item, { kind: "command", command: "ls", cwd: "/" });
  expect(kinds(rowsOf(recorder))).toEqual(["user", "approval"]);
  recorder.say({ type: "approval.resolved", approval_id: "apr_1", decision: "accept" });
  expect(kinds(rowsOf(recorder))).toEqual(["user", "work"]);
});

test("an answered question without a step keeps its line", () => {
  const recorder = new Recorder(AT).started();
  recorder.begin("Do it");
  recorder.ask("apr_1", "none", { kind: "other", question: "May I?" });
  recorder.say({ type: "approval.resolved", approval_id: "apr_1", decision: "decline" });
  expect(kinds(rowsOf(recorder))).toEqual(["user", "approval"]);
});

test("a state that lasts is told by the block at the end, an earlier one by its line", () => {
  const recorder = new Recorder(AT).started();
  recorder.say({ type: "session.state", state: "stopping", trouble: null });
  recorder.say({ type: "session.state", state: "stopped", trouble: null });
  expect(rowsOf(recorder)).toEqual([]);
  recorder.say({ type: "session.state", state: "starting", trouble: null });
  recorder.say({ type: "session.state", state: "running", trouble: null });
  expect(rowsOf(recorder).map((row) => (row.kind === "state" ? row.entry.state : row.kind))).toEqual([
    "stopped",
    "starting",
  ]);
});

test("notices of one kind in a row are one row with the last of them", () => {
  const recorder = new Recorder(AT).started();
  recorder.begin("Do it");
  for (const n of [1, 2, 3]) {
    recorder.say({ type: "notice", level: "warning", code: "model_unreachable", message: `attempt ${n}` });
  }
  recorder.say({ type: "notice", level: "info", code: "other", message: "else" });
  const transcript = reduce(EMPTY, recorder.events);
  const rows = foldRows(transcript);
  expect(
    rows.flatMap((row) => (row.kind === "notice" ? [`${row.entry.message} ×${row.count}`] : [])),
  ).toEqual(["attempt 3 ×3", "else ×1"]);
  expect(foldRows(transcript, rows)).toBe(rows);
});

test("rows that did not change keep their identity", () => {
  for (const { events, live } of RECORDINGS.filter((recording) => recording.live.length > 0)) {
    const before = reduce(EMPTY, events);
    const rows = foldRows(before);
    const after = reduce(before, live);
    const next = foldRows(after, rows);
    // Everything but the row that grew.
    expect(next.slice(0, rows.length - 1)).toEqual(rows.slice(0, -1));
    for (const [i, row] of rows.slice(0, -1).entries()) expect(next[i]).toBe(row);
    expect(foldRows(after, next)).toBe(next);
  }
});

test("trying again knows what was said and whether something was done", () => {
  const recorder = new Recorder(AT).started();
  recorder.begin("First");
  const first = recorder.turn;
  recorder.end({ status: "failed", code: "model_unreachable", message: "no" });
  recorder
    .begin("Second")
    .command("rm x", "", 1)
    .end({ status: "failed", code: "model_stream_cut", message: "cut" });
  const transcript = reduce(EMPTY, recorder.events);
  expect(lastMessageOf(transcript, first)).toMatchObject({ text: "First" });
  expect(didWork(transcript, first)).toBe(false);
  expect(didWork(transcript, recorder.turn)).toBe(true);
});
