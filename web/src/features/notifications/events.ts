/** What of a session's news a person wants to be called for. Pure. */
import type { Session } from "../../api/types";

export interface News {
  /** The same in every tab. */
  key: string;
  session: string;
  title: string;
  body: string;
}

/** What was known of a session before. */
export interface Known {
  approvals: readonly string[];
  turn: string | null;
  state: Session["state"];
}

export function knownOf(session: Session): Known {
  return {
    approvals: session.approvals.map((approval) => approval.id),
    turn: session.turn_id ?? null,
    state: session.state,
  };
}

/** What is new, the most pressing thing only. What was never seen before is no news. */
export function newsOf(before: Known | undefined, session: Session): News | undefined {
  if (!before || session.deletion) return undefined;
  const news = (key: string, title: string) => ({ key, session: session.id, title, body: session.title });
  const asked = session.approvals.find((approval) => !before.approvals.includes(approval.id));
  if (asked) return news(`approval ${asked.id}`, "Needs you");
  if (session.state === "failed" && before.state !== "failed") {
    return news(`failed ${session.id} ${session.state_since}`, "Failed");
  }
  const ended = before.turn && before.turn !== session.turn_id ? before.turn : undefined;
  // One that is stopped was stopped by somebody, who knows.
  if (ended && session.state === "running" && session.activity === "idle" && session.queued === 0) {
    return news(`turn ${session.id} ${ended}`, "Ready");
  }
  return undefined;
}
