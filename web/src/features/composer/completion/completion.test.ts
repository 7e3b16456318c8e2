import { describe, expect, test } from "vitest";
import type { RuntimeCommand } from "../../../api/completion";
import { commandOptions, fileOption } from "./options";
import { commandIn, insertAt, quotedPath, triggerAt } from "./trigger";

const at = (marked: string) => triggerAt(marked.replace("|", ""), marked.indexOf("|"));

describe("what is completed", () => {
  test("a file where a word begins with @", () => {
    expect(at("@|")).toEqual({ kind: "file", query: "", start: 0, end: 1 });
    expect(at("see @src/re|try.rs")).toMatchObject({ kind: "file", query: "src/re", start: 4 });
    expect(at("one\n(@a|")).toMatchObject({ kind: "file", query: "a", start: 5 });
    expect(at('look at @"my fi|')).toMatchObject({ kind: "file", query: "my fi", start: 8, end: 15 });
  });
  test("no file in an address, behind a space or over lines", () => {
    for (const text of ["me@example.org|", "@a b|", "@a\n|", "a|", '@"a" b|', `@${"x".repeat(201)}|`])
      expect(at(text), text).toBeUndefined();
  });
  test("a command where the whole text begins with /", () => {
    expect(at("/|")).toEqual({ kind: "command", query: "", start: 0, end: 1 });
    expect(at("/rev|iew")).toMatchObject({ kind: "command", query: "rev" });
    for (const text of ["a /|", "/etc/|", "/review |", "\n/|"]) expect(at(text), text).toBeUndefined();
  });
});

test("what is chosen takes the place of what was typed, and nothing else moves", () => {
  const trigger = triggerAt("see @ret please", 8);
  expect(trigger && insertAt("see @ret please", trigger, "src/retry.rs")).toEqual({
    text: "see src/retry.rs please",
    caret: 17,
  });
  const end = triggerAt("@r", 2);
  expect(end && insertAt("@r", end, "a.rs")).toEqual({ text: "a.rs ", caret: 5 });
});

test("a path with spaces is quoted", () => {
  expect(quotedPath("a/b.rs")).toBe("a/b.rs");
  expect(quotedPath("my notes.md")).toBe('"my notes.md"');
  expect(quotedPath('a"b')).toBe('"a\\"b"');
});

test("a command has a name and arguments; a path is none", () => {
  expect(commandIn("/compact\n")).toEqual({ name: "compact", args: "" });
  expect(commandIn("/review branch main")).toEqual({ name: "review", args: "branch main" });
  for (const text of ["/etc/hosts is wrong", " /compact", "compact", "/"])
    expect(commandIn(text)).toBeUndefined();
});

test("letters that match are marked, in the name and in the folder", () => {
  const option = fileOption({ path: { text: "src/ä/retry.rs" }, matches: [0, 6, 7, 12] }, quotedPath);
  expect(option).toMatchObject({ icon: "code", insert: "src/ä/retry.rs" });
  expect(option.name).toEqual([
    { text: "re", match: true },
    { text: "try.", match: false },
    { text: "r", match: true },
    { text: "s", match: false },
  ]);
  expect(option.detail).toEqual([
    { text: "s", match: true },
    { text: "rc/ä", match: false },
  ]);
});

describe("commands", () => {
  const commands: RuntimeCommand[] = [
    { name: "compact", description: "Summarize", arguments: null, kind: { kind: "action" } },
    { name: "review", description: "Review", arguments: "what", kind: { kind: "action" } },
    {
      name: "pr-review",
      description: "Reviews a pull request",
      arguments: null,
      kind: { kind: "skill", mention: "$pr-review", origin: "repository" },
    },
  ];
  test("one without arguments runs at once, others are written on", () => {
    const [compact, review, skill] = commandOptions(commands, "");
    expect(compact).toMatchObject({ key: "compact", run: "compact" });
    expect(review).toMatchObject({ insert: "/review" });
    expect(review?.run).toBeUndefined();
    expect(skill).toMatchObject({ insert: "$pr-review", icon: "skill" });
  });
  test("names that begin with what was typed come first", () => {
    expect(commandOptions(commands, "rev").map((option) => option.key)).toEqual(["review", "pr-review"]);
    expect(commandOptions(commands, "cpt").map((option) => option.key)).toEqual(["compact"]);
    expect(commandOptions(commands, "zz")).toEqual([]);
  });
});
