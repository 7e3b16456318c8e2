import { MessageSquare, SquareTerminal } from "lucide-react";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useLocation } from "wouter";
import type { Approval, Decision, Session } from "../../api/types";
import { useCommands } from "../../keys/registry";
import { pendingView } from "../../live/pending";
import { waitingApprovals } from "../../live/reducer";
import { didWork, foldRows, lastMessageOf, type Row } from "../../live/rows";
import { useChannel } from "../../live/sessions";
import { Button } from "../../ui/Button";
import { Confirm } from "../../ui/Confirm";
import { copyText } from "../../ui/CopyButton";
import { ErrorNote } from "../../ui/ErrorNote";
import { useIsNarrow } from "../../ui/media";
import { Resizer } from "../../ui/Resizer";
import { useStored } from "../../ui/storage";
import { say } from "../../ui/toasts";
import { Composer, type ComposerHandle } from "../composer/Composer";
import { Queue } from "../composer/Queue";
import { TerminalPane } from "../terminal/TerminalPane";
import { ApprovalBar } from "../transcript/ApprovalCard";
import { answer } from "../transcript/approvals";
import type { RowContext } from "../transcript/Rows";
import { Transcript, type TranscriptHandle } from "../transcript/Transcript";
import { useSessionActions } from "./actions";
import { LinkBar } from "./LinkBar";
import { SessionHeader } from "./SessionHeader";
import "./session-view.css";
import { canStart, canStop } from "./status";

interface Panels {
  terminal: boolean;
  height: number;
}
const PANELS: Panels = { terminal: false, height: 240 };
const TERMINAL_MIN = 96;
/** The conversation keeps at least this height beside the terminal. */
const CHAT_MIN = 240;

/** How many earlier messages ↑ goes back through. */
const MAX_HISTORY = 50;

function useRows(transcript: Parameters<typeof foldRows>[0]): readonly Row[] {
  const before = useRef<readonly Row[]>([]);
  return useMemo(() => {
    before.current = foldRows(transcript, before.current);
    return before.current;
  }, [transcript]);
}

function Gone({ children }: { children: React.ReactNode }) {
  return (
    <main id="main" className="session-gone" tabIndex={-1}>
      {children}
    </main>
  );
}

interface SessionViewProps {
  id: string;
  sidebarOpen: boolean;
}

export function SessionView({ id, sidebarOpen }: SessionViewProps) {
  const [snapshot, channel] = useChannel(id);
  const [, navigate] = useLocation();
  const { session, error, deleted } = snapshot;
  if (deleted) {
    return (
      <Gone>
        <h1>This session is gone</h1>
        <p>It was deleted, or the link is wrong.</p>
        <Button look="primary" onClick={() => navigate("/new")}>
          New session
        </Button>
      </Gone>
    );
  }
  if (error && !session) {
    return (
      <Gone>
        <ErrorNote error={error}>
          <Button onClick={() => channel.retryNow()}>Try again</Button>
        </ErrorNote>
      </Gone>
    );
  }
  if (!session) return <Waiting link={<LinkBar link={snapshot.link} onRetry={() => channel.retryNow()} />} />;
  return <Workbench session={session} snapshot={snapshot} channel={channel} sidebarOpen={sidebarOpen} />;
}

/** Nothing at first: most answers come before an indicator would help. */
function Waiting({ link }: { link: React.ReactNode }) {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), 300);
    return () => clearTimeout(timer);
  }, []);
  return (
    <main id="main" className="workbench" aria-busy="true" tabIndex={-1}>
      {link}
      {slow && <p className="session-waiting">Loading the session…</p>}
    </main>
  );
}

type WorkbenchProps = {
  session: Session;
  snapshot: ReturnType<typeof useChannel>[0];
  channel: ReturnType<typeof useChannel>[1];
  sidebarOpen: boolean;
};

