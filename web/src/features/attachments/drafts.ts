/**
 * Files on their way to the next message of a session, or of a new one (`scope`). They are uploaded
 * as soon as they are added. What is uploaded is remembered by this browser, so that a reload loses
 * none; what is being uploaded lives as long as the page, whatever part of it is shown, and who is
 * about to leave it is asked first.
 */
import { type Attachment, attachmentsApi, upload } from "../../api/attachments";
import { ApiError, asApiError, newIdempotencyKey } from "../../api/client";
import type { Delivery } from "../../api/types";
import { askBeforeLeaving } from "../../ui/leaving";
import { fileSize } from "../../ui/size";
import { readStored, writeStored } from "../../ui/storage";
import { say } from "../../ui/toasts";

/** Uploads at once; the rest waits. */
const MAX_UPLOADS = 3;

export interface Limits {
  bytes: number;
  files: number;
}
/** What the server allows unless it says otherwise. */
const LIMITS: Limits = { bytes: 1024 * 1024 * 1024, files: 50 };
let limits = LIMITS;
export const setLimits = (next: Limits) => {
  limits = next;
};
export const limitsNow = (): Limits => limits;

export interface DraftFile {
  key: string;
  name: string;
  size: number;
  mediaType: string;
  status: "waiting" | "uploading" | "done" | "failed";
  /** Bytes sent. */
  sent: number;
  /** Why it failed. */
  error?: string;
  /** Shows the image before the server has it. */
  preview?: string;
  /** Once it is uploaded. */
  attachment?: Attachment;
}

export interface Drafts {
  readonly files: readonly DraftFile[];
  readonly done: readonly Attachment[];
  /** Files that are not there yet. */
  readonly pending: number;
  readonly failed: number;
  /** Whether the message goes as soon as they are there. */
  readonly isAwaited: boolean;
}

/** Sends what the files go with. */
type Sender = (how?: Delivery) => void;

const storageKey = (scope: string) => `attachments:${scope}`;
const NONE: readonly Attachment[] = [];
const EMPTY: Drafts = { files: [], done: [], pending: 0, failed: 0, isAwaited: false };

function summary(files: readonly DraftFile[], isAwaited: boolean): Drafts {
  if (files.length === 0) return EMPTY;
  return {
    isAwaited,
    files,
    done: files.flatMap((file) => file.attachment ?? []),
    pending: files.filter((file) => file.status === "waiting" || file.status === "uploading").length,
    failed: files.filter((file) => file.status === "failed").length,
  };
}

const ofAttachment = (attachment: Attachment): DraftFile => ({
  key: attachment.id,
  name: attachment.name,
  size: attachment.size,
  mediaType: attachment.media_type,
  status: "done",
  sent: attachment.size,
  attachment,
});

const scopes = new Map<string, Scope>();
/** The scope's files; the same object each time. */
export function draftsOf(scope: string): Scope {
  const known = scopes.get(scope);
  if (known) return known;
  const made = new Scope(scope);
  scopes.set(scope, made);
  return made;
}

function uploading(): number {
  let count = 0;
  for (const scope of scopes.values())
    for (const file of scope.drafts.files) if (file.status === "uploading") count++;
  return count;
}

function guard(): void {
  let pending = 0;
  for (const scope of scopes.values()) pending += scope.drafts.pending;
  askBeforeLeaving("uploads", pending > 0);
}

function pumpAll(): void {
  for (const scope of scopes.values()) scope.pump();
}

class Scope {
  readonly #scope: string;
  #drafts: Drafts = EMPTY;
  readonly #sources = new Map<string, { file: File; abort: AbortController }>();
  readonly #listeners = new Set<() => void>();
  /** How the message goes once all files are there. */
  #awaited: { how: Delivery | undefined } | undefined;
  /** The last one that was on the page: it sends wherever a person is by then. */
  #sender: Sender | undefined;

  constructor(scope: string) {
    this.#scope = scope;
    const remembered = readStored(storageKey(scope), NONE);
    if (remembered.length > 0) this.restore(remembered);
  }

