import {
  CirclePlay,
  Columns2,
  Download,
  Ellipsis,
  FileWarning,
  FoldVertical,
  PanelLeft,
  RotateCw,
  Rows3,
  UnfoldVertical,
  X,
} from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Virtualizer, type VirtualizerHandle } from "virtua";
import {
  type ChangedFile,
  type Comment,
  type Comparison,
  changesApi,
  keyOf,
  type Scope,
} from "../../api/changes";
import type { WatchMode } from "../../api/types";
import { useCommands } from "../../keys/registry";
import { Button, IconButton } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { ChoiceMenu, Menu, MenuItem, MenuLine } from "../../ui/Menu";
import { Rows } from "../../ui/Rows";
import { useStored } from "../../ui/storage";
import { Tip } from "../../ui/Tip";
import { say, sayError } from "../../ui/toasts";
import { writingComment } from "./CommentBox";
import "./changes.css";
import { baseDetail, headNote, isElsewhere, SCOPES, scopeLabel, watchNote } from "./describe";
import { type Draft, draftText, useDrafts } from "./drafts";
import {
  Elsewhere,
  type FileActions,
  type FileHandle,
  FileSection,
  type FileSectionProps,
  NO_LINES,
  type Target,
  type ViewAnchor,
} from "./FileSection";
import { FileTree } from "./FileTree";
import { groupBy } from "./group";
import type { ChangeList } from "./list";
import type { Views } from "./marks";
import { pathOf, useCommentActions } from "./marks";
import { readPanelUrl, writePanelUrl } from "./url";

/** From this width on, in pixels, two columns fit; a window of 1440 has it beside its list and a chat. */
const SPLIT_FROM = 860;
/** Below it they never do. */
const SPLIT_NEVER = 560;
/** From this width on there is room for the tree. */
const TREE_FROM = 680;
/** Below it the tree takes the place of the diffs until a file is chosen. */
const TREE_BESIDE = 480;
/** The tree's own width. */
const TREE_WIDTH = 220;
/** From this width on the bar has room for words. */
const WORDS_FROM = 640;
/** Width of a character of `--code-text`, in pixels. */
const CHARACTER = 7.2;
/** What a line's numbers and sign take, in pixels. */
const GUTTERS = 110;
const HEAD_HEIGHT = 36;
/** How many frames a list takes at most until every file in view has its height. */
const SETTLE_FRAMES = 8;

export interface PanelOptions {
  scope: Scope;
  ignoreWhitespace: boolean;
}

export interface ChangesPanelProps {
  session: string;
  /** The primary workspace's folder, in a session that has several. */
  folder: string | undefined;
  /** Why there is nothing to compare with, when there is no repository. */
  nothing: string;
  list: ChangeList & { again: () => void };
  options: PanelOptions;
  onOptions: (options: PanelOptions) => void;
  comments: readonly Comment[];
  views: Views;
  running: boolean;
  /** Starts the sandbox; none when it can't be started. */
  onStart: (() => void) | undefined;
  onClose: (() => void) | undefined;
  /** How the working tree is watched. */
  watch: WatchMode | undefined;
  /** A comment to bring into view; another object, another time. */
  target: Target | undefined;
  /** Brings a comment into view, in the scope that its lines are in. */
  onShow: (comment: Comment) => void;
}

type View = "auto" | "split" | "unified";
const NO_COMMENTS: readonly Comment[] = [];
const NO_DRAFTS: readonly Draft[] = [];

function useWidth(): [React.RefCallback<HTMLElement>, number] {
  const [width, setWidth] = useState(0);
  const observer = useRef<ResizeObserver>(undefined);
  const ref = useCallback((element: HTMLElement | null) => {
    observer.current?.disconnect();
    if (!element) return;
    setWidth(element.clientWidth);
    observer.current = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.current.observe(element);
  }, []);
  return [ref, width];
}

