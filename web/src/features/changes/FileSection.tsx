import { useQuery } from "@tanstack/react-query";
import { ChevronRight, Ellipsis, FileWarning, Undo2 } from "lucide-react";
import {
  type MouseEvent,
  memo,
  type PointerEvent,
  type ReactNode,
  useImperativeHandle,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import {
  type ChangedFile,
  type Comment,
  type Comparison,
  changesApi,
  type FileDiff,
  keyOf,
  type Line,
  type Side,
} from "../../api/changes";
import { asApiError } from "../../api/client";
import { Button } from "../../ui/Button";
import { copyText } from "../../ui/CopyButton";
import { ErrorNote } from "../../ui/ErrorNote";
import { Menu, MenuItem, MenuLine } from "../../ui/Menu";
import { Tip } from "../../ui/Tip";
import { say } from "../../ui/toasts";
import { CommentCard, type CommentCardProps, DraftBox } from "./CommentBox";
import { languageOf } from "./code";
import { badgesOf, scopeLabel, sizeText } from "./describe";
import type { Draft } from "./drafts";
import { inTurn } from "./gate";
import { Images } from "./Images";
import { Lines, type LinesContext, spotKey } from "./Lines";
import {
  anchorOf,
  emphasis,
  grow,
  layOut,
  linesLabel,
  numberOf,
  pair,
  placeOf,
  type Range,
  rangeBetween,
  type Span,
  type Spot,
  sameLine,
  sideOf,
} from "./layout";
import { rangeOf } from "./marks";

/** As much as the server shows around a hunk: in practice the whole file. */
const WHOLE_CONTEXT = 10_000;
/** Drawn for a diff that is being loaded, at most, so that the list does not jump much. */
const MAX_EXPECTED_LINES = 40;
const LINE_HEIGHT = 19;

/** What the panel's keys do in a file. */
export interface FileHandle {
  /** Goes into the lines; false when there are none. */
  enter: () => boolean;
  move: (step: 1 | -1, extend: boolean) => void;
  comment: () => void;
  leave: () => void;
}

/** The line at the top of the view, to find it again when lines above it change. */
export interface ViewAnchor {
  key: string;
  side: Side;
  no: number;
  top: number;
}

export interface FileActions {
  fold: (file: ChangedFile, folded: boolean) => void;
  view: (file: ChangedFile, viewed: boolean) => void;
  discard: (file: ChangedFile, hunk?: FileDiff["hunks"][number]) => void;
  draft: (anchor: Draft["anchor"]) => void;
  saveDraft: (draft: Draft, text: string) => Promise<void>;
  closeDraft: (draft: Draft) => void;
  edit: (comment: Comment) => void;
  remove: (comment: Comment) => void;
  /** Goes to where a comment's lines are, in the scope that it was written in. */
  show: (comment: Comment) => void;
  /** The comment that was gone to is on the page. */
  arrive: (target: object, card: HTMLElement) => void;
  /** Whether the file's lines have the keyboard. */
  lines: (file: ChangedFile, inside: boolean) => void;
  register: (key: string, handle: FileHandle | null) => void;
  anchor: () => ViewAnchor | undefined;
}

export interface FileSectionProps {
  comparison: Comparison;
  file: ChangedFile;
  /** Stands for what the tree is compared with: another base, another diff. */
  base: string;
  folded: boolean;
  viewed: boolean;
  current: boolean;
  split: boolean;
  /** Characters that fit into a line. */
  width: number;
  comments: readonly Comment[];
  drafts: readonly Draft[];
  /** Whether lines that were written about are of another base than the one that is shown. */
  isElsewhere: (written: Pick<Comment, "anchor" | "placement">) => boolean;
  /** A comment that is to come into view. */
  target: Target | undefined;
  actions: FileActions;
}

export interface Target {
  comment: Comment;
}

export const NO_LINES: readonly Line[] = [];

/** Large and generated files that were asked for, while the page lives: one that leaves the view and comes back stays open. */
const asked = new Set<string>();
function useAsked(name: string): [boolean, () => void] {
  const [is, setIs] = useState(() => asked.has(name));
  const ask = () => {
    asked.add(name);
    setIs(true);
  };
  return [is, ask];
}

function Counts({ file }: { file: ChangedFile }) {
  if (!file.added && !file.removed) return null;
  return (
    <span className="counts">
      {!!file.added && <span className="added">+{file.added.toLocaleString()}</span>}
      {!!file.removed && <span className="removed">−{file.removed.toLocaleString()}</span>}
    </span>
  );
}

function FileHead(props: FileSectionProps & { canDiscard: boolean }) {
  const { file, folded, viewed, actions, canDiscard } = props;
  const path = file.path.text;
  const slash = path.lastIndexOf("/") + 1;
  return (
    <div className="change-head" data-current={props.current || undefined}>
      <button
        type="button"
        className="change-fold"
        aria-expanded={!folded}
        onClick={() => actions.fold(file, !folded)}
        title={file.old_path ? `${file.old_path.text} → ${path}` : path}
      >
        <ChevronRight size={14} className={folded ? "" : "turned"} aria-hidden="true" />
        <code className="change-path">
          {file.old_path && (
            <>
              <span className="change-old">{file.old_path.text}</span>
              <span aria-hidden="true"> → </span>
              <span className="hidden-text"> {file.status === "copied" ? "copied" : "renamed"} to </span>
            </>
          )}
          <span className="change-folder">{path.slice(0, slash)}</span>
          <span className="change-name">{path.slice(slash)}</span>
        </code>
      </button>
      <Counts file={file} />
      {badgesOf(file).map(({ text, warning }) =>
        warning ? (
          <Tip key={text} text={warning}>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: its reason must be reachable by keyboard */}
            <span className="badge need" tabIndex={0}>
              <FileWarning aria-hidden="true" />
              {text}
            </span>
          </Tip>
        ) : (
          <span key={text} className="badge">
            {text}
          </span>
        ),
      )}
      <span className="spacer" />
      <label className="change-viewed">
        <input
          type="checkbox"
          checked={viewed}
          onChange={(event) => actions.view(file, event.target.checked)}
          aria-label={`Viewed ${path}`}
        />
        <span aria-hidden="true">Viewed</span>
      </label>
      <Menu
        trigger={
          <button type="button" className="btn ghost icon" aria-label={`Actions for ${path}`}>
            <Ellipsis size={16} />
          </button>
        }
      >
        <MenuItem onSelect={() => void copyText(path).then(() => say("Path copied"))}>Copy path</MenuItem>
        {canDiscard && (
          <>
            <MenuLine />
            <MenuItem icon={<Undo2 size={16} />} danger onSelect={() => actions.discard(file)}>
              Discard changes to this file
            </MenuItem>
          </>
        )}
      </Menu>
    </div>
  );
}

