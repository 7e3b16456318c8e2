import { useInfiniteQuery } from "@tanstack/react-query";
import { RotateCcw, Trash2 } from "lucide-react";
import { useState } from "react";
import { Link } from "wouter";
import { api, asApiError } from "../../api/client";
import type { Session } from "../../api/types";
import { Button } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { ago, clock, useNow } from "../../ui/time";
import { useSessionActions } from "../session/actions";
import { placeName } from "../session/workspaces";
import { DestroyDialog } from "./DestroyDialog";
import "./trash.css";

function Row({ session, now, onDestroy }: { session: Session; now: number; onDestroy: () => void }) {
  const actions = useSessionActions();
  const { deletion } = session;
  return (
    <li className="trash-row">
      <div className="trash-about">
        <Link href={`/s/${session.id}`} className="truncate">
          {session.title}
        </Link>
        <p className="field-hint truncate">
          {placeName(session)}
          {deletion && ` · deleted ${ago(deletion.at, now)} · kept until ${clock(deletion.until, now)}`}
        </p>
      </div>
      <Button
        icon={<RotateCcw size={16} />}
        aria-label={`Restore ${session.title}`}
        onClick={() => void actions.restore(session)}
      >
        Restore
      </Button>
      <Button look="danger" aria-label={`Delete ${session.title} for good`} onClick={onDestroy}>
        Delete for good
      </Button>
    </li>
  );
}

/** Sessions that were deleted and can be restored. */
export function Trash() {
  const now = useNow();
  const [destroying, setDestroying] = useState<Session>();
  const query = useInfiniteQuery({
    queryKey: ["trash"],
    queryFn: ({ pageParam }) => api.sessions({ deleted: true, cursor: pageParam }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  rows.sort((a, b) => (b.deletion?.at ?? "").localeCompare(a.deletion?.at ?? ""));
  return (
    <div className="trash">
      <h1>Recently deleted</h1>
      <p className="settings-lead">
        Deleted sessions are stopped and keep their disk for a while. Then they are deleted for good.
      </p>
      {query.error && rows.length === 0 ? (
        <ErrorNote error={asApiError(query.error, "Load deleted sessions")}>
          <Button onClick={() => void query.refetch()}>Try again</Button>
        </ErrorNote>
      ) : rows.length > 0 ? (
        <ul className="trash-rows">
          {rows.map((session) => (
            <Row key={session.id} session={session} now={now} onDestroy={() => setDestroying(session)} />
          ))}
        </ul>
      ) : (
        query.data && (
          <p className="trash-empty">
            <Trash2 size={16} aria-hidden="true" />
            Nothing was deleted lately.
          </p>
        )
      )}
      {query.hasNextPage && <Button onClick={() => void query.fetchNextPage()}>Show more</Button>}
      <DestroyDialog session={destroying} onClose={() => setDestroying(undefined)} />
    </div>
  );
}
