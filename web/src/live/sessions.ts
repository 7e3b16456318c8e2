/**
 * The list of sessions and its live updates. The list lives in the query cache; what the server
 * pushes is written into it.
 */
import { type InfiniteData, type QueryClient, useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import {
  createContext,
  createElement,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { api } from "../api/client";
import type { LiveMessage, Page, Session } from "../api/types";
import { type ChannelSnapshot, channelOf, type SessionChannel } from "./channel";
import { Link, type LinkState } from "./link";
import { sessionsWithUnsent } from "./unsent";

/** All sessions; searches are beside it, under their filter. */
const LIST = ["sessions", "all"] as const;
const FOUND = ["sessions", "found"] as const;
const TRASH = ["trash"] as const;
/** The first page is a screenful, quickly; who goes on goes far. */
const FIRST_PAGE = 50;
const NEXT_PAGE = 200;
/** A search is asked again this long after something that may change its answer. */
const FOUND_PACE_MS = 1000;
type Pages = InfiniteData<Page<Session>, string | undefined>;

/** Whether `next` says something newer than `old`: answers and pushes may cross. */
function isNewer(old: Session | undefined, next: Session): boolean {
  return !old || next.last_seq > old.last_seq || next.updated_at >= old.updated_at;
}

const askAgain = new WeakMap<QueryClient, ReturnType<typeof setTimeout>>();

/** What a search answers may have changed; many changes at once are one more question. */
function searchAgain(client: QueryClient): void {
  if (askAgain.has(client)) return;
  const again = () => {
    askAgain.delete(client);
    void client.invalidateQueries({ queryKey: FOUND });
  };
  askAgain.set(client, setTimeout(again, FOUND_PACE_MS));
}

/** Whether a list would place it elsewhere. */
const isElsewhere = (old: Session | undefined, next: Session) =>
  !old || old.state !== next.state || old.activity !== next.activity || old.title !== next.title;

function takeOut(client: QueryClient, id: string): void {
  client.setQueriesData<Pages>(
    { queryKey: ["sessions"] },
    (old) =>
      old && {
        ...old,
        pages: old.pages.map((page) => ({ ...page, data: page.data.filter((row) => row.id !== id) })),
      },
  );
  void client.invalidateQueries({ queryKey: TRASH });
}

export function applySession(client: QueryClient, session: Session): void {
  const before = cachedSession(client, session.id);
  if (!isNewer(before, session)) return;
  client.setQueryData<Session>(["session", session.id], session);
  if (session.deletion || session.state === "deleted") return takeOut(client, session.id);
  if (before?.deletion) void client.invalidateQueries({ queryKey: TRASH });
  if (isElsewhere(before, session)) searchAgain(client);
  client.setQueriesData<Pages>(
    { queryKey: FOUND },
    (old) =>
      old && {
        ...old,
        pages: old.pages.map((page) =>
          page.data.some((row) => row.id === session.id)
            ? { ...page, data: page.data.map((row) => (row.id === session.id ? session : row)) }
            : page,
        ),
      },
  );
  client.setQueryData<Pages>(LIST, (old) => {
    if (!old) return old;
    let found = false;
    const pages = old.pages.map((page) => {
      if (!page.data.some((row) => row.id === session.id)) return page;
      found = true;
      return {
        ...page,
        data: page.data.map((row) => (row.id === session.id && isNewer(row, session) ? session : row)),
      };
    });
    const first = pages[0];
    if (!found && first) pages[0] = { ...first, data: [session, ...first.data] };
    return { ...old, pages };
  });
}

export function removeSession(client: QueryClient, id: string): void {
  client.removeQueries({ queryKey: ["session", id] });
  takeOut(client, id);
}

export function useSessionList() {
  const query = useInfiniteQuery({
    queryKey: LIST,
    queryFn: ({ pageParam }) =>
      api.sessions({ cursor: pageParam, limit: pageParam === undefined ? FIRST_PAGE : NEXT_PAGE }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    staleTime: Number.POSITIVE_INFINITY,
    // Comparing thousands of rows with themselves costs more than drawing the few that are in sight.
    structuralSharing: false,
  });
  const sessions = useMemo(() => rowsOf(query.data), [query.data]);
  return { ...query, sessions };
}

function rowsOf(pages: { pages: readonly Page<Session>[] } | undefined): Session[] {
  const seen = new Map<string, Session>();
  for (const page of pages?.pages ?? [])
    for (const row of page.data) if (!seen.has(row.id)) seen.set(row.id, row);
  return [...seen.values()];
}

/** The sessions that the server finds. Nothing is asked without a `query`; `meanwhile` is shown until it answers. */
export function useFoundSessions(query: string, meanwhile: () => Session[]) {
  const asked = useInfiniteQuery({
    queryKey: [...FOUND, query],
    queryFn: ({ pageParam, signal }) =>
      api.sessions({ ...Object.fromEntries(new URLSearchParams(query)), cursor: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    enabled: query !== "",
    placeholderData: () => ({ pages: [{ data: meanwhile(), next_cursor: null }], pageParams: [undefined] }),
  });
  const sessions = useMemo(() => rowsOf(asked.data), [asked.data]);
  return { ...asked, sessions };
}

/** A session as the cache knows it, for drawing before its own link answers. */
export function cachedSession(client: QueryClient, id: string): Session | undefined {
  const own = client.getQueryData<Session>(["session", id]);
  if (own) return own;
  for (const [, pages] of client.getQueriesData<Pages>({ queryKey: ["sessions"] })) {
    const row = pages?.pages.flatMap((page) => page.data).find((candidate) => candidate.id === id);
    if (row) return row;
  }
  return undefined;
}

/** What was written on pages that are closed goes out. One that is open does it in its own time. */
function sendUnsent(client: QueryClient): void {
  for (const id of sessionsWithUnsent()) {
    const channel = sessionChannel(client, id);
    if (!channel.inUse) channel.sendUnsent();
  }
}

type PushListener = (session: Session) => void;
const pushListeners = new WeakMap<QueryClient, Set<PushListener>>();
/** Tells each session that the server pushes, as it was pushed. */
export function onSessionPush(client: QueryClient, listener: PushListener): () => void {
  const listeners = pushListeners.get(client) ?? new Set();
  pushListeners.set(client, listeners.add(listener));
  return () => listeners.delete(listener);
}

interface LiveList {
  state: LinkState;
  retryNow: () => void;
}
const LiveListContext = createContext<LiveList>({ state: { status: "open" }, retryNow: () => {} });
export const useLiveList = () => useContext(LiveListContext);

/** Keeps the list of sessions live for everything below it. */
export function LiveSessions({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [state, setState] = useState<LinkState>({ status: "connecting", since: Date.now(), attempt: 0 });
  const link = useRef<Link | undefined>(undefined);

  useEffect(() => {
    let wasOpen = false;
    const receive = (message: LiveMessage) => {
      if (message.type === "session") {
        applySession(client, message.session);
        for (const listener of pushListeners.get(client) ?? []) listener(message.session);
      } else if (message.type === "deleted") removeSession(client, message.session_id);
      else if (message.type === "lagged") link.current?.restart();
    };
    link.current = new Link({
      purpose: { purpose: "live" },
      path: () => "/live",
      onOpen: () => {
        // What changed while the link was down is in no message.
        if (wasOpen) {
          void client.invalidateQueries({ queryKey: ["sessions"] });
          void client.invalidateQueries({ queryKey: TRASH });
        }
        wasOpen = true;
        sendUnsent(client);
      },
      onMessage: (data) => {
        if (typeof data === "string") receive(JSON.parse(data) as LiveMessage);
      },
      onState: setState,
    });
    return () => link.current?.close();
  }, [client]);

  const value = useMemo(() => ({ state, retryNow: () => link.current?.retryNow() }), [state]);
  return createElement(LiveListContext, { value }, children);
}

/** Begins to load a session that a person seems to be about to open. It is let go again when they don't. */
export function usePreload(): (id: string) => void {
  const client = useQueryClient();
  return useCallback(
    (id: string) => {
      const channel = sessionChannel(client, id);
      const letGo = channel.subscribe(() => {});
      letGo();
    },
    [client],
  );
}

const sessionChannel = (client: QueryClient, id: string) =>
  channelOf(id, cachedSession(client, id), (session) => applySession(client, session));

/** One session, live while the component that asks is on the page. */
export function useChannel(id: string): [ChannelSnapshot, SessionChannel] {
  const client = useQueryClient();
  const channel = useMemo(() => sessionChannel(client, id), [client, id]);
  return [useSyncExternalStore(channel.subscribe, channel.getSnapshot), channel];
}