export default function ChangesPanel(props: ChangesPanelProps) {
  const { session, folder, list, options, onOptions, views, running, target } = props;
  const [area, width] = useWidth();
  const [view, setView] = useStored<View>("diff-view", "auto");
  const [treeWanted, setTreeWanted] = useStored<boolean | null>(`tree:${session}`, null);
  const [linked] = useState(() => readPanelUrl(location.search));
  // A link's view counts until the person chooses another.
  const [linkedView, setLinkedView] = useState(linked.view);
  const chosenView = linkedView ?? view;
  const split =
    width >= SPLIT_NEVER && (chosenView === "auto" ? width >= SPLIT_FROM : chosenView === "split");
  // A tree that hides the diffs is opened to choose from, and not remembered.
  const [treeOver, setTreeOver] = useState(false);
  const isNarrow = width < TREE_BESIDE;
  const showTree = list.files.length > 1 && (isNarrow ? treeOver : (treeWanted ?? width >= TREE_FROM));
  const setTree = isNarrow ? setTreeOver : setTreeWanted;
  const comparison: Comparison = useMemo(
    () => ({ session, folder, scope: options.scope, ignoreWhitespace: options.ignoreWhitespace }),
    [session, folder, options.scope, options.ignoreWhitespace],
  );
  const chooseView = (next: "split" | "unified") => {
    setLinkedView(undefined);
    setView(next);
  };
  // What the link, a chip or the bar names is brought into view once it is there.
  const [wanted, setWanted] = useState(linked.file);
  const [lastTarget, setLastTarget] = useState<Target>();
  if (target !== lastTarget) {
    setLastTarget(target);
    if (target) setWanted(keyOf(pathOf(target.comment)));
  }
  const arrived = useRef<object>(undefined);
  const shared = { ...props, comparison, split, chosenView, wanted, onWanted: setWanted, arrived };
  const viewed = useMemo(() => list.files.filter(views.isViewed).length, [list.files, views]);
  const note = list.head && headNote(list.head);
  const late = watchNote(props.watch);

  return (
    <div className="changes" ref={area}>
      <div className="changes-bar">
        {list.files.length > 1 && width > 0 && (
          <IconButton
            label={showTree ? "Hide file tree" : "Show file tree"}
            aria-pressed={showTree}
            onClick={() => setTree(!showTree)}
          >
            <PanelLeft size={16} />
          </IconButton>
        )}
        <h2>Changes</h2>
        <ChoiceMenu
          trigger={
            <button
              type="button"
              className="btn ghost picker"
              aria-label={`Compare: ${scopeLabel(options.scope)}`}
            >
              <span className="truncate">{scopeLabel(options.scope)}</span>
              <ChevronDown />
            </button>
          }
          value={options.scope}
          choices={SCOPES.map((choice) => ({ ...choice, detail: baseDetail(list.head, choice.value) }))}
          onChoose={(scope) => onOptions({ ...options, scope: scope as Scope })}
        />
        {list.files.length > 0 && (
          <span className="changes-viewed" role="status">
            {viewed} / {list.files.length.toLocaleString()} viewed
          </span>
        )}
        <RunsByItself list={list} words={width >= WORDS_FROM} onJump={setWanted} />
        <span className="spacer" />
        {width >= SPLIT_NEVER && (
          <IconButton
            label={split ? "Show in one column" : "Show side by side"}
            onClick={() => chooseView(split ? "unified" : "split")}
          >
            {split ? <Rows3 size={16} /> : <Columns2 size={16} />}
          </IconButton>
        )}
        <PanelMenu {...shared} />
        {props.onClose && (
          <IconButton label="Hide changes" onClick={props.onClose}>
            <X size={16} />
          </IconButton>
        )}
      </div>
      {note && <p className="changes-note">{note}</p>}
      {late && <p className="changes-note">{late}</p>}
      {list.totals?.truncated && (
        <p className="changes-note">
          Only the first {list.files.length.toLocaleString()} of {list.totals.files.toLocaleString()} changed
          files are listed. Download the patch for all of them.
        </p>
      )}
      {list.error && list.files.length > 0 && (
        <div className="changes-note" role="alert">
          The list may be out of date: {list.error.message}{" "}
          <Button look="ghost" icon={<RotateCw size={14} />} onClick={list.again}>
            Try again
          </Button>
        </div>
      )}
      {running || list.files.length > 0 ? (
        <Review
          {...shared}
          key={`${options.scope} ${folder}`}
          width={width}
          showTree={showTree}
          onTreeDone={() => setTreeOver(false)}
        />
      ) : (
        <Stopped onStart={props.onStart} />
      )}
    </div>
  );
}

