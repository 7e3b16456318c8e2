import type { Session } from "../../api/types";
import { runtimeName } from "../session/status";

/** Why the runtime's own interface can't be opened; nothing when it can. Pure. */
export function tuiOff(session: Pick<Session, "state" | "conversation_id" | "runtime">): string | undefined {
  if (session.state !== "running" && session.state !== "disconnected") return "The sandbox does not run";
  if (!session.conversation_id) return `${runtimeName(session.runtime)} has not begun a conversation yet`;
  return undefined;
}
