import { expect, test } from "vitest";
import { resume } from "../features/terminal/connection";
import { backoffMs } from "./link";

test("waits grow, are bounded, and differ between pages", () => {
  expect(backoffMs(0, 0.5)).toBe(250);
  expect(backoffMs(1, 0.5)).toBe(500);
  expect(backoffMs(10, 0.5)).toBe(1500);
  expect(backoffMs(100, 0.5)).toBe(8000);
  expect(backoffMs(0, 0)).toBeLessThan(backoffMs(0, 1));
});

test("a terminal's output continues without loss or repetition", () => {
  expect(resume(0, 0)).toEqual({ skip: 0, reset: false });
  expect(resume(100, 100)).toEqual({ skip: 0, reset: false });
  // The ring begins earlier than asked for: what is known is skipped.
  expect(resume(100, 60)).toEqual({ skip: 40, reset: false });
  // It begins later: something is missing, so the screen begins anew.
  expect(resume(100, 500)).toEqual({ skip: 0, reset: true });
  // A first look at a long-running terminal misses nothing that was shown.
  expect(resume(0, 500)).toEqual({ skip: 0, reset: false });
});
