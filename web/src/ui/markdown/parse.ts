/**
 * Markdown that grows. Blocks before the last one can't change when text is appended, so only the
 * last block is parsed again; the others keep their identity and are not drawn again.
 */
import type { RootContent } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";

export interface Block {
  /** Where it begins in the text. */
  start: number;
  node: RootContent;
}

export interface Parsed {
  text: string;
  blocks: readonly Block[];
}

export const NOTHING: Parsed = { text: "", blocks: [] };

const OPTIONS = { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] };

function parseFrom(text: string, offset: number): Block[] {
  return fromMarkdown(text.slice(offset), OPTIONS).children.map((node) => ({
    start: offset + (node.position?.start.offset ?? 0),
    node,
  }));
}

export function parseMarkdown(text: string, before: Parsed = NOTHING): Parsed {
  if (text === before.text) return before;
  const last = before.blocks.at(-1);
  if (!last || !text.startsWith(before.text)) return { text, blocks: parseFrom(text, 0) };
  // A block's own indentation belongs to it: an indented list item or code must be seen from its line's start.
  const from = text.lastIndexOf("\n", last.start - 1) + 1;
  return { text, blocks: [...before.blocks.slice(0, -1), ...parseFrom(text, from)] };
}
