/**
 * The lines of a file's diff. Long ones are drawn in blocks, only those near the view; a block that
 * is not drawn has the height that its lines would have.
 */
import { ChevronDown, ChevronsUpDown, ChevronUp, Plus, Undo2 } from "lucide-react";
import { Fragment, memo, type ReactNode, useEffect, useRef, useState } from "react";
import type { Line, Side } from "../../api/changes";
import { IconButton } from "../../ui/Button";
import { Code, type languageOf } from "./code";
import { numberOf, type Range, type Row, type Span, type SplitRow, sideOf } from "./layout";

/** Lines of one block. */
const BLOCK = 80;
/** Height of a line, in pixels: `--code-text`. */
const LINE_HEIGHT = 19;
/** Below and above the view, in pixels, everything is drawn already. */
const AHEAD = "900px 0px";

export interface LinesContext {
  language: ReturnType<typeof languageOf>;
  marks: ReadonlyMap<Line, readonly [number, number]>;
  /** The lines that are being chosen for a comment, or have the cursor. */
  chosen: Range | undefined;
  /** What belongs below a line: comments and drafts. */
  below: ReadonlyMap<string, ReactNode>;
  onGrow: (hidden: Span | "rest", direction: "up" | "down" | "all", row: number) => void;
  /** Takes a hunk back; none when that can't be done. */
  onDiscard: ((hunk: number) => void) | undefined;
}

export const spotKey = (side: Side, no: number) => `${side}:${no}`;

const isChosen = (chosen: Range | undefined, line: Line, side: Side) => {
  const no = numberOf(line, side);
  return (
    chosen !== undefined && no !== undefined && chosen.side === side && no >= chosen.start && no <= chosen.end
  );
};

/** The number of a line, with the button that comments on it. Drags begin here. */
function Gutter({ line, side, commentable }: { line?: Line; side: Side; commentable: boolean }) {
  const no = line && numberOf(line, side);
  return (
    <td className="number" data-side={side} data-no={no}>
      {no}
      {no !== undefined && commentable && (
        <button
          type="button"
          className="add-comment"
          tabIndex={-1}
          data-side={side}
          data-no={no}
          aria-label={`Comment on ${side === "old" ? "old line" : "line"} ${no}`}
        >
          <Plus size={13} aria-hidden="true" />
        </button>
      )}
    </td>
  );
}

const SIGN: Record<Line["kind"], string> = { added: "+", removed: "−", context: "" };

function Text({ line, context }: { line: Line; context: LinesContext }) {
  return (
    <>
      <Code text={line.text} language={context.language} mark={context.marks.get(line)} />
      {line.cut && <span className="line-note"> … the line goes on</span>}
      {line.no_newline && <span className="line-note"> no newline at the end</span>}
    </>
  );
}

function GapRow({
  row,
  index,
  columns,
  context,
}: {
  row: Extract<Row, { kind: "gap" }>;
  index: number;
  columns: number;
  context: LinesContext;
}) {
  const { hidden, hunk } = row;
  const count = hidden && hidden !== "rest" ? hidden.to - hidden.from + 1 : undefined;
  const isTop = hidden !== undefined && hidden !== "rest" && hidden.from === 1;
  const canDiscard = hunk !== undefined && context.onDiscard;
  return (
    <tr className="gap">
      <td colSpan={columns}>
        <div>
          {hidden && !isTop && (
            <IconButton label="Show 20 more lines" onClick={() => context.onGrow(hidden, "down", index)}>
              <ChevronDown size={14} />
            </IconButton>
          )}
          {hidden && hidden !== "rest" && (
            <IconButton label="Show 20 lines before" onClick={() => context.onGrow(hidden, "up", index)}>
              <ChevronUp size={14} />
            </IconButton>
          )}
          {hidden && (count === undefined || count > 20) && (
            <IconButton label="Show all hidden lines" onClick={() => context.onGrow(hidden, "all", index)}>
              <ChevronsUpDown size={14} />
            </IconButton>
          )}
          <span className="gap-text truncate">
            {count !== undefined && `${count.toLocaleString()} ${count === 1 ? "line" : "lines"}`}
            {count !== undefined && row.section && " · "}
            {row.section}
          </span>
          <span className="spacer" />
          {canDiscard && (
            <IconButton className="hunk-discard" label="Discard this hunk" onClick={() => canDiscard(hunk)}>
              <Undo2 size={14} />
            </IconButton>
          )}
        </div>
      </td>
    </tr>
  );
}

function Below({ spots, columns, context }: { spots: string[]; columns: number; context: LinesContext }) {
  const found = spots.flatMap((spot) => {
    const node = context.below.get(spot);
    return node ? [<Fragment key={spot}>{node}</Fragment>] : [];
  });
  if (found.length === 0) return null;
  return (
    <tr className="below">
      <td colSpan={columns}>{found}</td>
    </tr>
  );
}

const spotsOf = (line: Line | undefined, sides: readonly Side[]) =>
  line
    ? sides.flatMap((side) =>
        numberOf(line, side) === undefined ? [] : [spotKey(side, numberOf(line, side) ?? 0)],
      )
    : [];

