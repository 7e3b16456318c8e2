import { describe, expect, test } from "vitest";
import type { ChangedFile, ChangesHead, Comment, Hunk, Line, Scope, Side } from "../../api/changes";
import { tokens } from "./code";
import { badgesOf, headNote, isElsewhere, watchNote } from "./describe";
import {
  anchorOf,
  differing,
  grow,
  layOut,
  linesLabel,
  pair,
  placeOf,
  type Row,
  rangeBetween,
  sameLine,
} from "./layout";
import { isMarked, marked } from "./marks";
import { keepSame, treeRows } from "./tree";
import { readPanelUrl } from "./url";

/** A hunk as git prints it, its lines with their signs. */
function hunk(old: number, now: number, lines: string[], section = ""): Hunk {
  let [before, after] = [old, now];
  const read = lines.map((line): Line => {
    const text = line.slice(1);
    if (line[0] === "+") return { kind: "added", old_no: null, new_no: after++, text };
    if (line[0] === "-") return { kind: "removed", old_no: before++, new_no: null, text };
    return { kind: "context", old_no: before++, new_no: after++, text };
  });
  const range = { old_start: old, old_lines: before - old, new_start: now, new_lines: after - now };
  return { range, section, lines: read };
}
const drawn = (rows: readonly Row[]) =>
  rows.map((row) => {
    if (row.kind === "line") return `${row.line.old_no ?? "."} ${row.line.new_no ?? "."} ${row.line.text}`;
    const hidden = row.hidden;
    return `gap ${hidden === undefined ? "-" : hidden === "rest" ? "rest" : `${hidden.from}..${hidden.to}`} ${row.section}`;
  });

const two = [hunk(5, 5, [" a", "-b", "+B", " c"], "fn one()"), hunk(20, 20, [" x", "+y", " z", " w", " v"])];

describe("the rows of a file", () => {
  test("what is between hunks is hidden, and so may be the rest", () => {
    expect(drawn(layOut(two, undefined, []))).toEqual([
      "gap 1..4 fn one()",
      "5 5 a",
      "6 . b",
      ". 6 B",
      "7 7 c",
      "gap 8..19 ",
      "20 20 x",
      ". 21 y",
      "21 22 z",
      "22 23 w",
      "23 24 v",
      "gap rest ",
    ]);
  });

  test("a hunk that reaches the end of the file has nothing after it", () => {
    const rows = layOut([hunk(1, 1, [" a", "+b"])], undefined, []);
    expect(drawn(rows)).toEqual(["gap - ", "1 1 a", ". 2 b"]);
  });

  test("what was asked for is shown between what stays hidden", () => {
    const whole = new Map<number, Line>();
    for (let no = 1; no <= 26; no++)
      whole.set(no, { kind: "context", old_no: no, new_no: no, text: `l${no}` });
    const rows = drawn(layOut(two, whole, [{ from: 10, to: 11 }]));
    expect(rows.slice(5, 9)).toEqual(["gap 8..9 ", "10 10 l10", "11 11 l11", "gap 12..19 "]);
    expect(rows.at(-1)).toBe("gap 25..26 ");
  });

  test("a deletion's hunk has no lines on the new side", () => {
    const gone: Hunk = {
      ...hunk(3, 3, ["-a"]),
      range: { old_start: 3, old_lines: 1, new_start: 2, new_lines: 0 },
    };
    expect(drawn(layOut([gone], undefined, []))).toEqual(["gap 1..2 ", "3 . a"]);
  });

  test("more of a gap is its end, its beginning, or all of it", () => {
    const hidden = { from: 10, to: 99 };
    expect(grow(hidden, "up", 10)).toEqual({ from: 80, to: 99 });
    expect(grow(hidden, "down", 10)).toEqual({ from: 10, to: 29 });
    expect(grow({ from: 10, to: 12 }, "down", 10)).toEqual({ from: 10, to: 12 });
    expect(grow(hidden, "all", 10)).toEqual(hidden);
    expect(grow("rest", "down", 40)).toEqual({ from: 40, to: 59 });
  });
});

test("side by side, removed lines stand beside those that replace them", () => {
  const rows = layOut([hunk(1, 1, [" a", "-b", "-c", "+B", " d", "+e"])], undefined, []);
  const sides = pair(rows).flatMap((row) => (row.kind === "pair" ? [[row.left?.text, row.right?.text]] : []));
  expect(sides).toEqual([
    ["a", "a"],
    ["b", "B"],
    ["c", undefined],
    ["d", "d"],
    [undefined, "e"],
  ]);
});

