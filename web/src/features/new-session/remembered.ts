/** The last choices of the new session page, kept by this browser. */
import type { Repository } from "../../api/types";
import type { FolderRow, Folders } from "./workspaces";

export interface Remembered {
  profile: string | null;
  /** What the session had; none until one was started. */
  rows: readonly FolderRow[] | null;
  /** The row that the agent started in. */
  primary: number;
  model: string | null;
  effort: string | null;
  /** Sources typed by hand that worked, newest first. */
  recent: string[];
}

export const FORGOTTEN: Remembered = {
  profile: null,
  rows: null,
  primary: 0,
  model: null,
  effort: null,
  recent: [],
};
const MAX_RECENT = 8;

/** The folders of the last session; none when there is none, or when what is kept is of another version. */
export function rememberedFolders({ profile, rows, primary }: Remembered): Folders | undefined {
  if (profile === null || !rows?.length) return undefined;
  return { rows, primary: primary < rows.length ? primary : 0 };
}

/** The folders of a session that was not started yet; none when they are as they were offered. */
export const draftFolders = (kept: Folders | null): Folders | undefined =>
  kept?.rows?.length
    ? { rows: kept.rows, primary: kept.primary < kept.rows.length ? kept.primary : 0 }
    : undefined;

export function remember(
  before: Remembered,
  used: Omit<Remembered, "recent">,
  offered: readonly Repository[],
): Remembered {
  const typed = (used.rows ?? []).filter(
    ({ kind, source }) =>
      kind === "repository" &&
      source.trim() !== "" &&
      !offered.some((repository) => repository.source === source.trim()),
  );
  const added = typed.map(({ source }) => source.trim());
  const recent = [...added, ...before.recent.filter((source) => !added.includes(source))];
  return { ...used, recent: recent.slice(0, MAX_RECENT) };
}
