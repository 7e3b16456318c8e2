import {
  ChevronRight,
  CircleSlash,
  CircleX,
  Globe,
  LoaderCircle,
  Sparkle,
  Terminal,
  Wrench,
} from "lucide-react";
import { memo, type ReactNode, useId, useState } from "react";
import type { Step } from "../../live/rows";
import { CopyIconButton } from "../../ui/CopyButton";
import { Markdown } from "../../ui/markdown/Markdown";
import { duration, useNow } from "../../ui/time";
import {
  elapsedMs,
  isDeclined,
  isFailed,
  isRunning,
  lastLine,
  onlyAction,
  shortCommand,
  stripAnsi,
  summary,
} from "./work";
import "./work.css";

/** Lines of a failed command's output that are shown unasked: its end, where the reason is. */
const FAILED_LINES = 12;

function tail(text: string, lines: number): string {
  const all = text.trimEnd().split("\n");
  return all.length > lines ? `…\n${all.slice(-lines).join("\n")}` : all.join("\n");
}

function outcome(step: Step): string | undefined {
  const { item } = step;
  if (step.interrupted) return "interrupted";
  if (item.status === "declined") return "declined";
  if (item.body.kind === "command" && item.status === "failed") {
    return item.body.exit_code == null ? "did not start" : `exit code ${item.body.exit_code}`;
  }
  return item.status === "failed" ? "failed" : undefined;
}

function Output({ text, whole }: { text: string; whole: boolean }) {
  const plain = stripAnsi(text).replace(/\r\n/g, "\n");
  if (!plain.trim()) return <p className="work-quiet">No output.</p>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <pre className="work-output" tabIndex={0}>
      {whole ? plain.trimEnd() : tail(plain, FAILED_LINES)}
    </pre>
  );
}

function pretty(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

function stepHead(step: Step): { icon: ReactNode; title: string; mono: boolean } {
  const { body } = step.item;
  switch (body.kind) {
    case "command":
      return { icon: <Terminal size={14} />, title: shortCommand(body.command), mono: true };
    case "tool_call":
      return { icon: <Wrench size={14} />, title: body.tool, mono: true };
    case "web_search":
      return { icon: <Globe size={14} />, title: body.query || "Web search", mono: false };
    default:
      return { icon: <Sparkle size={14} />, title: isRunning(step) ? "Thinking" : "Thought", mono: false };
  }
}

function StepBody({ step, whole }: { step: Step; whole: boolean }) {
  const { body } = step.item;
  switch (body.kind) {
    case "command":
      return (
        <div className="work-command">
          {body.command !== shortCommand(body.command) && whole && (
            <pre className="work-output">{body.command}</pre>
          )}
          <Output text={body.output} whole={whole} />
          {body.output && (
            <div className="work-copy">
              <CopyIconButton text={stripAnsi(body.output)} label="Copy output" />
            </div>
          )}
        </div>
      );
    case "tool_call":
      return (
        <div className="work-command">
          <pre className="work-output">{pretty(body.arguments)}</pre>
          {body.result != null && <Output text={body.result} whole={whole} />}
        </div>
      );
    case "reasoning":
      return (
        <div className="work-thought">
          <Markdown text={body.text} />
        </div>
      );
    default:
      return null;
  }
}

function hasBody(step: Step): boolean {
  const { body } = step.item;
  return body.kind === "reasoning" ? body.text.trim() !== "" : body.kind !== "web_search";
}

function stateIcon(step: Step): ReactNode {
  if (isRunning(step)) return <LoaderCircle size={14} className="spin" />;
  if (isFailed(step)) return <CircleX size={14} />;
  return isDeclined(step) ? <CircleSlash size={14} /> : undefined;
}

const StepView = memo(({ step }: { step: Step }) => {
  const failed = isFailed(step);
  // A failed step shows why; a person may fold it, or open the whole of it.
  const [open, setOpen] = useState<boolean>();
  const id = useId();
  const { icon, title, mono } = stepHead(step);
  const shown = open ?? failed;
  const result = outcome(step);
  return (
    <li className="work-step">
      <button
        type="button"
        className="work-step-head"
        aria-expanded={hasBody(step) ? shown : undefined}
        aria-controls={id}
        disabled={!hasBody(step)}
        onClick={() => setOpen(!shown)}
      >
        <span className={failed ? "work-icon failed" : "work-icon"} aria-hidden="true">
          {stateIcon(step) ?? icon}
        </span>
        <span className={mono ? "truncate mono" : "truncate"}>{title}</span>
        {result && <span className={failed ? "work-result failed" : "work-result"}>{result}</span>}
      </button>
      <div id={id} hidden={!shown}>
        {shown && <StepBody step={step} whole={open === true || !failed} />}
      </div>
    </li>
  );
});

function Elapsed({ steps }: { steps: readonly Step[] }) {
  const now = useNow();
  return <>{duration(elapsedMs(steps, now))}</>;
}

/** A stretch of work on one line; what failed and what runs stays in sight. */
export const WorkRow = memo(({ steps }: { steps: readonly Step[] }) => {
  const [open, setOpen] = useState(false);
  const id = useId();
  const running = steps.findLast(isRunning);
  const failed = steps.filter(isFailed);
  const notable = steps.filter((step) => isFailed(step) || isDeclined(step));
  const only = onlyAction(steps);
  const visible = open ? steps : notable;
  const onlyCommand = only?.item.body.kind === "command" ? only.item.body : undefined;
  const runningBody = running?.item.body;
  const hint = runningBody?.kind === "command" ? lastLine(runningBody.output) : "";

  if (only && notable[0] === only && steps.length === 1) {
    return (
      <ul className="work-steps alone">
        <StepView step={only} />
      </ul>
    );
  }
  return (
    <div className="work">
      <button
        type="button"
        className="work-head"
        aria-expanded={open}
        aria-controls={id}
        onClick={() => setOpen(!open)}
      >
        {running ? (
          <LoaderCircle size={14} className="work-icon spin" aria-hidden="true" />
        ) : (
          <ChevronRight size={14} className={open ? "work-icon turned" : "work-icon"} aria-hidden="true" />
        )}
        <span className="work-title truncate">
          {running ? (
            runningBody?.kind === "reasoning" ? (
              "Thinking"
            ) : (
              <>
                Running <span className="mono">{stepHead(running).title}</span>
              </>
            )
          ) : onlyCommand ? (
            <>
              Ran <span className="mono">{shortCommand(onlyCommand.command)}</span>
            </>
          ) : (
            summary(steps)
          )}
        </span>
        <span className="work-time">
          · <Elapsed steps={steps} />
        </span>
        {failed.length > 0 && !open && steps.length > 1 && (
          <span className="work-result failed">{failed.length} failed</span>
        )}
      </button>
      {hint && !open && <p className="work-hint truncate">{hint}</p>}
      <ul id={id} className="work-steps" hidden={visible.length === 0}>
        {visible.map((step) => (
          <StepView key={step.key} step={step} />
        ))}
      </ul>
    </div>
  );
});