test("only what differs of a replaced line is emphasised, and only if much is the same", () => {
  expect(differing("retry(3, wait)", "retry(5, wait)")).toEqual({ start: 6, before: 7, after: 7 });
  expect(differing("class A {", "class A extends B {")).toEqual({ start: 8, before: 8, after: 18 });
  expect(differing("one thing", "quite another")).toBeUndefined();
});

describe("choosing lines", () => {
  const lines = two.flatMap((part) => part.lines);
  test("a range has one side, in either direction", () => {
    const up = rangeBetween(lines, { side: "new", no: 22 }, { side: "new", no: 20 });
    expect(up).toEqual({ side: "new", start: 20, end: 22 });
    expect(linesLabel(up)).toBe("R20–22");
    expect(linesLabel({ side: "old", start: 6, end: 6 })).toBe("L6");
  });

  test("over both sides it is about the new one", () => {
    const range = rangeBetween(lines, { side: "old", no: 6 }, { side: "new", no: 7 });
    expect(range).toEqual({ side: "new", start: 6, end: 7 });
  });

  test("an anchor quotes its lines and up to eight around them", () => {
    const anchor = anchorOf(lines, { text: "a.rs" }, "branch", { side: "new", start: 6, end: 7 });
    expect(anchor).toEqual({
      path: { text: "a.rs" },
      side: "new",
      scope: "branch",
      start_line: 6,
      end_line: 7,
      quote: ["B", "c"],
      before: ["a"],
      after: [],
    });
  });

  test("lines that are not shown are not quoted", () => {
    const anchor = anchorOf(lines, { text: "a.rs" }, "branch", { side: "new", start: 5, end: 21 });
    expect([anchor.start_line, anchor.end_line, anchor.quote]).toEqual([20, 21, ["x", "y"]]);
  });

  test("lines that are written about are found again where their text is", () => {
    const anchor = anchorOf(lines, { text: "a.rs" }, "branch", { side: "new", start: 6, end: 7 });
    expect(placeOf(lines, anchor)).toEqual({ side: "new", start: 6, end: 7 });
    const moved = [hunk(1, 1, ["+B", " a", "-b", "+B", " c"])].flatMap((part) => part.lines);
    expect(placeOf(moved, anchor)).toEqual({ side: "new", start: 3, end: 4 });
    expect(placeOf(moved.slice(0, 3), anchor)).toBeUndefined();
  });

  test("a line is found again by its text, nearest to where it was", () => {
    const moved = [hunk(1, 1, ["+new", " a", " c", " a"])].flatMap((part) => part.lines);
    const [a] = two[0]?.lines ?? [];
    expect(a && sameLine(moved, a)?.new_no).toBe(4);
  });
});

const file = (path: string, more: Partial<ChangedFile> = {}): ChangedFile => ({
  path: { text: path },
  old_path: null,
  status: "modified",
  untracked: false,
  old_mode: 0o100644,
  new_mode: 0o100644,
  added: 1,
  removed: 0,
  binary: false,
  size: 10,
  generated: false,
  self_running: null,
  fingerprint: "1",
  ...more,
});

describe("the tree", () => {
  const files = [file("README.md"), file("src/deep/only/a.rs"), file("src/deep/only/b.rs"), file("web/x.ts")];
  const text = (closed: string[]) =>
    treeRows(files, new Set(closed)).map((row) => `${" ".repeat(row.depth)}${row.name}`);
  test("folders of one folder are one row, in the order of the list", () => {
    expect(text([])).toEqual(["README.md", "src/deep/only", " a.rs", " b.rs", "web", " x.ts"]);
    expect(text(["src/deep/only/"])).toEqual(["README.md", "src/deep/only", "web", " x.ts"]);
  });

  test("a file that did not change is the same object", () => {
    const next = [file("README.md"), file("web/x.ts", { fingerprint: "2" })];
    const kept = keepSame(files, next);
    expect(kept[0]).toBe(files[0]);
    expect(kept[1]).toBe(next[1]);
  });
});

