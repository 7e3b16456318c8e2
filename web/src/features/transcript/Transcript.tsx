import { ArrowDown } from "lucide-react";
import {
  memo,
  type ReactNode,
  type Ref,
  useEffect,
  useImperativeHandle,
  useMemo,
  useRef,
  useState,
} from "react";
import { Virtualizer, type VirtualizerHandle } from "virtua";
import type { Approval, Session } from "../../api/types";
import { useCommands } from "../../keys/registry";
import type { ChannelSnapshot, SessionChannel } from "../../live/channel";
import type { LocalMessage, PendingBubble } from "../../live/pending";
import type { Row } from "../../live/rows";
import { Button } from "../../ui/Button";
import { Rows } from "../../ui/Rows";
import { useAnnouncer } from "./announce";
import { Folder } from "./Diff";
import { type RowContext, RowView, UserBubble } from "./Rows";
import { StateBlock } from "./StateBlock";
import { useStickToBottom } from "./stick";
import "./transcript.css";

export interface TranscriptHandle {
  toBottom: () => void;
  showApproval: (approval: Approval) => void;
}

interface TranscriptProps {
  session: Session | undefined;
  snapshot: ChannelSnapshot;
  channel: SessionChannel;
  rows: readonly Row[];
  bubbles: readonly PendingBubble[];
  context: RowContext;
  /** What was written on this page and belongs here. */
  local: readonly LocalMessage[];
  /** What is shown where nothing was said yet. */
  empty?: ReactNode;
  /** Takes back what was not sent. */
  onEdit: (message: LocalMessage) => void;
  ref: Ref<TranscriptHandle>;
}

function Bubble({
  bubble,
  channel,
  starting,
  onEdit,
}: {
  bubble: PendingBubble;
  channel: SessionChannel;
  starting: boolean;
  /** Takes back what was not sent. */
  onEdit: (message: LocalMessage) => void;
}) {
  const { local } = bubble;
  if (bubble.status !== "failed" || !local) {
    // The task of a session that starts is not waiting for anything that a person could hurry.
    return (
      <UserBubble text={bubble.text} files={bubble.attachments} status={starting ? undefined : "sending"} />
    );
  }
  return (
    <UserBubble text={bubble.text} files={bubble.attachments} status="failed">
      <div className="user-note fail" role="alert">
        <span>Not sent: {local.error?.message}</span>
        <Button onClick={() => channel.resend(local.localId)}>Send again</Button>
        <Button
          look="ghost"
          onClick={() => {
            channel.discard(local.localId);
            onEdit(local);
          }}
        >
          Edit
        </Button>
      </div>
    </UserBubble>
  );
}

/** So many rows are about what one looks at. */
const NEAR_ROWS = 6;

const Line = memo(({ row, context }: { row: Row; context: RowContext }) => (
  <div className={`row ${row.kind}-row`}>
    <RowView row={row} context={context} />
  </div>
));

/** The conversation, drawn as far as it is in view. */
export function Transcript({
  session,
  snapshot,
  channel,
  rows,
  bubbles,
  context,
  local,
  empty,
  onEdit,
  ref,
}: TranscriptProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const list = useRef<VirtualizerHandle>(null);
  const stick = useStickToBottom(scroller, content);
  const { atBottom, toBottom, release } = stick;

  const seenRows = useRef(rows.length);
  if (atBottom) seenRows.current = rows.length;
  const unseen = Math.max(0, rows.length - seenRows.current);

  // What one writes is at the end, wherever one was reading.
  const [lastLocal, setLastLocal] = useState<string>();
  const newest = local.at(-1)?.localId;
  if (newest !== lastLocal) setLastLocal(newest);
  useEffect(() => {
    if (lastLocal) toBottom();
  }, [lastLocal, toBottom]);

  useImperativeHandle(
    ref,
    () => ({
      toBottom,
      showApproval: (approval) => {
        const index = rows.findIndex(
          (row) => row.kind === "approval" && row.entry.approval.id === approval.id,
        );
        if (index < 0) return;
        release();
        list.current?.scrollToIndex(index, { align: "center" });
      },
    }),
    [rows, toBottom, release],
  );
  useCommands([
    {
      id: "view.latest",
      title: "Jump to latest",
      group: "View",
      keys: ["shift+g"],
      when: () => !atBottom,
      run: toBottom,
    },
  ]);

  const announced = useAnnouncer(rows, snapshot.caughtUp);
  const isStarting = session?.state === "created" || session?.state === "starting";
  const isEmpty = snapshot.caughtUp && rows.length === 0 && bubbles.length === 0;
  // The context is one object for all rows; it changes rarely.
  const line = useMemo(() => (row: Row) => <Line key={row.key} row={row} context={context} />, [context]);

  return (
    <div className="transcript">
      <div
        ref={scroller}
        className="transcript-scroll"
        role="log"
        aria-label="Conversation"
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        tabIndex={0}
        data-pane="conversation"
      >
        <div ref={content} className="transcript-content">
          <Folder value={session?.cwd ?? ""}>
            <Virtualizer ref={list} as={Rows} scrollRef={scroller} data={rows as Row[]}>
              {line}
            </Virtualizer>
          </Folder>
          {bubbles.map((bubble) => (
            <div key={bubble.key} className="row user-row">
              <Bubble bubble={bubble} channel={channel} starting={isStarting} onEdit={onEdit} />
            </div>
          ))}
          {session && (
            <div className="row">
              <StateBlock session={session} setup={snapshot.transcript.setup} isTold={tells(rows, session)} />
            </div>
          )}
          {isEmpty && empty}
          {isEmpty && !empty && session?.state === "running" && (
            <p className="row transcript-empty">Nothing was said yet. Write below what should be done.</p>
          )}
          {session?.activity === "working" && !rows.some(isLively) && session.state === "running" && (
            <p className="row working" aria-hidden="true">
              Working
            </p>
          )}
        </div>
      </div>
      {!atBottom && (
        <Button className="jump" icon={<ArrowDown size={14} />} onClick={toBottom}>
          Jump to latest
          {unseen > 0 && <span className="jump-count">{unseen}</span>}
        </Button>
      )}
      <div className="hidden-text" aria-live="polite">
        <span key={announced.count}>{announced.text}</span>
      </div>
    </div>
  );
}

/** Whether a notice or a failed turn near the end says what is wrong with the session. */
function tells(rows: readonly Row[], { trouble }: Session): boolean {
  return rows.slice(-NEAR_ROWS).some((row) => {
    if (row.kind === "notice") return row.entry.message === trouble?.message;
    return (
      row.kind === "turn" && row.entry.outcome.status === "failed" && row.entry.outcome.code === trouble?.code
    );
  });
}

/** Whether a row itself shows that something goes on. */
function isLively(row: Row): boolean {
  if (row.kind === "agent") return row.streaming;
  if (row.kind === "work")
    return row.steps.some((step) => step.item.status === "in_progress" && !step.interrupted);
  return row.kind === "files" && row.item.status === "in_progress" && !row.interrupted;
}
