/**
 * What a person types elsewhere than in the composer: a change of a queued message, or what the agent
 * should do instead of what it asks for. Kept by this browser, because its field comes and goes with
 * what is drawn. When what it is about is over before it was sent, the words move to the composer.
 */
import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react";
import { readStored, useStored, writeStored } from "../../ui/storage";

export interface Aside {
  about: "message" | "approval";
  /** The message or the approval. */
  id: string;
  text: string;
  /** The composer that it belongs to. */
  scope: string;
}

type Asides = Readonly<Record<string, Aside>>;

const NONE: Asides = {};
const keyOf = (session: string) => `asides:${session}`;
/** Those whose words are on their way to the server: what became of them is not known yet. */
const sending = new Set<string>();
const watchers = new Set<() => void>();
let answers = 0;

const watch = (watcher: () => void) => {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
};

function put(session: string, id: string, aside: Aside | undefined): void {
  const { [id]: _, ...others } = readStored(keyOf(session), NONE);
  const next = aside ? { ...others, [id]: aside } : others;
  writeStored(keyOf(session), Object.keys(next).length > 0 ? next : undefined);
}

/** Ends one, and answers it: once, however many tabs ask. */
export function takeAside(session: string, id: string): Aside | undefined {
  const aside = readStored(keyOf(session), NONE)[id];
  if (aside) put(session, id, undefined);
  return aside;
}

/** Sends the words of one. `done` says whether they arrived; otherwise they stay. */
export async function sendAside(session: string, id: string, send: () => Promise<boolean>): Promise<void> {
  sending.add(id);
  try {
    if (await send()) takeAside(session, id);
  } finally {
    sending.delete(id);
    answers++;
    for (const watcher of watchers) watcher();
  }
}

export interface AsideField {
  /** None while its field is closed. */
  aside: Aside | undefined;
  /** Opens the field, or changes what is in it. */
  write: (text: string) => void;
  close: () => void;
}

export function useAside(session: string, scope: string, about: Aside["about"], id: string): AsideField {
  const [asides] = useStored(keyOf(session), NONE);
  const aside = asides[id];
  const write = useCallback(
    (text: string) => put(session, id, { about, id, text, scope: aside?.scope ?? scope }),
    [session, scope, about, id, aside?.scope],
  );
  const close = useCallback(() => put(session, id, undefined), [session, id]);
  return useMemo(() => ({ aside, write, close }), [aside, write, close]);
}

/** Gives back the words of those that are over. */
export function useLostAsides(
  session: string,
  isOver: (aside: Aside) => boolean,
  giveBack: (aside: Aside) => void,
): void {
  const [asides] = useStored(keyOf(session), NONE);
  useSyncExternalStore(watch, () => answers);
  useEffect(() => {
    for (const aside of Object.values(asides)) {
      if (sending.has(aside.id) || !isOver(aside)) continue;
      const taken = takeAside(session, aside.id);
      if (taken?.text.trim()) giveBack(taken);
    }
  });
}
