import { describe, expect, test } from "vitest";
import { MODELS, RECORDINGS } from "../../dev/recordings/sessions";
import { age, ago, duration } from "../ui/time";
import { rank } from "./commands/rank";
import { resolveChoice } from "./composer/models";
import { FORGOTTEN, remember } from "./new-session/remembered";
import { canStart, canStop, lastPart, statusOf } from "./session/status";

test("every state has a word, and something can be done or is being done", () => {
  for (const { session } of RECORDINGS) {
    const status = statusOf(session);
    expect(status.word).not.toBe("");
    expect(canStart(session) || canStop(session)).toBe(true);
  }
  expect(statusOf({ state: "running", activity: "needs_you" }).group).toBe("needs you");
  expect(statusOf({ state: "failed", activity: "idle" }).tone).toBe("fail");
});

test("repositories are named by their last part", () => {
  expect(lastPart("/srv/git/payments/")).toBe("payments");
  expect(lastPart("https://example.com/org/repo.git")).toBe("repo");
});

describe("models", () => {
  const none = { model: null, effort: null };
  test("the choice, else the session's, else the default", () => {
    expect(resolveChoice(MODELS, none, none)).toMatchObject({ model: { id: "gpt-5.5" }, effort: "medium" });
    expect(resolveChoice(MODELS, none, { model: "gpt-5.5-mini", effort: null })).toMatchObject({
      model: { id: "gpt-5.5-mini" },
      effort: "low",
    });
    expect(
      resolveChoice(MODELS, { model: "gpt-5.5", effort: "high" }, { model: "gpt-5.5-mini", effort: "low" }),
    ).toMatchObject({
      model: { id: "gpt-5.5" },
      effort: "high",
    });
  });
  test("what the model does not offer is not chosen", () => {
    expect(resolveChoice(MODELS, { model: "gpt-5.5-mini", effort: "xhigh" }, none).effort).toBe("low");
    expect(resolveChoice(MODELS, { model: "gone", effort: null }, none).model?.id).toBe("gpt-5.5");
    expect(resolveChoice([], none, none)).toEqual({ model: undefined, effort: undefined });
  });
});

test("typed repositories are remembered, offered ones are not, and not for ever", () => {
  const of = (source: string) => ({
    profile: "p",
    rows: [{ kind: "repository" as const, source, branch: "" }],
    primary: 0,
    model: null,
    effort: null,
  });
  const used = of("/srv/a");
  expect(remember(FORGOTTEN, used, []).recent).toEqual(["/srv/a"]);
  expect(remember(FORGOTTEN, used, [{ source: "/srv/a" }]).recent).toEqual([]);
  let many = FORGOTTEN;
  for (let i = 0; i < 20; i++) many = remember(many, of(`/srv/${i}`), []);
  expect(many.recent).toHaveLength(8);
  expect(many.recent[0]).toBe("/srv/19");
});

test("the palette finds what was meant", () => {
  const titles = ["Stop session", "Show terminal", "Settings", "Start session"];
  expect(rank(titles, "term", (title) => title)).toEqual(["Show terminal"]);
  expect(
    rank(titles, "ses st", (title) => title)
      .slice(0, 2)
      .sort(),
  ).toEqual(["Start session", "Stop session"]);
  expect(rank(titles, "sttngs", (title) => title)).toEqual(["Settings"]);
  expect(rank(titles, "zebra", (title) => title)).toEqual([]);
});

test("times are short", () => {
  const now = Date.UTC(2026, 10, 22, 12);
  const before = (ms: number) => new Date(now - ms).toISOString();
  expect([31_000, 120_000, 3_600_000].map((ms) => age(before(ms), now))).toEqual(["31s", "2m", "1h"]);
  expect(ago(before(2000), now)).toBe("just now");
  expect([400, 12_000, 185_000, 7_440_000].map(duration)).toEqual([
    "0.4 s",
    "12 s",
    "3 min 5 s",
    "2 h 4 min",
  ]);
});
