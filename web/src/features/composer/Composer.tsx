import { ArrowUp, Square } from "lucide-react";
import {
  type ReactNode,
  type Ref,
  useEffect,
  useImperativeHandle,
  useLayoutEffect,
  useRef,
  useState,
} from "react";
import type { Delivery, Session, Usage } from "../../api/types";
import { useCommands } from "../../keys/registry";
import type { Send } from "../../live/channel";
import { Button } from "../../ui/Button";
import { AttachButton } from "../attachments/AttachButton";
import { AttachmentChips } from "../attachments/AttachmentChips";
import { draftsOf } from "../attachments/drafts";
import { pasteFiles } from "../attachments/FileDrop";
import { useAttachments, useSendWhenUploaded, waitingLabel } from "../attachments/use-attachments";
import { useSessionActions } from "../session/actions";
import { canStart, runtimeName } from "../session/status";
import "./composer.css";
import { Context } from "./Context";
import { useChoice } from "./choice";
import { caretPoint } from "./completion/caret";
import type { RunNamed } from "./completion/run";
import { useCompletion } from "./completion/use-completion";
import { useDraft } from "./draft";
import { ModelPickers } from "./ModelPickers";

/** What the server accepts, in bytes. */
const MAX_BYTES = 1024 * 1024;

export interface ComposerHandle {
  focus: () => void;
  /** Puts a text in front of what is written. The keyboard stays where it is. */
  insert: (text: string) => void;
}

interface ComposerProps {
  session: Session;
  /** What drafts are kept under. */
  scope: string;
  channel: { send: Send };
  /** Runs one of the runtime's commands in the conversation. */
  onRun: RunNamed;
  usage: Usage | null;
  /** What was said before, newest last. */
  history: readonly string[];
  /** Comments on changes that leave with the next message, by id. */
  comments: readonly string[];
  /** Told which of them left. */
  onSent: (comments: readonly string[]) => void;
  /** What else leaves with it, drawn above the text. */
  chips: ReactNode;
  ref: Ref<ComposerHandle>;
}

/** Whether the caret is on the first line as drawn, or on the last. */
function isAtEdge(area: HTMLTextAreaElement, edge: "first" | "last"): boolean {
  const line = (position: number) => caretPoint(area, position).top;
  return line(area.selectionStart) === line(edge === "first" ? 0 : area.value.length);
}

/** What the buttons and keys do, by the session's state. */
function modeOf(session: Session): { send: string; hint: string; delivery: Delivery; working: boolean } {
  if (canStart(session))
    return { send: "Start and send", hint: "Starts the session", delivery: "queue", working: false };
  if (session.state === "stopping")
    return { send: "Queue", hint: "Kept until the session runs", delivery: "queue", working: false };
  if (session.state === "created" || session.state === "starting") {
    return { send: "Queue", hint: "Sent when the session is ready", delivery: "queue", working: false };
  }
  if (session.state === "disconnected")
    return { send: "Queue", hint: "Sent when the sandbox is back", delivery: "queue", working: false };
  if (session.activity === "idle") return { send: "Send", hint: "", delivery: "steer", working: false };
  return { send: "Steer", hint: "", delivery: "steer", working: true };
}

