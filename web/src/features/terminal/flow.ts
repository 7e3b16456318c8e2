/**
 * Output on its way to the screen. The screen takes as much as it can draw and no more is asked for:
 * what was drawn is told to the server, which sends a window's worth beyond it, and so the program
 * in the sandbox waits for whoever looks at it instead of filling the page's memory.
 */

/** What may be on its way: more than a screen draws between two answers, less than a blink to draw. */
export const WINDOW_BYTES = 512 * 1024;
/** What a screen is given at once. It draws in slices of its own, so that keys come between. */
const BATCH_BYTES = 256 * 1024;
/** The same for a screen that nobody sees, which gets one batch in each pause. */
const HIDDEN_BATCH_BYTES = 64 * 1024;
export const HIDDEN_PAUSE_MS = 50;
/** Drawn output is told in steps of this size, and whenever everything is drawn. */
const TELL_BYTES = 64 * 1024;

export interface Output {
  bytes: Uint8Array;
  /** The terminal's byte after the last one; none for text that is the page's own. */
  end?: number;
}

export interface Screen {
  /** Draws, and calls back when it has. */
  write: (bytes: Uint8Array, drawn?: () => void) => void;
  /** Output up to this byte was drawn. */
  onTaken: (offset: number) => void;
  /** Whether output before `end` is drawn in reply to what a program asks, or only shown again. */
  onBatch?: (end: number | undefined) => void;
}

/** How many of the pieces make a batch of at most `limit` bytes, at least one, none beyond `border`. Pure. */
export function batchLength(pieces: readonly Output[], limit: number, border: number): number {
  let bytes = 0;
  let count = 0;
  const first = pieces[0];
  const isBefore = (piece: Output) => (piece.end ?? 0) <= border;
  for (const piece of pieces) {
    bytes += piece.bytes.length;
    if (count > 0 && (bytes > limit || (first && isBefore(piece) !== isBefore(first)))) break;
    count++;
  }
  return count;
}

export class OutputFlow {
  readonly #screen: Screen;
  #waiting: Output[] = [];
  #drawing = false;
  #hidden = false;
  #stopped = false;
  #told = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Output before this byte is shown again, not for the first time. */
  replayBefore: number;

  constructor(screen: Screen, replayBefore = 0) {
    this.#screen = screen;
    this.replayBefore = replayBefore;
  }

  push(output: Output): void {
    const { bytes, end } = output;
    const border = this.replayBefore;
    const begin = end === undefined ? undefined : end - bytes.length;
    if (begin !== undefined && end !== undefined && begin < border && border < end) {
      this.#waiting.push({ bytes: bytes.subarray(0, border - begin), end: border });
      this.#waiting.push({ bytes: bytes.subarray(border - begin), end });
    } else {
      this.#waiting.push(output);
    }
    this.#pump();
  }

  /** A screen that nobody sees leaves the time to the one that somebody types in. */
  set hidden(hidden: boolean) {
    this.#hidden = hidden;
    if (hidden || this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pump();
  }

  /** Whether everything that came was drawn. */
  get isIdle(): boolean {
    return !this.#drawing && this.#waiting.length === 0;
  }

  stop(): void {
    this.#stopped = true;
    this.#waiting = [];
    clearTimeout(this.#timer);
  }

  #pump(): void {
    if (this.#drawing || this.#stopped || this.#timer !== undefined || this.#waiting.length === 0) return;
    const limit = this.#hidden ? HIDDEN_BATCH_BYTES : BATCH_BYTES;
    const batch = this.#waiting.splice(0, batchLength(this.#waiting, limit, this.replayBefore));
    const last = batch.pop();
    if (!last) return;
    const end = last.end ?? batch.findLast((piece) => piece.end !== undefined)?.end;
    this.#drawing = true;
    this.#screen.onBatch?.(end);
    for (const piece of batch) this.#screen.write(piece.bytes);
    this.#screen.write(last.bytes, () => this.#drawn(end));
  }

  #drawn(end: number | undefined): void {
    this.#drawing = false;
    if (this.#stopped) return;
    if (end !== undefined && (this.#waiting.length === 0 || end - this.#told >= TELL_BYTES)) {
      this.#told = end;
      this.#screen.onTaken(end);
    }
    if (!this.#hidden) return this.#pump();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, HIDDEN_PAUSE_MS);
  }
}
