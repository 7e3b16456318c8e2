/**
 * A terminal's bytes, both ways. The terminal lives in the sandbox; this page names the offset up to
 * which it has the output, so that a lost connection loses and doubles nothing. Keys typed while there is
 * no connection are kept, up to a limit, and sent when there is one.
 */
import type { StreamMessage, TerminalInput } from "../../api/types";
import { Link, type LinkState } from "../../live/link";
import { WINDOW_BYTES } from "./flow";

/** Keys kept while there is no connection; more would be a paste that nobody remembers. */
const MAX_WAITING_BYTES = 64 * 1024;
/** The server takes more at once; a long paste leaves room for keys between its parts. */
const MAX_MESSAGE_BYTES = 16 * 1024;

export interface TerminalEnd {
  /** Exit code of the program; none when the terminal can't go on for another reason. */
  code?: number;
  message?: string;
}

export interface TerminalEvents {
  /** Output, and the terminal's byte after it. */
  onOutput: (bytes: Uint8Array, end: number) => void;
  /** So many bytes of output were lost before what follows. */
  onGap: (bytes: number) => void;
  /** What makes the screen look as it did where the output goes on. It is no output. */
  onScreen: (bytes: Uint8Array) => void;
  onState: (state: LinkState) => void;
  onEnd: (end: TerminalEnd) => void;
  /** Attached: the size can be told. `again` after a time without a connection. */
  onAttached: (again: boolean) => void;
}

/** What to do with output that begins at `from` when output up to `have` came before. Pure. */
export function resume(have: number, from: number): { skip: number; reset: boolean } {
  // The ring in the sandbox may begin later than what we have: then something is missing.
  return from > have ? { skip: 0, reset: have > 0 } : { skip: have - from, reset: false };
}

/** Connects with `resume`. */
export class TerminalConnection {
  readonly #events: TerminalEvents;
  readonly #connect: () => Link;
  #link: Link | undefined;
  #ended = false;
  /** How many bytes of output came. */
  #offset = 0;
  #skip = 0;
  /** The next bytes are a screen. */
  #isScreen = false;
  #attached = false;
  #wasAttached = false;
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #waitingBytes = 0;

  constructor(session: string, terminal: string, events: TerminalEvents) {
    this.#events = events;
    const path = `/sessions/${encodeURIComponent(session)}/terminals/${encodeURIComponent(terminal)}/io`;
    this.#connect = () =>
      new Link({
        purpose: { purpose: "terminal", session_id: session, terminal_id: terminal },
        path: () => `${path}?offset=${this.#offset}&window=${WINDOW_BYTES}`,
        onMessage: (data) => this.#receive(data),
        onState: (state) => {
          if (state.status !== "open") this.#attached = false;
          if (state.status === "closed" && state.error) this.#end({ message: state.error.message });
          events.onState(state);
        },
      });
  }

  write(bytes: Uint8Array<ArrayBuffer>): void {
    for (let from = 0; from < bytes.length; from += MAX_MESSAGE_BYTES)
      this.#write(bytes.subarray(from, from + MAX_MESSAGE_BYTES));
  }

  #write(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#ended || (this.#attached && this.#link?.send(bytes))) return;
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
  }

  resize(cols: number, rows: number): void {
    this.#say({ type: "resize", cols, rows });
  }

  /** Output before this byte was dealt with. */
  taken(offset: number): void {
    this.#say({ type: "taken", offset });
  }

  /** Lets go of the terminal until the next `resume`: a page that sleeps must not slow a program down. */
  pause(): void {
    const link = this.#link;
    this.#link = undefined;
    link?.close();
  }

  resume(): void {
    if (!this.#ended) this.#link ??= this.#connect();
  }

  close(): void {
    this.#ended = true;
    this.pause();
  }

  #say(input: TerminalInput): void {
    if (this.#attached) this.#link?.send(JSON.stringify(input));
  }

  #end(end: TerminalEnd): void {
    if (this.#ended) return;
    this.close();
    this.#events.onEnd(end);
  }

  #receive(data: string | ArrayBuffer): void {
    if (typeof data !== "string") return this.#output(new Uint8Array(data));
    const message = JSON.parse(data) as StreamMessage;
    switch (message.type) {
      case "attached": {
        const { skip, reset } = resume(this.#offset, message.offset);
        this.#skip = skip;
        this.#isScreen = false;
        if (reset) this.#gap(message.offset);
        this.#offset = Math.max(this.#offset, message.offset);
        this.#attached = true;
        this.#events.onAttached(this.#wasAttached);
        this.#wasAttached = true;
        for (const bytes of this.#waiting) this.#link?.send(bytes);
        this.#waiting = [];
        this.#waitingBytes = 0;
        return;
      }
      case "skipped":
        this.#skip = 0;
        this.#gap(message.offset);
        return;
      case "screen":
        this.#isScreen = true;
        return;
      case "exit":
        this.#end({ code: message.code, message: message.error ?? undefined });
        return;
      case "error":
        // The sandbox may be back in a moment; what is gone stays gone.
        if (![404, 409, 410].includes(message.problem.status)) return;
        this.#end({ message: message.problem.detail ?? message.problem.title });
        return;
    }
  }

  #gap(offset: number): void {
    const lost = offset - this.#offset;
    if (lost <= 0) return;
    this.#offset = offset;
    this.#events.onGap(lost);
  }

  #output(bytes: Uint8Array): void {
    if (this.#isScreen) {
      this.#isScreen = false;
      return this.#events.onScreen(bytes);
    }
    const fresh = this.#skip > 0 ? bytes.subarray(Math.min(this.#skip, bytes.length)) : bytes;
    this.#skip = Math.max(0, this.#skip - bytes.length);
    if (fresh.length === 0) return;
    this.#offset += fresh.length;
    this.#events.onOutput(fresh, this.#offset);
  }
}
