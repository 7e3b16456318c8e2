import { FileDiff, MessageSquare, Network, SquareTerminal } from "lucide-react";
import { Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useLocation } from "wouter";
import type { Comment } from "../../api/changes";
import type { Approval, Decision, Session } from "../../api/types";
import { type Command, useCommands } from "../../keys/registry";
import { conversationIn, goesTo, localGoesTo, NEW, sessionIn, transcriptIn } from "../../live/conversations";
import { pendingView } from "../../live/pending";
import { waitingApprovals } from "../../live/reducer";
import { didWork, foldRows, lastMessageOf, type Row } from "../../live/rows";
import { useChannel } from "../../live/sessions";
import { ownText, withoutComments } from "../../live/told";
import { Button } from "../../ui/Button";
import { copyText } from "../../ui/CopyButton";
import { ErrorNote } from "../../ui/ErrorNote";
import { lazily } from "../../ui/lazily";
import { useIsNarrow } from "../../ui/media";
import { Resizer } from "../../ui/Resizer";
import { say } from "../../ui/toasts";
import { draftsOf } from "../attachments/drafts";
import { FileDrop } from "../attachments/FileDrop";
import { CommentChips, SentComments } from "../changes/Chips";
import { groupBy } from "../changes/group";
import { useCommentActions } from "../changes/marks";
import { readPanelUrl } from "../changes/url";
import { unavailable, useChanges } from "../changes/use-changes";
import { type Aside, useLostAsides } from "../composer/asides";
import { Composer, type ComposerHandle } from "../composer/Composer";
import { useChoice, useKeptChoice } from "../composer/choice";
import { runIn } from "../composer/completion/run";
import { useCompact } from "../composer/completion/use-compact";
import { insertIntoDraft } from "../composer/draft";
import { Queue } from "../composer/Queue";
import { ConversationBar } from "../conversations/ConversationBar";
import { Elsewhere } from "../conversations/Elsewhere";
import { NewConversation } from "../conversations/NewConversation";
import { useView } from "../conversations/use-view";
import { ProcessList } from "../processes/ProcessList";
import { TerminalPane } from "../terminal/TerminalPane";
import { ApprovalBar } from "../transcript/ApprovalCard";
import { ANSWER_KEYS, answer, chordOf, isLetterAnswer } from "../transcript/approvals";
import type { RowContext } from "../transcript/Rows";
import { Transcript, type TranscriptHandle } from "../transcript/Transcript";
import { TuiPane } from "../tui/TuiPane";
import { tuiOff } from "../tui/unavailable";
import { useSessionActions } from "./actions";
import { BackBar } from "./BackBar";
import { DeletedSession } from "./DeletedSession";
import { LinkBar } from "./LinkBar";
import { SessionHeader } from "./SessionHeader";
import "./session-view.css";
import { canStart, canStop } from "./status";
import { type Panels, readPanels, sharedLink, usePanels, usePhonePane } from "./view-url";
import { folderOf, noRepository, workspacesOf } from "./workspaces";

const ChangesPanel = lazily(() => import("../changes/ChangesPanel"));
const linkedChanges = readPanelUrl(location.search);
if (linkedChanges.file || linkedChanges.scope || readPanels(location.search)?.changes) ChangesPanel.preload();

const PANELS: Panels = { terminal: false, height: 240 };
/** What the changes take of the width beside the session list, until the person decides. */
const CHANGES_SHARE = 0.6;
const CHANGES_MIN = 320;
/** The conversation keeps at least this width beside the changes: a phone's. */
const CHAT_MIN_WIDTH = 320;
const SIDEBAR_WIDTH = 240;
const TERMINAL_MIN = 96;
/** The conversation keeps at least this height beside the terminal. */
const CHAT_MIN = 240;

/** Why words that were typed elsewhere are in the composer. */
const WORDS_BACK: Record<Aside["about"], string> = {
  message: "The message left before your change was saved. What you wrote is in the composer.",
  approval: "The question is over. What you wrote is in the composer.",
};

/** How many earlier messages ↑ goes back through. */
const MAX_HISTORY = 50;

function useRows(transcript: Parameters<typeof foldRows>[0]): readonly Row[] {
  const before = useRef<readonly Row[]>([]);
  return useMemo(() => {
    before.current = foldRows(transcript, before.current);
    return before.current;
  }, [transcript]);
}

