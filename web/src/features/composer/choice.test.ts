import { afterEach, expect, test } from "vitest";
import { ApiError } from "../../api/client";
import { readStored, writeStored } from "../../ui/storage";
import { copyChoice, moveChoice } from "./choice";
import { notRun } from "./completion/run";

const high = { model: "gpt-5.5", effort: "high" };
const chosenIn = (scope: string) => readStored(`model:${scope}`, undefined);

afterEach(() => localStorage.clear());

test("a new conversation goes on with what was chosen where it was begun", () => {
  writeStored("model:ses_1", high);
  copyChoice("ses_1", "ses_1:new");
  expect(chosenIn("ses_1:new")).toEqual(high);
  moveChoice("ses_1:new", "ses_1:c2");
  expect(chosenIn("ses_1:c2")).toEqual(high);
  expect(chosenIn("ses_1:new")).toBeUndefined();
  // Nothing chosen is a choice too, and what stays in its place stays.
  copyChoice("ses_2", "ses_1:c2");
  expect(chosenIn("ses_1:c2")).toBeUndefined();
  moveChoice("ses_1:new", "ses_1");
  moveChoice("ses_1", "ses_1");
  expect(chosenIn("ses_1")).toEqual(high);
});

test("a command that got no answer says what may have become of it, a refused one says why", () => {
  const silent = notRun(new ApiError("Run /compact", "POST", "/x", undefined), "compact");
  expect(silent.message).toContain("/compact did not run, or");
  expect(silent.status).toBe(0);
  const problem = {
    type: "command-refused",
    title: "Refused",
    status: 409,
    detail: "It needs a turn of its own.",
  };
  const refused = new ApiError("Run /review", "POST", "/x", problem);
  expect(notRun(refused, "review")).toBe(refused);
});
