/** What a person is told about a session: one word, one colour, one group of the list. */
import type { Session } from "../../api/types";

export type Tone = "need" | "run" | "ok" | "stop" | "fail";
export type StatusGroup = "needs you" | "running" | "ready" | "stopped" | "failed";

export interface Status {
  group: StatusGroup;
  tone: Tone;
  word: string;
  /** One sentence about what is going on. */
  sentence: string;
}

/** In the order of the list. */
export const GROUPS: readonly StatusGroup[] = ["needs you", "running", "ready", "stopped", "failed"];

export const GROUP_TITLES: Record<StatusGroup, string> = {
  "needs you": "Needs you",
  running: "Running",
  ready: "Ready",
  stopped: "Stopped",
  failed: "Failed",
};

export function statusOf({ state, activity }: Pick<Session, "state" | "activity">): Status {
  switch (state) {
    case "created":
    case "starting":
      return {
        group: "running",
        tone: "run",
        word: "Starting",
        sentence: "The sandbox is being made ready.",
      };
    case "running":
      if (activity === "needs_you") {
        return {
          group: "needs you",
          tone: "need",
          word: "Needs you",
          sentence: "The agent waits for your answer.",
        };
      }
      if (activity === "working") {
        return { group: "running", tone: "run", word: "Working", sentence: "The agent is working." };
      }
      return { group: "ready", tone: "ok", word: "Ready", sentence: "The agent waits for a message." };
    case "disconnected":
      return {
        group: "running",
        tone: "run",
        word: "Reconnecting",
        sentence: "The sandbox does not answer. The server keeps trying; nothing is lost.",
      };
    case "stopping":
      return { group: "stopped", tone: "stop", word: "Stopping", sentence: "Processes are being ended." };
    case "stopped":
      return { group: "stopped", tone: "stop", word: "Stopped", sentence: "Nothing runs. The disk is kept." };
    case "failed":
      return {
        group: "failed",
        tone: "fail",
        word: "Failed",
        sentence: "Something failed. The disk is kept.",
      };
    case "deleted":
      return { group: "stopped", tone: "stop", word: "Deleted", sentence: "The session is gone." };
  }
}

export const canStart = ({ state }: Pick<Session, "state">) => state === "stopped" || state === "failed";
export const canStop = ({ state }: Pick<Session, "state">) =>
  state === "created" || state === "starting" || state === "running" || state === "disconnected";

/** Since when the session is in the state that the list shows. */
export function since(session: Session): string {
  if (session.state !== "running") return session.state_since;
  if (session.activity === "needs_you") return session.approvals[0]?.requested_at ?? session.updated_at;
  return session.activity === "working" ? workingSince(session) : session.updated_at;
}

/** Nothing is noted on a conversation while its turn runs but messages that join it. */
function workingSince({ conversations, updated_at }: Session): string {
  const running = (conversations ?? []).filter(({ turn_id }) => turn_id).map((working) => working.updated_at);
  return running.sort()[0] ?? updated_at;
}

/** The name of a repository's folder. */
export function repositoryName(session: Pick<Session, "repository">): string | undefined {
  const { repository } = session;
  if (!repository) return undefined;
  return repository.name || lastPart(repository.source);
}

export function lastPart(source: string): string {
  const parts = source.replace(/\/+$/, "").split("/");
  return (parts.at(-1) ?? source).replace(/\.git$/, "") || source;
}

const RUNTIMES: Record<string, string> = { codex: "Codex" };
export const runtimeName = (runtime: string) => RUNTIMES[runtime] ?? runtime;
