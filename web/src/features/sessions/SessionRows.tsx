import {
  createContext,
  type FocusEvent,
  type KeyboardEvent,
  memo,
  type ReactNode,
  useContext,
  useMemo,
  useRef,
  useState,
} from "react";
import { type CustomContainerComponentProps, type CustomItemComponentProps, Virtualizer } from "virtua";
import { Link, useLocation } from "wouter";
import type { Session } from "../../api/types";
import { usePreload } from "../../live/sessions";
import { pressable } from "../../ui/Rows";
import { age, useNow } from "../../ui/time";
import { StatusIcon } from "../session/StatusIcon";
import { GROUP_TITLES, since, statusOf } from "../session/status";
import { placeName } from "../session/workspaces";
import { type ListFilter, sessionPath } from "./filter";
import { type Line, linesOf, rowAfter } from "./lines";

interface RowProps {
  session: Session;
  href: string;
  current: boolean;
  age: string;
  onNear: (id: string) => void;
}

/** A pointer that passes over a row is not about to open it. */
const REST_MS = 60;

const SessionRow = memo(({ session, href, current, age: shownAge, onNear }: RowProps) => {
  const rest = useRef<ReturnType<typeof setTimeout>>(undefined);
  const status = statusOf(session);
  const differs = status.word !== GROUP_TITLES[status.group] && status.word !== "Working";
  return (
    <Link
      href={href}
      className="session-row"
      aria-current={current ? "page" : undefined}
      onPointerEnter={() => {
        rest.current = setTimeout(() => onNear(session.id), REST_MS);
      }}
      onPointerLeave={() => clearTimeout(rest.current)}
    >
      <StatusIcon status={status} />
      <span className="session-row-title truncate">{session.title}</span>
      <span className="session-row-age">{shownAge}</span>
      <span className="session-row-more">
        <span className="hidden-text">{status.word}. </span>
        {differs && <span aria-hidden="true">{status.word}</span>}
        {session.state === "failed" && session.trouble ? (
          <span className="session-row-trouble truncate">{session.trouble.message}</span>
        ) : (
          <span className="truncate">{placeName(session)}</span>
        )}
      </span>
    </Link>
  );
});

/** The padding above the rows in what scrolls. */
const PADDING_TOP_PX = 4;

const Lines = createContext<readonly Line[]>([]);

function List({ style, children, ref }: CustomContainerComponentProps) {
  return (
    <ul ref={ref} style={pressable(style)} aria-label="Sessions by status">
      {children}
    </ul>
  );
}

/** Only lines in view are on the page, so each row says which one of all it is. */
function Item({ index, style, children, ref }: CustomItemComponentProps) {
  const lines = useContext(Lines);
  const line = lines[index];
  const last = lines.at(-1);
  const place =
    line?.kind === "session" && last?.kind === "session"
      ? { "aria-posinset": line.place, "aria-setsize": last.place }
      : {};
  return (
    <li ref={ref} style={style} data-line={index} {...place}>
      {children}
    </li>
  );
}

function lineAt(target: EventTarget): number | undefined {
  const line = (target as HTMLElement).closest<HTMLElement>("[data-line]")?.dataset.line;
  return line === undefined ? undefined : Number(line);
}

interface SessionRowsProps {
  sessions: readonly Session[];
  filter: ListFilter;
  /** What is shown in place of rows. */
  children: ReactNode;
  /** What comes behind them. */
  end: ReactNode;
}

/** The sessions below their groups, drawn as far as they are in view. */
export function SessionRows({ sessions, filter, children, end }: SessionRowsProps) {
  const [location] = useLocation();
  const now = useNow();
  const preload = usePreload();
  const scroller = useRef<HTMLDivElement>(null);
  const [focused, setFocused] = useState<string>();
  const lines = useMemo(() => linesOf(sessions), [sessions]);
  // The row with the keyboard stays, with those beside it, wherever the list is scrolled to; so do
  // the first one, where the search leads, and the headings, which some people go by.
  const kept = useMemo(() => {
    const at = focused === undefined ? -1 : lines.findIndex((line) => line.key === focused);
    const around = at < 0 ? [] : [rowAfter(lines, at, -1), at, rowAfter(lines, at, 1)];
    const headings = lines.flatMap((line, index) => (line.kind === "group" ? [index] : []));
    return [...headings, rowAfter(lines, -1, 1), ...around].filter((index) => index !== undefined);
  }, [lines, focused]);

  /** Up and down go through the list; up from its beginning goes back to the search. */
  const onArrow = (event: KeyboardEvent<HTMLElement>) => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : undefined;
    const at = lineAt(event.target);
    if (!by || at === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const list = event.currentTarget;
    const next = list.querySelector<HTMLElement>(`[data-line="${rowAfter(lines, at, by)}"] .session-row`);
    const search = list.closest("[data-pane]")?.querySelector<HTMLElement>("[type=search]");
    (next ?? (by < 0 ? search : undefined))?.focus();
  };
  const onFocus = (event: FocusEvent<HTMLElement>) => {
    const at = lineAt(event.target);
    setFocused(at === undefined ? undefined : lines[at]?.key);
  };

  const draw = (line: Line) =>
    line.kind === "group" ? (
      <h2 key={line.key} className="session-group">
        {GROUP_TITLES[line.group]}
        {line.count > 1 && <span>{line.count}</span>}
      </h2>
    ) : (
      <SessionRow
        key={line.key}
        session={line.session}
        href={sessionPath(line.session.id, filter)}
        current={location === `/s/${line.session.id}`}
        age={age(since(line.session), now)}
        onNear={preload}
      />
    );
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the rows have the keyboard, this only moves it between them
    <div ref={scroller} className="sidebar-list" onKeyDown={onArrow} onFocus={onFocus}>
      {children}
      {lines.length > 0 && (
        <Lines value={lines}>
          <Virtualizer
            as={List}
            item={Item}
            data={lines}
            keepMounted={kept}
            scrollRef={scroller}
            startMargin={PADDING_TOP_PX}
          >
            {draw}
          </Virtualizer>
        </Lines>
      )}
      {end}
    </div>
  );
}
