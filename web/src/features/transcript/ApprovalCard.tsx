import { CircleAlert } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import type { Approval, Decision } from "../../api/types";
import { Button } from "../../ui/Button";
import { CopyIconButton } from "../../ui/CopyButton";
import { ago, useNow } from "../../ui/time";
import "./approval.css";
import { answer, question, setInView, useApprovalState } from "./approvals";
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

interface ApprovalActionsProps {
  session: string;
  approval: Approval;
  /** Shown at the end of the row. */
  children?: ReactNode;
}

/** The answers, with the keys that give them. */
export function ApprovalActions({ session, approval, children }: ApprovalActionsProps) {
  const { answering } = useApprovalState(approval.id);
  const [saying, setSaying] = useState(false);
  const [message, setMessage] = useState("");
  const can = (decision: Decision) => approval.decisions.includes(decision);
  const give = (decision: Decision, text?: string) => void answer(session, approval, decision, text);

  if (saying) {
    return (
      <form
        className="approval-actions saying"
        onSubmit={(event) => {
          event.preventDefault();
          give("decline", message.trim());
        }}
      >
        <input
          className="input"
          // biome-ignore lint/a11y/noAutofocus: the person has just asked for this field
          autoFocus
          aria-label="What should the agent do instead?"
          placeholder="What should the agent do instead?"
          value={message}
          onChange={(event) => setMessage(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Escape") return;
            event.preventDefault();
            setSaying(false);
          }}
        />
        <Button type="submit" look="primary" disabled={answering || !message.trim()}>
          Decline and say
        </Button>
        <Button look="ghost" onClick={() => setSaying(false)}>
          Cancel
        </Button>
      </form>
    );
  }
  return (
    <div className="approval-actions">
      {can("accept") && (
        <Button look="primary" keys="y" disabled={answering} onClick={() => give("accept")}>
          Approve
        </Button>
      )}
      {can("accept_for_session") && (
        <Button keys="a" disabled={answering} onClick={() => give("accept_for_session")}>
          Approve for session
        </Button>
      )}
      {can("decline") && (
        <>
          <Button keys="n" disabled={answering} onClick={() => give("decline")}>
            Decline
          </Button>
          <Button look="ghost" disabled={answering} onClick={() => setSaying(true)}>
            Decline and say…
          </Button>
        </>
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
export function ApprovalCard({ session, approval }: { session: string; approval: Approval }) {
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
      <ApprovalActions session={session} approval={approval}>
        <Asked at={approval.requested_at} />
      </ApprovalActions>
    </section>
  );
}

function subjectLine({ subject }: Approval, folder: string): string {
  switch (subject.kind) {
    case "command":
      return subject.command;
    case "file_change":
      return subject.changes.map((file) => pathIn(folder, file.path)).join(", ");
    case "other":
      return subject.question;
  }
}

interface ApprovalBarProps {
  session: string;
  /** The session's working directory. */
  folder: string;
  approvals: readonly Approval[];
  onShow: (approval: Approval) => void;
}

/** Above the composer while a question waits whose card is not in view. */
export function ApprovalBar({ session, folder, approvals, onShow }: ApprovalBarProps) {
  const first = approvals[0];
  const { inView } = useApprovalState(first?.id);
  if (!first || inView) return null;
  return (
    <section className="approval-bar" aria-label="Waiting approval" data-pane="approval">
      <button type="button" className="approval-bar-what" onClick={() => onShow(first)}>
        <CircleAlert size={16} aria-hidden="true" />
        <strong>{question(first)}</strong>
        <code className="truncate">{subjectLine(first, folder)}</code>
      </button>
      <ApprovalActions session={session} approval={first}>
        {approvals.length > 1 && <span className="approval-meta">{approvals.length - 1} more</span>}
      </ApprovalActions>
    </section>
  );
}
