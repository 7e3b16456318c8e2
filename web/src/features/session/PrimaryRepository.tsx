import { Check, ChevronDown, Folder, FolderGit2 } from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { useState } from "react";
import type { Session, Workspace } from "../../api/types";
import { useCommands } from "../../keys/registry";
import { ChoiceMenu, MenuLabel, MenuLine } from "../../ui/Menu";
import { useIsNarrow } from "../../ui/media";
import { type SessionActions, useSessionActions } from "./actions";
import "./primary-repository.css";
import { primaryOf, workspacesOf } from "./workspaces";

const WHAT_IT_DOES =
  "The next turn, new conversations, terminals, the TUI and Changes work here. The conversation stays.";

const detail = ({ path, repository, branch }: Workspace) =>
  repository ? [path, branch].filter(Boolean).join(" · ") : `${path} · no repository`;

function choose(actions: SessionActions, session: Session, path: string): void {
  const workspace = workspacesOf(session).find((other) => other.path === path);
  if (workspace && path !== session.cwd) void actions.relocate(session, workspace);
}

/** Where the next turn, terminals and changes are; the conversation is another matter. */
export function PrimaryRepository({ session, branch }: { session: Session; branch: string | undefined }) {
  const actions = useSessionActions();
  const narrow = useIsNarrow();
  const [open, setOpen] = useState(false);
  const all = workspacesOf(session);
  const primary = primaryOf(session);
  const Icon = primary.repository ? FolderGit2 : Folder;
  const shownBranch = branch ?? primary.branch;
  const title = `Primary repository: ${primary.name}${shownBranch ? `, branch ${shownBranch}` : ""}`;

  useCommands([
    {
      id: "repository.choose",
      title: "Choose the primary repository…",
      group: "Session",
      keys: ["mod+shift+o"],
      inTerminal: true,
      when: () => !narrow,
      run: () => setOpen(true),
    },
    ...all.map((workspace) => ({
      id: `repository.${workspace.path}`,
      title: `Work in ${workspace.name}`,
      group: "Session" as const,
      when: () => workspace.path !== session.cwd,
      run: () => choose(actions, session, workspace.path),
    })),
  ]);

  if (narrow) return null;
  return (
    <ChoiceMenu
      open={open}
      onOpenChange={setOpen}
      label="Primary repository"
      note={WHAT_IT_DOES}
      value={primary.path}
      choices={all.map((workspace) => ({
        value: workspace.path,
        label: workspace.name,
        detail: detail(workspace),
      }))}
      onChoose={(path) => choose(actions, session, path)}
      trigger={
        <button type="button" className="btn ghost repository" aria-label={title} title={title}>
          <Icon size={14} aria-hidden="true" />
          <span className="truncate">{primary.name}</span>
          {shownBranch && <span className="repository-branch truncate">{shownBranch}</span>}
          <ChevronDown size={12} aria-hidden="true" />
        </button>
      }
    />
  );
}

/** The same choice inside another menu, where a header has no room for its own. */
export function PrimaryRepositoryItems({ session }: { session: Session }) {
  const actions = useSessionActions();
  const all = workspacesOf(session);
  return (
    <>
      <MenuLine />
      <MenuLabel>Primary repository</MenuLabel>
      <DropdownMenu.RadioGroup
        value={session.cwd}
        onValueChange={(path) => choose(actions, session, path)}
        aria-label="Primary repository"
      >
        {all.map((workspace) => (
          <DropdownMenu.RadioItem key={workspace.path} value={workspace.path} className="menu-item">
            <span className="menu-check">
              <DropdownMenu.ItemIndicator>
                <Check size={16} aria-hidden="true" />
              </DropdownMenu.ItemIndicator>
            </span>
            <span className="truncate">{workspace.name}</span>
          </DropdownMenu.RadioItem>
        ))}
      </DropdownMenu.RadioGroup>
    </>
  );
}
