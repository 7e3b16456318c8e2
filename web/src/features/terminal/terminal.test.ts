import { describe, expect, test, vi } from "vitest";
import type { TerminalInfo } from "../../api/types";
import { pasteable } from "./clipboard";
import { batchLength, HIDDEN_PAUSE_MS, OutputFlow } from "./flow";
import { countText } from "./SearchField";
import { activeTab, cleanName, endText, newTerminalId, shortTitle, tabsOf } from "./tabs";

const info = (id: string, more: Partial<TerminalInfo> = {}): TerminalInfo => ({
  id,
  title: "bash",
  cols: 80,
  rows: 24,
  offset: 0,
  ...more,
});

describe("tabs", () => {
  test("given names win, then the program's title; equal ones are counted", () => {
    const seen = new Map([["c", { title: "vim" }]]);
    const tabs = tabsOf([info("a"), info("b"), info("c"), info("d", { name: "server" })], seen);
    expect(tabs.map((tab) => tab.label)).toEqual(["bash", "bash (2)", "vim", "server"]);
  });

  test("a shell's title is its folder", () => {
    expect(shortTitle("root@mistle-da153a4b: /workspace/demo")).toBe("demo");
    expect(shortTitle("root@host: ~")).toBe("~");
    expect(shortTitle("root@host: /")).toBe("/");
    expect(shortTitle("vim README.md")).toBe("vim README.md");
  });

  test("an end that was seen is known before the list says it", () => {
    const seen = new Map([["a", { end: { code: 3 } }]]);
    const [a, b] = tabsOf([info("a"), info("b", { exit_code: 0 })], seen);
    expect(a?.ended).toEqual({ code: 3 });
    expect(b?.ended).toEqual({ code: 0 });
    expect(endText({ code: 3 })).toBe("The shell ended with exit code 3.");
  });

  test("the tab that takes a closed one's place is looked at", () => {
    const tabs = tabsOf([info("a"), info("b"), info("c")], new Map());
    expect(activeTab(tabs, "b", 0)?.id).toBe("b");
    expect(activeTab(tabs, "gone", 1)?.id).toBe("b");
    expect(activeTab(tabs, "gone", 3)?.id).toBe("c");
    expect(activeTab([], "gone", 0)).toBeUndefined();
  });

  test("a name is plain and short", () => {
    expect(cleanName("  t\u202ewo\n ")).toBe("two");
    expect(cleanName("x".repeat(50))).toHaveLength(40);
  });
});

test("what is pasted can't be more than text", () => {
  expect(pasteable("one\ttwo\r\nthree\n")).toBe("one\ttwo\r\nthree\n");
  expect(pasteable("ls\x1b[201~\x07; rm\x7f\x9b1m")).toBe("ls[201~; rm1m");
  expect(pasteable("日本 👍🏽")).toBe("日本 👍🏽");
});

test("matches are counted up to where they are marked", () => {
  expect(countText("", { resultIndex: -1, resultCount: 0 })).toBe("");
  expect(countText("x", { resultIndex: -1, resultCount: 0 })).toBe("No results");
  expect(countText("x", { resultIndex: 1, resultCount: 7 })).toBe("2 of 7");
  expect(countText("x", { resultIndex: -1, resultCount: 1000 })).toBe("1000+");
});

describe("ids", () => {
  test("later ones come after earlier ones, as the server takes them", () => {
    const ids = [0, 1_790_000_000_000, 1_790_000_000_001].map(newTerminalId);
    for (const id of ids) expect(id).toMatch(/^trm_[0-9a-f]{12}7[0-9a-f]{3}8[0-9a-f]{15}$/);
    expect([...ids].sort()).toEqual(ids);
  });
});

describe("output", () => {
  const piece = (length: number, end: number) => ({ bytes: new Uint8Array(length), end });

  test("a batch is bounded and does not cross the border to what is new", () => {
    expect(batchLength([piece(10, 10), piece(10, 20), piece(10, 30)], 25, 0)).toBe(2);
    expect(batchLength([piece(100, 100), piece(10, 110)], 25, 0)).toBe(1);
    expect(batchLength([piece(10, 10), piece(10, 20), piece(10, 30)], 100, 20)).toBe(2);
  });

  /** A screen that draws when it is told to. */
  function screen(replayBefore = 0) {
    const drawn: (() => void)[] = [];
    const log: string[] = [];
    const flow = new OutputFlow(
      {
        write: (bytes, done) => {
          log.push(`write ${bytes.length}`);
          if (done) drawn.push(done);
        },
        onTaken: (offset) => log.push(`taken ${offset}`),
        onBatch: (end) => log.push(`batch ${end}`),
      },
      replayBefore,
    );
    return { flow, log, draw: () => drawn.shift()?.() };
  }

  test("the screen gets more when it has drawn, and only then is it told as taken", () => {
    const { flow, log, draw } = screen();
    flow.push(piece(10, 10));
    flow.push(piece(10, 20));
    expect(log).toEqual(["batch 10", "write 10"]);
    draw();
    expect(log.slice(2)).toEqual(["batch 20", "write 10"]);
    expect(flow.isIdle).toBe(false);
    draw();
    expect(log.slice(4)).toEqual(["taken 20"]);
    expect(flow.isIdle).toBe(true);
  });

  test("output that is old and new is cut where it becomes new", () => {
    const { flow, log, draw } = screen(15);
    flow.push(piece(10, 10));
    flow.push(piece(10, 20));
    draw();
    draw();
    expect(log.filter((line) => line.startsWith("batch"))).toEqual(["batch 10", "batch 15", "batch 20"]);
  });

  test("a screen that nobody sees pauses, until it is seen", () => {
    vi.useFakeTimers();
    const { flow, log, draw } = screen();
    flow.hidden = true;
    flow.push(piece(10, 10));
    flow.push(piece(10, 20));
    draw();
    expect(log).not.toContain("batch 20");
    vi.advanceTimersByTime(HIDDEN_PAUSE_MS);
    expect(log).toContain("batch 20");
    draw();
    flow.push(piece(10, 30));
    expect(log).not.toContain("batch 30");
    flow.hidden = false;
    expect(log).toContain("batch 30");
    vi.useRealTimers();
  });

  test("text of the page's own is drawn in its place and takes nothing", () => {
    const { flow, log, draw } = screen();
    flow.push({ bytes: new Uint8Array(5) });
    draw();
    expect(log).toEqual(["batch undefined", "write 5"]);
  });
});
