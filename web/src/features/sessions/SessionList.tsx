import { CircleHelp, Command, FolderGit2, PanelLeft, Plus, Settings, Trash2 } from "lucide-react";
import { type KeyboardEvent, memo, useEffect, useMemo, useRef } from "react";
import { Link, useLocation } from "wouter";
import { asApiError } from "../../api/client";
import type { Session } from "../../api/types";
import { runCommand } from "../../keys/registry";
import { useFoundSessions, useSessionList } from "../../live/sessions";
import { Mark } from "../../ui/Brand";
import { Button, IconButton } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { Kbd } from "../../ui/Kbd";
import { age, useNow } from "../../ui/time";
import { StatusIcon } from "../session/StatusIcon";
import { GROUP_TITLES, GROUPS, since, statusOf } from "../session/status";
import { placeName } from "../session/workspaces";
import {
  filterQuery,
  fits,
  isFiltered,
  type ListFilter,
  NO_FILTER,
  sessionPath,
  useListFilter,
} from "./filter";
import { FilterChips, SearchField } from "./ListFilters";
import "./session-list.css";

interface RowProps {
  session: Session;
  href: string;
  current: boolean;
  age: string;
}

const SessionRow = memo(({ session, href, current, age: shownAge }: RowProps) => {
  const status = statusOf(session);
  const differs = status.word !== GROUP_TITLES[status.group] && status.word !== "Working";
  return (
    <li>
      <Link href={href} className="session-row" aria-current={current ? "page" : undefined}>
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
    </li>
  );
});

/** Up and down go through the list; up from its beginning goes back to the search. */
function onArrow(event: KeyboardEvent<HTMLElement>): void {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>(".session-row")];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  if (at < 0) return;
  event.preventDefault();
  const search = event.currentTarget.closest("[data-pane]")?.querySelector<HTMLElement>("[type=search]");
  (at + by < 0 ? search : rows[at + by])?.focus();
}

function Groups({ sessions, filter }: { sessions: readonly Session[]; filter: ListFilter }) {
  const [location] = useLocation();
  const now = useNow();
  const groups = useMemo(() => {
    const byGroup = new Map(GROUPS.map((group) => [group, [] as Session[]]));
    for (const session of sessions)
      if (session.state !== "deleted") byGroup.get(statusOf(session).group)?.push(session);
    for (const list of byGroup.values()) list.sort((a, b) => b.created_at.localeCompare(a.created_at));
    return byGroup;
  }, [sessions]);
  return GROUPS.map((group) => {
    const rows = groups.get(group) ?? [];
    if (rows.length === 0) return null;
    const id = `group-${group.replace(" ", "-")}`;
    return (
      <div key={group}>
        <h2 id={id} className="session-group">
          {GROUP_TITLES[group]}
          {rows.length > 1 && <span>{rows.length}</span>}
        </h2>
        <ul aria-labelledby={id}>
          {rows.map((session) => (
            <SessionRow
              key={session.id}
              session={session}
              href={sessionPath(session.id, filter)}
              current={location === `/s/${session.id}`}
              age={age(since(session), now)}
            />
          ))}
        </ul>
      </div>
    );
  });
}

/** Rows that come by themselves. A list of thousands scrolls badly and is searched rather than read. */
const MAX_UNASKED = 450;
/** How far ahead of who scrolls the next page is asked for: a few screenfuls. */
const AHEAD_PX = 1500;

/** Asks for the next page when the end of the list comes near. */
function More({ loaded, loading, onNear }: { loaded: number; loading: boolean; onNear: () => unknown }) {
  const ref = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: after each page it is looked at anew, for the end may still be near
  useEffect(() => {
    const list = ref.current?.closest(".sidebar-list");
    if (!list || loading) return;
    const look = () => {
      if (list.scrollHeight - list.scrollTop - list.clientHeight < AHEAD_PX) onNear();
    };
    look();
    list.addEventListener("scroll", look, { passive: true });
    return () => list.removeEventListener("scroll", look);
  }, [loading, loaded, onNear]);
  return (
    <div ref={ref} className="session-more">
      Loading more…
    </div>
  );
}