function UnifiedRow({ row, index, context }: { row: Row; index: number; context: LinesContext }) {
  if (row.kind === "gap") return <GapRow row={row} index={index} columns={4} context={context} />;
  const { line } = row;
  const side = sideOf(line);
  const chosen = isChosen(context.chosen, line, side) ? " chosen" : "";
  const sides: Side[] = line.kind === "context" ? ["old", "new"] : [side];
  return (
    <>
      <tr className={line.kind + chosen} data-side={side} data-no={numberOf(line, side)}>
        <Gutter line={line} side="old" commentable={line.kind === "removed"} />
        <Gutter line={line} side="new" commentable={line.kind !== "removed"} />
        <td className="sign">{SIGN[line.kind]}</td>
        <td className="text">
          <Text line={line} context={context} />
        </td>
      </tr>
      <Below spots={spotsOf(line, sides)} columns={4} context={context} />
    </>
  );
}

function Half({ line, side, context }: { line?: Line; side: Side; context: LinesContext }) {
  const kind = line ? line.kind : "nothing";
  const chosen = line && isChosen(context.chosen, line, side) ? " chosen" : "";
  return (
    <>
      <Gutter line={line} side={side} commentable />
      <td className={`text ${kind}${chosen}`} data-side={side} data-no={line && numberOf(line, side)}>
        {line && <Text line={line} context={context} />}
      </td>
    </>
  );
}

function SideBySide({ row, index, context }: { row: SplitRow; index: number; context: LinesContext }) {
  if (row.kind === "gap") return <GapRow row={row} index={index} columns={4} context={context} />;
  const { left, right } = row;
  return (
    <>
      <tr className={`pair l-${left?.kind ?? "nothing"} r-${right?.kind ?? "nothing"}`}>
        <Half line={left} side="old" context={context} />
        <Half line={right} side="new" context={context} />
      </tr>
      <Below spots={[...spotsOf(left, ["old"]), ...spotsOf(right, ["new"])]} columns={4} context={context} />
    </>
  );
}

interface BlockProps {
  rows: readonly (Row | SplitRow)[];
  first: number;
  split: boolean;
  context: LinesContext;
  /** Characters that fit into a line. */
  width: number;
}

const textOf = (row: Row | SplitRow) =>
  row.kind === "line"
    ? row.line.text.length
    : row.kind === "pair"
      ? Math.max(row.left?.text.length ?? 0, row.right?.text.length ?? 0)
      : 0;

const Block = memo(({ rows, first, split, context, width }: BlockProps) => (
  <table className={split ? "lines split" : "lines unified"} data-width={width}>
    <colgroup>
      <col className="col-number" />
      <col className={split ? "col-half" : "col-number"} />
      <col className={split ? "col-number" : "col-sign"} />
      <col />
    </colgroup>
    <tbody>
      {rows.map((row, i) =>
        split ? (
          // biome-ignore lint/suspicious/noArrayIndexKey: a row is its place in the file
          <SideBySide key={i} row={row as SplitRow} index={first + i} context={context} />
        ) : (
          // biome-ignore lint/suspicious/noArrayIndexKey: a row is its place in the file
          <UnifiedRow key={i} row={row as Row} index={first + i} context={context} />
        ),
      )}
    </tbody>
  </table>
));

/** Draws a block when it comes near the view; before, it only takes its place. */
function NearBlock(props: BlockProps & { always: boolean }) {
  const place = useRef<HTMLDivElement>(null);
  const [near, setNear] = useState(false);
  const drawn = near || props.always;
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const observer = new IntersectionObserver((entries) => setNear(entries.at(-1)?.isIntersecting ?? false), {
      root: element.closest(".changes-scroll"),
      rootMargin: AHEAD,
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const lines = drawn
    ? 0
    : props.rows.reduce((sum, row) => sum + Math.max(1, Math.ceil(textOf(row) / props.width)), 0);
  return (
    <div ref={place} style={drawn ? undefined : { height: lines * LINE_HEIGHT }}>
      {drawn && <Block {...props} />}
    </div>
  );
}

const hasBelow = (rows: readonly (Row | SplitRow)[], below: LinesContext["below"]) =>
  below.size > 0 &&
  rows.some((row) => {
    const lines = row.kind === "line" ? [row.line] : row.kind === "pair" ? [row.left, row.right] : [];
    return lines.some((line) => spotsOf(line, ["old", "new"]).some((spot) => below.has(spot)));
  });

export function Lines({
  rows,
  split,
  context,
  width,
}: {
  rows: readonly (Row | SplitRow)[];
  split: boolean;
  context: LinesContext;
  width: number;
}) {
  if (rows.length <= 2 * BLOCK)
    return <Block rows={rows} first={0} split={split} context={context} width={width} />;
  const blocks: ReactNode[] = [];
  for (let first = 0; first < rows.length; first += BLOCK) {
    const part = rows.slice(first, first + BLOCK);
    blocks.push(
      <NearBlock
        key={first}
        rows={part}
        first={first}
        split={split}
        context={context}
        width={width}
        always={hasBelow(part, context.below)}
      />,
    );
  }
  return blocks;
}
