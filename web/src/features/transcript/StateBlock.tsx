import { CircleCheck, CircleDashed, LoaderCircle, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import type { Session, SetupStep } from "../../api/types";
import { runCommand } from "../../keys/registry";
import type { Setup } from "../../live/reducer";
import { Button } from "../../ui/Button";
import { CopyButton } from "../../ui/CopyButton";
import { ago, clock, duration, useNow } from "../../ui/time";
import { useSessionActions } from "../session/actions";
import { StatusIcon } from "../session/StatusIcon";
import { repositoryName, runtimeName, statusOf } from "../session/status";

type Stage = "sandbox" | SetupStep;

function stages(session: Session): { stage: Stage; title: string }[] {
  const repository = repositoryName(session);
  return [
    { stage: "sandbox" as const, title: "Start the sandbox" },
    ...(repository ? [{ stage: "repository" as const, title: `Fetch ${repository}` }] : []),
    { stage: "runtime" as const, title: `Start ${runtimeName(session.runtime)}` },
    ...(session.conversation_id
      ? [{ stage: "conversation" as const, title: "Continue the conversation" }]
      : []),
  ];
}

function Starting({ session, setup }: { session: Session; setup: Setup | null }) {
  const now = useNow();
  const list = stages(session);
  const current = Math.max(
    0,
    list.findIndex(({ stage }) => stage === (setup?.step ?? "sandbox")),
  );
  const waited = now - Date.parse(session.state_since);
  return (
    <section className="state-block" aria-label="Starting">
      <div>
        <strong>Starting</strong> {waited > 3000 && <span className="quiet-text">{duration(waited)}</span>}
        <ol className="setup">
          {list.map(({ stage, title }, i) => (
            <li
              key={stage}
              className={i < current ? "done" : i === current ? "now" : ""}
              aria-current={i === current ? "step" : undefined}
            >
              {i < current ? (
                <CircleCheck size={14} aria-label="Done" />
              ) : i === current ? (
                <LoaderCircle size={14} className="spin" aria-label="Under way" />
              ) : (
                <CircleDashed size={14} aria-label="To do" />
              )}
              <span>{title}</span>
              {i === current && setup?.detail && <code className="truncate">{setup.detail}</code>}
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}

function Block({
  session,
  title,
  tone,
  children,
  actions,
}: {
  session: Session;
  title: ReactNode;
  tone?: "fail" | "need";
  children: ReactNode;
  actions: ReactNode;
}) {
  return (
    <section
      className={tone ? `state-block ${tone}` : "state-block"}
      aria-label={statusOf(session).word}
      role={tone === "fail" ? "alert" : undefined}
    >
      {tone === "need" ? (
        <TriangleAlert size={16} className="status-icon need" aria-hidden="true" />
      ) : (
        <StatusIcon status={statusOf(session)} size={16} />
      )}
      <div>
        <strong>{title}</strong>
        {children}
        {actions && <div className="failed-turn-actions">{actions}</div>}
      </div>
    </section>
  );
}

/** What somebody who is asked for help wants to know. */
function CopyDetails({ session: { id, state_since, trouble } }: { session: Session }) {
  const text = () =>
    [
      `session: ${id}`,
      `since: ${trouble?.since ?? state_since}`,
      trouble && `code: ${trouble.code}`,
      trouble?.message,
      trouble?.hint,
    ]
      .filter(Boolean)
      .join("\n");
  return <CopyButton label="Copy details" text={text} />;
}

interface StateBlockProps {
  session: Session;
  setup: Setup | null;
  /** Whether the conversation itself tells of the trouble. */
  isTold: boolean;
}

/** At the end of the conversation: what keeps the session from going on, and what can be done. */
export function StateBlock({ session, setup, isTold }: StateBlockProps) {
  const actions = useSessionActions();
  const now = useNow();
  const { trouble } = session;
  switch (session.state) {
    case "created":
    case "starting":
      return <Starting session={session} setup={setup} />;
    case "stopping":
      return (
        <Block session={session} title="Stopping" actions={null}>
          <p>Processes are being ended. The disk and the conversation are kept.</p>
        </Block>
      );
    case "stopped":
      return (
        <Block
          session={session}
          title="Stopped"
          actions={
            <Button look="primary" onClick={() => void actions.start(session)}>
              Start
            </Button>
          }
        >
          <p>The disk and the conversation are kept. Start it, or send a message to go on.</p>
        </Block>
      );
    case "failed":
      return (
        <Block
          session={session}
          title="The session failed"
          tone="fail"
          actions={
            <>
              <Button look="primary" onClick={() => void actions.start(session)}>
                Start again
              </Button>
              <CopyDetails session={session} />
            </>
          }
        >
          <p>{trouble?.message ?? setup?.failed ?? "The server gave no reason."}</p>
          {trouble?.hint && <p>{trouble.hint}</p>}
          <p className="quiet-text">Failed {ago(session.state_since, now)}. The disk is kept.</p>
        </Block>
      );
    case "disconnected":
      return (
        <Block
          session={session}
          title={(trouble?.message ?? "The sandbox does not answer").replace(/\.$/, "")}
          actions={<Button onClick={() => void actions.stop(session)}>Stop</Button>}
        >
          <p>
            The server keeps trying. Nothing is lost: the agent's work is recorded in the sandbox, and
            messages wait until it is back.
          </p>
          <p className="quiet-text">Since {clock(session.state_since, now)}</p>
        </Block>
      );
    default:
      return trouble && !isTold ? (
        <Block
          session={session}
          title="Something is in the way"
          tone="need"
          actions={
            <>
              {trouble.code === "disk_full" && (
                <Button onClick={() => runCommand("terminal.new")}>Open a terminal</Button>
              )}
              <CopyDetails session={session} />
            </>
          }
        >
          <p>{trouble.message}</p>
          {trouble.hint && <p>{trouble.hint}</p>}
          <p className="quiet-text">Since {clock(trouble.since, now)}</p>
        </Block>
      ) : null;
  }
}
