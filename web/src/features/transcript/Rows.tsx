import { CircleCheck, CircleDashed, CircleDot, CircleX, Info, RotateCcw, TriangleAlert } from "lucide-react";
import { memo, type ReactNode } from "react";
import type { Attachment } from "../../api/attachments";
import type { PlanStep, TurnOutcome } from "../../api/types";
import type { EntryOf } from "../../live/reducer";
import type { ItemOf, Row } from "../../live/rows";
import { withoutComments } from "../../live/told";
import { AttachmentList } from "../../ui/AttachmentList";
import { Button } from "../../ui/Button";
import { CodeText } from "../../ui/CodeText";
import { CopyButton, CopyIconButton } from "../../ui/CopyButton";
import { Markdown } from "../../ui/markdown/Markdown";
import { clock, duration } from "../../ui/time";
import { ApprovalCard } from "./ApprovalCard";
import { question } from "./approvals";
import { FileCard } from "./Diff";
import "./rows.css";
import { WorkRow } from "./WorkRow";

export interface RowContext {
  session: string;
  /** What drafts of the conversation are kept under. */
  scope: string;
  /** Whether messages can be sent or will be kept. */
  onTryAgain: (turnId: string) => void;
  onNewSession: () => void;
  onNewConversation: () => void;
  /** Makes room in a full conversation, when the runtime can. */
  onCompact?: () => void;
  /** The last turn, the only one that can be tried again. */
  lastTurn: string | undefined;
  /** What belongs below a message that a person sent. */
  below: (messageId: string) => ReactNode;
}

interface UserBubbleProps {
  text: string;
  files?: readonly Attachment[];
  status?: string;
  children?: ReactNode;
}

/** What a person said. */
export const UserBubble = memo(({ text, files, status, children }: UserBubbleProps) => (
  <div className={status ? `user pending ${status}` : "user"}>
    {files && <AttachmentList files={files} />}
    {text && (
      <div className="user-text">
        <span className="hidden-text">You: </span>
        <CodeText text={text} />
      </div>
    )}
    {children}
  </div>
));

/** A message with the comments that left with it. */
function UserMessage({ row, context }: { row: Extract<Row, { kind: "user" }>; context: RowContext }) {
  const { text, message_id, attachments } = row.item.body;
  const below = message_id ? context.below(message_id) : null;
  return (
    <UserBubble text={below ? withoutComments(text) : text} files={attachments}>
      {below}
    </UserBubble>
  );
}

function Quiet({ children, at, tone }: { children: ReactNode; at?: string; tone?: "fail" | "warn" }) {
  return (
    <p className={tone ? `quiet ${tone}` : "quiet"}>
      <span>{children}</span>
      {at && <time dateTime={at}>{clock(at)}</time>}
    </p>
  );
}

const PLAN_ICONS: Record<PlanStep["status"], ReactNode> = {
  pending: <CircleDashed size={14} aria-hidden="true" />,
  in_progress: <CircleDot size={14} aria-hidden="true" />,
  completed: <CircleCheck size={14} aria-hidden="true" />,
};
const PLAN_WORDS: Record<PlanStep["status"], string> = {
  pending: "open",
  in_progress: "under way",
  completed: "done",
};

