import {
  ChevronLeft,
  CirclePlay,
  Ellipsis,
  FileDiff,
  FlaskConical,
  Link as LinkIcon,
  PanelLeft,
  Pencil,
  Square,
  SquareTerminal,
  Trash2,
} from "lucide-react";
import { Link } from "wouter";
import type { ChangesTotals } from "../../api/changes";
import type { Port, Session } from "../../api/types";
import { runCommand } from "../../keys/registry";
import { Button, IconButton } from "../../ui/Button";
import { CommandItem, Menu, MenuLine } from "../../ui/Menu";
import { useIsNarrow } from "../../ui/media";
import { Tip } from "../../ui/Tip";
import { TitleField } from "../../ui/TitleField";
import { ProcessesButton } from "../processes/ProcessesButton";
import { useSessionActions } from "./actions";
import "./session-header.css";
import { PrimaryRepository, PrimaryRepositoryItems } from "./PrimaryRepository";
import { StatusButton } from "./StatusButton";

interface SessionHeaderProps {
  session: Session;
  renaming: boolean;
  onRename: (renaming: boolean) => void;
  terminalOpen: boolean;
  changes: {
    open: boolean;
    /** Why there is nothing to show. */
    off: string | undefined;
    totals: ChangesTotals | undefined;
    /** The branch that is checked out in the primary repository. */
    branch: string | undefined;
  };
  ports: readonly Port[];
  tui: { open: boolean; off: string | undefined };
  sidebarOpen: boolean;
}

/** The runtime's own interface in place of the chat, and the way back. */
function TuiButton({ open, off }: SessionHeaderProps["tui"]) {
  return (
    <Tip
      text={off ?? (open ? "Back to the chat" : "The agent's own interface")}
      keys={off ? undefined : "mod+shift+e"}
    >
      <Button
        className={open ? "on" : ""}
        aria-pressed={open}
        aria-disabled={off !== undefined || undefined}
        onClick={() => runCommand("view.tui")}
      >
        TUI
      </Button>
    </Tip>
  );
}

function ChangesButton({ open, off, totals }: SessionHeaderProps["changes"]) {
  const disabled = off !== undefined && !open;
  return (
    <Tip
      text={disabled ? off : open ? "Hide changes" : "Show changes"}
      keys={disabled ? undefined : "mod+shift+d"}
    >
      <Button
        className={open ? "on" : ""}
        aria-pressed={open}
        aria-disabled={disabled || undefined}
        icon={<FileDiff size={16} />}
        onClick={() => runCommand("view.changes")}
      >
        Changes
        {!off && totals && totals.files > 0 && (
          <span className="changes-count">
            {totals.added > 0 && <span className="added">+{totals.added.toLocaleString()}</span>}
            {totals.removed > 0 && <span className="removed">−{totals.removed.toLocaleString()}</span>}
          </span>
        )}
      </Button>
    </Tip>
  );
}

export function SessionHeader({
  session,
  renaming,
  onRename,
  terminalOpen,
  changes,
  ports,
  tui,
  sidebarOpen,
}: SessionHeaderProps) {
  const narrow = useIsNarrow();
  const actions = useSessionActions();
  return (
    <header className="session-header" data-pane="header">
      {narrow ? (
        <Link href="/" className="btn ghost icon" aria-label="All sessions">
          <ChevronLeft size={16} />
        </Link>
      ) : (
        !sidebarOpen && (
          <IconButton label="Show session list" keys="[" onClick={() => runCommand("view.sidebar")}>
            <PanelLeft size={16} />
          </IconButton>
        )
      )}
      {renaming ? (
        <>
          <h1 className="hidden-text">{session.title}</h1>
          <TitleField
            label="Session title"
            title={session.title}
            onCancel={() => onRename(false)}
            onSave={(title) => {
              void actions.rename(session, title);
              onRename(false);
            }}
          />
        </>
      ) : (
        <h1 className="session-title">
          <button type="button" className="truncate" onClick={() => onRename(true)} title={session.title}>
            {session.title}
            <span className="hidden-text">, rename</span>
          </button>
        </h1>
      )}
      <StatusButton session={session} />
      <span className="spacer" />
      {session.scripted && (
        <Tip text="Answers come from a script, not from a model. Set up a provider in the configuration for real ones.">
          <span className="badge wide-only">
            <FlaskConical aria-hidden="true" />
            {session.provider_label}
          </span>
        </Tip>
      )}
      <PrimaryRepository session={session} branch={changes.branch} />
      {!narrow && <TuiButton {...tui} />}
      {!narrow && <ChangesButton {...changes} />}
      {!narrow && <ProcessesButton session={session} ports={ports} />}
      {!narrow && (
        <Tip text={terminalOpen ? "Hide terminal" : "Show terminal"} keys="mod+j">
          <Button
            className={terminalOpen ? "on" : ""}
            aria-pressed={terminalOpen}
            icon={<SquareTerminal size={16} />}
            onClick={() => runCommand("view.terminal")}
          >
            Terminal
          </Button>
        </Tip>
      )}
      <Menu
        trigger={
          <button type="button" className="btn ghost icon" aria-label="Session menu">
            <Ellipsis size={16} />
          </button>
        }
      >
        <CommandItem id="session.rename" icon={<Pencil size={16} />} />
        <CommandItem id="session.copy-link" icon={<LinkIcon size={16} />} />
        {narrow && <CommandItem id="view.tui" icon={<SquareTerminal size={16} />} off={tui.off} />}
        <CommandItem id="session.start" icon={<CirclePlay size={16} />} />
        <CommandItem id="session.stop" icon={<Square size={16} />} />
        {narrow && <PrimaryRepositoryItems session={session} />}
        <MenuLine />
        <CommandItem id="session.delete" icon={<Trash2 size={16} />} danger />
      </Menu>
    </header>
  );
}
