/**
 * The list of sessions and its live updates. The list lives in the query cache; what the server
 * pushes is written into it.
 */
import { type InfiniteData, type QueryClient, useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import {
  createContext,
  createElement,
  type ReactNode,
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

const LIST = ["sessions"] as const;
type Pages = InfiniteData<Page<Session>, string | undefined>;

/** Whether `next` says something newer than `old`: answers and pushes may cross. */
function isNewer(old: Session | undefined, next: Session): boolean {
  return !old || next.last_seq > old.last_seq || next.updated_at >= old.updated_at;
}

export function applySession(client: QueryClient, session: Session): void {
  client.setQueryData<Session>(["session", session.id], (old) => (isNewer(old, session) ? session : old));
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
  client.setQueryData<Pages>(
    LIST,
    (old) =>
      old && {
        ...old,
        pages: old.pages.map((page) => ({ ...page, data: page.data.filter((row) => row.id !== id) })),
      },
  );
}

export function useSessionList() {
  const query = useInfiniteQuery({
    queryKey: LIST,
    queryFn: ({ pageParam }) => api.sessions(pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const sessions = useMemo(() => {
    const seen = new Map<string, Session>();
    for (const page of query.data?.pages ?? [])
      for (const row of page.data) if (!seen.has(row.id)) seen.set(row.id, row);
    return [...seen.values()];
  }, [query.data]);
  return { ...query, sessions };
}

/** A session as the cache knows it, for drawing before its own link answers. */
export function cachedSession(client: QueryClient, id: string): Session | undefined {
  const own = client.getQueryData<Session>(["session", id]);
  if (own) return own;
  const pages = client.getQueryData<Pages>(LIST)?.pages;
  return pages?.flatMap((page) => page.data).find((row) => row.id === id);
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
      if (message.type === "session") applySession(client, message.session);
      else if (message.type === "deleted") removeSession(client, message.session_id);
      else if (message.type === "lagged") link.current?.restart();
    };
    link.current = new Link({
      purpose: { purpose: "live" },
      path: () => "/live",
      onOpen: () => {
        // What changed while the link was down is in no message.
        if (wasOpen) void client.invalidateQueries({ queryKey: LIST });
        wasOpen = true;
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

/** One session, live while the component that asks is on the page. */
export function useChannel(id: string): [ChannelSnapshot, SessionChannel] {
  const client = useQueryClient();
  const channel = useMemo(
    () => channelOf(id, cachedSession(client, id), (session) => applySession(client, session)),
    [client, id],
  );
  return [useSyncExternalStore(channel.subscribe, channel.getSnapshot), channel];
}
