import { render } from "@testing-library/react";
import { Tooltip } from "radix-ui";
import { expect, test } from "vitest";
import { Markdown } from "./Markdown";
import { NOTHING, parseMarkdown } from "./parse";

const DOCUMENT = `# Title

A paragraph with \`code\`, **strong** and a [link](https://example.com).

- one
- two
  - nested

  more of two

\`\`\`rust
fn main() {}

// after a blank line
\`\`\`

| a | b |
|---|---|
| 1 | 2 |

    indented code

> quote
`;

const bare = (blocks: readonly { node: object }[]) =>
  JSON.parse(
    JSON.stringify(
      blocks.map(({ node }) => node),
      (key, value) => (key === "position" ? undefined : value),
    ),
  );

test("reads the same in pieces as in one", () => {
  for (const size of [1, 3, 7, 50]) {
    let parsed = NOTHING;
    for (let end = size; end < DOCUMENT.length + size; end += size)
      parsed = parseMarkdown(DOCUMENT.slice(0, end), parsed);
    expect(bare(parsed.blocks)).toEqual(bare(parseMarkdown(DOCUMENT).blocks));
  }
});

test("blocks before the last one are not parsed again", () => {
  const before = parseMarkdown("one\n\ntwo\n\nthree");
  const after = parseMarkdown("one\n\ntwo\n\nthree and more", before);
  expect(after.blocks.slice(0, 2)).toEqual(before.blocks.slice(0, 2));
  expect(after.blocks[0]?.node).toBe(before.blocks[0]?.node);
});

const html = (text: string) =>
  render(
    <Tooltip.Provider>
      <Markdown text={text} />
    </Tooltip.Provider>,
  ).container;

test("nothing in it becomes HTML, a script, or a request", () => {
  const container = html(
    "<img src=x onerror=alert(1)>\n\n<b>bold</b>\n\n[a](javascript:alert(1)) [b](data:text/html,x) ![pixel](https://evil.example/p.png)",
  );
  expect(container.querySelector("img, script, b")).toBeNull();
  expect([...container.querySelectorAll("a")].map((link) => link.getAttribute("href"))).toEqual([
    "https://evil.example/p.png",
  ]);
  expect(container.textContent).toContain("<img src=x onerror=alert(1)>");
});

test("links open elsewhere and tell nothing", () => {
  const link = html("[docs](https://example.com/a)").querySelector("a");
  expect(link?.getAttribute("rel")).toContain("noopener");
  expect(link?.getAttribute("target")).toBe("_blank");
});
