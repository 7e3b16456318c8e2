import { Play, Square } from "lucide-react";
import type { Session } from "../../api/types";
import { Button } from "../../ui/Button";
import { CopyButton } from "../../ui/CopyButton";
import { Popover } from "../../ui/Popover";
import { ago, clock, useNow } from "../../ui/time";
import { useSessionActions } from "./actions";
import { StatusIcon } from "./StatusIcon";
import { canStart, canStop, runtimeName, since, statusOf } from "./status";

function details(session: Session): string {
  const { trouble } = session;
  return [
    `session: ${session.id}`,
    `state: ${session.state} since ${session.state_since}`,
    `profile: ${session.profile.name} version ${session.profile.version}`,
    `last event: ${session.last_seq}`,
    trouble && `trouble: ${trouble.code} since ${trouble.since}\n${trouble.message}`,
    trouble?.hint,
  ]
    .filter(Boolean)
    .join("\n");
}

/** The status of a session, with everything that is known about it behind a click. */
export function StatusButton({ session }: { session: Session }) {
  const status = statusOf(session);
  const now = useNow();
  const actions = useSessionActions();
  const { trouble } = session;
  return (
    <Popover
      label="Status"
      className="status-pop"
      align="start"
      trigger={
        <button type="button" className="status-button" aria-label={`Status: ${status.word}`}>
          <StatusIcon status={status} />
          <span>{status.word}</span>
        </button>
      }
    >
      <h2>
        <StatusIcon status={status} size={16} />
        {status.word}
        <time dateTime={since(session)} title={clock(since(session), now)}>
          {ago(since(session), now)}
        </time>
      </h2>
      <p>{status.sentence}</p>
      {trouble && (
        <div className="status-trouble">
          <p>{trouble.message}</p>
          {trouble.hint && <p>{trouble.hint}</p>}
          <p>Since {clock(trouble.since, now)}</p>
        </div>
      )}
      <dl className="status-facts">
        <dt>Profile</dt>
        <dd>{session.profile.name}</dd>
        <dt>Agent</dt>
        <dd>
          {runtimeName(session.runtime)} · {session.provider_label}
        </dd>
        <dt>Folder</dt>
        <dd>{session.cwd}</dd>
        <dt>Created</dt>
        <dd>{clock(session.created_at, now)}</dd>
      </dl>
      <div className="status-actions">
        {canStart(session) && (
          <Button look="primary" icon={<Play size={14} />} onClick={() => void actions.start(session)}>
            Start
          </Button>
        )}
        {canStop(session) && (
          <Button icon={<Square size={14} />} onClick={() => void actions.stop(session)}>
            Stop
          </Button>
        )}
        <CopyButton text={() => details(session)} label="Copy details" />
      </div>
    </Popover>
  );
}
