/**
 * A WebSocket that comes back. Each attempt asks for a one-use ticket first. Between attempts it
 * waits, longer each time, and shorter when the browser says that the network or the person is back.
 */
import { API, ApiError, api } from "../api/client";
import type { TicketPurpose } from "../api/types";

export type LinkState =
  | { status: "connecting"; since: number; attempt: number }
  | { status: "open" }
  | { status: "waiting"; since: number; attempt: number; retryAt: number }
  /** Ended for good: closed by us, or the thing it was for is gone. */
  | { status: "closed"; error?: ApiError };

/** First wait: a restarted server is back within a second. */
const FIRST_WAIT_MS = 250;
/** Longest wait while a restart or an upgrade is likely. */
const SOON_WAIT_MS = 1_500;
/** So many attempts are made at that pace, about half a minute. */
const SOON_ATTEMPTS = 20;
/** Longest wait: a page left open overnight finds its server soon after it is back. */
const LONGEST_WAIT_MS = 8_000;
/** A connection that held this long starts again at the first wait. */
const STEADY_MS = 5_000;

/** How long to wait before an attempt; `random` between 0 and 1 keeps many pages apart. */
export function backoffMs(attempt: number, random: number): number {
  const longest = attempt < SOON_ATTEMPTS ? SOON_WAIT_MS : LONGEST_WAIT_MS;
  const full = Math.min(longest, FIRST_WAIT_MS * 2 ** Math.min(attempt, 10));
  return Math.round(full * (0.75 + 0.5 * random));
}

export interface LinkOptions {
  purpose: TicketPurpose;
  /** Path below the API with its query; the ticket is added. Asked before each attempt. */
  path: () => string;
  onMessage: (data: string | ArrayBuffer) => void;
  onState: (state: LinkState) => void;
  /** Called at each opening, before any message. */
  onOpen?: () => void;
  /** Whether a close code that the server gave means that there is no point in coming back. */
  isFinal?: (code: number, reason: string) => boolean;
}

/** Problems that waiting does not cure. */
const isFinalProblem = (error: unknown): error is ApiError =>
  error instanceof ApiError && [401, 403, 404, 410].includes(error.status);

export class Link {
  readonly #options: LinkOptions;
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #downSince = Date.now();
  #openedAt = 0;
  #closed = false;
  /** Grows with each attempt, so that a late answer of an older one is ignored. */
  #generation = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    window.addEventListener("online", this.retryNow);
    document.addEventListener("visibilitychange", this.#onVisible);
    void this.#connect();
  }

  send(data: string | ArrayBuffer | Uint8Array<ArrayBuffer>): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(data);
    return true;
  }

  /** Connects again at once, from where `path` says. */
  restart(): void {
    this.#drop();
    this.#attempt = 0;
    this.#downSince = Date.now();
    void this.#connect();
  }

  readonly retryNow = () => {
    if (this.#closed || this.#timer === undefined) return;
    this.#attempt = 0;
    void this.#connect();
  };

  readonly #onVisible = () => {
    if (document.visibilityState === "visible") this.retryNow();
  };

  close(error?: ApiError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#drop();
    window.removeEventListener("online", this.retryNow);
    document.removeEventListener("visibilitychange", this.#onVisible);
    this.#options.onState({ status: "closed", error });
  }

  #drop(): void {
    this.#generation++;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  async #connect(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const generation = ++this.#generation;
    this.#options.onState({ status: "connecting", since: this.#downSince, attempt: this.#attempt });
    let ticket: string;
    try {
      ({ ticket } = await api.ticket(this.#options.purpose));
    } catch (error) {
      if (generation !== this.#generation) return;
      if (isFinalProblem(error)) return this.close(error);
      return this.#wait();
    }
    if (generation !== this.#generation) return;
    this.#open(ticket, generation);
  }

  #open(ticket: string, generation: number): void {
    const path = this.#options.path();
    const url = new URL(API + path, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("ticket", ticket);
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      if (generation !== this.#generation) return;
      this.#openedAt = Date.now();
      this.#options.onOpen?.();
      this.#options.onState({ status: "open" });
    };
    socket.onmessage = (message) => {
      if (generation === this.#generation) this.#options.onMessage(message.data);
    };
    socket.onclose = (event) => {
      if (generation !== this.#generation) return;
      this.#socket = undefined;
      if (this.#openedAt) {
        if (Date.now() - this.#openedAt > STEADY_MS) this.#attempt = 0;
        this.#downSince = Date.now();
        this.#openedAt = 0;
      }
      if (this.#options.isFinal?.(event.code, event.reason)) return this.close();
      this.#wait();
    };
  }

  #wait(): void {
    const wait = backoffMs(this.#attempt++, Math.random());
    this.#options.onState({
      status: "waiting",
      since: this.#downSince,
      attempt: this.#attempt,
      retryAt: Date.now() + wait,
    });
    this.#timer = setTimeout(() => void this.#connect(), wait);
  }
}
