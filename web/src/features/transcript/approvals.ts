/** Answering the agent's questions, from the card or from the bar. */
import { useSyncExternalStore } from "react";
import { ApiError, api } from "../../api/client";
import type { Approval, Decision } from "../../api/types";
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

/** Sends an answer. One that was given elsewhere in the meantime is no error: the card closes anyway. */
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
    if (error instanceof ApiError && error.status === 409) return true;
    sayError(error, "Answer approval");
    return false;
  } finally {
    answering.delete(approval.id);
    changed();
  }
}

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