function Gone({ children, sidebarOpen }: { children: React.ReactNode; sidebarOpen: boolean }) {
  return (
    <div className="page">
      <BackBar sidebarOpen={sidebarOpen} />
      <main id="main" className="session-gone" tabIndex={-1}>
        {children}
      </main>
    </div>
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
      <Gone sidebarOpen={sidebarOpen}>
        <h1>This session is gone</h1>
        <p>It was deleted, or the link is wrong.</p>
        <Button look="primary" onClick={() => navigate("/new")}>
          New session
        </Button>
      </Gone>
    );
  }
  if (session?.deletion) return <DeletedSession session={session} sidebarOpen={sidebarOpen} />;
  if (error && !session) {
    return (
      <Gone sidebarOpen={sidebarOpen}>
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

function Workbench({ session: whole, snapshot, channel, sidebarOpen }: WorkbenchProps) {
  const view = useView(whole, snapshot, channel);
  // Everything below is about the conversation in view, unless it says the whole session.
  const session = useMemo(() => sessionIn(whole, view.id), [whole, view.id]);
  const narrow = useIsNarrow();
  const [, navigate] = useLocation();
  const actions = useSessionActions();
  const [pane, setPane] = usePhonePane(narrow);
  const [panels, setPanels] = usePanels(session.id, PANELS, narrow);
  const [renaming, setRenaming] = useState(false);
  const composer = useRef<ComposerHandle>(null);
  const transcriptRef = useRef<TranscriptHandle>(null);
  const { conversationOf } = snapshot.transcript;
  const queue = useMemo(
    () => snapshot.queue.filter((message) => goesTo(view.id, message, conversationOf)),
    [snapshot.queue, view.id, conversationOf],
  );
  const local = useMemo(
    () => snapshot.local.filter((message) => localGoesTo(view.id, message, conversationOf)),
    [snapshot.local, view.id, conversationOf],
  );
  const transcript = useMemo(
    () =>
      transcriptIn(snapshot.transcript, whole, view.id, (id) => queue.some((message) => message.id === id)),
    [snapshot.transcript, whole, view.id, queue],
  );

  const rows = useRows(transcript);
  const approvals = useMemo(() => waitingApprovals(transcript), [transcript]);
  const pending = useMemo(
    () =>
      pendingView({
        local,
        queue,
        left: new Map([...snapshot.left].filter(([, message]) => goesTo(view.id, message, conversationOf))),
        transcript,
        session,
      }),
    [local, queue, snapshot.left, view.id, conversationOf, transcript, session],
  );
  const lastTurn = useMemo(() => {
    const row = rows.findLast((candidate) => candidate.kind === "turn");
    return row?.kind === "turn" ? row.entry.turnId : undefined;
  }, [rows]);

  const changes = useChanges(
    session,
    snapshot.changes,
    `${snapshot.changes} ${snapshot.queue.length} ${session.turn_id} ${snapshot.comments}`,
  );
  const commentActions = useCommentActions(session.id);
  const changesOff = unavailable(session, changes.list);
  const drafts = useMemo(() => {
    // They are the message's that no server has yet.
    const taken = new Set(snapshot.local.flatMap((message) => message.comments));
    return changes.comments.filter((comment) => comment.state === "draft" && !taken.has(comment.id));
  }, [changes.comments, snapshot.local]);
  const sent = useMemo(
    () => groupBy(changes.comments, (comment) => comment.message_id ?? ""),
    [changes.comments],
  );
  const history = useMemo(() => {
    const said = rows.flatMap((row) => {
      if (row.kind !== "user") return [];
      const { text, message_id } = row.item.body;
      const own = message_id && sent.has(message_id) ? withoutComments(text) : text;
      return own ? [own] : [];
    });
    const underWay = pending.bubbles.map(({ text }) => text).filter(Boolean);
    return [...said, ...underWay].slice(-MAX_HISTORY);
  }, [rows, sent, pending.bubbles]);

  const latest = useRef(transcript);
  useEffect(() => {
    latest.current = transcript;
  });
  const talk = view.channel;
  const choice = useChoice(session, view.scope);
  useKeptChoice(choice, session.conversation_id != null);
  const chosen = choice.sent;
  const onTryAgain = useCallback(
    (turnId: string) => {
      const said = lastMessageOf(latest.current, turnId);
      // What was done already must not be done twice: then the agent is asked to go on from there.
      const again =
        said && !didWork(latest.current, turnId)
          ? { text: said.text, attachments: said.attachments ?? [] }
          : { text: "The last turn failed before it was done. Please continue." };
      talk.send({ ...again, ...chosen, delivery: "steer" });
    },
    [talk, chosen],
  );
  const { begun, id: viewed } = view;
  const onRun = useCallback(
    async (name: string, args: string, key: string) => {
      const taken = await runIn(session.id, viewed, name, args, key);
      if (viewed === NEW) begun(taken.conversation_id);
      return taken;
    },
    [session.id, viewed, begun],
  );
  const compact = useCompact(session, rows, onRun);
  const showNew = useRef(() => {});
  useEffect(() => {
    showNew.current = () => showConversation(NEW);
  });
  const context = useMemo<RowContext>(
    () => ({
      session: session.id,
      scope: view.scope,
      onTryAgain,
      onNewSession: () => navigate("/new"),
      onNewConversation: () => showNew.current(),
      onCompact: compact,
      lastTurn: session.activity === "idle" ? lastTurn : undefined,
      below: (messageId) => {
        const comments = sent.get(messageId);
        return (
          comments && <SentComments comments={comments} onShow={(comment) => showComment.current(comment)} />
        );
      },
    }),
    [session.id, view.scope, session.activity, onTryAgain, navigate, compact, lastTurn, sent],
  );

  const showConversation = (id: string) => {
    if (id !== view.id) view.show(id);
    setPane("chat");
    // A phone's keyboard would cover what one came to read.
    if (window.matchMedia("(hover: hover)").matches) setTimeout(() => composer.current?.focus());
  };
  const remove = () => {
    // It can be taken back, so nobody is asked.
    const back = () => navigate(`/s/${session.id}`);
    void actions.remove(session, back).then((done) => done && navigate("/"));
  };
  const toggleTerminal = () => {
    if (narrow) return setPane(pane === "terminal" ? "chat" : "terminal");
    setPanels({ ...panels, terminal: !panels.terminal });
    if (panels.terminal) setTimeout(() => composer.current?.focus());
  };
  const showChanges = (open: boolean) => {
    if (narrow) return setPane(open ? "changes" : "chat");
    setPanels({ ...panels, changes: open });
    if (!open) setTimeout(() => composer.current?.focus());
  };
  const tuiReason = tuiOff(session);
  const tuiOpen = (narrow ? pane === "tui" : panels.tui === true) && tuiReason === undefined;
  const showTui = useCallback(
    (open: boolean) => {
      if (narrow) setPane(open ? "tui" : "chat");
      else setPanels({ ...panels, tui: open });
      if (!open) setTimeout(() => composer.current?.focus());
    },
    [narrow, panels, setPanels, setPane],
  );
  const showMain = !narrow || pane === "chat" || pane === "tui";
  const showChat = showMain && !tuiOpen;
  const changesOpen = narrow ? pane === "changes" : (panels.changes ?? false);
  const showComment = useRef((_: Comment) => {});
  useEffect(() => {
    showComment.current = (comment) => {
      const elsewhere = workspacesOf(session).find(
        ({ path }) => path === comment.anchor.workspace && path !== session.cwd,
      );
      if (elsewhere) {
        say(`This comment is on the changes of ${elsewhere.name}`, {
          label: `Work in ${elsewhere.name}`,
          run: () => void actions.relocate(session, elsewhere),
        });
        return;
      }
      showChanges(true);
      changes.show(comment);
    };
  });
  // A link that names a place in the changes opens them.
  const [linked] = useState(changes.linked);
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when the page opens
  useEffect(() => {
    if (linked) showChanges(true);
  }, [linked]);
  const giveBack = (aside: Aside) => {
    const message = snapshot.queue.find(({ id }) => id === aside.id) ?? snapshot.left.get(aside.id);
    if (message && ownText(message) === aside.text) return;
    if (aside.scope === view.scope && composer.current) composer.current.insert(aside.text);
    else insertIntoDraft(aside.scope, aside.text);
    if (document.activeElement === document.body) composer.current?.focus();
    say(WORDS_BACK[aside.about]);
  };
  useLostAsides(
    session.id,
    ({ about, id }) => {
      if (!snapshot.caughtUp) return false;
      if (about === "message") return snapshot.queue.every((other) => other.id !== id || other.sending);
      return [...whole.approvals, ...waitingApprovals(snapshot.transcript)].every((other) => other.id !== id);
    },
    giveBack,
  );
  const first = approvals[0];
  // What hides the card hides what its keys would answer.
  const can = (decision: Decision) => () => showChat && (first?.decisions.includes(decision) ?? false);
  const give = (decision: Decision) => () => {
    if (first) void answer(session.id, first, decision);
  };
  const answers = (id: string, title: string, decision: Decision): Command[] => {
    const command: Command = { id, title, group: "Approval", when: can(decision), run: give(decision) };
    const letter = ANSWER_KEYS[decision];
    return [
      { ...command, keys: [chordOf(letter)], inText: true },
      {
        ...command,
        id: `${id}.letter`,
        keys: [letter],
        hidden: true,
        when: () => isLetterAnswer() && can(decision)(),
      },
    ];
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
      id: "view.tui",
      title: tuiOpen ? "Show chat" : "Show the agent's own interface (TUI)",
      group: "View",
      keys: ["mod+shift+e"],
      inTerminal: true,
      when: () => tuiReason === undefined,
      run: () => showTui(!tuiOpen),
    },
    {
      id: "view.changes",
      title: changesOpen ? "Hide changes" : "Show changes",
      group: "View",
      keys: ["mod+shift+d"],
      inTerminal: true,
      when: () => changesOpen || changesOff === undefined,
      run: () => showChanges(!changesOpen),
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
      run: () => {
        const named = conversationIn(whole, view.id)?.id;
        void copyText(sharedLink(location.href, named)).then(() => say("Link copied"));
      },
    },
    { id: "session.delete", title: "Delete session", group: "Session", run: remove },
    ...answers("approval.accept", "Approve once", "accept"),
    ...answers("approval.accept-session", "Approve for the session", "accept_for_session"),
    ...answers("approval.decline", "Decline", "decline"),
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
  const bothWidth = window.innerWidth - (sidebarOpen ? SIDEBAR_WIDTH : 0);
  const maxWidth = Math.max(CHANGES_MIN, bothWidth - CHAT_MIN_WIDTH);
  // The only pane of a phone is what the page is about.
  const ChangesArea = narrow ? "main" : "section";
  const width = Math.min(panels.width ?? Math.round(bothWidth * CHANGES_SHARE), maxWidth);
  const showTerminal = narrow ? pane === "terminal" : panels.terminal;

  return (
    <div className="workbench">
      <SessionHeader
        session={whole}
        renaming={renaming}
        onRename={setRenaming}
        terminalOpen={panels.terminal}
        changes={{
          open: changesOpen,
          off: changesOff,
          totals: changes.list.totals,
          branch: changes.list.head?.branch ?? undefined,
        }}
        ports={snapshot.ports}
        tui={{ open: tuiOpen, off: tuiReason }}
        sidebarOpen={sidebarOpen}
      />
      <LinkBar link={snapshot.link} onRetry={() => channel.retryNow()} />
      <div className="workbench-body">
        <div className="workbench-main" hidden={narrow && pane === "changes"}>
          {showMain && (
            <ConversationBar
              session={whole}
              queue={snapshot.queue}
              view={view.id}
              onShow={showConversation}
            />
          )}
          {showChat && (
            <main className="chat" id="main" aria-label="Chat" tabIndex={-1}>
              <Transcript
                key={view.key}
                ref={transcriptRef}
                session={session}
                snapshot={snapshot}
                channel={channel}
                rows={rows}
                bubbles={pending.bubbles}
                context={context}
                local={local}
                empty={view.id === NEW ? <NewConversation session={session} /> : undefined}
                onEdit={({ text, attachments, comments }) => {
                  composer.current?.insert(text);
                  composer.current?.focus();
                  draftsOf(view.scope).restore(attachments);
                  commentActions.stay(comments);
                }}
              />
              <FileDrop scope={view.scope} />
              <div className="composer-area">
                <ApprovalBar
                  session={session.id}
                  scope={view.scope}
                  folder={session.cwd}
                  approvals={approvals}
                  onShow={showApproval}
                />
                <Elsewhere session={whole} view={view.id} onShow={showConversation} />
                <Queue session={session} scope={view.scope} messages={pending.queue} onLate={giveBack} />
                <Composer
                  key={view.key}
                  ref={composer}
                  session={session}
                  scope={view.scope}
                  channel={talk}
                  onRun={onRun}
                  usage={session.usage ?? null}
                  history={history}
                  comments={drafts.map((comment) => comment.id)}
                  onSent={(ids) => commentActions.leave(ids)}
                  chips={
                    <CommentChips
                      comments={drafts}
                      onShow={(comment) => showComment.current(comment)}
                      onRemove={(comment) => void commentActions.remove(comment)}
                    />
                  }
                />
              </div>
            </main>
          )}
          <TuiPane
            key={`tui ${session.id}`}
            session={session}
            open={tuiOpen}
            shown={showMain}
            onLeave={() => showTui(false)}
          />
          {narrow && pane === "ports" && (
            <main className="ports-area" id="main" aria-label="Ports" tabIndex={-1}>
              <ProcessList session={session} ports={snapshot.ports} />
            </main>
          )}
          <section
            className="terminal-area"
            // The only pane of a phone is what the page is about; another element would start it anew.
            role={narrow && showTerminal ? "main" : undefined}
            id={narrow && showTerminal ? "main" : undefined}
            tabIndex={narrow && showTerminal ? -1 : undefined}
            aria-label="Terminal"
            style={narrow ? undefined : { height }}
            data-pane="terminal"
            hidden={!showTerminal}
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
            <TerminalPane
              key={session.id}
              session={session}
              live={snapshot.terminals}
              visible={showTerminal}
              onShow={() => !showTerminal && toggleTerminal()}
              onHide={() => showTerminal && toggleTerminal()}
              narrow={narrow}
            />
          </section>
        </div>
        {changesOpen && (
          <ChangesArea
            id={narrow ? "main" : undefined}
            tabIndex={narrow ? -1 : undefined}
            className="changes-area"
            aria-label="Changes"
            style={narrow ? undefined : { width }}
            data-pane="changes"
          >
            {!narrow && (
              <Resizer
                label="Width of the changes"
                orientation="vertical"
                value={width}
                min={CHANGES_MIN}
                max={maxWidth}
                onChange={(next) => setPanels({ ...panels, width: next })}
              />
            )}
            <Suspense fallback={null}>
              <ChangesPanel
                key={session.id}
                session={session.id}
                folder={folderOf(session)}
                nothing={noRepository(session)}
                list={changes.list}
                options={changes.options}
                onOptions={changes.onOptions}
                comments={changes.here}
                views={changes.views}
                running={changes.running}
                onStart={canStart(session) ? () => void actions.start(session) : undefined}
                onClose={narrow ? undefined : () => showChanges(false)}
                target={changes.target}
                onShow={changes.show}
                watch={snapshot.watch}
              />
            </Suspense>
          </ChangesArea>
        )}
      </div>
      {narrow && (
        <nav className="bottom-tabs" aria-label="Panes">
          <button type="button" aria-pressed={showMain} onClick={() => setPane("chat")}>
            <MessageSquare size={16} aria-hidden="true" />
            Chat
          </button>
          <button type="button" aria-pressed={pane === "changes"} onClick={() => setPane("changes")}>
            <FileDiff size={16} aria-hidden="true" />
            Changes
          </button>
          <button type="button" aria-pressed={pane === "terminal"} onClick={() => setPane("terminal")}>
            <SquareTerminal size={16} aria-hidden="true" />
            Terminal
          </button>
          <button type="button" aria-pressed={pane === "ports"} onClick={() => setPane("ports")}>
            <Network size={16} aria-hidden="true" />
            {snapshot.ports.length > 0 ? `Ports ${snapshot.ports.length}` : "Ports"}
          </button>
        </nav>
      )}
    </div>
  );
}