function Plan({ item }: { item: ItemOf<"plan"> }) {
  const { steps } = item.body;
  const done = steps.filter((step) => step.status === "completed").length;
  return (
    <section className="plan" aria-label="Plan">
      <h2>
        Plan{" "}
        <span>
          {done} of {steps.length}
        </span>
      </h2>
      <ol>
        {steps.map((step, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a step is its place in the plan
          <li key={i} className={step.status}>
            {PLAN_ICONS[step.status]}
            <span>
              <CodeText text={step.text} />
            </span>
            <span className="hidden-text">, {PLAN_WORDS[step.status]}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

const NEXT: Record<string, string> = {
  model_unreachable:
    "The model's server did not answer. Check the provider in the server's configuration, then try again.",
  model_unauthorized:
    "The provider refused the key. Correct it in the server's configuration, then try again.",
  model_stream_cut: "The answer broke off. What was done so far is kept.",
  context_full:
    "The conversation no longer fits into the model. Shorten it, or go on in a new one, which knows nothing of this one.",
  usage_limit: "The provider's limit is reached. Try again later or with another model.",
};

function NextActions({
  code,
  entry,
  context,
}: {
  code: string;
  entry: EntryOf<"turn">;
  context: RowContext;
}) {
  const isLast = context.lastTurn === entry.turnId;
  if (code === "context_full") {
    return (
      <>
        {isLast && context.onCompact && (
          <Button look="primary" onClick={context.onCompact}>
            Shorten it
          </Button>
        )}
        <Button onClick={context.onNewConversation}>New conversation</Button>
        <Button onClick={context.onNewSession}>New session</Button>
      </>
    );
  }
  return isLast ? (
    <Button look="primary" icon={<RotateCcw size={14} />} onClick={() => context.onTryAgain(entry.turnId)}>
      Try again
    </Button>
  ) : null;
}

function FailedTurn({
  outcome,
  entry,
  context,
}: {
  outcome: Extract<TurnOutcome, { status: "failed" }>;
  entry: EntryOf<"turn">;
  context: RowContext;
}) {
  const next = NEXT[outcome.code];
  return (
    <section className="failed-turn" aria-label="Turn failed">
      <CircleX size={16} aria-hidden="true" />
      <div>
        <strong>The turn failed</strong>
        {next && <p className="failed-turn-next">{next}</p>}
        <p className={next ? "quiet-text" : undefined}>{outcome.message}</p>
        <div className="failed-turn-actions">
          <NextActions code={outcome.code} entry={entry} context={context} />
          <CopyButton
            label="Copy details"
            text={() =>
              [`turn: ${entry.turnId}`, `code: ${outcome.code}`, `at: ${entry.at}`, outcome.message].join(
                "\n",
              )
            }
          />
        </div>
      </div>
    </section>
  );
}

function TurnRow({ entry, context }: { entry: EntryOf<"turn">; context: RowContext }) {
  switch (entry.outcome.status) {
    case "failed":
      return <FailedTurn outcome={entry.outcome} entry={entry} context={context} />;
    case "interrupted":
      return <Quiet at={entry.at}>Interrupted</Quiet>;
    default:
      return (
        <Quiet at={entry.at}>
          {entry.startedAt
            ? `Worked for ${duration(Date.parse(entry.at) - Date.parse(entry.startedAt))}`
            : "Done"}
        </Quiet>
      );
  }
}

function StateRow({ entry }: { entry: EntryOf<"state"> }) {
  switch (entry.state) {
    case "stopped":
      return <Quiet at={entry.at}>Session stopped</Quiet>;
    case "starting":
      return <Quiet at={entry.at}>Session started again</Quiet>;
    case "disconnected":
      return <Quiet at={entry.at}>The sandbox did not answer for a while</Quiet>;
    case "running":
      return <Quiet at={entry.at}>Connected again</Quiet>;
    default:
      return (
        <Quiet at={entry.at} tone="fail">
          Session failed{entry.trouble ? `: ${entry.trouble.message}` : ""}
        </Quiet>
      );
  }
}

const ANSWERS = {
  accept: "Approved",
  accept_for_session: "Approved for the session",
  decline: "Declined",
} as const;

function ApprovalRow({ entry, context }: { entry: EntryOf<"approval">; context: RowContext }) {
  const { session, scope } = context;
  if (!entry.resolved) return <ApprovalCard session={session} scope={scope} approval={entry.approval} />;
  const { subject } = entry.approval;
  const what = subject.kind === "other" ? subject.question : question(entry.approval);
  return (
    <Quiet at={entry.resolved.at}>
      {entry.resolved.decision ? ANSWERS[entry.resolved.decision] : "Withdrawn"}: {what}
    </Quiet>
  );
}

function NoticeRow({ entry, count }: { entry: EntryOf<"notice">; count: number }) {
  const times = count > 1 ? ` (${count} times)` : "";
  if (entry.level === "info") {
    return (
      <Quiet at={entry.at}>
        <Info size={14} aria-hidden="true" /> {entry.message}
        {times}
      </Quiet>
    );
  }
  return (
    <Quiet at={entry.at} tone={entry.level === "error" ? "fail" : "warn"}>
      <TriangleAlert size={14} aria-hidden="true" /> {entry.message}
      {times}
    </Quiet>
  );
}

function rowState(row: Extract<Row, { kind: "files" }>): string | undefined {
  if (row.item.status === "declined") return "Declined";
  if (row.item.status === "failed") return "Not applied";
  return row.interrupted ? "Interrupted" : undefined;
}

export const RowView = memo(({ row, context }: { row: Row; context: RowContext }) => {
  switch (row.kind) {
    case "user":
      return <UserMessage row={row} context={context} />;
    case "agent":
      return (
        <div className={row.streaming ? "agent streaming" : "agent"}>
          <Markdown text={row.item.body.text} />
          {!row.streaming && (
            <div className="agent-actions">
              <CopyIconButton text={row.item.body.text} label="Copy message" />
            </div>
          )}
        </div>
      );
    case "work":
      return <WorkRow steps={row.steps} />;
    case "files":
      return row.item.body.changes.map((file) => (
        <FileCard key={file.path} file={file} state={rowState(row)} />
      ));
    case "plan":
      return <Plan item={row.item} />;
    case "other":
      return (
        <Quiet at={row.item.completed_at ?? undefined}>
          {row.item.body.label}
          {row.item.body.detail ? ` · ${row.item.body.detail}` : ""}
        </Quiet>
      );
    case "approval":
      return <ApprovalRow entry={row.entry} context={context} />;
    case "state":
      return <StateRow entry={row.entry} />;
    case "turn":
      return <TurnRow entry={row.entry} context={context} />;
    case "notice":
      return <NoticeRow entry={row.entry} count={row.count} />;
    case "lost":
      return (
        <Quiet at={row.entry.at} tone="warn">
          <TriangleAlert size={14} aria-hidden="true" /> The agent could not continue its conversation and no
          longer remembers what is above. {row.entry.message}
        </Quiet>
      );
    case "rejected":
      return (
        <Quiet at={row.entry.at} tone="fail">
          A message was not taken: {row.entry.message}
        </Quiet>
      );
  }
});
