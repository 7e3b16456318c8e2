import { expect, test } from "vitest";
import { readPanels, sharedLink } from "./view-url";

test("an address names the open panes, or leaves them as they were", () => {
  expect(readPanels("?panel=changes,tui")).toEqual({ changes: true, terminal: false, tui: true });
  expect(readPanels("?panel=everything")).toEqual({ changes: false, terminal: false, tui: false });
  expect(readPanels("?file=a.ts")).toBeUndefined();
});

test("a link for somebody else says what is shown and not how the list is narrowed", () => {
  const shared = sharedLink("http://m/s/ses_1?q=x&panel=changes,terminal&status=failed&file=a%20b.ts");
  expect(shared).toBe("http://m/s/ses_1?panel=changes,terminal&file=a+b.ts");
});
