import { CircleHelp, Command, FolderGit2, PanelLeft, Plus, Settings, Trash2 } from "lucide-react";
import { useEffect, useRef } from "react";
import { Link } from "wouter";
import { asApiError } from "../../api/client";
import { runCommand } from "../../keys/registry";
import { useFoundSessions, useSessionList } from "../../live/sessions";
import { Mark } from "../../ui/Brand";
import { Button, IconButton } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { Kbd } from "../../ui/Kbd";
import { filterQuery, fits, isFiltered, NO_FILTER, useListFilter } from "./filter";
import { FilterChips, SearchField } from "./ListFilters";
import { SessionRows } from "./SessionRows";
import "./session-list.css";

/** Rows that come by themselves. A list of thousands is searched rather than read. */
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
      <SessionRows
        sessions={sessions}
        filter={filter}
        end={
          hasNextPage &&
          (sessions.length < MAX_UNASKED ? (
            <More loaded={sessions.length} loading={isFetchingNextPage} onNear={fetchNextPage} />
          ) : (
            <Button
              look="ghost"
              className="session-older"
              disabled={isFetchingNextPage}
              onClick={() => void fetchNextPage()}
            >
              Show older sessions
            </Button>
          ))
        }
      >
        {error && !sessions.length ? (
          <ErrorNote error={asApiError(error, "Load sessions")}>
            <button type="button" className="btn" onClick={() => void refetch()}>
              Try again
            </button>
          </ErrorNote>
        ) : (
          sessions.length === 0 &&
          (isPending ? (
            <p className="sidebar-empty late">Loading sessions…</p>
          ) : filtered ? (
            <Nothing isPlaceholder={isPlaceholderData} onClear={() => setFilter(NO_FILTER)} />
          ) : (
            <p className="sidebar-empty">
              <FolderGit2 size={16} aria-hidden="true" />
              Your sessions will be listed here, those that need you first.
            </p>
          ))
        )}
      </SessionRows>
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
