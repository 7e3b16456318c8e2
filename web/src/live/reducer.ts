/**
 * What a session's record looks like to a reader: one pure function from events to a transcript.
 *
 * Events carry a sequence number that only grows. One that was seen is skipped, so that any stretch
 * of the record may be replayed; gaps are normal, because deltas of completed items are dropped from
 * the record. A completed item carries its whole content and replaces whatever its deltas said.
 */
import type {
  Approval,
  Decision,
  EventBody,
  Item,
  ItemBody,
  ModelOption,
  NoticeLevel,
  SessionEvent,
  SessionState,
  SetupStep,
  Trouble,
  TurnOutcome,
  Usage,
} from "../api/types";

/** One thing in the transcript, in the order in which it happened. */
export type Entry =
  | { kind: "item"; key: string; item: Item; interrupted: boolean }
  | {
      kind: "approval";
      key: string;
      approval: Approval;
      resolved?: { decision: Decision | null; at: string };
    }
  | { kind: "state"; key: string; state: SessionState; trouble: Trouble | null; at: string }
  | {
      kind: "turn";
      key: string;
      conversation: string;
      turnId: string;
      outcome: TurnOutcome;
      startedAt: string | null;
      at: string;
    }
  | {
      kind: "notice";
      key: string;
      /** The conversation that it is about; none for the session as a whole. */
      conversation?: string;
      level: NoticeLevel;
      code: string;
      message: string;
      at: string;
    }
  | { kind: "lost"; key: string; conversation: string; message: string; at: string }
  | { kind: "rejected"; key: string; messageId: string; message: string; at: string };

export type EntryOf<K extends Entry["kind"]> = Extract<Entry, { kind: K }>;

export interface Setup {
  /** The step under way; none before the sandbox answers. */
  step: SetupStep | null;
  detail: string | null;
  since: string;
  failed: string | null;
}

export interface Transcript {
  readonly lastSeq: number;
  readonly entries: readonly Entry[];
  /** Where an entry is, by its key. */
  readonly index: ReadonlyMap<string, number>;
  readonly setup: Setup | null;
  readonly models: readonly ModelOption[];
  readonly usage: Usage | null;
  /** When each turn began. */
  readonly turnStarts: ReadonlyMap<string, string>;
  /** The turn that runs, as far as the record says. */
  readonly turnId: string | null;
  /** Messages that the runtime has taken, and the turn they went to. */
  readonly delivered: ReadonlyMap<string, string>;
  /** Messages that the runtime has taken, and the conversation they are in. */
  readonly conversationOf: ReadonlyMap<string, string>;
  /** Messages that are in the transcript as items. */
  readonly shown: ReadonlySet<string>;
}

export const EMPTY: Transcript = {
  lastSeq: 0,
  entries: [],
  index: new Map(),
  setup: null,
  models: [],
  usage: null,
  turnStarts: new Map(),
  turnId: null,
  delivered: new Map(),
  conversationOf: new Map(),
  shown: new Set(),
};

/** What the server keeps of a command's output; a page must not grow past it through deltas. */
export const MAX_OUTPUT_CHARS = 256 * 1024;
const CUT = "\n… output shortened …\n";

/** Keeps beginning and end of a text that grew too long. */
export function bounded(text: string): string {
  if (text.length <= MAX_OUTPUT_CHARS) return text;
  const half = Math.floor((MAX_OUTPUT_CHARS - CUT.length) / 2);
  return text.slice(0, half) + CUT + text.slice(-half);
}

/** Applies a batch of events. The transcript given is not changed. */
export function reduce(transcript: Transcript, events: readonly SessionEvent[]): Transcript {
  const draft = new Draft(transcript);
  for (const event of events) draft.apply(event);
  return draft.finish();
}

const itemKey = (conversation: string, item: string) => `item:${conversation}/${item}`;
const approvalKey = (approval: string) => `approval:${approval}`;

