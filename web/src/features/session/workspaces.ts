/** The folders of a session, and which of them is the primary one. Pure. */
import type { Session, Workspace } from "../../api/types";
import { lastPart, repositoryName } from "./status";

type Folders = Pick<Session, "workspaces" | "repository" | "cwd">;

/** Every folder; a session of before there were several has the one that it works in. */
export function workspacesOf(session: Folders): readonly Workspace[] {
  if (session.workspaces?.length) return session.workspaces;
  const { repository, cwd } = session;
  const name = repositoryName(session) ?? lastPart(cwd);
  return [{ name, path: cwd, repository: repository ?? null, branch: repository?.branch ?? null }];
}

export function primaryOf(session: Folders): Workspace {
  const all = workspacesOf(session);
  const found = all.find((workspace) => workspace.path === session.cwd) ?? all[0];
  return found ?? { name: lastPart(session.cwd), path: session.cwd, repository: null, branch: null };
}

/** The primary folder, when the session has others that it can be mistaken for. */
export const folderOf = (session: Folders): string | undefined =>
  workspacesOf(session).length > 1 ? session.cwd : undefined;

/** Where a session works, in a word: its repository, or its folder. */
export const placeName = (session: Folders): string =>
  repositoryName(session) ??
  session.workspaces?.find(({ path }) => path === session.cwd)?.name ??
  "No repository";

/** Why nothing can be compared in the primary folder. */
export function noRepository(session: Folders): string {
  const all = workspacesOf(session);
  return all.some((workspace) => workspace.repository)
    ? `${primaryOf(session).name} has no repository`
    : "This session has no repository";
}
