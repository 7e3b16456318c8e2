import { useQuery } from "@tanstack/react-query";
import { useEffect, useSyncExternalStore } from "react";
import { attachmentsApi } from "../../api/attachments";
import type { Delivery } from "../../api/types";
import { say } from "../../ui/toasts";
import { type Drafts, draftsOf, setLimits } from "./drafts";

export interface Attachments extends Drafts {
  scope: string;
  add: (files: readonly File[]) => void;
}

/** Adds files to a scope and says what was not taken. */
export function addFiles(scope: string, files: readonly File[]): void {
  const refused = draftsOf(scope).add(files);
  if (refused) say(refused);
}

/** The files on their way to a scope's next message. */
export function useAttachments(scope: string): Attachments {
  const store = draftsOf(scope);
  const drafts = useSyncExternalStore(store.subscribe, () => store.drafts);
  const server = useQuery({
    queryKey: ["server"],
    queryFn: attachmentsApi.server,
    staleTime: Number.POSITIVE_INFINITY,
  });
  useEffect(() => {
    const { data } = server;
    if (data) setLimits({ bytes: data.max_attachment_bytes, files: data.max_message_attachments });
  }, [server]);
  return { ...drafts, scope, add: (files) => addFiles(scope, files) };
}

/**
 * Sends once every upload is there: also when what asked for it has left the page, unless that
 * must not happen behind a person's back (`here`).
 */
export function useSendWhenUploaded(files: Attachments, send: (how?: Delivery) => void, here = false) {
  const { scope, pending, isAwaited } = files;
  const store = draftsOf(scope);
  useEffect(() => store.setSender(send));
  useEffect(() => (here ? () => store.dontSend() : undefined), [store, here]);
  return {
    isWaiting: isAwaited,
    /** Now, or when the uploads are there. */
    send: (how?: Delivery) => (pending > 0 ? store.sendWhenDone(how) : send(how)),
    cancel: () => store.dontSend(),
  };
}

/** What a send button says while uploads hold it up. */
export const waitingLabel = (pending: number): string =>
  pending === 1 ? "Sends after 1 upload" : `Sends after ${pending} uploads`;
