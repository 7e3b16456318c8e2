/** What can be done with a conversation. */
import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { api } from "../../api/client";
import type { ConversationPatch, ConversationSummary, Session } from "../../api/types";
import { titleOf } from "../../live/conversations";
import { applySession } from "../../live/sessions";
import { say, sayError } from "../../ui/toasts";

function withPatch(session: Session, id: string, patch: Partial<ConversationSummary>): Session {
  const conversations = (session.conversations ?? []).map((conversation) =>
    conversation.id === id ? { ...conversation, ...patch } : conversation,
  );
  return { ...session, conversations };
}

async function change(
  client: QueryClient,
  session: Session,
  id: string,
  patch: ConversationPatch,
): Promise<boolean> {
  const { title, archived } = patch;
  // Shown before the server says it.
  const foreseen = { ...(title && { title, named: true }), ...(archived != null && { archived }) };
  applySession(client, withPatch(session, id, foreseen));
  try {
    await api.patchConversation(session.id, id, patch);
    return true;
  } catch (error) {
    applySession(client, session);
    sayError(error, "Change conversation");
    return false;
  }
}

export function conversationActions(client: QueryClient) {
  return {
    rename: (session: Session, id: string, title: string) => change(client, session, id, { title }),
    archive: async (session: Session, conversation: ConversationSummary) => {
      const done = await change(client, session, conversation.id, { archived: true });
      if (done) {
        say(`Archived “${titleOf(conversation)}”`, {
          label: "Undo",
          run: () => void change(client, session, conversation.id, { archived: false }),
        });
      }
      return done;
    },
    unarchive: (session: Session, id: string) => change(client, session, id, { archived: false }),
  };
}

export function useConversationActions() {
  const client = useQueryClient();
  return useMemo(() => conversationActions(client), [client]);
}
