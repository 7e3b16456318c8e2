import { expect, test } from "vitest";
import type { Session } from "../../api/types";
import { type Line, linesOf, rowAfter } from "./lines";

const session = (id: string, state: string, created_at: string) =>
  ({ id, state, created_at, activity: "idle", approvals: [] }) as unknown as Session;

const told = (line: Line) =>
  line.kind === "group" ? `${line.group} (${line.count})` : `${line.place} ${line.key}`;

test("rows stand below their group, the latest first, and are counted through", () => {
  const lines = linesOf([
    session("old", "stopped", "2026-01-01T00:00:00Z"),
    session("gone", "deleted", "2026-01-04T00:00:00Z"),
    session("idle", "running", "2026-01-02T00:00:00Z"),
    session("new", "stopped", "2026-01-03T00:00:00Z"),
  ]);
  const groups = lines.filter((line) => line.kind === "group").map((line) => line.key);
  expect(groups).toHaveLength(2);
  expect(lines.map(told)).toEqual([
    expect.stringMatching(/\(1\)$/),
    "1 idle",
    expect.stringMatching(/\(2\)$/),
    "2 new",
    "3 old",
  ]);
  // Up and down pass the headings, and end at the ends.
  expect(rowAfter(lines, -1, 1)).toBe(1);
  expect(rowAfter(lines, 1, 1)).toBe(3);
  expect(rowAfter(lines, 3, -1)).toBe(1);
  expect(rowAfter(lines, 1, -1)).toBeUndefined();
  expect(rowAfter(lines, 4, 1)).toBeUndefined();
  expect(rowAfter([], -1, 1)).toBeUndefined();
});
