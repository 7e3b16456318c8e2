import { expect, test } from "vitest";
import { linkedPane, readPanels, sharedLink } from "./view-url";

test("an address names the open panes, or leaves them as they were", () => {
  expect(readPanels("?panel=changes,tui")).toEqual({ changes: true, terminal: false, tui: true });
  expect(readPanels("?panel=everything")).toEqual({ changes: false, terminal: false, tui: false });
  expect(readPanels("?file=a.ts")).toBeUndefined();
});

test("a phone and a wide page understand each other's addresses", () => {
  expect(linkedPane("?panel=changes,terminal")).toBe("changes");
  expect(linkedPane("?panel=changes&pane=ports")).toBe("ports");
  expect(linkedPane("?panel=")).toBe("chat");
  expect(linkedPane("?pane=elsewhere")).toBe("chat");
  expect(readPanels("?pane=terminal")).toEqual({ changes: false, terminal: true, tui: false });
  expect(readPanels("?pane=ports")).toBeUndefined();
  expect(sharedLink("http://m/s/ses_1?pane=tui")).toBe("http://m/s/ses_1?panel=tui");
  expect(sharedLink("http://m/s/ses_1?pane=ports")).toBe("http://m/s/ses_1");
});

test("a link for somebody else says what is shown and not how the list is narrowed", () => {
  const shared = sharedLink("http://m/s/ses_1?q=x&panel=changes,terminal&status=failed&file=a%20b.ts");
  expect(shared).toBe("http://m/s/ses_1?panel=changes,terminal&file=a+b.ts");
  expect(sharedLink("http://m/s/ses_1?conversation=old", "one")).toBe("http://m/s/ses_1?conversation=one");
});
