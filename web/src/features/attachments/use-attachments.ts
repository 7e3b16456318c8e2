import { useQuery } from "@tanstack/react-query";
import { useEffect, useState, useSyncExternalStore } from "react";
import { attachmentsApi } from "../../api/attachments";
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

/** Sends once every upload is there; one that fails is the person's to decide about. */
export function useSendWhenUploaded<T>(drafts: Drafts, send: (how: T) => void) {
  const [waiting, setWaiting] = useState<{ how: T }>();
  const { pending, failed } = drafts;
  useEffect(() => {
    if (!waiting || pending > 0) return;
    setWaiting(undefined);
    if (failed === 0) send(waiting.how);
  });
  return {
    isWaiting: waiting !== undefined,
    /** Now, or when the uploads are there. */
    send: (how: T) => (pending > 0 ? setWaiting({ how }) : send(how)),
    cancel: () => setWaiting(undefined),
  };
}

/** What a send button says while uploads hold it up. */
export const waitingLabel = (pending: number): string =>
  pending === 1 ? "Sends after 1 upload" : `Sends after ${pending} uploads`;
