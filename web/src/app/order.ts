import type { Session } from "../api/types";
import { GROUPS, statusOf } from "../features/session/status";

/** Sessions in the order of the list. */
export function orderedSessions(sessions: readonly Session[]): Session[] {
  const rank = (session: Session) => GROUPS.indexOf(statusOf(session).group);
  return sessions
    .filter((session) => session.state !== "deleted")
    .sort((a, b) => rank(a) - rank(b) || b.created_at.localeCompare(a.created_at));
}
