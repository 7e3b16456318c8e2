/**
 * From the hunks of a diff to the rows that are drawn: what is hidden between hunks, what was
 * unfolded of it, and which lines stand beside each other. Pure.
 */
import type { CommentAnchor, Hunk, Line, RepoPath, Scope, Side } from "../../api/changes";

/** Lines that one press on "more" shows. */
export const MORE_LINES = 20;
/** What the server accepts around a quote. */
const ANCHOR_LINES = 8;
/** The longest line of an anchor, in characters: below the server's limit in bytes. */
const ANCHOR_LINE = 1_000;
/** The most lines that a comment is about. */
const MAX_QUOTED = 500;
/** Lines of context that git shows around a change. */
const CONTEXT = 3;

/** First and last line, counted from 1. */
export interface Span {
  from: number;
  to: number;
}

export type Row =
  | { kind: "line"; line: Line }
  /** The head of a hunk, or the end of the file: lines of the new side that are hidden before it. */
  | { kind: "gap"; hidden: Span | "rest" | undefined; hunk: number | undefined; section: string };

/** Two lines beside each other; one of them may be missing. */
export type SplitRow = Exclude<Row, { kind: "line" }> | { kind: "pair"; left?: Line; right?: Line };

export const numberOf = (line: Line, side: Side): number | undefined =>
  (side === "old" ? line.old_no : line.new_no) ?? undefined;
/** The side that a line is spoken about on. */
export const sideOf = (line: Line): Side => (line.kind === "removed" ? "old" : "new");

function spanOf({ range }: Hunk): Span {
  // A side without lines has the number of the line before it.
  const from = range.new_lines === 0 ? range.new_start + 1 : range.new_start;
  return { from, to: from + range.new_lines - 1 };
}

const isIn = (spans: readonly Span[], no: number) => spans.some(({ from, to }) => no >= from && no <= to);

/** Whether lines may follow the last hunk: git would have shown up to three of them. */
function endsEarly(hunk: Hunk): boolean {
  const last = hunk.lines.slice(-CONTEXT);
  return last.length === CONTEXT && last.every((line) => line.kind === "context" && !line.no_newline);
}

/**
 * The rows of a file. `whole` are its unchanged lines by their number after the change, once somebody
 * asked for more than the hunks; `shown` are the spans that were asked for.
 */
export function layOut(
  hunks: readonly Hunk[],
  whole: ReadonlyMap<number, Line> | undefined,
  shown: readonly Span[],
): Row[] {
  const rows: Row[] = [];
  let next = 1;
  const between = (to: number): Span | undefined => {
    let hidden: Span | undefined;
    for (let no = next; no <= to; no++) {
      const line = whole?.get(no);
      if (line && isIn(shown, no)) {
        if (hidden) rows.push({ kind: "gap", hidden, hunk: undefined, section: "" });
        hidden = undefined;
        rows.push({ kind: "line", line });
      } else {
        hidden = { from: hidden?.from ?? no, to: no };
      }
    }
    return hidden;
  };
  hunks.forEach((hunk, index) => {
    const span = spanOf(hunk);
    const hidden = between(span.from - 1);
    rows.push({ kind: "gap", hidden, hunk: index, section: hunk.section });
    for (const line of hunk.lines) rows.push({ kind: "line", line });
    next = span.to + 1;
  });
  const last = hunks.at(-1);
  if (!last) return rows;
  if (whole) {
    const hidden = between(Math.max(next - 1, ...whole.keys()));
    if (hidden) rows.push({ kind: "gap", hidden, hunk: undefined, section: "" });
  } else if (endsEarly(last)) {
    rows.push({ kind: "gap", hidden: "rest", hunk: undefined, section: "" });
  }
  return rows;
}

/** What a press on "more" shows of a gap: its end nearest to the change, or all of it. */
export function grow(hidden: Span | "rest", direction: "up" | "down" | "all", next: number): Span {
  if (hidden === "rest") {
    return { from: next, to: direction === "all" ? Number.MAX_SAFE_INTEGER : next + MORE_LINES - 1 };
  }
  if (direction === "up") return { from: Math.max(hidden.from, hidden.to - MORE_LINES + 1), to: hidden.to };
  if (direction === "down")
    return { from: hidden.from, to: Math.min(hidden.to, hidden.from + MORE_LINES - 1) };
  return hidden;
}

/** Removed lines stand beside the added ones that replace them. */
export function pair(rows: readonly Row[]): SplitRow[] {
  const out: SplitRow[] = [];
  let removed: Line[] = [];
  let added: Line[] = [];
  const flush = () => {
    for (let i = 0; i < Math.max(removed.length, added.length); i++) {
      out.push({ kind: "pair", left: removed[i], right: added[i] });
    }
    removed = [];
    added = [];
  };
  for (const row of rows) {
    if (row.kind === "line" && row.line.kind === "removed") {
      if (added.length > 0) flush();
      removed.push(row.line);
    } else if (row.kind === "line" && row.line.kind === "added") {
      added.push(row.line);
    } else {
      flush();
      out.push(row.kind === "line" ? { kind: "pair", left: row.line, right: row.line } : row);
    }
  }
  flush();
  return out;
}

