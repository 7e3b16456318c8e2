/** Which conversation of a session this page shows. The address says it, so that two tabs may differ. */
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useLocation, useSearch } from "wouter";
import { api } from "../../api/client";
import type { Session } from "../../api/types";
import type { ChannelSnapshot, OwnMessage, Send, SessionChannel } from "../../live/channel";
import { activeView, conversationIn, firstView, isStarter, NEW, resolve } from "../../live/conversations";
import { starterOf } from "../../live/outbox";
import { queryOf } from "../../ui/address";
import { draftsOf } from "../attachments/drafts";
import { copyChoice, moveChoice } from "../composer/choice";
import { moveDraft } from "../composer/draft";

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
  channel: { send: Send };
}

const PARAMETER = "conversation";

/** The first conversation keeps the session's own name, so that a draft is there before it begins. */
function scopeOf(session: string, first: string, view: string): string {
  return first === view ? session : `${session}:${view}`;
}

function moveDrafts(from: string, to: string): void {
  if (from === to) return;
  moveChoice(from, to);
  moveDraft(from, to);
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

/** Where a message goes that is written in a view. */
function destinationOf(view: string, lost: boolean, channel: SessionChannel): OwnMessage["destination"] {
  if (isStarter(view)) return { kind: "started_by", message_id: view };
  if (view !== NEW && !lost) return { kind: "conversation", id: view };
  const starter = starterOf(channel.getSnapshot().local);
  return starter ? { kind: "follows", localId: starter.localId } : { kind: "new" };
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

  const first = firstView(session, snapshot);
  const scope = scopeOf(session.id, first, id);
  const scoped = useRef({ key: shown.key, scope });
  useEffect(() => {
    const before = scoped.current;
    scoped.current = { key: shown.key, scope };
    if (before.key === shown.key) moveDrafts(before.scope, scope);
  }, [shown.key, scope]);

  const show = useCallback(
    (next: string) => {
      if (next === NEW) copyChoice(scope, scopeOf(session.id, first, NEW));
      go(next, false);
      if (next !== NEW && !isStarter(next)) {
        // Others that name no conversation go where a person was last. Nobody waits for it.
        api.patchSession(session.id, { conversation_id: next }).catch(() => undefined);
      }
    },
    [go, session.id, first, scope],
  );
  const begun = useCallback(
    (next: string) => {
      moveChoice(scope, scopeOf(session.id, first, next));
      setAccepted(next);
      go(next, true);
    },
    [go, session.id, first, scope],
  );

  const latest = useRef({ id, key: shown.key });
  useEffect(() => {
    latest.current = { id, key: shown.key };
  });
  const lost = conversationIn(session, id)?.lost === true;
  const begins = lost || id === NEW;
  // The message that starts what is in view, once a server has it and until the view has its name.
  const started = useRef<{ key: number; id: string }>(undefined);
  const starter = begins ? starterOf(snapshot.local)?.localId : undefined;
  useEffect(() => {
    if (starter === undefined) return;
    const { key } = latest.current;
    void channel.accepted(starter).then((given) => {
      if (!given || latest.current.key !== key) return;
      started.current = { key, id: given };
      setAccepted(given);
      go(given, true);
    });
  }, [channel, starter, go]);
  const send = useCallback(
    (message: OwnMessage): void => {
      const before = started.current;
      const named = begins && before?.key === latest.current.key ? before.id : id;
      channel.send({ ...message, destination: destinationOf(named, lost, channel) });
    },
    [channel, id, lost, begins],
  );
  const talk = useMemo(() => ({ send }), [send]);
  return { id, key: `${session.id} ${shown.key}`, scope, show, begun, channel: talk };
}
