/** What can be done with a session, from wherever it is asked for. */
import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { api } from "../../api/client";
import type { Session, Workspace } from "../../api/types";
import { applySession, removeSession } from "../../live/sessions";
import { say, sayError } from "../../ui/toasts";
import { canStart } from "./status";

async function attempt(action: string, work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    sayError(error, action);
    return false;
  }
}

/** Shows what the server will say, before it says it. */
function foresee(client: QueryClient, session: Session, patch: Partial<Session>): void {
  applySession(client, { ...session, ...patch });
}

const start = (client: QueryClient, session: Session) =>
  attempt("Start session", async () => applySession(client, await api.startSession(session.id)));

const restore = (client: QueryClient, session: Session) =>
  attempt("Restore session", async () => {
    const restored = await api.restoreSession(session.id);
    applySession(client, restored);
    // One that still stops can't be started yet; its own page offers it when it can.
    const next = { label: "Start", run: () => void start(client, restored) };
    say(`Restored “${session.title}”`, canStart(restored) ? next : undefined);
  });

export function sessionActions(client: QueryClient) {
  return {
    start: (session: Session) => start(client, session),
    stop: (session: Session) =>
      attempt("Stop session", async () => applySession(client, await api.stopSession(session.id))),
    interrupt: (session: Session) =>
      attempt("Interrupt", () => api.interrupt(session.id, session.conversation_id)),
    rename: (session: Session, title: string) =>
      attempt("Rename session", async () => {
        foresee(client, session, { title });
        try {
          applySession(client, await api.patchSession(session.id, { title }));
        } catch (error) {
          foresee(client, session, {});
          throw error;
        }
      }),
    /** Another folder becomes the primary one. */
    relocate: (session: Session, { path, repository }: Workspace) =>
      attempt("Change the primary repository", async () => {
        foresee(client, session, { cwd: path, repository });
        try {
          applySession(client, await api.patchSession(session.id, { cwd: path }));
        } catch (error) {
          foresee(client, session, {});
          throw error;
        }
      }),
    /** Into the trash; `onRestored` is told when it was taken back at once. */
    remove: (session: Session, onRestored?: () => void) =>
      attempt("Delete session", async () => {
        const deleted = await api.deleteSession(session.id);
        applySession(client, deleted);
        if (deleted.deletion)
          say("Session deleted", {
            label: "Undo",
            run: () => void restore(client, session).then((done) => done && onRestored?.()),
          });
        else say(`Deleted “${session.title}”`);
      }),
    restore: (session: Session) => restore(client, session),
    /** For good, out of the trash or past it. */
    destroy: (session: Session) =>
      attempt("Delete session", async () => {
        await api.deleteSession(session.id, true);
        removeSession(client, session.id);
        say(`Deleted “${session.title}” for good`);
      }),
  };
}

export type SessionActions = ReturnType<typeof sessionActions>;

export function useSessionActions(): SessionActions {
  const client = useQueryClient();
  return useMemo(() => sessionActions(client), [client]);
}