function append(body: ItemBody, text: string): ItemBody {
  switch (body.kind) {
    case "agent_message":
    case "reasoning":
    case "user_message":
      return { ...body, text: body.text + text };
    case "command":
      return { ...body, output: bounded(body.output + text) };
    case "tool_call":
      return { ...body, result: bounded((body.result ?? "") + text) };
    default:
      return body;
  }
}

/** A transcript being changed: each container is copied once, when it first changes. */
class Draft {
  readonly #from: Transcript;
  #lastSeq: number;
  #entries: Entry[] | undefined;
  #index: Map<string, number> | undefined;
  #turnStarts: Map<string, string> | undefined;
  #delivered: Map<string, string> | undefined;
  #conversationOf: Map<string, string> | undefined;
  #shown: Set<string> | undefined;
  #rest: { -readonly [K in "setup" | "models" | "usage" | "turnId"]: Transcript[K] };

  constructor(from: Transcript) {
    this.#from = from;
    this.#lastSeq = from.lastSeq;
    this.#rest = { setup: from.setup, models: from.models, usage: from.usage, turnId: from.turnId };
  }

  finish(): Transcript {
    if (this.#lastSeq === this.#from.lastSeq) return this.#from;
    return {
      lastSeq: this.#lastSeq,
      entries: this.#entries ?? this.#from.entries,
      index: this.#index ?? this.#from.index,
      turnStarts: this.#turnStarts ?? this.#from.turnStarts,
      delivered: this.#delivered ?? this.#from.delivered,
      conversationOf: this.#conversationOf ?? this.#from.conversationOf,
      shown: this.#shown ?? this.#from.shown,
      ...this.#rest,
    };
  }

  apply({ seq, at, event }: SessionEvent): void {
    if (seq <= this.#lastSeq) return;
    this.#lastSeq = seq;
    this.#event(seq, at, event);
  }

  #event(seq: number, at: string, event: EventBody): void {
    switch (event.type) {
      case "session.state":
        return this.#state(seq, at, event.state, event.trouble ?? null);
      case "setup.progress":
        this.#rest.setup = { step: event.step, detail: event.detail ?? null, since: at, failed: null };
        return;
      case "setup.failed":
        this.#rest.setup = { step: event.step, detail: null, since: at, failed: event.message };
        return;
      case "runtime.ready":
        this.#rest.setup = null;
        this.#rest.models = event.models;
        return;
      case "runtime.exited":
        this.#closeOpen();
        this.#push({
          kind: "notice",
          key: `event:${seq}`,
          level: "warning",
          code: "runtime_exited",
          at,
          message: event.message,
        });
        return;
      case "conversation.started":
        if (event.message_id) this.#goes(event.message_id, event.conversation.id);
        return;
      case "conversation.renamed":
      case "conversation.resumed":
        return;
      case "conversation.lost":
        this.#push({
          kind: "lost",
          key: `event:${seq}`,
          conversation: event.conversation_id,
          message: event.message,
          at,
        });
        return;
      case "message.delivered":
        this.#goes(event.message_id, event.conversation_id);
        this.#delivered ??= new Map(this.#from.delivered);
        this.#delivered.set(event.message_id, event.turn_id);
        return;
      case "message.rejected":
        this.#push({
          kind: "rejected",
          key: `event:${seq}`,
          messageId: event.message_id,
          message: event.message,
          at,
        });
        return;
      case "turn.started":
        this.#rest.turnId = event.turn_id;
        this.#turnStarts ??= new Map(this.#from.turnStarts);
        this.#turnStarts.set(event.turn_id, at);
        return;
      case "turn.completed":
        return this.#turnCompleted(at, event.conversation_id, event.turn_id, event.outcome);
      case "item.started":
      case "item.completed":
        return this.#item(event.item);
      case "item.delta":
        return this.#delta(itemKey(event.conversation_id, event.item_id), event.text);
      case "approval.requested":
        this.#put({ kind: "approval", key: approvalKey(event.approval.id), approval: event.approval });
        return;
      case "approval.resolved":
        return this.#resolved(approvalKey(event.approval_id), event.decision ?? null, at);
      case "usage.updated":
        this.#rest.usage = event.usage;
        return;
      case "notice":
        this.#push({
          kind: "notice",
          key: `event:${seq}`,
          conversation: event.conversation_id ?? undefined,
          level: event.level,
          code: event.code,
          message: event.message,
          at,
        });
        return;
      default:
        // A newer server may say more than this page knows; its sequence number still counts.
        event satisfies never;
    }
  }

  #state(seq: number, at: string, state: SessionState, trouble: Trouble | null): void {
    if (state === "created" || state === "starting") {
      this.#rest.setup = { step: null, detail: null, since: at, failed: null };
    }
    if (state === "stopped" || state === "failed") {
      this.#rest.setup = null;
      this.#rest.turnId = null;
      this.#closeOpen();
    }
    this.#push({ kind: "state", key: `event:${seq}`, state, trouble, at });
  }

  #goes(message: string, conversation: string): void {
    this.#conversationOf ??= new Map(this.#from.conversationOf);
    this.#conversationOf.set(message, conversation);
  }

  #turnCompleted(at: string, conversation: string, turnId: string, outcome: TurnOutcome): void {
    if (this.#rest.turnId === turnId) this.#rest.turnId = null;
    this.#closeOpen(turnId);
    const startedAt = (this.#turnStarts ?? this.#from.turnStarts).get(turnId) ?? null;
    this.#put({ kind: "turn", key: `turn:${turnId}`, conversation, turnId, outcome, startedAt, at });
  }

  #item(item: Item): void {
    const key = itemKey(item.conversation_id, item.id);
    if (item.body.kind === "user_message" && item.body.message_id) {
      this.#shown ??= new Set(this.#from.shown);
      this.#shown.add(item.body.message_id);
    }
    this.#put({ kind: "item", key, item, interrupted: false });
  }

  #delta(key: string, text: string): void {
    const entry = this.#get(key);
    // A delta of an item that is over, or that was never announced, adds nothing that is missing.
    if (entry?.kind !== "item" || entry.item.status !== "in_progress" || entry.interrupted) return;
    this.#put({ ...entry, item: { ...entry.item, body: append(entry.item.body, text) } });
  }

  #resolved(key: string, decision: Decision | null, at: string): void {
    const entry = this.#get(key);
    if (entry?.kind === "approval") this.#put({ ...entry, resolved: { decision, at } });
  }

  /** Items and questions of a turn (or of all) that is over do not go on. */
  #closeOpen(turnId?: string): void {
    const entries = this.#entries ?? this.#from.entries;
    for (const entry of entries) {
      if (entry.kind === "item" && entry.item.status === "in_progress" && !entry.interrupted) {
        if (!turnId || entry.item.turn_id === turnId) this.#put({ ...entry, interrupted: true });
      } else if (entry.kind === "approval" && !entry.resolved) {
        if (!turnId || entry.approval.turn_id === turnId) {
          this.#put({ ...entry, resolved: { decision: null, at: entry.approval.requested_at } });
        }
      }
    }
  }

  #get(key: string): Entry | undefined {
    const position = (this.#index ?? this.#from.index).get(key);
    return position === undefined ? undefined : (this.#entries ?? this.#from.entries)[position];
  }

  #put(entry: Entry): void {
    const position = (this.#index ?? this.#from.index).get(entry.key);
    if (position === undefined) return this.#push(entry);
    this.#entries ??= this.#from.entries.slice();
    this.#entries[position] = entry;
  }

  #push(entry: Entry): void {
    this.#entries ??= this.#from.entries.slice();
    this.#index ??= new Map(this.#from.index);
    this.#index.set(entry.key, this.#entries.length);
    this.#entries.push(entry);
  }
}

/** The approvals that wait, oldest first. */
export function waitingApprovals(transcript: Transcript): Approval[] {
  const waiting: Approval[] = [];
  for (const entry of transcript.entries) {
    if (entry.kind === "approval" && !entry.resolved) waiting.push(entry.approval);
  }
  return waiting;
}
