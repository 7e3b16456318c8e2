import {
  ChevronLeft,
  CirclePlay,
  Ellipsis,
  FileDiff,
  FlaskConical,
  FolderGit2,
  PanelLeft,
  Pencil,
  Square,
  SquareTerminal,
  Trash2,
} from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import type { ChangesTotals } from "../../api/changes";
import type { Port, Session } from "../../api/types";
import { runCommand } from "../../keys/registry";
import { Button, IconButton } from "../../ui/Button";
import { Menu, MenuItem, MenuLine } from "../../ui/Menu";
import { useIsNarrow } from "../../ui/media";
import { Tip } from "../../ui/Tip";
import { ProcessesButton } from "../processes/ProcessesButton";
import { useSessionActions } from "./actions";
import "./session-header.css";
import { StatusButton } from "./StatusButton";
import { canStart, canStop, repositoryName } from "./status";

/** What the server accepts. */
const MAX_TITLE = 200;

function TitleEditor({ session, onDone }: { session: Session; onDone: () => void }) {
  const [title, setTitle] = useState(session.title);
  const actions = useSessionActions();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.select(), []);
  const save = () => {
    const next = title.trim();
    if (next && next !== session.title) void actions.rename(session, next);
    onDone();
  };
  return (
    <input
      ref={input}
      className="title-input"
      aria-label="Session title"
      value={title}
      maxLength={MAX_TITLE}
      onChange={(event) => setTitle(event.target.value)}
      onBlur={save}
      onKeyDown={(event) => {
        if (event.nativeEvent.isComposing) return;
        if (event.key === "Enter") save();
        if (event.key === "Escape") {
          event.preventDefault();
          onDone();
        }
      }}
    />
  );
}

interface SessionHeaderProps {
  session: Session;
  renaming: boolean;
  onRename: (renaming: boolean) => void;
  onDelete: () => void;
  terminalOpen: boolean;
  changes: {
    open: boolean;
    /** Why there is nothing to show. */
    off: string | undefined;
    totals: ChangesTotals | undefined;
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
  onDelete,
  terminalOpen,
  changes,
  ports,
  tui,
  sidebarOpen,
}: SessionHeaderProps) {
  const narrow = useIsNarrow();
  const repository = repositoryName(session);
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
        <TitleEditor session={session} onDone={() => onRename(false)} />
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
      {repository && (
        <Tip text={session.repository?.source}>
          <span className="repository wide-only">
            <FolderGit2 size={14} aria-hidden="true" />
            <span className="truncate">{repository}</span>
            {session.repository?.branch && (
              <span className="repository-branch truncate">{session.repository.branch}</span>
            )}
          </span>
        </Tip>
      )}
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
        <MenuItem icon={<Pencil size={16} />} keys="r" onSelect={() => setTimeout(() => onRename(true))}>
          Rename
        </MenuItem>
        {narrow && tui.off === undefined && (
          <MenuItem icon={<SquareTerminal size={16} />} onSelect={() => runCommand("view.tui")}>
            {tui.open ? "Show chat" : "Show TUI"}
          </MenuItem>
        )}
        {canStart(session) && (
          <MenuItem icon={<CirclePlay size={16} />} onSelect={() => runCommand("session.start")}>
            Start
          </MenuItem>
        )}
        {canStop(session) && (
          <MenuItem icon={<Square size={16} />} onSelect={() => runCommand("session.stop")}>
            Stop
          </MenuItem>
        )}
        <MenuLine />
        <MenuItem icon={<Trash2 size={16} />} danger onSelect={() => setTimeout(onDelete)}>
          Delete…
        </MenuItem>
      </Menu>
    </header>
  );
}
