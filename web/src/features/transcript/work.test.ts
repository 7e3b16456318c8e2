import { expect, test } from "vitest";
import { Recorder } from "../../../dev/recordings/recorder";
import { EMPTY, reduce } from "../../live/reducer";
import { foldRows, type Step } from "../../live/rows";
import { parseDiff } from "./diff";
import { elapsedMs, lastLine, onlyAction, shortCommand, stripAnsi, summary } from "./work";

function steps(fill: (recorder: Recorder) => void): Step[] {
  const recorder = new Recorder(Date.UTC(2026, 10, 22)).started();
  recorder.begin("x");
  fill(recorder);
  return foldRows(reduce(EMPTY, recorder.events)).flatMap((row) => (row.kind === "work" ? row.steps : []));
}

test("a stretch of work in one line", () => {
  const many = steps((r) => r.command("a", "", 4000).command("b", "", 8000));
  expect(summary(many)).toBe("Ran 2 commands");
  expect(elapsedMs(many, 0)).toBe(12_000);
  const mixed = steps((r) => r.think("hm").command("a", "", 1).item({ kind: "web_search", query: "q" }));
  expect(summary(mixed)).toBe("Ran a command, searched the web");
  expect(summary(steps((r) => r.think("hm")))).toBe("Thought");
});

test("one action among thoughts is the only one", () => {
  expect(onlyAction(steps((r) => r.think("hm").command("a", "", 1)))?.item.body.kind).toBe("command");
  expect(onlyAction(steps((r) => r.command("a", "", 1).command("b", "", 1)))).toBeUndefined();
});

test("commands are shown without the shell around them", () => {
  expect(shortCommand("/bin/bash -lc 'cargo test'")).toBe("cargo test");
  expect(shortCommand('bash -c "ls -l"')).toBe("ls -l");
  expect(shortCommand("cat <<EOF\nhello\nEOF")).toBe("cat <<EOF …");
});

test("output is text: no escape sequence survives", () => {
  expect(stripAnsi("\u001b[1;32mok\u001b[0m \u001b]0;title\u0007\u001b]52;c;c2VjcmV0\u001b\\x\u0008")).toBe(
    "ok x",
  );
  expect(lastLine("first\n\u001b[31mlast\u001b[0m\n\n")).toBe("last");
  expect(lastLine("10%\r50%\r100%")).toBe("100%");
});

test("diffs know their line numbers", () => {
  expect(parseDiff("@@ -2,3 +2,3 @@ fn x\n a\n-b\n+c\n d\n\\ No newline at end of file\n")).toEqual([
    { kind: "hunk", text: "fn x", before: null, after: null },
    { kind: "context", text: "a", before: 2, after: 2 },
    { kind: "remove", text: "b", before: 3, after: null },
    { kind: "add", text: "c", before: null, after: 3 },
    { kind: "context", text: "d", before: 4, after: 4 },
    { kind: "note", text: "No newline at end of file", before: null, after: null },
  ]);
  expect(parseDiff("+a\n+b").map((line) => line.after)).toEqual([1, 2]);
});
