import { afterEach, expect, it, vi } from "vitest";
import { ApiError } from "../api/client";
import type { LocalMessage } from "./pending";
import { forgetUnsent, keepUnsent, sessionsWithUnsent, unsentIn } from "./unsent";

const NOW = Date.UTC(2026, 10, 22, 12);
const HOUR = 3_600_000;
const message = (localId: string, patch: Partial<LocalMessage> = {}): LocalMessage => ({
  localId,
  at: NOW,
  text: `text of ${localId}`,
  delivery: "steer",
  model: null,
  effort: null,
  comments: ["cmt_1"],
  destination: { kind: "new" },
  attachments: [{ id: "att_1", name: "notes.txt", media_type: "text/plain", size: 3 }],
  status: "sending",
  ...patch,
});
const asks = () => !window.dispatchEvent(new Event("beforeunload", { cancelable: true }));

afterEach(() => {
  vi.unstubAllGlobals();
  localStorage.clear();
});

it("is whole after a reload, in its order, and only in its session", () => {
  keepUnsent("ses_a", message("later", { at: NOW + 2 }));
  keepUnsent("ses_a", message("first"));
  keepUnsent("ses_b", message("other"));
  expect(unsentIn("ses_a", NOW)).toEqual([message("first"), message("later", { at: NOW + 2 })]);
  expect(sessionsWithUnsent().sort()).toEqual(["ses_a", "ses_b"]);
  forgetUnsent("ses_a", "first");
  forgetUnsent("ses_a", "later");
  expect(unsentIn("ses_a", NOW)).toEqual([]);
  expect(sessionsWithUnsent()).toEqual(["ses_b"]);
});

it("stays refused with its reason; what got no answer is sent again", () => {
  const refusal = { type: "message-too-long", title: "Too long", status: 422, detail: "It is too long." };
  const refused = new ApiError("Send message", "POST", "/", refusal);
  const away = new ApiError("Send message", "POST", "/", { type: "x", title: "Later", status: 503 });
  keepUnsent("ses_a", message("refused", { status: "failed", error: refused }));
  keepUnsent("ses_a", message("unanswered", { at: NOW + 1, status: "failed", error: away }));
  const [first, second] = unsentIn("ses_a", NOW);
  expect(first).toMatchObject({ status: "failed", error: { message: "It is too long." } });
  expect(second).toMatchObject({ status: "sending" });
});

it("is not sent by itself once the server may have forgotten its key, and goes at last", () => {
  keepUnsent("ses_a", message("a"));
  expect(unsentIn("ses_a", NOW + 19 * HOUR)).toMatchObject([{ status: "sending" }]);
  expect(unsentIn("ses_a", NOW + 21 * HOUR)).toMatchObject([{ status: "failed" }]);
  expect(unsentIn("ses_a", NOW + 100 * 24 * HOUR)).toEqual([]);
  expect(sessionsWithUnsent()).toEqual([]);
});

it("asks before the page is left when the browser keeps nothing", () => {
  keepUnsent("ses_a", message("a"));
  expect(asks()).toBe(false);
  const full = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  vi.stubGlobal("localStorage", { setItem: full, removeItem: () => {} });
  keepUnsent("ses_a", message("b"));
  expect(asks()).toBe(true);
  forgetUnsent("ses_a", "b");
  expect(asks()).toBe(false);
});