function Note({ children }: { children: ReactNode }) {
  return <div className="change-note">{children}</div>;
}

/** What is said in place of lines. */
function noLines(file: ChangedFile, diff: FileDiff, ignoreWhitespace: boolean): string {
  if (!diff.file) return "This file is not changed any more.";
  const size = file.size == null ? "" : `, ${sizeText(file.size)}`;
  if (file.binary) return file.status === "deleted" ? "A binary file, deleted." : `A binary file${size}.`;
  if (file.status === "renamed" || file.status === "copied") return "Its content did not change.";
  if (file.status === "mode_changed") return "Only its mode changed.";
  if (file.size === 0) return "An empty file.";
  if (ignoreWhitespace) return "Only white space changed.";
  return "No lines changed.";
}

const short = (commit: string | null | undefined) => (commit ? commit.slice(0, 12) : "nothing");

/** One changed file: its head, and its diff as far as it is unfolded. */
export const FileSection = memo((props: FileSectionProps) => {
  const { file, folded, comparison, actions } = props;
  const [revealed, reveal] = useAsked(`generated ${comparison.session} ${keyOf(file.path)}`);
  const canDiscard = file.status !== "submodule" && file.status !== "conflicted";
  // A repository in the repository has no lines that one could be spared.
  const waits = file.generated && file.status !== "submodule" && !revealed;
  return (
    <section className="change" aria-label={file.path.text} data-file={keyOf(file.path)}>
      <FileHead {...props} canDiscard={canDiscard} />
      {!folded &&
        (waits ? (
          <Waiting {...props} onShow={reveal}>
            A generated file
            {file.size != null && `, ${sizeText(file.size)}`}. Nobody wrote it by hand.
          </Waiting>
        ) : (
          <FileBody
            {...props}
            key={`${comparison.scope}${comparison.ignoreWhitespace}`}
            discardHunk={
              canDiscard && !comparison.ignoreWhitespace ? (hunk) => actions.discard(file, hunk) : undefined
            }
          />
        ))}
    </section>
  );
});