/** What the list shows: every session, or those that a filter lets through. */
export function useShownSessions() {
  const [filter] = useListFilter();
  const all = useSessionList();
  const query = filterQuery(filter);
  const found = useFoundSessions(query, () => all.sessions.filter((session) => fits(session, filter)));
  return query ? found : all;
}

function Nothing({ isPlaceholder, onClear }: { isPlaceholder: boolean; onClear: () => void }) {
  // What is loaded holds nothing, and the server has not answered yet.
  if (isPlaceholder) return <p className="sidebar-empty">Searching…</p>;
  return (
    <div className="sidebar-nothing" role="status">
      <p>No session matches.</p>
      <Button onClick={onClear}>Clear filters</Button>
    </div>
  );
}

export function SessionList({ onCollapse }: { onCollapse?: () => void }) {
  const [filter, setFilter] = useListFilter();
  const {
    sessions,
    error,
    isPending,
    isPlaceholderData,
    hasNextPage,
    isFetchingNextPage,
    fetchNextPage,
    refetch,
  } = useShownSessions();
  const filtered = isFiltered(filter);
  return (
    <nav className="sidebar" aria-label="Sessions" data-pane="sessions">
      <div className="sidebar-head">
        <Link href="/" className="brand" aria-label="Mistle, home">
          <Mark />
          Mistle
        </Link>
        <span className="spacer" />
        <IconButton label="Search and commands" keys="mod+k" onClick={() => runCommand("view.palette")}>
          <Command size={16} />
        </IconButton>
        {onCollapse && (
          <IconButton label="Hide session list" keys="[" onClick={onCollapse}>
            <PanelLeft size={16} />
          </IconButton>
        )}
      </div>
      <Link href="/new" className="new-session" aria-keyshortcuts="c" data-pane-focus>
        <Plus size={16} aria-hidden="true" />
        New session
        <Kbd keys="c" />
      </Link>
      <SearchField filter={filter} onFilter={setFilter} />
      <FilterChips filter={filter} onFilter={setFilter} />
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the rows have the keyboard, this only moves it between them */}
      <div className="sidebar-list" onKeyDown={onArrow}>
        {error && !sessions.length ? (
          <ErrorNote error={asApiError(error, "Load sessions")}>
            <button type="button" className="btn" onClick={() => void refetch()}>
              Try again
            </button>
          </ErrorNote>
        ) : (
          !isPending &&
          sessions.length === 0 &&
          (filtered ? (
            <Nothing isPlaceholder={isPlaceholderData} onClear={() => setFilter(NO_FILTER)} />
          ) : (
            <p className="sidebar-empty">
              <FolderGit2 size={16} aria-hidden="true" />
              Your sessions will be listed here, those that need you first.
            </p>
          ))
        )}
        <Groups sessions={sessions} filter={filter} />
        {hasNextPage && sessions.length < MAX_UNASKED && (
          <More loaded={sessions.length} loading={isFetchingNextPage} onNear={fetchNextPage} />
        )}
        {hasNextPage && sessions.length >= MAX_UNASKED && (
          <Button
            look="ghost"
            className="session-older"
            disabled={isFetchingNextPage}
            onClick={() => void fetchNextPage()}
          >
            Show older sessions
          </Button>
        )}
      </div>
      <div className="sidebar-foot">
        <Link href="/settings" className="btn ghost">
          <Settings size={16} aria-hidden="true" />
          Settings
        </Link>
        <span className="spacer" />
        <IconButton label="Recently deleted" onClick={() => runCommand("go.deleted")}>
          <Trash2 size={16} />
        </IconButton>
        <IconButton label="Keyboard shortcuts" keys="?" onClick={() => runCommand("view.help")}>
          <CircleHelp size={16} />
        </IconButton>
      </div>
    </nav>
  );
}
