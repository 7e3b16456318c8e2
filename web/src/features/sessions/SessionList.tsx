import { CircleHelp, FolderGit2, PanelLeft, Plus, Search, Settings } from "lucide-react";
import { memo, useEffect, useMemo, useRef } from "react";
import { Link, useLocation } from "wouter";
import { asApiError } from "../../api/client";
import type { Session } from "../../api/types";
import { runCommand } from "../../keys/registry";
import { useSessionList } from "../../live/sessions";
import { Mark } from "../../ui/Brand";
import { IconButton } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { Kbd } from "../../ui/Kbd";
import { age, useNow } from "../../ui/time";
import { StatusIcon } from "../session/StatusIcon";
import { GROUP_TITLES, GROUPS, repositoryName, since, statusOf } from "../session/status";
import "./session-list.css";

interface RowProps {
  session: Session;
  current: boolean;
  age: string;
}

const SessionRow = memo(({ session, current, age: shownAge }: RowProps) => {
  const status = statusOf(session);
  const repository = repositoryName(session);
  const differs = status.word !== GROUP_TITLES[status.group] && status.word !== "Working";
  return (
    <li>
      <Link href={`/s/${session.id}`} className="session-row" aria-current={current ? "page" : undefined}>
        <StatusIcon status={status} />
        <span className="session-row-title truncate">{session.title}</span>
        <span className="session-row-age">{shownAge}</span>
        <span className="session-row-more">
          <span className="hidden-text">{status.word}. </span>
          {differs && <span aria-hidden="true">{status.word}</span>}
          {session.state === "failed" && session.trouble ? (
            <span className="session-row-trouble truncate">{session.trouble.message}</span>
          ) : (
            <span className="truncate">{repository ?? "No repository"}</span>
          )}
        </span>
      </Link>
    </li>
  );
});

function Groups({ sessions }: { sessions: readonly Session[] }) {
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
              current={location === `/s/${session.id}`}
              age={age(since(session), now)}
            />
          ))}
        </ul>
      </div>
    );
  });
}

/** Asks for the next page when its end comes into view. */
function More({ onSeen }: { onSeen: () => void }) {
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && onSeen());
    observer.observe(element);
    return () => observer.disconnect();
  }, [onSeen]);
  return (
    <div ref={ref} className="session-more">
      Loading more…
    </div>
  );
}

export function SessionList({ onCollapse }: { onCollapse?: () => void }) {
  const { sessions, error, isPending, hasNextPage, fetchNextPage, refetch } = useSessionList();
  return (
    <nav className="sidebar" aria-label="Sessions" data-pane="sessions">
      <div className="sidebar-head">
        <Link href="/" className="brand" aria-label="Mistle, home">
          <Mark />
          Mistle
        </Link>
        <span className="spacer" />
        <IconButton label="Search and commands" keys="mod+k" onClick={() => runCommand("view.palette")}>
          <Search size={16} />
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
      <div className="sidebar-list">
        {error && !sessions.length ? (
          <ErrorNote error={asApiError(error, "Load sessions")}>
            <button type="button" className="btn" onClick={() => void refetch()}>
              Try again
            </button>
          </ErrorNote>
        ) : (
          !isPending &&
          sessions.length === 0 && (
            <p className="sidebar-empty">
              <FolderGit2 size={16} aria-hidden="true" />
              Your sessions will be listed here, those that need you first.
            </p>
          )
        )}
        <Groups sessions={sessions} />
        {hasNextPage && <More onSeen={() => void fetchNextPage()} />}
      </div>
      <div className="sidebar-foot">
        <Link href="/settings" className="btn ghost">
          <Settings size={16} aria-hidden="true" />
          Settings
        </Link>
        <span className="spacer" />
        <IconButton label="Keyboard shortcuts" keys="?" onClick={() => runCommand("view.help")}>
          <CircleHelp size={16} />
        </IconButton>
      </div>
    </nav>
  );
}
