import { expect, test } from "vitest";
import { moved } from "./order";

test("one is put before another, and the rest stays in order", () => {
  const ids = ["a", "b", "c", "d"];
  expect(moved(ids, "c", 0)).toEqual(["c", "a", "b", "d"]);
  expect(moved(ids, "a", 2)).toEqual(["b", "a", "c", "d"]);
  expect(moved(ids, "a", 4)).toEqual(["b", "c", "d", "a"]);
  expect(moved(ids, "a", 99)).toEqual(["b", "c", "d", "a"]);
  for (const at of [1, 2]) expect(moved(ids, "b", at)).toEqual(ids);
  expect(moved(ids, "a", -1)).toEqual(ids);
});