describe("what is said about a file", () => {
  const badges = (more: Partial<ChangedFile>) => badgesOf(file("x", more)).map(({ text }) => text);
  test("by what happened to it", () => {
    expect(badges({})).toEqual([]);
    expect(badges({ status: "untracked", old_mode: 0 })).toEqual(["new"]);
    expect(badges({ status: "mode_changed", new_mode: 0o100755 })).toEqual(["executable"]);
    expect(badges({ status: "renamed", binary: true, generated: true })).toEqual([
      "renamed",
      "binary",
      "generated",
    ]);
  });
  test("a file that runs by itself warns, before all else", () => {
    const [first] = badgesOf(file(".git/hooks/pre-commit", { self_running: "git_hook", status: "added" }));
    expect(first?.text).toBe("git hook");
    expect(first?.warning).toContain("by itself");
  });
  test("a comparison that is not the usual one is explained", () => {
    const head: ChangesHead = {
      repository: "/w",
      scope: "branch",
      branch: "main",
      commit: "0123456789",
      default_branch: null,
      base: { kind: "head", commit: "0123456789" },
      state: "rebasing",
    };
    expect(headNote(head)).toBe(
      "A rebase is in progress. Compared with the last commit: the repository has no default branch.",
    );
    expect(headNote({ ...head, state: "normal", base: { kind: "merge_base", commit: "1" } })).toBeUndefined();
  });
});

describe("lines of the old side", () => {
  const head: ChangesHead = {
    repository: "/w",
    scope: "branch",
    branch: "main",
    commit: "2",
    default_branch: "origin/main",
    base: { kind: "merge_base", commit: "1" },
    state: "normal",
  };
  const written = (scope: Scope, side: Side = "old", placement?: Comment["placement"]) => ({
    anchor: { path: { text: "a" }, side, scope, start_line: 1, end_line: 1, quote: ["x"] },
    placement,
  });
  test("are elsewhere in another scope, lines of the new side are not", () => {
    expect(isElsewhere(written("branch"), head, "branch")).toBe(false);
    expect(isElsewhere(written("uncommitted"), head, "branch")).toBe(true);
    expect(isElsewhere(written("last_turn"), head, "branch")).toBe(true);
    expect(isElsewhere(written("branch"), { ...head, scope: "uncommitted" }, "uncommitted")).toBe(true);
    expect(isElsewhere(written("uncommitted", "new"), head, "branch")).toBe(false);
  });
  test("are the last commit's in both, when the branch has no commit of its own", () => {
    const fresh: ChangesHead = { ...head, base: { kind: "merge_base", commit: "2" } };
    expect(isElsewhere(written("uncommitted"), fresh, "branch")).toBe(false);
    expect(isElsewhere(written("last_turn"), fresh, "branch")).toBe(true);
  });
  test("are where the server found them", () => {
    const found = { kind: "located", start_line: 4, end_line: 4 } as const;
    expect(isElsewhere(written("uncommitted", "old", found), head, "branch")).toBe(false);
    const apart = { kind: "other_scope", scope: "branch", start_line: 4, end_line: 4 } as const;
    expect(isElsewhere(written("branch", "old", apart), head, "branch")).toBe(true);
  });
});

test("a tree that is only looked at now and then says so", () => {
  expect(watchNote({ kind: "rescan", interval_ms: 4_500 })).toContain("within 5 seconds");
  expect(watchNote({ kind: "events" })).toBeUndefined();
  expect(watchNote(undefined)).toBeUndefined();
});

describe("a mark", () => {
  test("is about the diffs that were viewed, and about no other", () => {
    const one = marked(undefined, "branch", true) ?? undefined;
    expect(isMarked(one, "branch")).toBe(true);
    expect(isMarked(one, "bran")).toBe(false);
    const two = marked(one, "turn", true) ?? undefined;
    expect([isMarked(two, "branch"), isMarked(two, "turn")]).toEqual([true, true]);
    expect(marked(two, "turn", false)).toBe("branch");
    expect(marked(one, "branch", false)).toBeNull();
  });
  test("forgets the oldest of more than three", () => {
    const add = (mark: string | undefined, diff: string) => marked(mark, diff, true) ?? undefined;
    expect(["a", "b", "c", "a", "d"].reduce(add, undefined as string | undefined)).toBe("d a c");
  });
});

test("tokens keep every character", () => {
  const text = `const a = "b // c"; // don't`;
  const read = tokens(text, "c");
  expect(read.map(([, part]) => part).join("")).toBe(text);
  expect(read.filter(([kind]) => kind)).toEqual([
    ["word", "const"],
    ["string", `"b // c"`],
    ["comment", "// don't"],
  ]);
});

test("an address says only what is true of the panel", () => {
  expect(readPanelUrl("?file=a%2Fb.rs&view=split&scope=last_turn")).toEqual({
    file: "a/b.rs",
    view: "split",
    scope: "last_turn",
  });
  expect(readPanelUrl("?view=sideways&scope=x")).toEqual({
    file: undefined,
    view: undefined,
    scope: undefined,
  });
});