function Workbench({ session, snapshot, channel, sidebarOpen }: WorkbenchProps) {
  const narrow = useIsNarrow();
  const [, navigate] = useLocation();
  const actions = useSessionActions();
  const [panels, setPanels] = useStored<Panels>(`panels:${session.id}`, PANELS);
  const [pane, setPane] = useState<"chat" | "terminal">("chat");
  const [renaming, setRenaming] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const composer = useRef<ComposerHandle>(null);
  const transcriptRef = useRef<TranscriptHandle>(null);
  const { transcript } = snapshot;

  const rows = useRows(transcript);
  const approvals = useMemo(() => waitingApprovals(transcript), [transcript]);
  const pending = useMemo(
    () =>
      pendingView({ local: snapshot.local, queue: snapshot.queue, left: snapshot.left, transcript, session }),
    [snapshot.local, snapshot.queue, snapshot.left, transcript, session],
  );
  const history = useMemo(() => {
    const said = rows.flatMap((row) => (row.kind === "user" ? [row.item.body.text] : []));
    return said.slice(-MAX_HISTORY);
  }, [rows]);
  const lastTurn = useMemo(() => {
    const row = rows.findLast((candidate) => candidate.kind === "turn");
    return row?.kind === "turn" ? row.entry.turnId : undefined;
  }, [rows]);

  const latest = useRef(transcript);
  useEffect(() => {
    latest.current = transcript;
  });
  const onTryAgain = useCallback(
    (turnId: string) => {
      const said = lastMessageOf(latest.current, turnId);
      // What was done already must not be done twice: then the agent is asked to go on from there.
      const text =
        said && !didWork(latest.current, turnId)
          ? said
          : "The last turn failed before it was done. Please continue.";
      void channel.send({ text, delivery: "steer" });
    },
    [channel],
  );
  const context = useMemo<RowContext>(
    () => ({
      session: session.id,
      onTryAgain,
      onNewSession: () => navigate("/new"),
      lastTurn: session.activity === "idle" ? lastTurn : undefined,
    }),
    [session.id, session.activity, onTryAgain, navigate, lastTurn],
  );

  const toggleTerminal = () => {
    if (narrow) return setPane(pane === "chat" ? "terminal" : "chat");
    setPanels({ ...panels, terminal: !panels.terminal });
    if (panels.terminal) setTimeout(() => composer.current?.focus());
  };
  const first = approvals[0];
  const can = (decision: Decision) => () => first?.decisions.includes(decision) ?? false;
  const give = (decision: Decision) => () => {
    if (first) void answer(session.id, first, decision);
  };

  useCommands([
    {
      id: "view.terminal",
      title: panels.terminal ? "Hide terminal" : "Show terminal",
      group: "View",
      keys: ["mod+j"],
      inTerminal: true,
      run: toggleTerminal,
    },
    {
      id: "session.start",
      title: "Start session",
      group: "Session",
      when: () => canStart(session),
      run: () => void actions.start(session),
    },
    {
      id: "session.stop",
      title: "Stop session",
      group: "Session",
      when: () => canStop(session),
      run: () => void actions.stop(session),
    },
    {
      id: "session.rename",
      title: "Rename session",
      group: "Session",
      keys: ["r"],
      run: () => setRenaming(true),
    },
    {
      id: "session.copy-link",
      title: "Copy link to session",
      group: "Session",
      run: () => void copyText(`${location.origin}/s/${session.id}`).then(() => say("Link copied")),
    },
    { id: "session.delete", title: "Delete session…", group: "Session", run: () => setDeleting(true) },
    {
      id: "approval.accept",
      title: "Approve once",
      group: "Approval",
      keys: ["y"],
      when: can("accept"),
      run: give("accept"),
    },
    {
      id: "approval.accept-session",
      title: "Approve for the session",
      group: "Approval",
      keys: ["a"],
      when: can("accept_for_session"),
      run: give("accept_for_session"),
    },
    {
      id: "approval.decline",
      title: "Decline",
      group: "Approval",
      keys: ["n"],
      when: can("decline"),
      run: give("decline"),
    },
    {
      id: "approval.show",
      title: "Show what waits for approval",
      group: "Approval",
      when: () => first !== undefined,
      run: () => first && transcriptRef.current?.showApproval(first),
    },
  ]);

  const showApproval = useCallback((approval: Approval) => transcriptRef.current?.showApproval(approval), []);
  const maxHeight = Math.max(TERMINAL_MIN, window.innerHeight - 44 - CHAT_MIN);
  const height = Math.min(panels.height, maxHeight);
  const showChat = !narrow || pane === "chat";
  const showTerminal = narrow ? pane === "terminal" : panels.terminal;

  return (
    <div className="workbench">
      <SessionHeader
        session={session}
        renaming={renaming}
        onRename={setRenaming}
        onDelete={() => setDeleting(true)}
        terminalOpen={panels.terminal}
        sidebarOpen={sidebarOpen}
      />
      <LinkBar link={snapshot.link} onRetry={() => channel.retryNow()} />
      {showChat && (
        <main className="chat" id="main" aria-label="Chat" tabIndex={-1}>
          <Transcript
            key={session.id}
            ref={transcriptRef}
            session={session}
            snapshot={snapshot}
            channel={channel}
            rows={rows}
            bubbles={pending.bubbles}
            context={context}
            onEdit={(text) => composer.current?.insert(text)}
          />
          <div className="composer-area">
            <ApprovalBar
              session={session.id}
              folder={session.cwd}
              approvals={approvals}
              onShow={showApproval}
            />
            <Queue session={session} messages={pending.queue} />
            <Composer
              key={session.id}
              ref={composer}
              session={session}
              channel={channel}
              usage={session.usage ?? transcript.usage}
              history={history}
            />
          </div>
        </main>
      )}
      {showTerminal && (
        <section
          className="terminal-area"
          aria-label="Terminal"
          style={narrow ? undefined : { height }}
          data-pane="terminal"
        >
          {!narrow && (
            <Resizer
              label="Terminal height"
              orientation="horizontal"
              value={height}
              min={TERMINAL_MIN}
              max={maxHeight}
              onChange={(next) => setPanels({ ...panels, height: next })}
            />
          )}
          <TerminalPane key={session.id} session={session} onClose={narrow ? undefined : toggleTerminal} />
        </section>
      )}
      {narrow && (
        <nav className="bottom-tabs" aria-label="Panes">
          <button type="button" aria-pressed={pane === "chat"} onClick={() => setPane("chat")}>
            <MessageSquare size={16} aria-hidden="true" />
            Chat
          </button>
          <button type="button" aria-pressed={pane === "terminal"} onClick={() => setPane("terminal")}>
            <SquareTerminal size={16} aria-hidden="true" />
            Terminal
          </button>
        </nav>
      )}
      <Confirm
        open={deleting}
        onOpenChange={setDeleting}
        title="Delete this session?"
        action="Delete session"
        danger
        onConfirm={() => {
          void actions.remove(session).then((done) => done && navigate("/"));
        }}
      >
        “{session.title}” is deleted with its conversation and its disk, including changes that were not
        pushed. This can't be undone.
      </Confirm>
    </div>
  );
}
