/** Which conversation of a session this page shows. The address says it, so that two tabs may differ. */
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useLocation, useSearch } from "wouter";
import { api } from "../../api/client";
import type { Destination, Session } from "../../api/types";
import type { ChannelSnapshot, OwnMessage, SessionChannel } from "../../live/channel";
import { activeView, conversationIn, isStarter, NEW, resolve } from "../../live/conversations";
import { queryOf } from "../../ui/address";
import { readStored, writeStored } from "../../ui/storage";
import { draftsOf } from "../attachments/drafts";
import { copyChoice, moveChoice } from "../composer/choice";

export interface View {
  /** A conversation, the message that starts one, or `new`. */
  id: string;
  /** Stays while a conversation that is written to here gets its name. */
  key: string;
  /** What drafts are kept under. */
  scope: string;
  /** Shows another conversation. Nothing that runs is touched. */
  show: (id: string) => void;
  /** Goes to the conversation that something else than a message began here. */
  begun: (id: string) => void;
  /** The session's channel, for what is said in this view. */
  channel: Pick<SessionChannel, "send">;
}

const PARAMETER = "conversation";

/** The first conversation keeps the session's own name, so that a draft is there before it begins. */
export function scopeOf(session: Pick<Session, "id" | "conversations">, view: string): string {
  const [first] = session.conversations ?? [];
  return !first || first.id === view ? session.id : `${session.id}:${view}`;
}

function moveDrafts(from: string, to: string): void {
  if (from === to) return;
  moveChoice(from, to);
  const text = readStored(`draft:${from}`, "");
  if (text) writeStored(`draft:${to}`, text);
  writeStored(`draft:${from}`, undefined);
  const files = draftsOf(from).take();
  if (files.length > 0) draftsOf(to).restore(files);
}

/** Whether there is, or may be, what an address names. */
function exists(session: Session, snapshot: ChannelSnapshot, id: string): boolean {
  if (id === NEW || conversationIn(session, id)) return true;
  // The record may tell of a conversation before the session does.
  if (!snapshot.caughtUp || [...snapshot.transcript.conversationOf.values()].includes(id)) return true;
  if (!isStarter(id)) return false;
  const known =
    snapshot.queue.some((message) => message.id === id) || snapshot.transcript.conversationOf.has(id);
  return known || session.starter_id === id;
}

export function useView(session: Session, snapshot: ChannelSnapshot, channel: SessionChannel): View {
  const search = useSearch();
  const [location, navigate] = useLocation();
  const { conversationOf } = snapshot.transcript;
  const wanted = new URLSearchParams(search).get(PARAMETER) ?? undefined;
  const active = activeView(session, snapshot.queue);
  // A page that was not told which one stays with the one that it began with.
  const [began, setBegan] = useState({ session: session.id, id: active });
  if (began.session !== session.id || (began.id === NEW && active !== NEW)) {
    setBegan({ session: session.id, id: active });
  }
  // The answer to what was sent may come before the stream tells of it.
  const [accepted, setAccepted] = useState<string>();
  if (accepted !== undefined && exists(session, snapshot, accepted)) setAccepted(undefined);
  const known = wanted !== undefined && (wanted === accepted || exists(session, snapshot, wanted));
  const named = known ? wanted : undefined;
  const fallback = exists(session, snapshot, resolve(began.id, conversationOf)) ? began.id : active;
  const id = resolve(named ?? fallback, conversationOf);

  // A number and no name: a conversation that began as `new` is another one than the next `new`.
  const [shown, setShown] = useState({ session: session.id, id, key: 0 });
  const grown =
    shown.session === session.id &&
    (resolve(shown.id, conversationOf) === id || (shown.id === NEW && isStarter(id)));
  if (shown.session !== session.id || shown.id !== id) {
    setShown({ session: session.id, id, key: grown ? shown.key : shown.key + 1 });
  }

  const go = useCallback(
    (next: string, replace: boolean) => {
      const url = new URL(window.location.href);
      url.searchParams.set(PARAMETER, next);
      // In its place in the history, it keeps what that step was marked with.
      navigate(`${location}${queryOf(url)}${url.hash}`, { replace, state: replace ? history.state : null });
    },
    [navigate, location],
  );
  // The address follows a conversation that has begun.
  useEffect(() => {
    if (wanted !== undefined && wanted !== id) go(id, true);
  }, [wanted, id, go]);

  const scope = scopeOf(session, id);
  const scoped = useRef({ key: shown.key, scope });
  useEffect(() => {
    const before = scoped.current;
    scoped.current = { key: shown.key, scope };
    if (before.key === shown.key) moveDrafts(before.scope, scope);
  }, [shown.key, scope]);

  const show = useCallback(
    (next: string) => {
      if (next === NEW) copyChoice(scope, scopeOf(session, NEW));
      go(next, false);
      if (next !== NEW && !isStarter(next)) {
        // Others that name no conversation go where a person was last. Nobody waits for it.
        api.patchSession(session.id, { conversation_id: next }).catch(() => undefined);
      }
    },
    [go, session, scope],
  );
  const begun = useCallback(
    (next: string) => {
      moveChoice(scope, scopeOf(session, next));
      setAccepted(next);
      go(next, true);
    },
    [go, session, scope],
  );

  // The message that starts what is in view, while no server has it.
  const starting = useRef<{ key: number; id: Promise<string | undefined> }>(undefined);
  const latest = useRef({ id, key: shown.key });
  useEffect(() => {
    latest.current = { id, key: shown.key };
  });
  const lost = conversationIn(session, id)?.lost === true;
  const send = useCallback(
    (message: OwnMessage): Promise<void> => {
      const begins = lost || id === NEW;
      if (!begins) {
        const destination: Destination = isStarter(id)
          ? { kind: "started_by", message_id: id }
          : { kind: "conversation", id };
        return channel.send({ ...message, destination });
      }
      const { key } = latest.current;
      const before = starting.current;
      if (before?.key === key && !lost) {
        const follows = before.id.then(
          (starter): Destination => (starter ? { kind: "started_by", message_id: starter } : { kind: "new" }),
        );
        return channel.send({ ...message, destination: follows });
      }
      let begun: (id: string | undefined) => void = () => {};
      const given = new Promise<string | undefined>((done) => {
        begun = done;
      });
      starting.current = { key, id: given };
      void given.then((starter) => {
        if (starting.current?.id === given) starting.current = undefined;
        if (!starter || latest.current.key !== key) return;
        setAccepted(starter);
        go(starter, true);
      });
      return channel.send({ ...message, destination: { kind: "new" }, onAccepted: begun });
    },
    [channel, id, lost, go],
  );
  const talk = useMemo(() => ({ send }), [send]);
  return { id, key: `${session.id} ${shown.key}`, scope, show, begun, channel: talk };
}