  get drafts(): Drafts {
    return this.#drafts;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Adds files and begins to upload them. Answers why some were not taken. */
  add(files: readonly File[]): string | undefined {
    const room = limits.files - this.#drafts.files.length;
    const added = files.slice(0, Math.max(0, room)).map((file): DraftFile => {
      const key = newIdempotencyKey();
      const draft = { key, name: file.name, size: file.size, mediaType: file.type, sent: 0 };
      if (file.size > limits.bytes) {
        return { ...draft, status: "failed", error: `Larger than ${fileSize(limits.bytes)}` };
      }
      this.#sources.set(key, { file, abort: new AbortController() });
      const preview = file.type.startsWith("image/") ? URL.createObjectURL(file) : undefined;
      return { ...draft, status: "waiting", preview };
    });
    this.#set([...this.#drafts.files, ...added]);
    this.pump();
    return files.length > added.length ? `A message takes at most ${limits.files} files.` : undefined;
  }

  /** Takes files back that were uploaded before, as far as the server still has them for us. */
  restore(attachments: readonly Attachment[]): void {
    const known = new Set(this.#drafts.files.map((file) => file.key));
    const back = attachments.filter((attachment) => !known.has(attachment.id));
    this.#set([...this.#drafts.files, ...back.map(ofAttachment)]);
    for (const { id } of back) {
      attachmentsApi.show(id).catch((error: unknown) => {
        if (error instanceof ApiError && error.status === 404) this.#drop(id);
      });
    }
  }

  retry(key: string): void {
    const source = this.#sources.get(key);
    if (!source) return;
    this.#sources.set(key, { file: source.file, abort: new AbortController() });
    this.#patch(key, { status: "waiting", sent: 0, error: undefined });
    this.pump();
  }

  /** Whether another attempt makes sense. */
  canRetry(key: string): boolean {
    return this.#sources.has(key);
  }

  remove(key: string): void {
    const file = this.#drafts.files.find((other) => other.key === key);
    this.#sources.get(key)?.abort.abort();
    this.#drop(key);
    // One that stays is deleted by the server after a day.
    if (file?.attachment) attachmentsApi.remove(file.attachment.id).catch(() => undefined);
    pumpAll();
  }

  /** The files that leave with a message; they are not drafts any more. */
  take(): Attachment[] {
    const done = [...this.#drafts.done];
    for (const file of this.#drafts.files) if (file.attachment) this.#release(file);
    this.#set(this.#drafts.files.filter((file) => !file.attachment));
    return done;
  }

  setSender(sender: Sender): void {
    this.#sender = sender;
  }

  /** Sends when every file is there; one that fails is the person's to decide about. */
  sendWhenDone(how: Delivery | undefined): void {
    this.#awaited = { how };
    this.#set(this.#drafts.files);
  }

  dontSend(): void {
    if (!this.#awaited) return;
    this.#awaited = undefined;
    this.#set(this.#drafts.files);
  }

  #sendAwaited(): void {
    const awaited = this.#awaited;
    const { pending, failed } = this.#drafts;
    if (!awaited || pending > 0) return;
    this.dontSend();
    if (failed > 0)
      return say("A file could not be uploaded, so its message was not sent. It is in the composer.");
    // What draws the composer takes the last file in first.
    setTimeout(() => this.#sender?.(awaited.how));
  }

  pump(): void {
    for (const file of this.#drafts.files) {
      if (file.status !== "waiting") continue;
      if (uploading() >= MAX_UPLOADS) return;
      void this.#upload(file.key);
    }
  }

  async #upload(key: string): Promise<void> {
    const source = this.#sources.get(key);
    if (!source) return;
    this.#patch(key, { status: "uploading" });
    try {
      const onProgress = (sent: number) => this.#patch(key, { sent });
      const attachment = await upload(source.file, onProgress, source.abort.signal);
      if (source.abort.signal.aborted) attachmentsApi.remove(attachment.id).catch(() => undefined);
      this.#sources.delete(key);
      const { name, size, media_type } = attachment;
      this.#patch(key, { status: "done", attachment, name, size, sent: size, mediaType: media_type });
    } catch (error) {
      if (!source.abort.signal.aborted) {
        const failed = asApiError(error, "Upload file");
        const why = failed.status === 0 ? "The server did not answer" : failed.message;
        this.#patch(key, { status: "failed", error: why });
      }
    }
    pumpAll();
  }

  #patch(key: string, patch: Partial<DraftFile>): void {
    this.#set(this.#drafts.files.map((file) => (file.key === key ? { ...file, ...patch } : file)));
  }

  /** `key` is a draft's key or its attachment's id. */
  #drop(key: string): void {
    const gone = (file: DraftFile) => file.key === key || file.attachment?.id === key;
    for (const file of this.#drafts.files.filter(gone)) this.#release(file);
    this.#set(this.#drafts.files.filter((file) => !gone(file)));
  }

  #release(file: DraftFile): void {
    this.#sources.delete(file.key);
    if (file.preview) URL.revokeObjectURL(file.preview);
  }

  #set(files: readonly DraftFile[]): void {
    const before = this.#drafts.done;
    this.#drafts = summary(files, this.#awaited !== undefined);
    const { done } = this.#drafts;
    const same = done.length === before.length && done.every((file, i) => file.id === before[i]?.id);
    if (!same) writeStored(storageKey(this.#scope), done.length > 0 ? done : undefined);
    guard();
    for (const listener of this.#listeners) listener();
    this.#sendAwaited();
  }
}

export type { Scope };
