/** Which model and effort a conversation's messages go to, as chosen here and kept by this browser. */
import { useEffect, useMemo } from "react";
import type { NewMessage, Session } from "../../api/types";
import { readStored, useStored, writeStored } from "../../ui/storage";
import { type Choice, type Resolved, resolveChoice } from "./models";

const NONE: Choice = { model: null, effort: null };
const keyOf = (scope: string) => `model:${scope}`;

export interface Chosen {
  choice: Choice;
  /** What is in force. */
  resolved: Resolved;
  /** What a message says of it. What is not chosen is left to the session. */
  sent: Pick<NewMessage, "model" | "effort">;
  choose: (choice: Choice) => void;
}

/** `scope` is what the conversation's drafts are kept under. */
export function useChoice(session: Session, scope: string): Chosen {
  const [choice, choose] = useStored<Choice>(keyOf(scope), NONE);
  return useMemo(() => {
    const resolved = resolveChoice(session.models, choice, session);
    const sent = {
      model: choice.model && resolved.model ? resolved.model.id : null,
      effort: choice.effort && resolved.effort ? resolved.effort : null,
    };
    return { choice, resolved, sent, choose };
  }, [session, choice, choose]);
}

/**
 * A conversation keeps what is in force when it is first seen here: what the session says changes
 * with what is chosen in another one.
 */
export function useKeptChoice({ choice, resolved, choose }: Chosen, isBegun: boolean): void {
  const { model, effort } = resolved;
  useEffect(() => {
    if (isBegun && choice === NONE && model) choose({ model: model.id, effort: effort ?? null });
  }, [isBegun, choice, model, effort, choose]);
}

/** A conversation that has its name is another place than the one without. */
export function moveChoice(from: string, to: string): void {
  if (from === to || readStored<Choice>(keyOf(from), NONE) === NONE) return;
  copyChoice(from, to);
  writeStored(keyOf(from), undefined);
}

/** A new conversation goes on with what was chosen where it was begun. */
export function copyChoice(from: string, to: string): void {
  if (from !== to) writeStored(keyOf(to), readStored<Choice | undefined>(keyOf(from), undefined));
}
