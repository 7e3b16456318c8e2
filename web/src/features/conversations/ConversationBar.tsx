import { Archive, ArchiveRestore, ChevronDown, ChevronRight, MessageSquarePlus, Pencil } from "lucide-react";
import { type KeyboardEvent, useRef, useState } from "react";
import type { ConversationSummary, QueuedMessage, Session } from "../../api/types";
import { useCommands } from "../../keys/registry";
import {
  conversationIn,
  groupConversations,
  isStarter,
  NEW,
  titleOf,
  waitingToStart,
} from "../../live/conversations";
import { Button, IconButton } from "../../ui/Button";
import { Popover } from "../../ui/Popover";
import { TitleField } from "../../ui/TitleField";
import { age, clock, useNow } from "../../ui/time";
import { StatusIcon } from "../session/StatusIcon";
import { type Status, statusOf } from "../session/status";
import { useConversationActions } from "./actions";
import "./conversations.css";

interface ConversationBarProps {
  session: Session;
  queue: readonly QueuedMessage[];
  view: string;
  onShow: (id: string) => void;
}

function statusIn(conversation: ConversationSummary): Status | undefined {
  if (conversation.approvals > 0) return statusOf({ state: "running", activity: "needs_you" });
  if (conversation.turn_id) return statusOf({ state: "running", activity: "working" });
  return undefined;
}

function nameOf(session: Session, queue: readonly QueuedMessage[], view: string): string {
  const conversation = conversationIn(session, view);
  if (conversation) return titleOf(conversation);
  const starter = isStarter(view) ? queue.find((message) => message.id === view) : undefined;
  return starter?.text.trim().split("\n")[0] || "New conversation";
}

/** Says what goes on in a conversation, as a shape, a colour and a word for screen readers. */
function Mark({ conversation }: { conversation: ConversationSummary }) {
  const status = statusIn(conversation);
  if (!status) return <span className="conversation-mark" />;
  return (
    <span className={`conversation-mark ${status.tone}`}>
      <StatusIcon status={status} />
      {conversation.approvals > 1 && <span aria-hidden="true">{conversation.approvals}</span>}
      <span className="hidden-text">
        {conversation.approvals > 0 ? `${conversation.approvals} waiting for your answer` : status.word}
      </span>
    </span>
  );
}

interface RowProps {
  session: Session;
  conversation: ConversationSummary;
  current: boolean;
  now: number;
  onShow: () => void;
  onArchived: () => void;
}

function Row({ session, conversation, current, now, onShow, onArchived }: RowProps) {
  const actions = useConversationActions();
  const [renaming, setRenaming] = useState(false);
  const row = useRef<HTMLButtonElement>(null);
  const title = titleOf(conversation);
  const done = () => {
    setRenaming(false);
    setTimeout(() => row.current?.focus());
  };
  const archive = () =>
    conversation.archived
      ? void actions.unarchive(session, conversation.id)
      : void actions.archive(session, conversation).then((archived) => archived && onArchived());
  if (renaming) {
    return (
      <li className="conversation-row">
        <TitleField
          label="Conversation title"
          title={title}
          onCancel={done}
          onSave={(next) => {
            void actions.rename(session, conversation.id, next);
            done();
          }}
        />
      </li>
    );
  }
  return (
    <li className={current ? "conversation-row current" : "conversation-row"}>
      <button
        ref={row}
        type="button"
        className="conversation-pick"
        aria-current={current || undefined}
        onClick={onShow}
        onKeyDown={(event) => {
          if (event.key !== "F2") return;
          event.preventDefault();
          setRenaming(true);
        }}
      >
        <Mark conversation={conversation} />
        <span className="truncate">{title}</span>
        {conversation.lost && <span className="conversation-lost">can't be continued</span>}
        <time dateTime={conversation.updated_at} title={clock(conversation.updated_at, now)}>
          {age(conversation.updated_at, now)}
        </time>
      </button>
      <IconButton label={`Rename “${title}”`} onClick={() => setRenaming(true)}>
        <Pencil size={14} />
      </IconButton>
      <IconButton
        label={
          conversation.turn_id
            ? "Interrupt it before it is archived"
            : conversation.archived
              ? `Bring back “${title}”`
              : `Archive “${title}”`
        }
        aria-disabled={conversation.turn_id ? true : undefined}
        onClick={() => !conversation.turn_id && archive()}
      >
        {conversation.archived ? <ArchiveRestore size={14} /> : <Archive size={14} />}
      </IconButton>
    </li>
  );
}

function stepOf(key: string, at: number, last: number): number | undefined {
  if (key === "ArrowDown") return Math.min(last, at + 1);
  if (key === "ArrowUp") return Math.max(0, at - 1);
  if (key === "Home") return 0;
  return key === "End" ? last : undefined;
}

/** Up and down go from row to row; Home and End to the ends. */
function walk(event: KeyboardEvent<HTMLElement>): void {
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>(".conversation-pick")];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = stepOf(event.key, at, rows.length - 1);
  if (next === undefined || event.target instanceof HTMLInputElement) return;
  event.preventDefault();
  rows[next]?.focus();
}