/** How many files run by themselves. Each press goes to the next of them. */
function RunsByItself({
  list,
  words,
  onJump,
}: {
  list: ChangeList;
  /** Whether there is room for more than the number. */
  words: boolean;
  onJump: (key: string) => void;
}) {
  const [next, setNext] = useState(0);
  const files = useMemo(() => list.files.filter((file) => file.self_running), [list.files]);
  const count = list.totals?.self_running ?? files.length;
  if (count === 0) return null;
  const label = count === 1 ? "1 file runs by itself" : `${count.toLocaleString()} files run by themselves`;
  return (
    <Tip text={`${label}. Look at it before you trust it.`}>
      <button
        type="button"
        className="btn ghost runs-by-itself"
        aria-label={label}
        onClick={() => {
          // A list that is cut off may have none of them.
          const file = files[next % files.length];
          if (!file) return say("They are among the files that are not listed. Download the patch for all.");
          onJump(keyOf(file.path));
          setNext((next % files.length) + 1);
        }}
      >
        <FileWarning size={14} aria-hidden="true" />
        {words ? label : count.toLocaleString()}
      </button>
    </Tip>
  );
}

function ChevronDown() {
  return (
    <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
      <path d="M3 4.5 6 7.5 9 4.5" fill="none" stroke="currentColor" strokeWidth="1.4" />
    </svg>
  );
}

function Stopped({ onStart }: { onStart: (() => void) | undefined }) {
  return (
    <div className="changes-empty">
      <p>
        {onStart
          ? "The sandbox is stopped, and its files are in it."
          : "Changes show when the session is ready."}
      </p>
      {onStart && (
        <Button icon={<CirclePlay size={16} />} onClick={onStart}>
          Start
        </Button>
      )}
    </div>
  );
}

/** What folding all or unfolding all does; the menu and the list share it. */
const foldAll = new EventTarget();

function PanelMenu({ options, onOptions, comparison, list }: ChangesPanelProps & { comparison: Comparison }) {
  const fold = (folded: boolean) => foldAll.dispatchEvent(new CustomEvent("fold", { detail: folded }));
  return (
    <Menu
      trigger={
        <button type="button" className="btn ghost icon" aria-label="More for changes">
          <Ellipsis size={16} />
        </button>
      }
    >
      <DropdownMenu.CheckboxItem
        className="menu-item"
        checked={options.ignoreWhitespace}
        onCheckedChange={(ignoreWhitespace) => onOptions({ ...options, ignoreWhitespace })}
      >
        <span className="menu-check">
          <DropdownMenu.ItemIndicator>✓</DropdownMenu.ItemIndicator>
        </span>
        Ignore white space
      </DropdownMenu.CheckboxItem>
      <MenuLine />
      <MenuItem icon={<FoldVertical size={16} />} onSelect={() => fold(true)}>
        Fold all files
      </MenuItem>
      <MenuItem icon={<UnfoldVertical size={16} />} onSelect={() => fold(false)}>
        Unfold all files
      </MenuItem>
      <MenuLine />
      <DropdownMenu.Item className="menu-item" asChild disabled={list.files.length === 0}>
        <a href={changesApi.patchUrl(comparison)} download="changes.patch">
          <Download size={16} />
          Download as patch
        </a>
      </DropdownMenu.Item>
    </Menu>
  );
}

const EMPTY: Record<Scope, string> = {
  branch: "No changes yet. What the agent changes shows here at once.",
  uncommitted: "No uncommitted changes. What the agent changes shows here at once.",
  last_turn: "Nothing changed since the last turn began.",
};

function Nothing({ list, nothing, options, onOptions }: ChangesPanelProps) {
  if (list.error) {
    return (
      <div className="changes-empty">
        <ErrorNote error={list.error}>
          <Button icon={<RotateCw size={14} />} onClick={list.again}>
            Try again
          </Button>
        </ErrorNote>
      </div>
    );
  }
  if (list.loading) return <div className="changes-empty" aria-busy="true" />;
  if (list.head && !list.head.repository) {
    return (
      <div className="changes-empty">
        <p>{nothing}, so there is nothing to compare with.</p>
      </div>
    );
  }
  const noTurn = options.scope === "last_turn" && list.head?.base.kind === "none";
  return (
    <div className="changes-empty">
      <p>{noTurn ? "No turn has begun yet." : EMPTY[options.scope]}</p>
      {options.scope !== "branch" && (
        <Button onClick={() => onOptions({ ...options, scope: "branch" })}>Show the whole branch</Button>
      )}
    </div>
  );
}

