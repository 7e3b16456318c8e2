import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Attachment } from "../../api/attachments";
import { draftsOf, setLimits } from "./drafts";

/** What goes over the network. */
const wire = {
  uploads: [] as { name: string; done: (attachment: Attachment) => void; fail: () => void }[],
  removed: [] as string[],
  missing: new Set<string>(),
};

class Upload {
  status = 0;
  statusText = "";
  response: unknown;
  upload = {};
  onload = () => {};
  onerror = () => {};
  onabort = () => {};
  #url = "";
  open(_: string, url: string) {
    this.#url = url;
  }
  setRequestHeader() {}
  abort() {
    this.onabort();
  }
  send() {
    wire.uploads.push({
      name: new URL(this.#url, "http://x").searchParams.get("name") ?? "",
      done: (attachment) => {
        this.status = 201;
        this.response = attachment;
        this.onload();
      },
      fail: () => this.onerror(),
    });
  }
}

async function answer(url: string, { method }: RequestInit): Promise<Response> {
  const id = url.split("/").at(-1) ?? "";
  if (method === "DELETE") {
    wire.removed.push(id);
    return new Response(null, { status: 204 });
  }
  if (!wire.missing.has(id)) return Response.json({ id });
  return Response.json({ type: "not-found", title: "Not found", status: 404 }, { status: 404 });
}

const file = (name: string, size = 3) => new File(["x".repeat(size)], name);
const attachment = (name: string): Attachment => ({
  id: `att_${name}`,
  name,
  media_type: "text/plain",
  size: 3,
});
let scope = 0;
const fresh = () => draftsOf(`scope ${scope++}`);
const settle = () => new Promise((resolve) => setTimeout(resolve));
const states = (drafts: ReturnType<typeof fresh>) =>
  drafts.drafts.files.map(({ name, status }) => `${name} ${status}`);

beforeEach(() => {
  vi.stubGlobal("XMLHttpRequest", Upload);
  vi.stubGlobal("fetch", answer);
  setLimits({ bytes: 100, files: 5 });
});
afterEach(() => {
  // Uploads that a test left end before the next one counts its own.
  for (const { fail } of wire.uploads.splice(0)) fail();
  wire.removed.length = 0;
  wire.missing.clear();
  vi.unstubAllGlobals();
  localStorage.clear();
});

test("three upload at once, in their order, and what is there is remembered", async () => {
  const drafts = fresh();
  expect(drafts.add(["a", "b", "c", "d"].map((name) => file(name)))).toBeUndefined();
  expect(states(drafts)).toEqual(["a uploading", "b uploading", "c uploading", "d waiting"]);
  wire.uploads[1]?.done(attachment("b"));
  await settle();
  expect(states(drafts)).toEqual(["a uploading", "b done", "c uploading", "d uploading"]);
  expect(drafts.drafts).toMatchObject({ pending: 3, failed: 0, done: [attachment("b")] });
  expect(localStorage.getItem(`mistle:attachments:scope ${scope - 1}`)).toContain("att_b");
  expect(drafts.take()).toEqual([attachment("b")]);
  expect(localStorage.getItem(`mistle:attachments:scope ${scope - 1}`)).toBeNull();
  for (const { key } of drafts.drafts.files) drafts.remove(key);
});

test("what is too large or too much is not uploaded", () => {
  const drafts = fresh();
  drafts.add([file("large", 101)]);
  expect(states(drafts)).toEqual(["large failed"]);
  expect(drafts.canRetry(drafts.drafts.files[0]?.key ?? "")).toBe(false);
  expect(wire.uploads).toEqual([]);
  const refused = drafts.add(["a", "b", "c", "d", "e"].map((name) => file(name)));
  expect(refused).toBe("A message takes at most 5 files.");
  expect(drafts.drafts.files).toHaveLength(5);
  for (const { key } of drafts.drafts.files) drafts.remove(key);
});

test("an upload that failed is tried again; one that is removed leaves nothing", async () => {
  const drafts = fresh();
  drafts.add([file("a")]);
  wire.uploads[0]?.fail();
  await settle();
  expect(states(drafts)).toEqual(["a failed"]);
  drafts.retry(drafts.drafts.files[0]?.key ?? "");
  wire.uploads[1]?.done(attachment("a"));
  await settle();
  expect(states(drafts)).toEqual(["a done"]);
  drafts.remove(drafts.drafts.files[0]?.key ?? "");
  expect(wire.removed).toEqual(["att_a"]);

  // Its answer came when it was removed already.
  drafts.add([file("b")]);
  const [late] = wire.uploads.slice(-1);
  drafts.remove(drafts.drafts.files[0]?.key ?? "");
  late?.done(attachment("b"));
  await settle();
  expect(drafts.drafts.files).toEqual([]);
});

test("files that the server has deleted do not come back", async () => {
  const drafts = fresh();
  wire.missing.add("att_old");
  drafts.restore([attachment("old"), attachment("kept")]);
  await settle();
  expect(states(drafts)).toEqual(["kept done"]);
});

test("who leaves is asked while an upload is under way, and at no other time", async () => {
  const asks = () => !window.dispatchEvent(new Event("beforeunload", { cancelable: true }));
  const drafts = fresh();
  expect(asks()).toBe(false);
  drafts.add([file("a"), file("b")]);
  expect(asks()).toBe(true);
  wire.uploads[0]?.done(attachment("a"));
  await settle();
  expect(asks()).toBe(true);
  wire.uploads[1]?.fail();
  await settle();
  expect(states(drafts)).toEqual(["a done", "b failed"]);
  expect(asks()).toBe(false);
  for (const { key } of drafts.drafts.files) drafts.remove(key);
});

test("a message that waits for its files goes when they are there, or stays when one fails", async () => {
  const drafts = fresh();
  const sent: (string | undefined)[] = [];
  drafts.setSender((how) => sent.push(how));
  drafts.add([file("a"), file("b")]);
  drafts.sendWhenDone("queue");
  expect(drafts.drafts.isAwaited).toBe(true);
  wire.uploads[0]?.done(attachment("a"));
  await settle();
  expect(sent).toEqual([]);
  wire.uploads[1]?.done(attachment("b"));
  await settle();
  await settle();
  expect(sent).toEqual(["queue"]);
  expect(drafts.drafts.isAwaited).toBe(false);

  drafts.add([file("c")]);
  drafts.sendWhenDone("steer");
  wire.uploads[2]?.fail();
  await settle();
  expect(drafts.drafts).toMatchObject({ isAwaited: false, failed: 1 });

  drafts.add([file("d")]);
  drafts.sendWhenDone("steer");
  drafts.dontSend();
  wire.uploads[3]?.done(attachment("d"));
  await settle();
  await settle();
  expect(sent).toEqual(["queue"]);
  for (const { key } of drafts.drafts.files) drafts.remove(key);
});