/** Which conversation is in view, the others, and the way to a new one. */
export function ConversationBar({ session, queue, view, onShow }: ConversationBarProps) {
  const now = useNow();
  const actions = useConversationActions();
  const [open, setOpen] = useState(false);
  const [renaming, setRenaming] = useState(false);
  const [folded, setFolded] = useState(true);
  const list = useRef<HTMLDivElement>(null);
  const conversation = conversationIn(session, view);
  const title = nameOf(session, queue, view);
  const { groups, archived } = groupConversations(session);
  const starting = waitingToStart(queue);
  const others = (session.conversations ?? []).filter((other) => other.id !== view);
  const waiting = others.reduce((count, other) => count + other.approvals, 0);
  const working = others.filter((other) => other.turn_id).length;
  const count = (session.conversations ?? []).filter((other) => !other.archived).length;
  // The only one needs no name beside the session's.
  const alone = others.length === 0 && starting.length === 0;
  const label = conversation ? "1 conversation" : "No conversation yet";

  const chosen = useRef(false);
  const show = (id: string) => {
    // The keyboard goes where one writes, and not back to the list's button.
    chosen.current = open;
    setOpen(false);
    onShow(id);
  };
  const steps = groups.flatMap((group) => group.conversations.map((other) => other.id));
  const beside = (step: 1 | -1) => {
    const next = steps[(steps.indexOf(view) + step + steps.length) % steps.length];
    if (next) show(next);
  };
  useCommands([
    {
      id: "conversation.new",
      title: "New conversation",
      group: "Session",
      keys: ["mod+shift+k"],
      inTerminal: true,
      run: () => show(NEW),
    },
    {
      id: "conversation.switch",
      title: "Switch conversation…",
      group: "Session",
      keys: ["o"],
      run: () => setOpen(true),
    },
    {
      id: "conversation.next",
      title: "Next conversation",
      group: "Session",
      when: () => steps.length > 1,
      run: () => beside(1),
    },
    {
      id: "conversation.previous",
      title: "Previous conversation",
      group: "Session",
      when: () => steps.length > 1,
      run: () => beside(-1),
    },
    {
      id: "conversation.rename",
      title: "Rename conversation",
      group: "Session",
      when: () => conversation !== undefined,
      run: () => setRenaming(true),
    },
    {
      id: "conversation.archive",
      title: conversation?.archived ? "Bring conversation back" : "Archive conversation",
      group: "Session",
      when: () => conversation !== undefined && !conversation.turn_id,
      run: () => {
        if (!conversation) return;
        if (conversation.archived) void actions.unarchive(session, conversation.id);
        else void actions.archive(session, conversation).then((done) => done && leave(conversation.id));
      },
    },
  ]);
  const leave = (id: string) => {
    if (id !== view) return;
    const next = steps.find((other) => other !== id);
    onShow(next ?? NEW);
  };
  const row = (other: ConversationSummary) => (
    <Row
      key={other.id}
      session={session}
      conversation={other}
      current={other.id === view}
      now={now}
      onShow={() => show(other.id)}
      onArchived={() => leave(other.id)}
    />
  );

  return (
    <div className="conversation-bar" data-pane="conversations">
      {renaming && conversation ? (
        <TitleField
          label="Conversation title"
          title={title}
          onCancel={() => setRenaming(false)}
          onSave={(next) => {
            void actions.rename(session, conversation.id, next);
            setRenaming(false);
          }}
        />
      ) : (
        <Popover
          ref={list}
          label="Conversations"
          className="conversation-pop"
          align="start"
          open={open}
          onOpenChange={setOpen}
          onOpenAutoFocus={(event) => {
            const current = list.current?.querySelector<HTMLElement>(".current .conversation-pick");
            if (!current) return;
            event.preventDefault();
            current.focus();
          }}
          onCloseAutoFocus={(event) => {
            if (chosen.current) event.preventDefault();
            chosen.current = false;
          }}
          onKeyDown={walk}
          trigger={
            <button
              type="button"
              className="btn ghost conversation-current"
              data-pane-focus
              aria-label={`Conversation: ${title}. ${alone ? label : "Switch conversation"}`}
            >
              {!alone && conversation && statusIn(conversation) && <Mark conversation={conversation} />}
              <span className="truncate">{alone ? label : title}</span>
              {count > 1 && <span className="conversation-count">{count}</span>}
              <ChevronDown size={14} aria-hidden="true" />
            </button>
          }
        >
          {starting.length > 0 && (
            <ul aria-label="Waiting to start">
              {starting.map((message) => (
                <li
                  key={message.id}
                  className={message.id === view ? "conversation-row current" : "conversation-row"}
                >
                  <button type="button" className="conversation-pick" onClick={() => show(message.id)}>
                    <span className="conversation-mark" />
                    <span className="truncate">{nameOf(session, queue, message.id)}</span>
                    <span className="conversation-lost">waits to start</span>
                  </button>
                </li>
              ))}
            </ul>
          )}
          {groups.map((group) => (
            <section key={group.name ?? ""} aria-label={group.name ?? "Conversations"}>
              {group.name && <h2 className="menu-label">{group.name}</h2>}
              <ul>{group.conversations.map(row)}</ul>
            </section>
          ))}
          {steps.length === 0 && starting.length === 0 && (
            <p className="conversation-none">No conversation yet. The first message begins one.</p>
          )}
          {archived.length > 0 && (
            <section aria-label="Archived conversations">
              <button
                type="button"
                className="conversation-fold"
                aria-expanded={!folded}
                onClick={() => setFolded(!folded)}
              >
                {folded ? <ChevronRight size={14} /> : <ChevronDown size={14} />}
                Archived · {archived.length}
              </button>
              {!folded && <ul>{archived.map(row)}</ul>}
            </section>
          )}
        </Popover>
      )}
      {waiting > 0 && (
        <button type="button" className="conversation-others need" onClick={() => setOpen(true)}>
          <StatusIcon status={statusOf({ state: "running", activity: "needs_you" })} />
          {waiting}
          <span className="hidden-text"> waiting for your answer in other conversations</span>
        </button>
      )}
      {waiting === 0 && working > 0 && (
        <button type="button" className="conversation-others run" onClick={() => setOpen(true)}>
          <StatusIcon status={statusOf({ state: "running", activity: "working" })} />
          {working} working
          <span className="hidden-text"> in other conversations</span>
        </button>
      )}
      <span className="spacer" />
      {conversation?.archived && (
        <Button
          icon={<ArchiveRestore size={14} />}
          onClick={() => void actions.unarchive(session, conversation.id)}
        >
          Archived · Bring back
        </Button>
      )}
      <IconButton
        label="New conversation"
        keys="mod+shift+k"
        aria-pressed={view === NEW}
        onClick={() => show(NEW)}
      >
        <MessageSquarePlus size={16} />
      </IconButton>
    </div>
  );
}
