/**
 * Which panes are open, in the address, so that a link opens what its sender saw. What is in a pane
 * (a file, a conversation) has its own part of the address; list filters are theirs who look.
 */
import { useEffect, useState } from "react";
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
  const named = new URLSearchParams(search).get("panel");
  if (named === null) return undefined;
  const wanted = named.split(",");
  return Object.fromEntries(PANES.map((pane) => [pane, wanted.includes(pane)]));
}

export function writeAddress(name: string, value: string | undefined): void {
  const url = new URL(location.href);
  if (value) url.searchParams.set(name, value);
  else url.searchParams.delete(name);
  // Commas may stand in a query, and are easier to read.
  url.search = url.search.replaceAll("%2C", ",");
  if (url.href !== location.href) history.replaceState(history.state, "", url);
}

/** The open panes and their sizes: remembered, unless the address says which are open. */
export function usePanels(session: string, fallback: Panels): [Panels, (panels: Panels) => void] {
  const key = `panels:${session}`;
  useState(() => {
    const linked = readPanels(location.search);
    if (linked) writeStored(key, { ...readStored(key, fallback), ...linked });
  });
  const [panels, setPanels] = useStored<Panels>(key, fallback);
  const open = PANES.filter((pane) => panels[pane]).join(",");
  useEffect(() => writeAddress("panel", open), [open]);
  return [panels, setPanels];
}

/** The address of what is on the page, for somebody else: without what the list is narrowed to. */
export function sharedLink(href: string): string {
  const url = new URL(href);
  for (const name of ["q", "status", "repository", "profile"]) url.searchParams.delete(name);
  url.search = url.search.replaceAll("%2C", ",");
  return url.href;
}
