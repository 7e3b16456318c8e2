import { describe, expect, test } from "vitest";
import type { Session } from "../../api/types";
import { filterQuery, fits, NO_FILTER, readFilter, sessionPath, withFilter } from "./filter";

describe("the filter in the address", () => {
  const filter = {
    q: "fix & test",
    status: ["needs you", "failed"] as const,
    repository: "/srv/a b",
    profile: undefined,
  };

  test("is read as it was written", () => {
    expect(readFilter(`?${filterQuery(filter)}`)).toEqual(filter);
    expect(readFilter("")).toEqual(NO_FILTER);
    expect(readFilter("?status=everything,ready").status).toEqual(["ready"]);
    expect(readFilter(`?q=${"x".repeat(1000)}`).q).toHaveLength(200);
  });

  test("leaves what else the address says", () => {
    expect(withFilter("?file=a.ts&q=old", { ...NO_FILTER, q: "new" })).toBe("file=a.ts&q=new");
    expect(withFilter("?file=a.ts&q=old", NO_FILTER)).toBe("file=a.ts");
    expect(sessionPath("ses_1", NO_FILTER)).toBe("/s/ses_1");
  });
});

test("what is loaded is narrowed at once", () => {
  const session = {
    id: "ses_1",
    title: "Fix the Widget",
    state: "running",
    activity: "idle",
    profile: { name: "default", version: 1 },
    repository: { source: "/srv/app" },
    workspaces: [],
  } as unknown as Session;
  const fitting = (part: object) => fits(session, { ...NO_FILTER, ...part });
  expect(fitting({ q: "widget FIX" })).toBe(true);
  expect(fitting({ q: "widget gadget" })).toBe(false);
  expect(fitting({ q: "srv/app", status: ["ready"] })).toBe(true);
  expect(fitting({ status: ["failed"] })).toBe(false);
  expect(fitting({ repository: "/srv/app", profile: "default" })).toBe(true);
  expect(fitting({ repository: "/srv" })).toBe(false);
});
