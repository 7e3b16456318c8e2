/**
 * A terminal's bytes, both ways. The terminal lives in the sandbox; this page names the offset up to
 * which it has the output, so that a lost connection loses and doubles nothing. Keys typed while the
 * connection is down are kept, up to a limit, and sent when it is back.
 */
import type { StreamMessage, TerminalInput } from "../../api/types";
import { Link, type LinkState } from "../../live/link";

/** Keys kept while the connection is down; more would be a paste that nobody remembers. */
const MAX_WAITING_BYTES = 64 * 1024;

export interface TerminalEnd {
  /** Exit code of the program; none when the terminal can't go on for another reason. */
  code?: number;
  message?: string;
}

export interface TerminalEvents {
  onOutput: (bytes: Uint8Array) => void;
  /** Output before `offset` is gone: the screen must be cleared. */
  onReset: () => void;
  onState: (state: LinkState) => void;
  onEnd: (end: TerminalEnd) => void;
  /** Attached: the size can be told. */
  onAttached: () => void;
}

/** What to do with output that begins at `from` when output up to `have` was shown. Pure. */
export function resume(have: number, from: number): { skip: number; reset: boolean } {
  // The ring in the sandbox may begin later than what we have: then something is missing.
  return from > have ? { skip: 0, reset: have > 0 } : { skip: have - from, reset: false };
}

export class TerminalConnection {
  readonly #link: Link;
  readonly #events: TerminalEvents;
  /** How many bytes of output were shown. */
  #offset = 0;
  #skip = 0;
  #attached = false;
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #waitingBytes = 0;

  constructor(session: string, terminal: string, events: TerminalEvents) {
    this.#events = events;
    const path = `/sessions/${encodeURIComponent(session)}/terminals/${encodeURIComponent(terminal)}/io`;
    this.#link = new Link({
      purpose: { purpose: "terminal", session_id: session, terminal_id: terminal },
      path: () => `${path}?offset=${this.#offset}`,
      onMessage: (data) => this.#receive(data),
      onState: (state) => {
        if (state.status !== "open") this.#attached = false;
        if (state.status === "closed" && state.error) events.onEnd({ message: state.error.message });
        events.onState(state);
      },
    });
  }

  write(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#attached && this.#link.send(bytes)) return;
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
  }

  resize(cols: number, rows: number): void {
    if (!this.#attached) return;
    const input: TerminalInput = { type: "resize", cols, rows };
    this.#link.send(JSON.stringify(input));
  }

  retryNow(): void {
    this.#link.retryNow();
  }

  close(): void {
    this.#link.close();
  }

  #receive(data: string | ArrayBuffer): void {
    if (typeof data !== "string") return this.#output(new Uint8Array(data));
    const message = JSON.parse(data) as StreamMessage;
    switch (message.type) {
      case "attached": {
        const { skip, reset } = resume(this.#offset, message.offset);
        this.#skip = skip;
        if (reset) this.#events.onReset();
        if (message.offset > this.#offset) this.#offset = message.offset;
        this.#attached = true;
        this.#events.onAttached();
        for (const bytes of this.#waiting) this.#link.send(bytes);
        this.#waiting = [];
        this.#waitingBytes = 0;
        return;
      }
      case "exit":
        this.#events.onEnd({ code: message.code, message: message.error ?? undefined });
        this.#link.close();
        return;
      case "error":
        // The sandbox may be back in a moment; what is gone stays gone.
        if (![404, 409, 410].includes(message.problem.status)) return;
        this.#events.onEnd({ message: message.problem.detail ?? message.problem.title });
        this.#link.close();
        return;
    }
  }

  #output(bytes: Uint8Array): void {
    const fresh = this.#skip > 0 ? bytes.subarray(Math.min(this.#skip, bytes.length)) : bytes;
    this.#skip = Math.max(0, this.#skip - bytes.length);
    if (fresh.length === 0) return;
    this.#offset += fresh.length;
    this.#events.onOutput(fresh);
  }
}
