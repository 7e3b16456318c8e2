/** What the list of sessions is narrowed to. It lives in the address, so that a link shows the same list. */
import { useCallback, useMemo } from "react";
import { useLocation, useSearch } from "wouter";
import type { Session } from "../../api/types";
import { GROUPS, type StatusGroup, statusOf } from "../session/status";

export interface ListFilter {
  q: string;
  status: readonly StatusGroup[];
  repository: string | undefined;
  profile: string | undefined;
}

const NAMES = ["q", "status", "repository", "profile"] as const;
/** What the server takes. */
export const MAX_SEARCH = 200;

/** The server's word for a group: `needs_you`. */
const wireName = (group: StatusGroup) => group.replace(" ", "_");

export function readFilter(search: string): ListFilter {
  const values = new URLSearchParams(search);
  const wanted = values.get("status")?.split(",") ?? [];
  return {
    q: (values.get("q") ?? "").slice(0, MAX_SEARCH),
    status: GROUPS.filter((group) => wanted.includes(wireName(group))),
    repository: values.get("repository") || undefined,
    profile: values.get("profile") || undefined,
  };
}

/** The filter as part of an address: empty, or without the question mark. */
export function filterQuery(filter: ListFilter): string {
  const values = new URLSearchParams();
  if (filter.q.trim()) values.set("q", filter.q);
  if (filter.status.length) values.set("status", filter.status.map(wireName).join(","));
  if (filter.repository) values.set("repository", filter.repository);
  if (filter.profile) values.set("profile", filter.profile);
  return values.toString();
}

/** Another address's query with this filter in place of its own. */
export function withFilter(search: string, filter: ListFilter): string {
  const values = new URLSearchParams(search);
  for (const name of NAMES) values.delete(name);
  return [values.toString(), filterQuery(filter)].filter(Boolean).join("&");
}

export const NO_FILTER: ListFilter = { q: "", status: [], repository: undefined, profile: undefined };

export const isFiltered = (filter: ListFilter) => filterQuery(filter) !== "";

/** What can be told of a session without asking the server; its task can't. */
export function fits(session: Session, filter: ListFilter): boolean {
  const sources = [
    session.repository,
    ...(session.workspaces ?? []).map(({ repository }) => repository),
  ].flatMap((repository) => (repository ? [repository.source] : []));
  if (filter.status.length && !filter.status.includes(statusOf(session).group)) return false;
  if (filter.repository && !sources.includes(filter.repository)) return false;
  if (filter.profile && session.profile.name !== filter.profile) return false;
  const about = [session.title, session.id, ...sources].join("\n").toLowerCase();
  return filter.q
    .toLowerCase()
    .split(/\s+/)
    .every((word) => about.includes(word));
}

export function useListFilter(): [ListFilter, (filter: ListFilter) => void] {
  const search = useSearch();
  const [location, navigate] = useLocation();
  const filter = useMemo(() => readFilter(search), [search]);
  const set = useCallback(
    (next: ListFilter) => {
      const query = withFilter(search, next);
      navigate(query ? `${location}?${query}` : location, { replace: true });
    },
    [search, location, navigate],
  );
  return [filter, set];
}

/** Where a session is, with the list as it is shown. */
export function sessionPath(id: string, filter: ListFilter): string {
  const query = filterQuery(filter);
  return query ? `/s/${id}?${query}` : `/s/${id}`;
}
