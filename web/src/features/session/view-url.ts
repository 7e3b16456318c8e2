/**
 * Which panes are open, in the address, so that a link opens what its sender saw. What is in a pane
 * (a file, a conversation) has its own part of the address; list filters are theirs who look.
 */
import { useCallback, useEffect, useState } from "react";
import { useLocation, useSearch } from "wouter";
import { queryOf, writeAddress } from "../../ui/address";
import { readStored, useStored, writeStored } from "../../ui/storage";

export interface Panels {
  terminal: boolean;
  height: number;
  changes?: boolean;
  /** The runtime's own interface in place of the chat. */
  tui?: boolean;
  /** Width of the changes. */
  width?: number;
}

const PANES = ["changes", "terminal", "tui"] as const;
type Pane = (typeof PANES)[number];
type Open = Partial<Record<Pane, boolean>>;

/** The panes that an address names; none when it does not say. */
export function readPanels(search: string): Open | undefined {
  const values = new URLSearchParams(search);
  const panel = values.get("panel") ?? PANES.find((pane) => pane === values.get("pane"));
  if (panel === undefined) return undefined;
  const wanted = panel.split(",");
  return Object.fromEntries(PANES.map((pane) => [pane, wanted.includes(pane)]));
}

/** The one pane of a phone. */
export type PhonePane = "chat" | "ports" | Pane;
const OVER_CHAT: readonly PhonePane[] = ["changes", "terminal", "tui", "ports"];
/** Marks a step of the history that opened a pane over the chat. */
const OVER = { over: "chat" };
const isOver = () => (history.state as Partial<typeof OVER> | null)?.over === OVER.over;

const named = (name: string | null | undefined): PhonePane =>
  OVER_CHAT.find((pane) => pane === name) ?? "chat";
const phonePane = (search: string) => named(new URLSearchParams(search).get("pane"));

/** The pane that a link opens on a phone: a phone's own, or the first that its sender had open. */
export function linkedPane(search: string): PhonePane {
  const values = new URLSearchParams(search);
  return named(values.get("pane") ?? values.get("panel")?.split(",")[0]);
}

/**
 * The pane of a phone. It is in the address, a step of the history above the chat: "Back" closes it
 * before it leaves the session.
 */
export function usePhonePane(narrow: boolean): [PhonePane, (pane: PhonePane) => void] {
  const search = useSearch();
  const [location, navigate] = useLocation();
  const [linked] = useState(() => (narrow ? linkedPane(search) : "chat"));
  const pane = narrow ? phonePane(search) : "chat";
  const go = useCallback(
    (next: PhonePane, how: { replace?: boolean; state?: unknown }) => {
      const url = new URL(window.location.href);
      url.searchParams.delete("panel");
      if (next === "chat") url.searchParams.delete("pane");
      else url.searchParams.set("pane", next);
      navigate(`${location}${queryOf(url)}${url.hash}`, how);
    },
    [location, navigate],
  );
  const show = useCallback(
    (next: PhonePane) => {
      const now = phonePane(window.location.search);
      if (next === now) return;
      if (now === "chat") go(next, { state: OVER });
      else if (next !== "chat") go(next, { replace: true, state: history.state });
      else if (isOver()) history.back();
      else go("chat", { replace: true });
    },
    [go],
  );
  // An address that was opened with a pane has no chat below it yet.
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when the page opens
  useEffect(() => {
    if (linked === "chat" || isOver()) return;
    go("chat", { replace: true });
    go(linked, { state: OVER });
  }, []);
  useEffect(() => {
    if (!narrow) writeAddress({ pane: undefined });
  }, [narrow]);
  return [pane, show];
}

/**
 * The open panes and their sizes: remembered, unless the address says which are open. A phone has
 * one pane, which is another part of the address.
 */
export function usePanels(
  session: string,
  fallback: Panels,
  narrow: boolean,
): [Panels, (panels: Panels) => void] {
  const key = `panels:${session}`;
  useState(() => {
    const linked = readPanels(location.search);
    if (linked && !narrow) writeStored(key, { ...readStored(key, fallback), ...linked });
  });
  const [panels, setPanels] = useStored<Panels>(key, fallback);
  const open = narrow ? "" : PANES.filter((pane) => panels[pane]).join(",");
  useEffect(() => writeAddress({ panel: open }), [open]);
  return [panels, setPanels];
}

/**
 * The address of what is on the page, for somebody else: without what the list is narrowed to, and with
 * the conversation in view, for another one may be the active one by then.
 */
export function sharedLink(href: string, conversation?: string): string {
  const url = new URL(href);
  if (conversation) url.searchParams.set("conversation", conversation);
  const pane = PANES.find((name) => name === url.searchParams.get("pane"));
  if (pane) url.searchParams.set("panel", pane);
  for (const name of ["q", "status", "repository", "profile", "pane"]) url.searchParams.delete(name);
  url.search = url.search.replaceAll("%2C", ",");
  return url.href;
}
