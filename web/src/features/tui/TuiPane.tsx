import { useQueryClient } from "@tanstack/react-query";
import { MessageSquare, RotateCw } from "lucide-react";
import { useCallback, useEffect, useRef, useState } from "react";
import { type ApiError, api, asApiError } from "../../api/client";
import type { Session, TerminalInfo } from "../../api/types";
import type { LinkState } from "../../live/link";
import { Button } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { runtimeName } from "../session/status";
import { primaryOf } from "../session/workspaces";
import type { TerminalEnd } from "../terminal/connection";
import { LazyTerminal } from "../terminal/LazyTerminal";
import { newTerminalId } from "../terminal/tabs";
import "./tui.css";

const SLOW_MS = 300;

interface TuiPaneProps {
  session: Session;
  /** Whether it takes the chat's place. */
  open: boolean;
  /** Whether that place is on the page: on a phone it may be another pane's turn. */
  shown: boolean;
  onLeave: () => void;
}

type Tui =
  | { is: "opening"; id: string }
  | { is: "open"; terminal: TerminalInfo; end?: TerminalEnd }
  | { is: "failed"; error: ApiError };

/**
 * The runtime's own interface on the conversation's live thread. It runs in the sandbox and goes on
 * there when the page shows the chat, which meanwhile receives everything that happens in it.
 */
export function TuiPane({ session, open, shown, onLeave }: TuiPaneProps) {
  const client = useQueryClient();
  const [tui, setTui] = useState<Tui>();
  const [focus, setFocus] = useState(0);
  const [link, setLink] = useState<LinkState>();
  const name = runtimeName(session.runtime);
  const movedTo = useMovedTo(session);

  const start = useCallback(() => setTui({ is: "opening", id: newTerminalId() }), []);
  // Its screen is there first, so that it begins in the right size: a program that draws while its screen
  // becomes another one does not know what is on it.
  const asked = useRef<string>(undefined);
  const openIn = async (id: string, cols: number, rows: number) => {
    if (asked.current === id) return;
    asked.current = id;
    const settle = (next: Tui) => setTui((now) => (now?.is === "opening" && now.id === id ? next : now));
    try {
      const size = { id, cols, rows, conversation_id: session.conversation_id };
      settle({ is: "open", terminal: await api.openTui(session.id, size) });
    } catch (error) {
      settle({ is: "failed", error: asApiError(error, "Open TUI") });
    }
  };

  // One that ended or failed is tried again when it is asked for again.
  const wasOpen = useRef(false);
  useEffect(() => {
    if (open && !wasOpen.current) {
      setFocus((count) => count + 1);
      if (tui?.is !== "open" || tui.end) start();
    }
    wasOpen.current = open;
  }, [open, tui, start]);

  // It ends with the sandbox's processes, and belongs to one conversation.
  const running = session.state === "running" || session.state === "disconnected";
  const conversation = session.conversation_id;
  const of = useRef(conversation);
  useEffect(() => {
    if (running && of.current === conversation) return;
    of.current = conversation;
    setTui(undefined);
    wasOpen.current = false;
  }, [running, conversation]);

  if (!tui && !open) return null;
  const onEnd = (end: TerminalEnd) => {
    void client.invalidateQueries({ queryKey: ["terminals", session.id] });
    if (end.code !== 0) return setTui((old) => (old?.is === "open" ? { ...old, end } : old));
    // Left from within: that is what the person wanted.
    setTui(undefined);
    if (open) onLeave();
  };
  const back = (
    <Button icon={<MessageSquare size={14} />} onClick={onLeave}>
      Back to the chat
    </Button>
  );
  const again = (
    <Button icon={<RotateCw size={14} />} onClick={start}>
      Try again
    </Button>
  );
  return (
    <main
      className="tui"
      id={open && shown ? "main" : undefined}
      aria-label={`${name}'s own interface`}
      tabIndex={-1}
      data-pane="tui"
      hidden={!open || !shown}
    >
      {(tui === undefined || tui.is === "opening") && <Opening name={name} />}
      {tui?.is === "failed" && (
        <div className="tui-note">
          <ErrorNote error={tui.error}>
            {again}
            {back}
          </ErrorNote>
        </div>
      )}
      {(tui?.is === "open" || tui?.is === "opening") && (
        <LazyTerminal
          key={tui.is === "open" ? tui.terminal.id : tui.id}
          session={session.id}
          terminal={tui.is === "open" ? tui.terminal.id : tui.id}
          label={`${name}'s own interface`}
          place="tui"
          shown={open && shown}
          focus={open && shown ? focus : 0}
          exists={tui.is === "open"}
          replayBefore={tui.is === "open" ? tui.terminal.offset : 0}
          onSize={(cols, rows) => tui.is === "opening" && void openIn(tui.id, cols, rows)}
          onState={setLink}
          onEnd={onEnd}
        />
      )}
      {tui?.is === "open" && tui.end && (
        <div className="tui-end" role="status">
          <span>
            {tui.end.code === undefined
              ? (tui.end.message ?? `${name}'s interface is gone.`)
              : `${name}'s interface ended with exit code ${tui.end.code}.`}
          </span>
          {again}
          {back}
        </div>
      )}
      {tui?.is === "open" && movedTo && (
        <div className="tui-end" role="status">
          The next turn runs in {movedTo}, also when you type it here.
        </div>
      )}
      {link?.status === "waiting" && (
        <div className="tui-end" role="status">
          Reconnecting…
        </div>
      )}
    </main>
  );
}

/** The primary folder's name from when another one became it until the first turn there. */
function useMovedTo(session: Session): string | undefined {
  const idle = session.activity === "idle";
  const before = useRef({ cwd: session.cwd, idle });
  const [moved, setMoved] = useState(false);
  useEffect(() => {
    if (before.current.cwd !== session.cwd) setMoved(true);
    else if (before.current.idle && !idle) setMoved(false);
    before.current = { cwd: session.cwd, idle };
  }, [session.cwd, idle]);
  return moved ? primaryOf(session).name : undefined;
}

/** Nothing at first: mostly it is there before an indicator would help. */
function Opening({ name }: { name: string }) {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    return () => clearTimeout(timer);
  }, []);
  return slow ? (
    <p className="tui-opening" role="status">
      Opening {name}'s own interface…
    </p>
  ) : null;
}
