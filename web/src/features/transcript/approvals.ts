/** Answering the agent's questions, from the card or from the bar. */
import { useSyncExternalStore } from "react";
import { ApiError, api } from "../../api/client";
import type { Approval, Decision } from "../../api/types";
import { isMac } from "../../keys/keys";
import { isOverlayOpen, isTextField } from "../../keys/registry";
import { sayError } from "../../ui/toasts";

/** Approvals whose answer is on its way. */
const answering = new Set<string>();
/** Approvals whose card is in view. */
const inView = new Set<string>();
const listeners = new Set<() => void>();
let version = 0;

function changed(): void {
  version++;
  for (const listener of listeners) listener();
}

function useVersion(): number {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => version,
  );
}

export function useApprovalState(id: string | undefined): { answering: boolean; inView: boolean } {
  useVersion();
  return { answering: id !== undefined && answering.has(id), inView: id !== undefined && inView.has(id) };
}

export function setInView(id: string, visible: boolean): void {
  if (inView.has(id) === visible) return;
  if (visible) inView.add(id);
  else inView.delete(id);
  changed();
}

/**
 * Sends an answer, and says whether it was this one that counted. One that was given elsewhere in the
 * meantime is no error: the card closes anyway.
 */
export async function answer(
  session: string,
  approval: Approval,
  decision: Decision,
  message?: string,
): Promise<boolean> {
  if (answering.has(approval.id)) return false;
  answering.add(approval.id);
  changed();
  try {
    await api.answer(session, approval.id, { decision, message: message || null });
    return true;
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 409)) sayError(error, "Answer approval");
    return false;
  } finally {
    answering.delete(approval.id);
    changed();
  }
}

/** The keys of the answers: a letter, and a chord that works while one writes. */
export const ANSWER_KEYS = { accept: "y", accept_for_session: "a", decline: "n" } as const;
/** Option and a letter is how a Mac writes other letters. */
export const chordOf = (letter: string): string => (isMac ? `mod+alt+${letter}` : `alt+${letter}`);

/** Panes in which a letter means something else. */
const OTHER_LETTERS = "[data-pane=changes], [data-pane=terminal], [data-pane=tui], [data-terminal]";

/** Whether a letter that is typed now is an answer. */
export function isLetterAnswer(): boolean {
  const at = document.activeElement;
  return !isTextField(at) && at?.closest(OTHER_LETTERS) == null && !isOverlayOpen();
}

function onFocusMoved(listener: () => void): () => void {
  document.addEventListener("focusin", listener);
  document.addEventListener("focusout", listener);
  return () => {
    document.removeEventListener("focusin", listener);
    document.removeEventListener("focusout", listener);
  };
}

/** Whether the letters answer where the keyboard is; the chords always do. */
export const useLetters = (): boolean => useSyncExternalStore(onFocusMoved, isLetterAnswer);

export function question({ subject }: Approval): string {
  switch (subject.kind) {
    case "command":
      return "Run this command?";
    case "file_change":
      return subject.changes.length === 1 ? "Make this edit?" : `Edit these ${subject.changes.length} files?`;
    case "other":
      return "The agent asks";
  }
}

/** What is asked about, on one line. */
export function subjectLine({ subject }: Approval, name = (path: string) => path): string {
  switch (subject.kind) {
    case "command":
      return subject.command;
    case "file_change":
      return subject.changes.map((file) => name(file.path)).join(", ");
    case "other":
      return subject.question;
  }
}
