/** The last choices of the new session page, kept by this browser. */
import type { Repository } from "../../api/types";

export interface Remembered {
  profile: string | null;
  source: string;
  branch: string;
  model: string | null;
  effort: string | null;
  /** Sources typed by hand that worked, newest first. */
  recent: string[];
}

export const FORGOTTEN: Remembered = {
  profile: null,
  source: "",
  branch: "",
  model: null,
  effort: null,
  recent: [],
};
const MAX_RECENT = 8;

export function remember(
  before: Remembered,
  used: Omit<Remembered, "recent">,
  offered: readonly Repository[],
): Remembered {
  const known = used.source === "" || offered.some((repository) => repository.source === used.source);
  const recent = known
    ? before.recent
    : [used.source, ...before.recent.filter((source) => source !== used.source)];
  return { ...used, recent: recent.slice(0, MAX_RECENT) };
}
