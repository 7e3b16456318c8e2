/** What is said about a changed file. Pure. */
import type { ChangedFile, ChangesHead, Comment, Scope } from "../../api/changes";
import type { WatchMode } from "../../api/types";

export const SCOPES: readonly { value: Scope; label: string }[] = [
  { value: "branch", label: "Branch" },
  { value: "uncommitted", label: "Uncommitted" },
  { value: "last_turn", label: "Since the last turn" },
];
export const isScope = (text: string | null): text is Scope => SCOPES.some(({ value }) => value === text);
export const scopeLabel = (scope: Scope): string =>
  SCOPES.find(({ value }) => value === scope)?.label ?? scope;

/** Whether the old side of what is shown is that of another scope too, so that its lines are the same. */
function isSameBase(head: ChangesHead | undefined, shown: Scope, other: Scope): boolean {
  if (shown === other) return true;
  const base = head?.base;
  const isLastCommit = (base?.kind === "merge_base" || base?.kind === "head") && base.commit === head?.commit;
  return shown === "branch" && other === "uncommitted" && isLastCommit;
}

/** Whether lines that were written about are of another base than the one that is shown. */
export function isElsewhere(
  { anchor, placement }: Pick<Comment, "anchor" | "placement">,
  head: ChangesHead | undefined,
  shown: Scope,
): boolean {
  if (placement) return placement.kind === "other_scope";
  return anchor.side === "old" && !isSameBase(head, shown, anchor.scope ?? "branch");
}

export interface Badge {
  text: string;
  /** Why it matters; marks a warning. */
  warning?: string;
}

const STATUS: Partial<Record<ChangedFile["status"], string>> = {
  added: "new",
  untracked: "new",
  deleted: "deleted",
  renamed: "renamed",
  copied: "copied",
  type_changed: "type changed",
  submodule: "submodule",
};

const SELF_RUNNING: Record<NonNullable<ChangedFile["self_running"]>, [text: string, why: string]> = {
  git_hook: ["git hook", "Git runs this file by itself, at a commit or a checkout."],
  git_config: ["git settings", "Git runs the programs that these settings name by itself."],
  ci: ["runs in CI", "Continuous integration runs what this file says once it is pushed."],
  editor_task: ["editor task", "An editor that opens the folder may run what this file says."],
  agent_config: ["agent settings", "A coding agent that starts in the folder follows this file."],
  package_script: [
    "install script",
    "A package manager may run what this file says at an install or a build.",
  ],
  shell_hook: ["shell hook", "A shell that enters the folder may run this file."],
};

const octal = (mode: number) => mode.toString(8).padStart(6, "0");
/** Regular files differ in whether they can be executed; everything else in what they are. */
function modeBadge({ old_mode, new_mode, status }: ChangedFile): Badge | undefined {
  if (!old_mode || !new_mode || old_mode === new_mode || status === "type_changed") return undefined;
  if (old_mode === 0o100644 && new_mode === 0o100755) return { text: "executable" };
  if (old_mode === 0o100755 && new_mode === 0o100644) return { text: "not executable" };
  return { text: `mode ${octal(old_mode)} → ${octal(new_mode)}` };
}

const isLink = (mode: number) => mode === 0o120000;

export function badgesOf(file: ChangedFile): Badge[] {
  const badges: Badge[] = [];
  if (file.status === "conflicted") {
    badges.push({ text: "conflict", warning: "Somebody has to resolve the conflict in this file." });
  }
  if (file.self_running) {
    const [text, why] = SELF_RUNNING[file.self_running];
    badges.push({ text, warning: `${why} Look at it before you trust it.` });
  }
  const status = STATUS[file.status];
  if (status) badges.push({ text: status });
  const mode = modeBadge(file);
  if (mode) badges.push(mode);
  if (isLink(file.new_mode) || (!file.new_mode && isLink(file.old_mode))) badges.push({ text: "link" });
  if (file.binary) badges.push({ text: "binary" });
  if (file.generated && file.status !== "submodule") badges.push({ text: "generated" });
  return badges;
}

export function sizeText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${(bytes / 1_000).toFixed(bytes < 10_000 ? 1 : 0)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

const short = (commit: string) => commit.slice(0, 8);

const STATES: Partial<Record<ChangesHead["state"], string>> = {
  rebasing: "A rebase is in progress.",
  merging: "A merge is in progress.",
  cherry_picking: "A cherry-pick is in progress.",
  reverting: "A revert is in progress.",
  bisecting: "A bisection is in progress.",
};

/** What one should know about the comparison; none when it is the usual one. */
export function headNote(head: ChangesHead): string | undefined {
  const notes: string[] = [];
  const state = STATES[head.state];
  if (state) notes.push(state);
  if (head.state === "detached" && head.commit)
    notes.push(`No branch is checked out (${short(head.commit)}).`);
  if (head.scope === "branch" && head.base.kind === "head") {
    notes.push(
      head.default_branch
        ? `Compared with the last commit: there is no common one with ${head.default_branch}.`
        : "Compared with the last commit: the repository has no default branch.",
    );
  }
  if (head.base.kind === "empty") notes.push("There is no commit yet: everything is new.");
  return notes.length > 0 ? notes.join(" ") : undefined;
}

/** That changes are seen late; none when they are told at once. */
export function watchNote(watch: WatchMode | undefined): string | undefined {
  if (watch?.kind !== "rescan") return undefined;
  const seconds = Math.ceil(watch.interval_ms / 1_000);
  return `There are more folders than can be watched, so what changes shows within ${seconds} seconds.`;
}

/** What the tree is compared with, for the scope's menu. */
export function baseDetail(head: ChangesHead | undefined, scope: Scope): string {
  if (scope === "uncommitted") return "Against the last commit";
  if (scope === "last_turn") return "Against the files as the last turn found them";
  const branch = head?.default_branch ?? "the default branch";
  return head?.base.kind === "merge_base"
    ? `Against ${branch} (${short(head.base.commit)})`
    : `Against ${branch}`;
}
