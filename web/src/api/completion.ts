/** What the composer can complete: files of the working tree and the runtime's own commands. */
import { request } from "./client";
import type { components } from "./schema";

type Schemas = components["schemas"];

export type FoundFile = Schemas["FoundFile"];
export type FoundFiles = Schemas["FoundFiles"];
export type RuntimeCommand = Schemas["RuntimeCommand"];
export type CommandTaken = Schemas["CommandTaken"];
/** A command as it is asked for. */
export type RunCommand = Required<Pick<Schemas["RunCommand"], "name" | "arguments">> &
  Pick<Schemas["RunCommand"], "conversation_id" | "new_conversation">;

const base = (session: string) => `/sessions/${encodeURIComponent(session)}`;

export const completionApi = {
  /** The best matches below a folder of the sandbox. */
  files: (session: string, folder: string, search: string, limit: number, signal: AbortSignal) =>
    request<FoundFiles>(
      `${base(session)}/files?${new URLSearchParams({ cwd: folder, q: search, limit: String(limit) })}`,
      { action: "Search files", signal },
    ),
  commands: (session: string) =>
    request<RuntimeCommand[]>(`${base(session)}/commands`, { action: "Load commands" }),
  run: (session: string, body: RunCommand, idempotencyKey: string) =>
    request<CommandTaken>(`${base(session)}/commands`, {
      action: `Run /${body.name}`,
      method: "POST",
      body,
      idempotencyKey,
    }),
};
