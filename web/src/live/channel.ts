/**
 * One session as this page sees it: its record, its queue, what was written here, and the link that
 * keeps them up to date. Kept in memory while the page lives, so that a session seen before is drawn
 * from memory at once and then continues by sequence number.
 */
import type { Attachment } from "../api/attachments";
import { type ApiError, api, asApiError, newIdempotencyKey } from "../api/client";
import type {
  LiveMessage,
  NewMessage,
  Port,
  QueuedMessage,
  Session,
  SessionEvent,
  TerminalInfo,
  WatchMode,
} from "../api/types";
import { Link, type LinkState } from "./link";
import { accepted, again, failed, isUnanswered, nextOf, without } from "./outbox";
import type { LocalMessage } from "./pending";
import { EMPTY, reduce, type Transcript } from "./reducer";
import { forgetUnsent, keepUnsent, unsentIn } from "./unsent";

export interface ChannelSnapshot {
  transcript: Transcript;
  session: Session | undefined;
  queue: readonly QueuedMessage[];
  /** Messages that left the queue while this page looked, by id. */
  left: ReadonlyMap<string, QueuedMessage>;
  local: readonly LocalMessage[];
  /** What listens in the sandbox, the lowest port first. */
  ports: readonly Port[];
  /** The sandbox's terminals; none until they are told. */
  terminals: readonly TerminalInfo[] | undefined;
  /** Counts how often comments changed somewhere. */
  comments: number;
  link: LinkState;
  /** Whether everything stored was received once. */
  caughtUp: boolean;
  /** Counts how often the working tree may have changed: another number, other changes. */
  changes: number;
  /** How the working tree is watched; none until that is told. */
  watch: WatchMode | undefined;
  /** The session does not exist any more. */
  deleted: boolean;
  /** Why it can't be read. */
  error: ApiError | undefined;
}

/** Sessions kept in memory; the least recently used one is forgotten. */
const MAX_CHANNELS = 24;
/** A session that is left stays connected this long, so that going back and forth costs nothing. */
const LINGER_MS = 20_000;
/** Messages remembered after they left the queue. */
const MAX_LEFT = 50;
/** How often a page that nobody sees takes events in; its title and badge follow. */
const HIDDEN_FLUSH_MS = 250;
/** How long stored events are gathered before they are drawn: most records are whole by then. */
const REPLAY_FLUSH_MS = 150;

export type OnSession = (session: Session) => void;

export type OwnMessage = Omit<NewMessage, "attachments" | "destination"> & {
  destination?: LocalMessage["destination"];
  delivery: "steer" | "queue";
  /** Files that go with it. */
  attachments?: readonly Attachment[];
  /** Comments on changes that leave with it, by id. */
  comments?: readonly string[];
};

export type Send = (message: OwnMessage) => void;

export class SessionChannel {
  readonly id: string;
  readonly #onSession: OnSession;
  readonly #listeners = new Set<() => void>();
  #snapshot: ChannelSnapshot;
  #link: Link | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #inbox: SessionEvent[] = [];
  #cancelFlush: (() => void) | undefined;
  /** Whether messages are being sent, and whether that was asked for again meanwhile. */
  #isSending = false;
  #askedAgain = false;
  readonly #waiters = new Map<string, ((id: string | undefined) => void)[]>();

