import { useQuery, useQueryClient } from "@tanstack/react-query";
import { RotateCw, Search, X } from "lucide-react";
import { lazy, Suspense, useState } from "react";
import { api, asApiError } from "../../api/client";
import type { Session } from "../../api/types";
import type { LinkState } from "../../live/link";
import { Button, IconButton } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { useSessionActions } from "../session/actions";
import { canStart } from "../session/status";
import type { TerminalEnd } from "./connection";
import "./terminal.css";

const TerminalView = lazy(() => import("./TerminalView"));

/** Size until the page has measured its own. */
const FIRST_SIZE = { cols: 80, rows: 24 };

/** The session's first terminal that still runs, or a new one. */
async function firstTerminal(session: string): Promise<string> {
  const terminals = await api.terminals(session);
  const open = terminals.find((terminal) => terminal.exit_code == null);
  return (open ?? (await api.openTerminal(session, FIRST_SIZE))).id;
}

function linkNote(state: LinkState | undefined): string | undefined {
  if (!state || state.status === "open" || state.status === "closed") return undefined;
  return state.attempt > 0 ? "Reconnecting…" : undefined;
}

interface TerminalPaneProps {
  session: Session;
  onClose?: () => void;
}

/** The shell in the sandbox, below the conversation. */
export function TerminalPane({ session, onClose }: TerminalPaneProps) {
  const client = useQueryClient();
  const actions = useSessionActions();
  const running = session.state === "running" || session.state === "disconnected";
  const key = ["terminal", session.id];
  const terminal = useQuery({
    queryKey: key,
    queryFn: () => firstTerminal(session.id),
    enabled: running,
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  const [link, setLink] = useState<LinkState>();
  const [end, setEnd] = useState<TerminalEnd>();
  const [title, setTitle] = useState("");
  const [searching, setSearching] = useState(false);
  const note = linkNote(link);

  const again = async () => {
    setEnd(undefined);
    setTitle("");
    await client.resetQueries({ queryKey: key });
  };

  return (
    <div className="terminal-pane">
      <div className="terminal-bar">
        <h2 className="truncate">{title || "Terminal"}</h2>
        {note && <span className="terminal-note">{note}</span>}
        <span className="spacer" />
        {running && terminal.data && !end && (
          <IconButton label="Find in terminal" keys="mod+shift+f" onClick={() => setSearching(true)}>
            <Search size={14} />
          </IconButton>
        )}
        {onClose && (
          <IconButton label="Hide terminal" keys="mod+j" onClick={onClose}>
            <X size={16} />
          </IconButton>
        )}
      </div>
      {!running ? (
        <div className="terminal-empty">
          {canStart(session) ? (
            <>
              <p>The terminal is in the sandbox, which does not run.</p>
              <Button onClick={() => void actions.start(session)}>Start</Button>
            </>
          ) : (
            <p>The terminal opens when the session is ready.</p>
          )}
        </div>
      ) : terminal.error ? (
        <div className="terminal-empty">
          <ErrorNote error={asApiError(terminal.error, "Open terminal")}>
            <Button icon={<RotateCw size={14} />} onClick={() => void again()}>
              Try again
            </Button>
          </ErrorNote>
        </div>
      ) : (
        terminal.data && (
          <Suspense fallback={null}>
            <TerminalView
              key={terminal.data}
              session={session.id}
              terminal={terminal.data}
              onState={setLink}
              onEnd={setEnd}
              onTitle={setTitle}
              searching={searching}
              onSearching={setSearching}
            />
          </Suspense>
        )
      )}
      {running && end && (
        <div className="terminal-end" role="status">
          <span>
            {end.code === undefined
              ? (end.message ?? "The terminal is gone.")
              : `The shell ended with exit code ${end.code}.`}
            {end.code !== undefined && end.message ? ` ${end.message}` : ""}
          </span>
          <Button onClick={() => void again()}>New terminal</Button>
        </div>
      )}
    </div>
  );
}
