/** The folders that a new session is asked to have. Pure. */
import type { ApiError } from "../../api/client";
import type { NewSession, Repository } from "../../api/types";

export interface FolderRow {
  kind: "repository" | "folder";
  /** A repository's source, or a folder's name. */
  source: string;
  branch: string;
}

export interface Folders {
  rows: readonly FolderRow[];
  /** Which row the agent starts in. */
  primary: number;
}

export const NO_REPOSITORY: FolderRow = { kind: "repository", source: "", branch: "" };
/** As many as the server takes. */
export const MAX_ROWS = 20;

/** What a profile has on offer, all of it; its first repository is where the agent starts. */
export function offeredFolders(profile: {
  repositories: readonly Repository[];
  workspaces?: readonly string[];
}): Folders {
  const rows: FolderRow[] = [
    ...profile.repositories.map(
      ({ source, branch }): FolderRow => ({ kind: "repository", source, branch: branch ?? "" }),
    ),
    ...(profile.workspaces ?? []).map((name): FolderRow => ({ kind: "folder", source: name, branch: "" })),
  ].slice(0, MAX_ROWS);
  return { rows: rows.length > 0 ? rows : [NO_REPOSITORY], primary: 0 };
}

export const changeRow = ({ rows, primary }: Folders, at: number, change: Partial<FolderRow>): Folders => ({
  rows: rows.map((row, i) => (i === at ? { ...row, ...change } : row)),
  primary,
});

export const addRow = ({ rows, primary }: Folders, kind: FolderRow["kind"]): Folders => ({
  // An empty field is no repository, so a folder takes its place.
  rows:
    kind === "folder" && rows.length === 1 && isEmpty(rows[0])
      ? [{ ...NO_REPOSITORY, kind }]
      : [...rows, { ...NO_REPOSITORY, kind }],
  primary,
});

/** The row before becomes the one to start in when that one goes. */
export function removeRow({ rows, primary }: Folders, at: number): Folders {
  const left = rows.filter((_, i) => i !== at);
  const moved = primary > at || primary === left.length ? primary - 1 : primary;
  return { rows: left.length > 0 ? left : [NO_REPOSITORY], primary: Math.max(0, moved) };
}

const isEmpty = (row: FolderRow | undefined) => row === undefined || row.source.trim() === "";

/** Filled rows with their places in the form, those of the primary first. */
function filled({ rows, primary }: Folders) {
  const all = rows.map((row, at) => ({ ...row, source: row.source.trim(), at })).filter((row) => row.source);
  const repositories = all.filter((row) => row.kind === "repository");
  const folders = all.filter((row) => row.kind === "folder");
  const first = repositories.find((row) => row.at === primary) ?? repositories[0];
  return { first, more: repositories.filter((row) => row !== first), folders };
}

type Asked = Pick<NewSession, "repository" | "repositories" | "workspaces" | "primary">;

/** What is asked of the server. The name of a repository's folder is the server's affair unless the profile gives one. */
export function asked(choice: Folders, offered: readonly Repository[]): Asked {
  const { first, more, folders } = filled(choice);
  const repository = ({ source, branch }: FolderRow): Repository => ({
    source,
    name: offered.find((known) => known.source === source)?.name ?? null,
    branch: branch.trim() || null,
  });
  const start = folders.find((row) => row.at === choice.primary);
  return {
    repository: first ? repository(first) : null,
    repositories: more.map(repository),
    workspaces: folders.map((row) => row.source),
    primary: start ? start.source : null,
  };
}

export interface RowError {
  at: number;
  field: "source" | "branch";
  message: string;
}

/** Which row a refusal is about; none when it is about something else. */
export function errorOf(error: ApiError, choice: Folders): RowError | undefined {
  const { first, more, folders } = filled(choice);
  const found = /^\/(repository|repositories|workspaces)(?:\/(\d+))?(?:\/(\w+))?/.exec(error.pointer ?? "");
  if (!found) return undefined;
  const [path, list, number] = found;
  const row =
    list === "repository" ? first : list === "repositories" ? more[Number(number)] : folders[Number(number)];
  if (!row) return undefined;
  return { at: row.at, field: path.endsWith("/branch") ? "branch" : "source", message: error.message };
}

/** Why a plain folder can't have this name; nothing when it can. */
export function folderNameProblem(name: string): string | undefined {
  if (name.trim() === "") return "Give the folder a name.";
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name.trim())
    ? undefined
    : "Use 1 to 64 letters, digits, dots, dashes and underscores.";
}