  constructor(id: string, session: Session | undefined, onSession: OnSession) {
    this.id = id;
    this.#onSession = onSession;
    this.#snapshot = {
      transcript: EMPTY,
      session,
      queue: [],
      left: new Map(),
      local: unsentIn(id),
      ports: [],
      terminals: undefined,
      comments: 0,
      link: { status: "connecting", since: Date.now(), attempt: 0 },
      caughtUp: false,
      changes: 0,
      watch: undefined,
      deleted: false,
      error: undefined,
    };
  }

  readonly getSnapshot = (): ChannelSnapshot => this.#snapshot;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    clearTimeout(this.#linger);
    this.#connect();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) {
        this.#linger = setTimeout(() => this.#disconnect(), LINGER_MS);
      }
    };
  };

  get inUse(): boolean {
    return this.#listeners.size > 0;
  }

  retryNow(): void {
    if (this.#link) this.#link.retryNow();
    else this.#connect();
  }

  /** Whether a message of this page has no answer yet. */
  get hasUnsent(): boolean {
    return this.#snapshot.local.some(({ messageId }) => messageId === undefined);
  }

  /**
   * Sends a message. It shows at once, and is kept until a server takes it; when one refuses it, it
   * stays with the reason.
   */
  readonly send: Send = (message) => {
    const last = this.#snapshot.local.at(-1)?.at ?? 0;
    const local: LocalMessage = {
      localId: newIdempotencyKey(),
      at: Math.max(Date.now(), last + 1),
      text: message.text,
      delivery: message.delivery,
      model: message.model ?? null,
      effort: message.effort ?? null,
      comments: message.comments ?? [],
      destination: message.destination ?? { kind: "active" },
      attachments: message.attachments ?? [],
      status: "sending",
    };
    keepUnsent(this.id, local);
    this.#set({ local: [...this.#snapshot.local, local] });
    this.sendUnsent();
  };

  resend(localId: string): void {
    this.#set({ local: again(this.#snapshot.local, localId) });
    this.sendUnsent();
  }

  /** Takes a message that was not sent back, for example into the composer. */
  discard(localId: string): void {
    this.#unsent(without(this.#snapshot.local, localId));
    forgetUnsent(this.id, localId);
    this.#tell(localId, undefined);
    this.sendUnsent();
  }

  /** The id that a server gives a message of this page; nothing when it is taken back. */
  accepted(localId: string): Promise<string | undefined> {
    return new Promise((resolve) => {
      this.#waiters.set(localId, [...(this.#waiters.get(localId) ?? []), resolve]);
    });
  }

  /** Sends what no server has; a refused message waits for the person. */
  sendUnsent(): void {
    this.#askedAgain = this.#isSending;
    if (this.#isSending) return;
    this.#set({ local: again(this.#snapshot.local) });
    void this.#sendAll();
  }

  forget(): void {
    this.#disconnect();
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true;
    for (let next = nextOf(this.#snapshot.local); next; next = nextOf(this.#snapshot.local)) {
      const answered = await this.#post(next);
      if (!answered && !this.#askedAgain) break;
      if (!answered) this.#set({ local: again(this.#snapshot.local) });
      this.#askedAgain = false;
    }
    this.#isSending = false;
  }

  /** Whether a server answered. */
  async #post({ localId, ...local }: LocalMessage): Promise<boolean> {
    const { text, delivery, model, effort, comments, attachments, destination } = local;
    const body = {
      text,
      delivery,
      model,
      effort,
      ...(comments.length > 0 && { comments: [...comments] }),
      ...(attachments.length > 0 && { attachments: attachments.map((file) => file.id) }),
      ...(destination.kind !== "follows" && { destination }),
    };
    try {
      const sent = await api.send(this.id, body, localId);
      forgetUnsent(this.id, localId);
      this.#unsent(accepted(this.#snapshot.local, localId, sent.id));
      this.#tell(localId, sent.id);
      return true;
    } catch (error) {
      const why = asApiError(error, "Send message");
      this.#unsent(failed(this.#snapshot.local, localId, why));
      return !isUnanswered(why);
    }
  }

  /** Keeps what became of the messages that no server has. */
  #unsent(local: readonly LocalMessage[]): void {
    const before = new Set(this.#snapshot.local);
    for (const message of local) {
      if (!before.has(message) && message.messageId === undefined) keepUnsent(this.id, message);
    }
    this.#set({ local });
  }

  #tell(localId: string, id: string | undefined): void {
    const waiting = this.#waiters.get(localId) ?? [];
    this.#waiters.delete(localId);
    for (const tell of waiting) tell(id);
  }

  #connect(): void {
    if (this.#link || this.#snapshot.deleted) return;
    this.#link = new Link({
      purpose: { purpose: "session_live", session_id: this.id },
      path: () => `/sessions/${encodeURIComponent(this.id)}/live?after=${this.#seq()}`,
      onMessage: (data) => {
        if (typeof data === "string") this.#receive(JSON.parse(data) as LiveMessage);
      },
      onState: (link) => {
        if (link.status === "open") {
          this.sendUnsent();
          // Nobody told of what changed while the line was down.
          this.#set({ changes: this.#snapshot.changes + 1 });
        }
        if (link.status !== "closed") return this.#set({ link });
        this.#link = undefined;
        this.#set({
          link,
          error: link.error,
          deleted: this.#snapshot.deleted || link.error?.status === 404,
        });
      },
    });
  }

  #disconnect(): void {
    this.#flush();
    const link = this.#link;
    this.#link = undefined;
    link?.close();
  }

  /** The last event received, drawn or not. */
  #seq(): number {
    return this.#inbox.at(-1)?.seq ?? this.#snapshot.transcript.lastSeq;
  }

  #receive(message: LiveMessage): void {
    switch (message.type) {
      case "events":
        for (const event of message.events) this.#inbox.push(event);
        this.#schedule();
        return;
      case "event":
        this.#inbox.push(message.event);
        this.#schedule();
        return;
      case "caught_up":
        this.#flush();
        this.#set({ caughtUp: true });
        return;
      case "session":
        this.#flush();
        this.#set({ session: message.session, error: undefined });
        this.#onSession(message.session);
        return;
      case "queue":
        this.#flush();
        this.#queue(message.messages);
        return;
      case "changes":
        this.#set({
          changes: this.#snapshot.changes + 1,
          watch: message.watch ?? this.#snapshot.watch,
        });
        return;
      case "comments":
        this.#set({ comments: this.#snapshot.comments + 1 });
        return;
      case "terminals":
        this.#set({ terminals: message.terminals });
        return;
      case "ports":
        this.#set({ ports: message.ports });
        return;
      case "deleted":
        this.#set({ deleted: true });
        this.#link?.close();
        return;
      case "lagged":
        this.#flush();
        this.#link?.restart();
        return;
    }
  }

  #queue(queue: QueuedMessage[]): void {
    const now = new Set(queue.map((message) => message.id));
    const left = new Map(this.#snapshot.left);
    for (const message of this.#snapshot.queue) if (!now.has(message.id)) left.set(message.id, message);
    for (const id of now) left.delete(id);
    for (const id of left.keys()) {
      if (left.size <= MAX_LEFT) break;
      left.delete(id);
    }
    const known = (id: string | undefined) => id !== undefined && (now.has(id) || left.has(id));
    this.#set({ queue, left, local: this.#snapshot.local.filter((local) => !known(local.messageId)) });
  }

  /** Draws at most once a frame, however fast events come. A hidden page has no frames. */
  #schedule(): void {
    if (this.#cancelFlush) return;
    if (document.hidden || !this.#snapshot.caughtUp) {
      const timer = setTimeout(
        () => this.#flush(),
        this.#snapshot.caughtUp ? HIDDEN_FLUSH_MS : REPLAY_FLUSH_MS,
      );
      this.#cancelFlush = () => clearTimeout(timer);
    } else {
      const frame = requestAnimationFrame(() => this.#flush());
      this.#cancelFlush = () => cancelAnimationFrame(frame);
    }
  }

  #flush(): void {
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    if (this.#inbox.length === 0) return;
    const transcript = reduce(this.#snapshot.transcript, this.#inbox);
    this.#inbox = [];
    const { local } = this.#snapshot;
    const unseen = local.filter((message) => !message.messageId || !transcript.shown.has(message.messageId));
    this.#set(unseen.length === local.length ? { transcript } : { transcript, local: unseen });
  }

  #set(patch: Partial<ChannelSnapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...patch };
    for (const listener of this.#listeners) listener();
  }
}

const channels = new Map<string, SessionChannel>();

/** The channel of a session; the same one each time. */
export function channelOf(id: string, session: Session | undefined, onSession: OnSession): SessionChannel {
  const known = channels.get(id);
  if (known) {
    channels.delete(id);
    channels.set(id, known);
    return known;
  }
  const channel = new SessionChannel(id, session, onSession);
  channels.set(id, channel);
  for (const [other, old] of channels) {
    if (channels.size <= MAX_CHANNELS) break;
    if (old.inUse || old.hasUnsent || other === id) continue;
    old.forget();
    channels.delete(other);
  }
  return channel;
}