function FileBody(props: FileSectionProps & { discardHunk?: (hunk: FileDiff["hunks"][number]) => void }) {
  const { comparison, file, base } = props;
  const [full, showFull] = useAsked(`large ${comparison.session} ${keyOf(file.path)}`);
  const { data, error, refetch } = useQuery({
    queryKey: ["diff", comparison, keyOf(file.path), file.fingerprint, base, full],
    queryFn: ({ signal }) => inTurn(signal, () => changesApi.diff(comparison, file, { full }, signal)),
    // What was there stays until its successor is.
    placeholderData: (before) => before,
    staleTime: Number.POSITIVE_INFINITY,
    structuralSharing: false,
    retry: false,
  });
  if (error && !data) {
    return (
      <div className="change-note">
        <ErrorNote error={asApiError(error, "Load diff")}>
          <Button onClick={() => void refetch()}>Try again</Button>
        </ErrorNote>
      </div>
    );
  }
  if (!data) {
    const lines = Math.min(MAX_EXPECTED_LINES, (file.added ?? 0) + (file.removed ?? 0) + 6);
    return <div className="change-loading" style={{ height: lines * LINE_HEIGHT }} aria-busy="true" />;
  }
  if (data.folded) {
    return (
      <Waiting {...props} onShow={showFull}>
        A large diff: {data.folded.lines.toLocaleString()} lines, {sizeText(data.folded.bytes)}.
      </Waiting>
    );
  }
  return <DiffBody {...props} diff={data} full={full} />;
}

/** A diff that is not drawn before somebody asks for it. */
function Waiting(props: FileSectionProps & { onShow: () => void; children: ReactNode }) {
  const { file, actions, onShow } = props;
  useFileHandle(actions, keyOf(file.path), {
    enter: () => {
      onShow();
      return false;
    },
    move: () => {},
    comment: () => {},
    leave: () => {},
  });
  return (
    <>
      <Note>
        <span>{props.children}</span>
        <Button onClick={onShow}>Show</Button>
      </Note>
      <Elsewhere {...props} lines={NO_LINES} />
    </>
  );
}

