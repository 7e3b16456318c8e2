/** What can be done with a session, from wherever it is asked for. */
import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { api } from "../../api/client";
import type { Session } from "../../api/types";
import { applySession, removeSession } from "../../live/sessions";
import { say, sayError } from "../../ui/toasts";

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

export function sessionActions(client: QueryClient) {
  return {
    start: (session: Session) =>
      attempt("Start session", async () => applySession(client, await api.startSession(session.id))),
    stop: (session: Session) =>
      attempt("Stop session", async () => applySession(client, await api.stopSession(session.id))),
    interrupt: (session: Session) => attempt("Interrupt", () => api.interrupt(session.id)),
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
    remove: (session: Session) =>
      attempt("Delete session", async () => {
        await api.deleteSession(session.id);
        removeSession(client, session.id);
        say(`Deleted “${session.title}”`);
      }),
  };
}

export type SessionActions = ReturnType<typeof sessionActions>;

export function useSessionActions(): SessionActions {
  const client = useQueryClient();
  return useMemo(() => sessionActions(client), [client]);
}