/** The part of each of two lines that differs, as offsets; none when little is the same. */
export function differing(
  before: string,
  after: string,
): { start: number; before: number; after: number } | undefined {
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before[start] === after[start]) start++;
  let end = 0;
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  const same = before.slice(0, start).trim().length + before.slice(before.length - end).trim().length;
  if (same * 3 < Math.max(before.trim().length, after.trim().length)) return undefined;
  return { start, before: before.length - end, after: after.length - end };
}

/** The lines that replace each other one to one, each with the part that differs. */
export function emphasis(rows: readonly Row[]): Map<Line, [number, number]> {
  const marks = new Map<Line, [number, number]>();
  for (const row of pair(rows)) {
    if (row.kind !== "pair" || !row.left || !row.right || row.left === row.right) continue;
    const parts = differing(row.left.text, row.right.text);
    if (!parts) continue;
    if (parts.before > parts.start) marks.set(row.left, [parts.start, parts.before]);
    if (parts.after > parts.start) marks.set(row.right, [parts.start, parts.after]);
  }
  return marks;
}

/** A line of one side. */
export interface Spot {
  side: Side;
  no: number;
}

/** Lines of one side. */
export interface Range {
  side: Side;
  start: number;
  end: number;
}

/** The lines from one spot to another. A range over both sides speaks about the new one. */
export function rangeBetween(lines: readonly Line[], a: Spot, b: Spot): Range {
  if (a.side === b.side) return { side: a.side, start: Math.min(a.no, b.no), end: Math.max(a.no, b.no) };
  const at = (spot: Spot) => lines.findIndex((line) => numberOf(line, spot.side) === spot.no);
  const [first, last] = [at(a), at(b)].sort((x, y) => x - y) as [number, number];
  const numbers = lines.slice(Math.max(0, first), last + 1).flatMap((line) => line.new_no ?? []);
  const spot = a.side === "new" ? a : b;
  return { side: "new", start: Math.min(spot.no, ...numbers), end: Math.max(spot.no, ...numbers) };
}

/** What the server needs to find the place of a comment again. */
export function anchorOf(lines: readonly Line[], path: RepoPath, scope: Scope, range: Range): CommentAnchor {
  const texts = new Map<number, string>();
  for (const line of lines) {
    const no = numberOf(line, range.side);
    if (no !== undefined) texts.set(no, line.text);
  }
  const take = (from: number, step: 1 | -1, most: number) => {
    const found: string[] = [];
    for (let no = from; found.length < most; no += step) {
      const text = texts.get(no);
      if (text === undefined || text.length > ANCHOR_LINE) break;
      found.push(text);
    }
    return step === 1 ? found : found.reverse();
  };
  // Lines that are hidden can't be quoted: the part that ends where the comment stands counts.
  const quote: string[] = [];
  let start = range.end + 1;
  while (start > range.start && quote.length < MAX_QUOTED) {
    const text = texts.get(start - 1);
    if (text === undefined) break;
    quote.unshift(text);
    start--;
  }
  return {
    path,
    side: range.side,
    scope,
    start_line: start,
    end_line: range.end,
    quote,
    before: take(start - 1, -1, ANCHOR_LINES),
    after: take(range.end + 1, 1, ANCHOR_LINES),
  };
}

/** Where lines are that were written about: where their text is, nearest to where it was. */
export function placeOf(lines: readonly Line[], anchor: CommentAnchor): Range | undefined {
  const { side, start_line, quote } = anchor;
  const texts = new Map(lines.map((line) => [numberOf(line, side), line.text]));
  const away = (no: number) => Math.abs(no - start_line);
  let start: number | undefined;
  for (const no of texts.keys()) {
    if (no === undefined || (start !== undefined && away(start) <= away(no))) continue;
    if (quote.every((text, i) => texts.get(no + i) === text)) start = no;
  }
  return start === undefined ? undefined : { side, start, end: start + quote.length - 1 };
}

/** Lines as one says them: `R41–44` on the right, `L7` on the left. */
export function linesLabel({ side, start, end }: Range): string {
  const letter = side === "old" ? "L" : "R";
  return start === end ? `${letter}${start}` : `${letter}${start}–${end}`;
}

/** A path's last part, as a chip says it. */
export const fileName = (path: RepoPath): string => path.text.slice(path.text.lastIndexOf("/") + 1);

/** The line that shows what `line` showed before the diff changed: the same text, nearest by number. */
export function sameLine(lines: readonly Line[], line: Line): Line | undefined {
  const side = sideOf(line);
  const no = numberOf(line, side) ?? 0;
  let best: Line | undefined;
  let distance = Number.POSITIVE_INFINITY;
  for (const candidate of lines) {
    if (candidate.text !== line.text || sideOf(candidate) !== side) continue;
    const away = Math.abs((numberOf(candidate, side) ?? 0) - no);
    if (away >= distance) continue;
    best = candidate;
    distance = away;
  }
  return best;
}