/** Gives the panel's keys what they do in this file, as long as it is drawn. */
function useFileHandle(actions: FileActions, key: string, handle: FileHandle): void {
  const latest = useRef(handle);
  useLayoutEffect(() => {
    latest.current = handle;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the handle belongs to this file
  useImperativeHandle(
    (made: FileHandle | null) => actions.register(key, made),
    () => ({
      enter: () => latest.current.enter(),
      move: (step, extend) => latest.current.move(step, extend),
      comment: () => latest.current.comment(),
      leave: () => latest.current.leave(),
    }),
    [actions, key],
  );
}

/** Drafts and comments whose lines are not in the diff. */
export function Elsewhere({
  comments,
  drafts,
  isElsewhere,
  target,
  actions,
  lines,
}: Pick<FileSectionProps, "comments" | "drafts" | "isElsewhere" | "target" | "actions"> & {
  lines: readonly Line[];
}) {
  const has = (range: Range) => lines.some((line) => numberOf(line, range.side) === range.end);
  const lost = comments.filter(
    (comment) => isElsewhere(comment) || comment.placement?.kind === "outdated" || !has(rangeOf(comment)),
  );
  const homeless = drafts.filter(
    (draft) => !draft.edits && (isElsewhere(draft) || !placeOf(lines, draft.anchor)),
  );
  const shown = lost.filter((comment) => comment.state === "draft");
  if (shown.length + homeless.length === 0) return null;
  return (
    <div className="stray-comments">
      {shown.map((comment) => (
        <Written
          key={comment.id}
          comment={comment}
          draft={drafts.find((draft) => draft.edits === comment.id)}
          target={target}
          actions={actions}
          onShow={isElsewhere(comment) ? actions.show : undefined}
          apart
        />
      ))}
      {homeless.map((draft) => (
        <Writing
          key={draft.id}
          draft={draft}
          label={
            isElsewhere(draft)
              ? `${scopeLabel(draft.anchor.scope ?? "branch")} ${linesLabel(writtenOn(draft))}`
              : linesLabel(writtenOn(draft))
          }
          actions={actions}
        />
      ))}
    </div>
  );
}

interface WritingProps {
  draft: Draft;
  label: string;
  actions: FileActions;
}

function Writing({ draft, label, actions }: WritingProps) {
  return <DraftBox draft={draft} label={label} onSave={actions.saveDraft} onClose={actions.closeDraft} />;
}

type WrittenProps = Pick<FileSectionProps, "target" | "actions"> &
  Pick<CommentCardProps, "comment" | "onShow" | "apart"> & {
    /** What it is to become, while a person changes it here. */
    draft?: Draft;
  };

/** A comment, or the box that it is changed in. */
function Written({ comment, draft, target, actions, onShow, apart }: WrittenProps) {
  if (draft) return <Writing draft={draft} label={linesLabel(rangeOf(comment))} actions={actions} />;
  return (
    <CommentCard
      comment={comment}
      onEdit={actions.edit}
      onRemove={actions.remove}
      target={comment.id === target?.comment.id ? target : undefined}
      onArrive={actions.arrive}
      onShow={onShow}
      apart={apart}
    />
  );
}

/** Where it was written. */
const writtenOn = ({ anchor }: Draft): Range => ({
  side: anchor.side,
  start: anchor.start_line,
  end: anchor.end_line,
});

/** What stands below lines, by the line. */
function useBelow(props: FileSectionProps, lines: readonly Line[]): ReadonlyMap<string, ReactNode> {
  const { comments, drafts, isElsewhere, target, actions } = props;
  return useMemo(() => {
    const below = new Map<string, ReactNode[]>();
    const put = ({ side, end }: Range, node: ReactNode) => {
      const key = spotKey(side, end);
      below.set(key, [...(below.get(key) ?? []), node]);
    };
    const editing = new Map(drafts.flatMap((draft) => (draft.edits ? [[draft.edits, draft] as const] : [])));
    for (const comment of comments) {
      if (comment.placement?.kind === "outdated" || isElsewhere(comment)) continue;
      const range = rangeOf(comment);
      const draft = editing.get(comment.id);
      put(
        range,
        <Written key={comment.id} comment={comment} draft={draft} target={target} actions={actions} />,
      );
    }
    for (const draft of drafts) {
      if (draft.edits || isElsewhere(draft)) continue;
      const range = placeOf(lines, draft.anchor);
      if (!range) continue;
      put(range, <Writing key={draft.id} draft={draft} label={linesLabel(range)} actions={actions} />);
    }
    return below;
  }, [comments, drafts, isElsewhere, target, actions, lines]);
}

function spotAt(target: EventTarget | null): Spot | undefined {
  if (!(target instanceof Element)) return undefined;
  const holder = target.closest<HTMLElement>("[data-no]");
  const { side, no } = holder?.dataset ?? {};
  return side && no ? { side: side as Side, no: Number(no) } : undefined;
}

function DiffBody(
  props: FileSectionProps & {
    diff: FileDiff;
    full: boolean;
    discardHunk?: (hunk: FileDiff["hunks"][number]) => void;
  },
) {
  const { comparison, file, base, split, width, actions, diff, discardHunk } = props;
  const key = keyOf(file.path);
  const root = useRef<HTMLDivElement>(null);
  const [shown, setShown] = useState<readonly Span[]>([]);
  const [dragged, setDragged] = useState<{ from: Spot; to: Spot }>();
  const [cursor, setCursor] = useState<{ from: Spot; to: Spot }>();
  const whole = useQuery({
    queryKey: ["diff", comparison, key, file.fingerprint, base, "whole"],
    queryFn: ({ signal }) =>
      changesApi.diff(comparison, file, { full: true, context: WHOLE_CONTEXT }, signal),
    enabled: shown.length > 0,
    placeholderData: (before) => before,
    staleTime: Number.POSITIVE_INFINITY,
    structuralSharing: false,
    retry: false,
  });
  const unchanged = useMemo(() => {
    if (!whole.data) return undefined;
    const lines = whole.data.hunks.flatMap((hunk) => hunk.lines);
    return new Map(
      lines.flatMap((line) => (line.kind === "context" && line.new_no ? [[line.new_no, line] as const] : [])),
    );
  }, [whole.data]);

  const rows = useMemo(() => {
    const all = layOut(diff.hunks, unchanged, shown);
    const [first] = all;
    // The head of a hunk that begins the file and is all of its change says nothing.
    const isAll = diff.hunks.length === 1 && first?.kind === "gap" && !first.hidden && !first.section;
    return isAll ? all.slice(1) : all;
  }, [diff.hunks, unchanged, shown]);
  const lines = useMemo(() => rows.flatMap((row) => (row.kind === "line" ? [row.line] : [])), [rows]);
  const drawn = useMemo(() => (split ? pair(rows) : rows), [rows, split]);
  const marks = useMemo(() => emphasis(rows), [rows]);
  const below = useBelow(props, lines);
  const chosen = useMemo(() => {
    const spots = dragged ?? cursor;
    return spots && rangeBetween(lines, spots.from, spots.to);
  }, [dragged, cursor, lines]);

  useStayInView(root, key, lines, actions);

  const draftOn = (range: Range) =>
    actions.draft({
      ...anchorOf(lines, file.path, comparison.scope, range),
      ...(file.old_path && { old_path: file.old_path }),
    });
  const show = (spot: Spot) =>
    root.current
      ?.querySelector(`[data-side="${spot.side}"][data-no="${spot.no}"]`)
      ?.scrollIntoView({ block: "nearest" });
  const spotOf = (line: Line): Spot => ({ side: sideOf(line), no: numberOf(line, sideOf(line)) ?? 0 });

  useFileHandle(actions, key, {
    enter: () => {
      const line = lines.find((candidate) => candidate.kind !== "context") ?? lines[0];
      if (!line) return false;
      const spot = spotOf(line);
      setCursor({ from: spot, to: spot });
      actions.lines(file, true);
      show(spot);
      return true;
    },
    move: (step, extend) => {
      if (!cursor) return;
      const at = lines.findIndex((line) => {
        const spot = spotOf(line);
        return spot.side === cursor.to.side && spot.no === cursor.to.no;
      });
      const next = lines[Math.max(0, Math.min(lines.length - 1, at + step))];
      if (!next) return;
      const spot = spotOf(next);
      setCursor({ from: extend ? cursor.from : spot, to: spot });
      show(spot);
    },
    comment: () => chosen && draftOn(chosen),
    leave: () => {
      setCursor(undefined);
      actions.lines(file, false);
    },
  });

  const onPointerDown = (event: PointerEvent<HTMLElement>) => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    if (!(event.target instanceof Element) || !event.target.closest(".number")) return;
    const spot = spotAt(event.target);
    if (!spot) return;
    event.preventDefault();
    event.currentTarget.setPointerCapture(event.pointerId);
    setDragged({ from: spot, to: spot });
  };
  const onPointerMove = (event: PointerEvent) => {
    if (!dragged) return;
    const spot = spotAt(document.elementFromPoint(event.clientX, event.clientY));
    if (spot && (spot.no !== dragged.to.no || spot.side !== dragged.to.side)) {
      setDragged({ ...dragged, to: spot });
    }
  };
  const onPointerUp = () => {
    if (!dragged) return;
    setDragged(undefined);
    draftOn(rangeBetween(lines, dragged.from, dragged.to));
  };
  /** By keyboard, or a finger on the line's number. The mouse is dealt with above. */
  const onClick = (event: MouseEvent) => {
    const touched =
      event.nativeEvent instanceof globalThis.PointerEvent && event.nativeEvent.pointerType === "touch";
    if (event.detail !== 0 && !touched) return;
    if (!(event.target instanceof Element) || !event.target.closest(".number")) return;
    const spot = spotAt(event.target);
    if (spot) draftOn({ side: spot.side, start: spot.no, end: spot.no });
  };

  const context: LinesContext = useMemo(
    () => ({
      language: languageOf(file.path.text),
      marks,
      chosen,
      below,
      onGrow: (hidden, direction, row) => {
        const before = rows.slice(0, row).findLast((candidate) => candidate.kind === "line");
        const next = before?.kind === "line" ? (before.line.new_no ?? 0) + 1 : 1;
        setShown((spans) => [...spans, grow(hidden, direction, next)]);
      },
      onDiscard:
        discardHunk &&
        ((index) => {
          const hunk = diff.hunks[index];
          if (hunk) discardHunk(hunk);
        }),
    }),
    [file.path.text, marks, chosen, below, rows, diff.hunks, discardHunk],
  );

  return (
    <>
      <Elsewhere {...props} lines={lines} />
      {diff.image && <Images comparison={comparison} file={file} sides={diff.image} base={base} />}
      {diff.submodule && (
        <Note>
          <span>
            Submodule: <code>{short(diff.submodule.old)}</code> → <code>{short(diff.submodule.new)}</code>
          </span>
        </Note>
      )}
      {drawn.length > 0 ? (
        // biome-ignore lint/a11y/noStaticElementInteractions: the buttons in it are what one acts on
        // biome-ignore lint/a11y/useKeyWithClickEvents: they are buttons, which keys press by themselves
        <div
          ref={root}
          className={dragged ? "change-lines dragging" : "change-lines"}
          onPointerDown={onPointerDown}
          onPointerMove={onPointerMove}
          onPointerUp={onPointerUp}
          onPointerCancel={() => setDragged(undefined)}
          onClick={onClick}
        >
          <Lines rows={drawn} split={split} context={context} width={width} />
        </div>
      ) : (
        !diff.image &&
        !diff.submodule && (
          <Note>
            <span>{noLines(file, diff, comparison.ignoreWhitespace)}</span>
          </Note>
        )
      )}
      {diff.truncated && (
        <Note>
          <span>
            The end is left out: the diff is longer than a page can show. Download the patch for all of it.
          </span>
        </Note>
      )}
    </>
  );
}

/** When lines come or go above what one looks at, what one looks at stays where it is. */
function useStayInView(
  root: React.RefObject<HTMLDivElement | null>,
  key: string,
  lines: readonly Line[],
  actions: FileActions,
): void {
  const before = useRef(lines);
  useLayoutEffect(() => {
    const old = before.current;
    before.current = lines;
    if (old === lines) return;
    const anchor = actions.anchor();
    const scroller = root.current?.closest(".changes-scroll");
    if (anchor?.key !== key || !scroller) return;
    const was = old.find((line) => numberOf(line, anchor.side) === anchor.no);
    const now = was && sameLine(lines, was);
    if (!now) return;
    const row = root.current?.querySelector(
      `[data-side="${sideOf(now)}"][data-no="${numberOf(now, sideOf(now))}"]`,
    );
    if (!row) return;
    scroller.scrollTop += row.getBoundingClientRect().top - anchor.top;
  }, [root, key, lines, actions]);
}