type ReviewProps = ChangesPanelProps & {
  comparison: Comparison;
  split: boolean;
  /** What the person chose, or that the width decides. */
  chosenView: View;
  /** The key of a file to bring into view. */
  wanted: string | undefined;
  onWanted: (key: string | undefined) => void;
  /** The target that is on the page already: one that is drawn anew later is not gone to again. */
  arrived: React.RefObject<object | undefined>;
  width: number;
  showTree: boolean;
  /** A file was chosen in a tree that hides it. */
  onTreeDone: () => void;
};

/** The tree and the files. */
function Review(props: ReviewProps) {
  const { session, list, comments, views, comparison, split, chosenView, options, width, showTree } = props;
  const { target, wanted, onWanted, arrived, onShow } = props;
  const { files } = list;
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useRef<VirtualizerHandle>(null);
  const handles = useRef(new Map<string, FileHandle>());
  const anchor = useRef<ViewAnchor>(undefined);
  /** Whether the person scrolls, rather than a key or a link. */
  const byHand = useRef(false);
  /** The file that was gone to: it stays at the top while what is around it is still being loaded. */
  const pinned = useRef<string>(undefined);
  /** The file whose lines are gone into as soon as they are drawn. */
  const entering = useRef<string>(undefined);
  const [current, setCurrent] = useState<string>();
  const [folds, setFolds] = useState<ReadonlyMap<string, boolean>>(new Map());
  const [inLines, setInLines] = useState<string>();
  const drafts = useDrafts(comparison.folder ? `${session} ${comparison.folder}` : session);
  const commentActions = useCommentActions(session);

  const index = useMemo(() => new Map(files.map((file, i) => [keyOf(file.path), i])), [files]);
  const byFile = useMemo(() => groupBy(comments, (comment) => keyOf(pathOf(comment))), [comments]);
  const commented = useMemo(
    () => new Set([...byFile.keys(), ...drafts.byFile.keys()]),
    [byFile, drafts.byFile],
  );
  /** The files that are not listed, but were written about. */
  const orphans = useMemo(() => {
    if (!list.totals) return [];
    const paths = [
      ...comments.filter((comment) => comment.state === "draft").map(pathOf),
      ...drafts.drafts.filter((draft) => !draft.edits).map((draft) => draft.anchor.path),
    ];
    const byKey = new Map(paths.map((path) => [keyOf(path), path]));
    return [...byKey].filter(([key]) => !index.has(key));
  }, [comments, drafts.drafts, index, list.totals]);
  const isElsewhereNow: FileSectionProps["isElsewhere"] = useCallback(
    (written) => isElsewhere(written, list.head, options.scope),
    [list.head, options.scope],
  );
  const isFolded = (file: ChangedFile) => folds.get(keyOf(file.path)) ?? views.isViewed(file);
  const base = JSON.stringify(list.head?.base ?? null);
  const at = current === undefined ? -1 : (index.get(current) ?? -1);
  const currentFile = files[at];

  const goTo = useCallback((i: number, file: ChangedFile | undefined) => {
    if (!file) return;
    byHand.current = false;
    entering.current = undefined;
    pinned.current = keyOf(file.path);
    setCurrent(keyOf(file.path));
    virtual.current?.scrollToIndex(i, { align: "start" });
  }, []);
  const step = (by: 1 | -1) => {
    const next = Math.max(0, Math.min(files.length - 1, at + by));
    goTo(next, files[next]);
  };
  const setFold = useCallback((file: ChangedFile, folded: boolean) => {
    setFolds((known) => new Map(known).set(keyOf(file.path), folded));
  }, []);
  const setViewed = useCallback(
    (file: ChangedFile, viewed: boolean) => {
      views.mark(file, viewed);
      // From here on the mark decides: viewed is folded, and one that changes unfolds.
      setFolds((known) => {
        const next = new Map(known);
        next.delete(keyOf(file.path));
        return next;
      });
    },
    [views],
  );
  const nextUnviewed = () => {
    for (let by = 1; by <= files.length; by++) {
      const i = (at + by) % files.length;
      const file = files[i];
      if (file && !views.isViewed(file)) return goTo(i, file);
    }
    say("Every file is viewed");
  };

  useEffect(() => {
    const onFold = (event: Event) => {
      const folded = (event as CustomEvent<boolean>).detail;
      setFolds(new Map(files.map((file) => [keyOf(file.path), folded])));
    };
    foldAll.addEventListener("fold", onFold);
    return () => foldAll.removeEventListener("fold", onFold);
  }, [files]);

  const discard = useCallback(
    async (file: ChangedFile, hunk?: Parameters<FileActions["discard"]>[1]) => {
      try {
        const { undo } = await changesApi.discard(comparison, {
          path: file.path,
          scope: comparison.scope,
          hunk: hunk?.range ?? null,
          fingerprint: file.fingerprint,
        });
        const what = hunk ? `a hunk of ${file.path.text}` : file.path.text;
        say(`Discarded ${what}`, {
          label: "Undo",
          run: () =>
            void changesApi
              .restore(comparison, undo)
              .then(list.again, (error) => sayError(error, "Undo discard")),
        });
        list.again();
      } catch (error) {
        sayError(error, "Discard changes");
      }
    },
    [comparison, list.again],
  );
  const latestShow = useRef(onShow);
  useLayoutEffect(() => {
    latestShow.current = onShow;
  });
  const focusPanel = useCallback(() => scroller.current?.focus({ preventScroll: true }), []);
  const { open, edit, close, reopen } = drafts;
  const actions: FileActions = useMemo(
    () => ({
      fold: setFold,
      view: setViewed,
      discard: (file, hunk) => void discard(file, hunk),
      draft: open,
      saveDraft: async (draft, text) => {
        const edited = draft.edits && comments.find((comment) => comment.id === draft.edits);
        if (edited) await commentActions.change(edited, text);
        else await commentActions.create({ ...draft.anchor, workspace: comparison.folder }, text);
        close(draft.id);
        focusPanel();
      },
      closeDraft: (draft) => {
        const text = draftText(draft.id);
        const saved = comments.find((comment) => comment.id === draft.edits)?.text;
        close(draft.id);
        focusPanel();
        if (text.trim() && text !== saved)
          say("Comment not saved", { label: "Undo", run: () => reopen(draft, text) });
      },
      edit,
      remove: (comment) => void commentActions.remove(comment),
      lines: (file, inside) => setInLines(inside ? keyOf(file.path) : undefined),
      show: (comment) => latestShow.current(comment),
      arrive: (target, card) => {
        if (arrived.current === target) return;
        arrived.current = target;
        pinned.current = undefined;
        card.scrollIntoView({ block: "center" });
      },
      register: (key, handle) => {
        if (!handle) return void handles.current.delete(key);
        handles.current.set(key, handle);
        if (entering.current === key && handle.enter()) entering.current = undefined;
      },
      anchor: () => anchor.current,
    }),
    [
      setFold,
      setViewed,
      discard,
      open,
      edit,
      close,
      reopen,
      comments,
      commentActions,
      focusPanel,
      comparison.folder,
      arrived,
    ],
  );

  const lineHandle = () => (inLines === undefined ? undefined : handles.current.get(inLines));
  const isReading = () => inLines === undefined || !handles.current.has(inLines);
  useCommands([
    {
      id: "changes.next-file",
      title: "Next file",
      group: "Changes",
      keys: ["j"],
      pane: "changes",
      hidden: true,
      when: isReading,
      run: () => step(1),
    },
    {
      id: "changes.previous-file",
      title: "Previous file",
      group: "Changes",
      keys: ["k"],
      pane: "changes",
      hidden: true,
      when: isReading,
      run: () => step(-1),
    },
    {
      id: "changes.next-unviewed",
      title: "Next file that is not viewed",
      group: "Changes",
      keys: ["n"],
      pane: "changes",
      when: () => files.length > 0,
      run: nextUnviewed,
    },
    {
      id: "changes.viewed",
      title: "Mark the file as viewed, or not",
      group: "Changes",
      keys: ["v"],
      pane: "changes",
      when: () => currentFile !== undefined,
      run: () => currentFile && setViewed(currentFile, !views.isViewed(currentFile)),
    },
    {
      id: "changes.fold",
      title: "Fold or unfold the file",
      group: "Changes",
      keys: ["enter"],
      pane: "changes",
      hidden: true,
      // Enter on a control is the control's.
      when: () => currentFile !== undefined && document.activeElement === scroller.current,
      run: () => currentFile && setFold(currentFile, !isFolded(currentFile)),
    },
    {
      id: "changes.lines",
      title: "Into the lines of the file",
      group: "Changes",
      keys: ["i"],
      pane: "changes",
      hidden: true,
      when: () => currentFile !== undefined && isReading(),
      run: () => {
        const file = currentFile;
        if (!file) return;
        focusPanel();
        if (handles.current.get(keyOf(file.path))?.enter()) return;
        entering.current = keyOf(file.path);
        setFold(file, false);
      },
    },
    ...(
      [
        ["changes.next-line", "Next line", ["j", "arrowdown"], 1, false],
        ["changes.previous-line", "Previous line", ["k", "arrowup"], -1, false],
        ["changes.extend-down", "Choose one more line", ["shift+j", "shift+arrowdown"], 1, true],
        ["changes.extend-up", "Choose one line before", ["shift+k", "shift+arrowup"], -1, true],
      ] as const
    ).map(([id, title, keys, by, extend]) => ({
      id,
      title,
      group: "Changes" as const,
      keys: [...keys],
      pane: "changes",
      hidden: true,
      when: () => !isReading(),
      run: () => lineHandle()?.move(by, extend),
    })),
    {
      id: "changes.comment",
      title: "Comment on the lines",
      group: "Changes",
      keys: ["c"],
      pane: "changes",
      hidden: true,
      run: () => {
        const lines = lineHandle() ?? (current === undefined ? undefined : handles.current.get(current));
        if (isReading() && !lines?.enter()) return;
        // What `enter` chose is there with the next drawing.
        requestAnimationFrame(() => lines?.comment());
      },
    },
    {
      id: "changes.save-comment",
      title: "Save the comment",
      group: "Changes",
      keys: ["mod+enter"],
      pane: "changes",
      inText: true,
      hidden: true,
      when: () => writingComment() !== undefined,
      run: () => writingComment()?.save(),
    },
    {
      id: "changes.back",
      title: "One level back",
      group: "Changes",
      keys: ["escape"],
      pane: "changes",
      inText: true,
      hidden: true,
      when: () =>
        writingComment() !== undefined || !isReading() || document.activeElement !== scroller.current,
      run: () => {
        const comment = writingComment();
        if (comment) return comment.close();
        if (!isReading()) return lineHandle()?.leave();
        focusPanel();
      },
    },
  ]);

  // What is looked at: the file at the top of the view, and its first line there.
  const look = useCallback(() => {
    const element = scroller.current;
    const list = virtual.current;
    if (!element || !list) return;
    const first = files[list.findItemIndex(element.scrollTop + 1)];
    if (first && byHand.current) setCurrent(keyOf(first.path));
    const box = element.getBoundingClientRect();
    const under = document
      .elementsFromPoint(box.left + box.width / 2, box.top + HEAD_HEIGHT + 6)
      .map((found) => found.closest<HTMLElement>("tr[data-no], td[data-no], tr.pair"))
      .find((found) => found && element.contains(found));
    const row = under?.dataset.no ? under : under?.querySelector<HTMLElement>("td.text[data-no]");
    const file = row?.closest<HTMLElement>("[data-file]")?.dataset.file;
    anchor.current =
      row && file
        ? {
            key: file,
            side: row.dataset.side === "old" ? "old" : "new",
            no: Number(row.dataset.no),
            top: row.getBoundingClientRect().top,
          }
        : undefined;
  }, [files]);

  // A file that comes or goes above what one looks at does not move it.
  const before = useRef(files);
  useLayoutEffect(() => {
    const old = before.current;
    before.current = files;
    const element = scroller.current;
    const list = virtual.current;
    if (old === files || !element || !list || element.scrollTop === 0) return;
    const top = old[list.findItemIndex(element.scrollTop + 1)];
    const was = top && old.indexOf(top);
    const now = top && index.get(keyOf(top.path));
    if (!top || was === undefined || now === undefined || was === now) return;
    const inside = element.scrollTop - list.getItemOffset(was);
    const key = CSS.escape(keyOf(top.path));
    list.scrollToIndex(now, { align: "start", offset: Math.max(0, inside) });
    // What is drawn anew is measured over the next frames; meanwhile the file is held where it was.
    let frames = SETTLE_FRAMES;
    let frame = requestAnimationFrame(function settle() {
      const section = element.querySelector(`[data-file="${key}"]`);
      const drift = section
        ? section.getBoundingClientRect().top - element.getBoundingClientRect().top + inside
        : 0;
      if (Math.abs(drift) > 1) element.scrollTop += drift;
      if (!section) list.scrollToIndex(now, { align: "start", offset: Math.max(0, inside) });
      if (--frames > 0) frame = requestAnimationFrame(settle);
    });
    return () => cancelAnimationFrame(frame);
  }, [files, index]);

  const wantedIndex = wanted === undefined ? undefined : index.get(wanted);
  useEffect(() => {
    if (wantedIndex === undefined) return;
    const file = files[wantedIndex];
    onWanted(undefined);
    goTo(wantedIndex, file);
    if (file && target && keyOf(pathOf(target.comment)) === keyOf(file.path)) setFold(file, false);
  }, [wantedIndex, files, onWanted, goTo, target, setFold]);

  const first = files[0];
  useEffect(() => {
    if (first) setCurrent((known) => known ?? keyOf(first.path));
  }, [first]);
  useEffect(() => {
    const view = chosenView === "auto" ? undefined : chosenView;
    writePanelUrl({ file: current, view, scope: options.scope });
  }, [current, chosenView, options.scope]);
  useEffect(() => () => writePanelUrl(undefined), []);

  const hand = () => {
    byHand.current = true;
    pinned.current = undefined;
  };
  const unpin = () => {
    pinned.current = undefined;
  };
  const content = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = content.current;
    if (!element) return;
    const observer = new ResizeObserver(() => {
      const i = pinned.current === undefined ? undefined : index.get(pinned.current);
      if (i !== undefined) virtual.current?.scrollToIndex(i, { align: "start" });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [index]);
  const treeCovers = showTree && width < TREE_BESIDE;
  const treeWidth = showTree && !treeCovers ? TREE_WIDTH : 0;
  const columns = Math.max(20, Math.floor(((width - treeWidth - GUTTERS) / CHARACTER) * (split ? 0.5 : 1)));
  return (
    <div className={treeCovers ? "changes-body tree-covers" : "changes-body"}>
      {showTree && (
        <FileTree
          files={files}
          current={current}
          isViewed={views.isViewed}
          commented={commented}
          onChoose={(file) => {
            goTo(index.get(keyOf(file.path)) ?? 0, file);
            if (isFolded(file)) setFold(file, false);
            if (treeCovers) props.onTreeDone();
          }}
        />
      )}
      <section
        ref={scroller}
        className="changes-scroll"
        aria-label="Diffs"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        tabIndex={0}
        data-pane-focus
        onScroll={look}
        onWheel={hand}
        onTouchMove={hand}
        onPointerDown={hand}
        onKeyDown={unpin}
      >
        {files.length === 0 && <Nothing {...props} />}
        {orphans.length > 0 && (
          <div className="orphans">
            <p>On files that are not {list.totals?.truncated ? "listed" : "changed any more"}</p>
            {orphans.map(([key, path]) => (
              <section key={key} aria-label={path.text}>
                <code>{path.text}</code>
                <Elsewhere
                  comments={byFile.get(key) ?? NO_COMMENTS}
                  drafts={drafts.byFile.get(key) ?? NO_DRAFTS}
                  isElsewhere={isElsewhereNow}
                  target={target}
                  actions={actions}
                  lines={NO_LINES}
                />
              </section>
            ))}
          </div>
        )}
        <div ref={content}>
          <Virtualizer
            ref={virtual}
            as={Rows}
            scrollRef={scroller}
            data={files as ChangedFile[]}
            bufferSize={600}
          >
            {(file) => {
              const key = keyOf(file.path);
              return (
                <FileSection
                  key={key}
                  comparison={comparison}
                  file={file}
                  base={base}
                  folded={isFolded(file)}
                  viewed={views.isViewed(file)}
                  current={key === current}
                  split={split}
                  width={columns}
                  comments={byFile.get(key) ?? NO_COMMENTS}
                  drafts={drafts.byFile.get(key) ?? NO_DRAFTS}
                  isElsewhere={isElsewhereNow}
                  target={target && keyOf(pathOf(target.comment)) === key ? target : undefined}
                  actions={actions}
                />
              );
            }}
          </Virtualizer>
        </div>
      </section>
    </div>
  );
}