export function Composer({
  session,
  scope,
  channel,
  onRun,
  usage,
  history,
  comments,
  onSent,
  chips,
  ref,
}: ComposerProps) {
  const { text, setText, insert } = useDraft(scope);
  const { choice, resolved, sent, choose } = useChoice(session, scope);
  const [recalled, setRecalled] = useState(0);
  const area = useRef<HTMLTextAreaElement>(null);
  const actions = useSessionActions();
  const completion = useCompletion({ session, area, text, setText, onRun });
  const mode = modeOf(session);
  const tooLong = text.length > MAX_BYTES / 4 && new Blob([text]).size > MAX_BYTES;
  const files = useAttachments(scope);
  const canSend =
    (text.trim() !== "" || comments.length > 0 || files.files.length > 0) && !tooLong && files.failed === 0;

  useImperativeHandle(ref, () => ({ focus: () => area.current?.focus(), insert }));

  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text
  useLayoutEffect(() => {
    const element = area.current;
    if (!element || CSS.supports("field-sizing", "content")) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  // A session that was just opened is for writing to, unless something else has the keyboard.
  useEffect(() => {
    if (document.activeElement === document.body && window.matchMedia("(hover: hover)").matches)
      area.current?.focus();
  }, []);

  const sendMessage = (delivery: Delivery) => {
    channel.send({
      text,
      delivery,
      ...sent,
      comments: [...comments],
      attachments: draftsOf(scope).take(),
    });
    // The channel keeps it: the draft is over.
    setText("");
    setRecalled(0);
    onSent(comments);
    if (canStart(session)) void actions.start(session);
  };
  const sendNow = (delivery: Delivery = mode.delivery) =>
    canSend && completion.runText(() => sendMessage(delivery));
  const uploads = useSendWhenUploaded(files, sendNow);
  const send = (delivery: Delivery) => canSend && uploads.send(delivery);
  const interrupt = () => void actions.interrupt(session);

  const recall = (step: 1 | -1) => {
    const next = Math.max(0, Math.min(history.length, recalled + step));
    setRecalled(next);
    setText(next === 0 ? "" : (history[history.length - next] ?? ""));
  };
  const hasFocus = () => document.activeElement === area.current;
  const isRecalling = (edge: "first" | "last") =>
    recalled > 0 &&
    text === history[history.length - recalled] &&
    area.current !== null &&
    isAtEdge(area.current, edge);

  useCommands([
    {
      id: "message.focus",
      title: "Write a message",
      group: "Message",
      keys: ["m"],
      run: () => area.current?.focus(),
    },
    {
      id: "message.send",
      title: mode.send,
      group: "Message",
      keys: ["enter"],
      inText: true,
      when: hasFocus,
      run: () => send(mode.delivery),
      hidden: true,
    },
    {
      id: "message.queue",
      title: "Queue for the next turn",
      group: "Message",
      keys: ["tab"],
      inText: true,
      hidden: true,
      // Otherwise Tab leaves the field, as everywhere.
      when: () => hasFocus() && canSend && mode.working,
      run: () => send("queue"),
    },
    {
      id: "message.queue-or-send",
      title: mode.working ? "Queue for the next turn" : mode.send,
      group: "Message",
      keys: ["mod+enter"],
      inText: true,
      hidden: true,
      when: () => hasFocus() && canSend,
      run: () => send(mode.working ? "queue" : mode.delivery),
    },
    {
      id: "message.recall",
      title: "Recall the message before",
      group: "Message",
      keys: ["arrowup"],
      inText: true,
      hidden: true,
      when: () => hasFocus() && history.length > 0 && (text === "" || isRecalling("first")),
      run: () => recall(1),
    },
    {
      id: "message.recall-next",
      title: "Recall the message after",
      group: "Message",
      keys: ["arrowdown"],
      inText: true,
      hidden: true,
      when: () => hasFocus() && isRecalling("last"),
      run: () => recall(-1),
    },
    {
      id: "message.interrupt",
      title: "Interrupt the agent",
      group: "Message",
      keys: ["escape"],
      inText: true,
      // Elsewhere Escape is about something else, or about nothing.
      pane: ["composer", "conversation", "approval"],
      when: () => mode.working,
      run: interrupt,
    },
  ]);

  return (
    <div className="composer" data-pane="composer">
      {chips}
      <AttachmentChips scope={scope} />
      <textarea
        ref={area}
        data-pane-focus
        aria-label="Message"
        aria-describedby={tooLong ? "composer-error" : undefined}
        aria-invalid={tooLong}
        {...completion.field}
        placeholder={mode.working ? "Steer the agent" : `Message ${runtimeName(session.runtime)}`}
        rows={1}
        value={text}
        onPaste={(event) => pasteFiles(scope, event)}
        onChange={(event) => {
          setText(event.target.value);
          setRecalled(0);
          completion.follow();
        }}
      />
      {completion.list}
      {tooLong && (
        <p id="composer-error" className="field-error">
          A message holds at most 1 MB. Put more into a file of the repository.
        </p>
      )}
      {files.failed > 0 && (
        <p className="field-error">Upload the file that failed again, or remove it, to send.</p>
      )}
      <div className="composer-bar">
        <AttachButton scope={scope} />
        <ModelPickers
          models={session.models}
          resolved={resolved}
          onModel={(model) => choose({ ...choice, model })}
          onEffort={(effort) => choose({ ...choice, effort })}
        />
        <Context usage={usage} />
        <span className="spacer" />
        <span className="composer-hint" role="status">
          {completion.running
            ? `Running /${completion.running}…`
            : mode.working
              ? canSend && "↵ steers · ⇥ queues"
              : mode.hint}
        </span>
        {mode.working && (
          <Button
            look="ghost"
            className="interrupt"
            keys="escape"
            icon={<Square size={12} fill="currentColor" />}
            onClick={interrupt}
          >
            Interrupt
          </Button>
        )}
        {mode.working && canSend && !uploads.isWaiting && (
          <Button onClick={() => send("queue")} aria-keyshortcuts="Tab">
            Queue
          </Button>
        )}
        <Button
          look="primary"
          disabled={!canSend}
          onClick={() => (uploads.isWaiting ? uploads.cancel() : send(mode.delivery))}
          title={uploads.isWaiting ? "Press to not send yet" : undefined}
          icon={<ArrowUp size={14} />}
          aria-keyshortcuts="Enter"
        >
          {uploads.isWaiting ? waitingLabel(files.pending) : mode.send}
        </Button>
      </div>
    </div>
  );
}
