import { CircleAlert } from "lucide-react";
import { type ReactNode, useEffect, useRef } from "react";
import type { Approval, Decision } from "../../api/types";
import { ariaChord } from "../../keys/keys";
import { Button } from "../../ui/Button";
import { CopyIconButton } from "../../ui/CopyButton";
import { Kbd } from "../../ui/Kbd";
import { ago, useNow } from "../../ui/time";
import { type AsideField, sendAside, useAside } from "../composer/asides";
import "./approval.css";
import {
  ANSWER_KEYS,
  answer,
  chordOf,
  question,
  setInView,
  subjectLine,
  useApprovalState,
  useLetters,
} from "./approvals";
import { FileCard, pathIn } from "./Diff";

function Subject({ approval }: { approval: Approval }) {
  const { subject } = approval;
  switch (subject.kind) {
    case "command":
      return (
        <div className="approval-command">
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
          <pre tabIndex={0}>{subject.command}</pre>
          <CopyIconButton text={subject.command} label="Copy command" />
        </div>
      );
    case "file_change":
      return (
        <div className="approval-files">
          {subject.changes.map((file) => (
            <FileCard key={file.path} file={file} alwaysOpen />
          ))}
        </div>
      );
    case "other":
      return <p className="approval-question">{subject.question}</p>;
  }
}

/** What should be done instead. Card and bar show the same words. */
function Instead({ session, approval, field }: { session: string; approval: Approval; field: AsideField }) {
  const { answering } = useApprovalState(approval.id);
  const input = useRef<HTMLInputElement>(null);
  const text = field.aside?.text ?? "";
  // The person has just asked for this field, or was writing in the other one.
  useEffect(() => {
    if (document.activeElement === document.body) input.current?.focus();
  }, []);
  return (
    <form
      className="approval-actions saying"
      onSubmit={(event) => {
        event.preventDefault();
        void sendAside(session, approval.id, () => answer(session, approval, "decline", text.trim()));
      }}
    >
      <input
        ref={input}
        className="input"
        aria-label="What should the agent do instead?"
        placeholder="What should the agent do instead?"
        value={text}
        readOnly={answering}
        onChange={(event) => field.write(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.preventDefault();
          field.close();
        }}
      />
      <Button type="submit" look="primary" disabled={answering || !text.trim()}>
        Decline and say
      </Button>
      <Button look="ghost" onClick={field.close}>
        Cancel
      </Button>
    </form>
  );
}

interface AnswerButtonProps {
  decision: Decision;
  disabled: boolean;
  onClick: () => void;
  children: string;
}

/** Shows the keys that work where the keyboard is. Both have their room: a click moves the keyboard, and must not move the button. */
function AnswerButton({ decision, children, ...rest }: AnswerButtonProps) {
  const letters = useLetters();
  const letter = ANSWER_KEYS[decision];
  const chord = chordOf(letter);
  return (
    <Button
      look={decision === "accept" ? "primary" : "default"}
      aria-keyshortcuts={`${letter} ${ariaChord(chord)}`}
      {...rest}
    >
      {children}
      <span className="answer-keys">
        <span className={letters ? undefined : "off"}>
          <Kbd keys={letter} />
        </span>
        <span className={letters ? "off" : undefined}>
          <Kbd keys={chord} />
        </span>
      </span>
    </Button>
  );
}

interface ApprovalActionsProps {
  session: string;
  /** What drafts of the conversation are kept under. */
  scope: string;
  approval: Approval;
  /** Shown at the end of the row. */
  children?: ReactNode;
}

/** The answers, with the keys that give them. */
export function ApprovalActions({ session, scope, approval, children }: ApprovalActionsProps) {
  const { answering } = useApprovalState(approval.id);
  const field = useAside(session, scope, "approval", approval.id);
  const can = (decision: Decision) => approval.decisions.includes(decision);
  const button = (decision: Decision, label: string) =>
    can(decision) && (
      <AnswerButton
        decision={decision}
        disabled={answering}
        onClick={() => void answer(session, approval, decision)}
      >
        {label}
      </AnswerButton>
    );

  if (field.aside) return <Instead session={session} approval={approval} field={field} />;
  return (
    <div className="approval-actions">
      {button("accept", "Approve")}
      {button("accept_for_session", "Approve for session")}
      {button("decline", "Decline")}
      {can("decline") && (
        <Button look="ghost" disabled={answering} onClick={() => field.write("")}>
          Decline and say…
        </Button>
      )}
      <span className="spacer" />
      {children}
    </div>
  );
}

function Asked({ at }: { at: string }) {
  const now = useNow();
  return <span className="approval-meta asked">Asked {ago(at, now)}</span>;
}

/** A question of the agent, where it was asked. */
export function ApprovalCard({
  session,
  scope,
  approval,
}: {
  session: string;
  scope: string;
  approval: Approval;
}) {
  const ref = useRef<HTMLElement>(null);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const observer = new IntersectionObserver(
      ([entry]) => setInView(approval.id, entry?.isIntersecting ?? false),
      {
        // The answers are at its foot: enough of the card must show.
        threshold: 0.6,
      },
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      setInView(approval.id, false);
    };
  }, [approval.id]);
  return (
    <section ref={ref} className="approval" aria-label={`Approval: ${question(approval)}`}>
      <div className="approval-head">
        <CircleAlert size={16} aria-hidden="true" />
        <strong>{question(approval)}</strong>
        <span className="spacer" />
        {approval.subject.kind === "command" && (
          <span className="approval-meta truncate">in {approval.subject.cwd}</span>
        )}
      </div>
      {approval.reason && <p className="approval-reason">{approval.reason}</p>}
      <Subject approval={approval} />
      <ApprovalActions session={session} scope={scope} approval={approval}>
        <Asked at={approval.requested_at} />
      </ApprovalActions>
    </section>
  );
}

interface ApprovalBarProps {
  session: string;
  scope: string;
  /** The session's working directory. */
  folder: string;
  approvals: readonly Approval[];
  onShow: (approval: Approval) => void;
}

/** Above the composer while a question waits whose card is not in view. */
export function ApprovalBar({ session, scope, folder, approvals, onShow }: ApprovalBarProps) {
  const first = approvals[0];
  const { inView } = useApprovalState(first?.id);
  if (!first || inView) return null;
  return (
    <section className="approval-bar" aria-label="Waiting approval" data-pane="approval">
      <button type="button" className="approval-bar-what" onClick={() => onShow(first)}>
        <CircleAlert size={16} aria-hidden="true" />
        <strong>{question(first)}</strong>
        <code className="truncate">{subjectLine(first, (path) => pathIn(folder, path))}</code>
      </button>
      <ApprovalActions session={session} scope={scope} approval={first}>
        {approvals.length > 1 && <span className="approval-meta">{approvals.length - 1} more</span>}
      </ApprovalActions>
    </section>
  );
}
