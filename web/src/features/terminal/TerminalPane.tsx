import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Accessibility, ClipboardPaste, Copy, Ellipsis, Pencil, RotateCw, Search, X } from "lucide-react";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { type ApiError, api, asApiError } from "../../api/client";
import type { Session, TerminalInfo } from "../../api/types";
import { useCommands } from "../../keys/registry";
import type { LinkState } from "../../live/link";
import { writeAddress } from "../../ui/address";
import { Button, IconButton } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { CommandItem, Menu, MenuItem, MenuLine } from "../../ui/Menu";
import { readStored, writeStored } from "../../ui/storage";
import { sayError } from "../../ui/toasts";
import { useSessionActions } from "../session/actions";
import { canStart } from "../session/status";
import { LazyTerminal } from "./LazyTerminal";
import { useScreenReader } from "./reader";
import { panelId, TerminalTabs, tabId } from "./TerminalTabs";
import "./terminal.css";
import { activeTab, cleanName, endText, newTerminalId, type Seen, type Tab, tabsOf } from "./tabs";

/** Size until the page has measured its own. */
const FIRST_SIZE = { cols: 80, rows: 24 };

function linkNote(state: LinkState | undefined): string | undefined {
  if (!state || state.status === "open" || state.status === "closed") return undefined;
  return state.attempt > 0 ? "Reconnecting…" : undefined;
}

/** The session's shells as the server knows them, with what is opened and closed here. */
function useTerminals(session: Session, live: readonly TerminalInfo[] | undefined, enabled: boolean) {
  const client = useQueryClient();
  const key = useMemo(() => ["terminals", session.id], [session.id]);
  const list = useQuery({
    queryKey: key,
    queryFn: async () => shells(await api.terminals(session.id)),
    enabled,
    // From then on the server tells what others open, close and rename.
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  useEffect(() => {
    if (!live || !enabled) return;
    void client.cancelQueries({ queryKey: key });
    client.setQueryData(key, shells(live));
  }, [client, key, live, enabled]);
  const change = useCallback(
    (next: (terminals: readonly TerminalInfo[]) => TerminalInfo[]) =>
      client.setQueryData<TerminalInfo[]>(key, (old) => next(old ?? [])),
    [client, key],
  );
  // One that is opened here is on the page at once: what is typed next is for it.
  const [asked, setAsked] = useState<readonly TerminalInfo[]>([]);
  const terminals = useMemo(() => list.data && withAsked(list.data, asked), [list.data, asked]);
  const open = useCallback(
    async (id: string, ifNone: boolean) => {
      const drop = () => setAsked((known) => known.filter((other) => other.id !== id));
      setAsked((known) => [...known, { id, title: "", offset: 0, kind: "shell", ...FIRST_SIZE }]);
      try {
        const terminal = await api.openTerminal(session.id, { id, if_none: ifNone, ...FIRST_SIZE });
        await client.cancelQueries({ queryKey: key });
        change((terminals) => [...terminals.filter((other) => other.id !== terminal.id), terminal]);
        if (terminal.id !== id) drop();
      } catch (error) {
        drop();
        throw error;
      }
    },
    [client, key, change, session.id],
  );
  const known = list.data;
  useEffect(() => {
    if (known) setAsked((asked) => onlyNew(asked, known));
  }, [known]);
  const close = useCallback(
    async (id: string) => {
      await client.cancelQueries({ queryKey: key });
      change((terminals) => terminals.filter((other) => other.id !== id));
      try {
        await api.closeTerminal(session.id, id);
      } catch (error) {
        // Gone already is as good.
        if (asApiError(error, "").status !== 404) sayError(error, "Close terminal");
        void client.invalidateQueries({ queryKey: key });
      }
    },
    [client, key, change, session.id],
  );
  const rename = useCallback(
    async (id: string, name: string) => {
      change((terminals) => terminals.map((other) => (other.id === id ? { ...other, name } : other)));
      try {
        await api.renameTerminal(session.id, id, name);
      } catch (error) {
        sayError(error, "Rename terminal");
        void client.invalidateQueries({ queryKey: key });
      }
    },
    [client, key, change, session.id],
  );
  const forget = useCallback(() => {
    client.removeQueries({ queryKey: key });
    setAsked([]);
  }, [client, key]);
  return { list, terminals, asked, open, close, rename, forget };
}

/** Those that the server does not know yet. */
function onlyNew(asked: readonly TerminalInfo[], known: readonly TerminalInfo[]): readonly TerminalInfo[] {
  const left = asked.filter(({ id }) => !known.some((terminal) => terminal.id === id));
  return left.length === asked.length ? asked : left;
}

const withAsked = (known: readonly TerminalInfo[], asked: readonly TerminalInfo[]) => [
  ...known,
  ...onlyNew(asked, known),
];

const shells = (terminals: readonly TerminalInfo[]) =>
  terminals.filter((terminal) => terminal.kind !== "tui");

interface TerminalPaneProps {
  session: Session;
  /** The terminals as the server told them last. */
  live: readonly TerminalInfo[] | undefined;
  /** Whether it is on the page. What runs in it goes on otherwise, and stays drawn. */
  visible: boolean;
  onShow: () => void;
  onHide: () => void;
  /** On a phone the pane is a tab, which needs no button to hide it. */
  narrow: boolean;
}

/** The shells in the sandbox, below the conversation. */
export function TerminalPane({ session, live, visible, onShow, onHide, narrow }: TerminalPaneProps) {
  const actions = useSessionActions();
  const running = session.state === "running" || session.state === "disconnected";
  const [used, setUsed] = useState(visible);
  if (visible && !used) setUsed(true);
  const terminalsHere = useTerminals(session, live, running && used);
  const { list, asked, open, close, rename, forget } = terminalsHere;
  const [opening, setOpening] = useState(false);
  const [openError, setOpenError] = useState<ApiError>();

  const remembered = `terminal:${session.id}`;
  const [wanted, setWanted] = useState(
    () =>
      new URLSearchParams(location.search).get("terminal") ??
      readStored<string | undefined>(remembered, undefined),
  );
  const [seen, setSeen] = useState<ReadonlyMap<string, Seen>>(new Map());
  const [links, setLinks] = useState<ReadonlyMap<string, LinkState>>(new Map());
  const [renaming, setRenaming] = useState<string>();
  const [searching, setSearching] = useState(false);
  const [focus, setFocus] = useState(0);
  /** Terminals that were looked at, with the output that was there before. */
  const [opened, setOpened] = useState<ReadonlyMap<string, number>>(new Map());

  const terminals = running ? terminalsHere.terminals : undefined;
  const tabs = useMemo(() => tabsOf(terminals ?? [], seen), [terminals, seen]);
  const place = useRef(0);
  const active = activeTab(tabs, wanted, place.current);
  useEffect(() => {
    if (active) place.current = tabs.indexOf(active);
  });
  if (active && visible && !opened.has(active.id)) {
    setOpened(new Map(opened).set(active.id, active.offset));
  }
  // A link opens the tab that its sender saw, once there are several to choose from.
  const shownTab = visible && tabs.length > 1 ? active?.id : undefined;
  const isRead = terminals !== undefined;
  useEffect(() => {
    if (isRead || !visible) writeAddress({ terminal: shownTab });
  }, [shownTab, isRead, visible]);
  const note = linkNote(active && links.get(active.id));

  const learn = useCallback((id: string, patch: Seen) => {
    setSeen((before) => new Map(before).set(id, { ...before.get(id), ...patch }));
  }, []);
  const select = useCallback(
    (id: string, takeFocus: boolean) => {
      setWanted(id);
      learn(id, { unseen: false });
      writeStored(remembered, id);
      setSearching(false);
      if (takeFocus) setFocus((count) => count + 1);
    },
    [remembered, learn],
  );
  const openNew = useCallback(
    async (takeFocus: boolean, ifNone = false) => {
      const id = newTerminalId();
      setOpening(true);
      setOpenError(undefined);
      select(id, takeFocus);
      try {
        await open(id, ifNone);
      } catch (error) {
        setOpenError(asApiError(error, "Open terminal"));
      } finally {
        setOpening(false);
      }
    },
    [open, select],
  );
  const closeTab = useCallback(
    (id: string) => {
      if (tabs.length === 1) onHide();
      else if (id === active?.id) setFocus((count) => count + 1);
      void close(id);
    },
    [tabs.length, active?.id, close, onHide],
  );

  // A pane without a terminal is of no use: the first one comes by itself, once for all pages.
  const empty = visible && running && terminals?.length === 0;
  const mayOpen = empty && !opening && openError === undefined;
  useEffect(() => {
    if (mayOpen) void openNew(document.activeElement === document.body || focus > 0, true);
  }, [mayOpen, openNew, focus]);

  // Shells end with the sandbox's processes.
  useEffect(() => {
    if (running) return;
    forget();
    setOpened(new Map());
    setSeen(new Map());
    setOpenError(undefined);
  }, [running, forget]);

  const wasVisible = useRef(visible);
  useEffect(() => {
    if (visible && !wasVisible.current) {
      setFocus((count) => count + 1);
      setOpenError(undefined);
    }
    wasVisible.current = visible;
  }, [visible]);

  // A failure with shells on the page is told beside them.
  useEffect(() => {
    if (!openError || tabs.length === 0) return;
    sayError(openError);
    setOpenError(undefined);
  }, [openError, tabs.length]);

  const step = (by: 1 | -1) => {
    const next = tabs[(tabs.findIndex((tab) => tab.id === active?.id) + by + tabs.length) % tabs.length];
    if (next) select(next.id, true);
  };
  const [read, setRead] = useScreenReader();
  const hasTab = () => visible && active !== undefined;
  useCommands([
    {
      id: "terminal.new",
      title: "New terminal",
      group: "Terminal",
      keys: ["ctrl+shift+`"],
      inTerminal: true,
      when: () => running,
      run: () => {
        onShow();
        // A pane that is shown without shells opens the first one by itself.
        if (tabs.length > 0 || (visible && !opening)) void openNew(true);
      },
    },
    {
      id: "terminal.next",
      title: "Next terminal",
      group: "Terminal",
      keys: ["alt+shift+arrowright"],
      inTerminal: true,
      when: () => visible && tabs.length > 1,
      run: () => step(1),
    },
    {
      id: "terminal.previous",
      title: "Previous terminal",
      group: "Terminal",
      keys: ["alt+shift+arrowleft"],
      inTerminal: true,
      when: () => visible && tabs.length > 1,
      run: () => step(-1),
    },
    {
      id: "terminal.find",
      title: "Find in terminal",
      group: "Terminal",
      keys: ["mod+shift+f"],
      inTerminal: true,
      when: hasTab,
      run: () => setSearching(true),
    },
    {
      id: "terminal.rename",
      title: "Rename terminal",
      group: "Terminal",
      when: hasTab,
      run: () => setRenaming(active?.id),
    },
    {
      id: "terminal.close",
      title: "Close terminal",
      group: "Terminal",
      when: hasTab,
      run: () => active && closeTab(active.id),
    },
    {
      id: "terminal.reader",
      title: `Turn ${read ? "off" : "on"} screen reader mode of terminals`,
      group: "Terminal",
      run: () => setRead(!read),
    },
  ]);

  const onName = (id: string, name: string | undefined) => {
    setRenaming(undefined);
    if (name !== undefined) void rename(id, cleanName(name));
    setFocus((count) => count + 1);
  };
  const onEnd = (tab: Tab) => (end: NonNullable<Seen["end"]>) => {
    learn(tab.id, { end });
    // One that somebody closed is not in the list any more.
    void list.refetch();
  };
  const replace = async (id: string) => {
    await openNew(true);
    void close(id);
  };
  const error = openError ?? (list.error ? asApiError(list.error, "Load terminals") : undefined);

  return (
    <div className="terminal-pane">
      <div className="terminal-bar">
        <TerminalTabs
          tabs={tabs}
          active={active?.id}
          renaming={renaming}
          onSelect={select}
          onClose={closeTab}
          onRename={setRenaming}
          onName={onName}
          onNew={() => void openNew(true)}
          closedReason={running ? undefined : "The sandbox does not run"}
        />
        {note && (
          <span className="terminal-note" role="status">
            {note}
          </span>
        )}
        <span className="spacer" />
        {active && (
          <>
            <IconButton label="Find in terminal" keys="mod+shift+f" onClick={() => setSearching(true)}>
              <Search size={14} />
            </IconButton>
            <Menu
              trigger={
                <button type="button" className="btn ghost icon" aria-label="Terminal menu">
                  <Ellipsis size={14} />
                </button>
              }
            >
              <CommandItem id="terminal.copy" icon={<Copy size={16} />} />
              <CommandItem id="terminal.paste" icon={<ClipboardPaste size={16} />} />
              <CommandItem id="terminal.reader" icon={<Accessibility size={16} />} />
              <MenuLine />
              <MenuItem icon={<Pencil size={16} />} onSelect={() => setTimeout(() => setRenaming(active.id))}>
                Rename terminal
              </MenuItem>
              <MenuItem icon={<X size={16} />} onSelect={() => closeTab(active.id)}>
                Close terminal
              </MenuItem>
            </Menu>
          </>
        )}
        {!narrow && (
          <IconButton label="Hide terminal" keys="mod+j" onClick={onHide}>
            <X size={16} />
          </IconButton>
        )}
      </div>
      {!running && (
        <div className="terminal-empty">
          {canStart(session) ? (
            <>
              <p>Terminals are in the sandbox, which does not run.</p>
              <Button onClick={() => void actions.start(session)}>Start</Button>
            </>
          ) : (
            <p>A terminal opens when the session is ready.</p>
          )}
        </div>
      )}
      {running && tabs.length === 0 && error && (
        <div className="terminal-empty">
          <ErrorNote error={error}>
            <Button
              icon={<RotateCw size={14} />}
              onClick={() => {
                setOpenError(undefined);
                void list.refetch();
              }}
            >
              Try again
            </Button>
          </ErrorNote>
        </div>
      )}
      {tabs.map((tab) => {
        const offset = opened.get(tab.id);
        if (offset === undefined) return null;
        const shown = visible && tab.id === active?.id;
        return (
          <div
            key={tab.id}
            className="terminal-panel"
            role="tabpanel"
            id={panelId(tab.id)}
            aria-labelledby={tabId(tab.id)}
            hidden={tab.id !== active?.id}
          >
            <LazyTerminal
              session={session.id}
              terminal={tab.id}
              label={`Terminal ${tab.label}`}
              place="terminal"
              shown={shown}
              focus={shown ? focus : 0}
              exists={!asked.some(({ id }) => id === tab.id)}
              replayBefore={offset}
              onState={(state) => setLinks((before) => new Map(before).set(tab.id, state))}
              onEnd={onEnd(tab)}
              onTitle={(title) => learn(tab.id, { title })}
              onOutput={
                tab.id === active?.id || tab.unseen ? undefined : () => learn(tab.id, { unseen: true })
              }
              searching={shown && searching}
              onSearching={setSearching}
            />
            {tab.ended && (
              <div className="terminal-end" role="status">
                <span>{endText(tab.ended)}</span>
                <Button onClick={() => void replace(tab.id)}>New terminal</Button>
                <Button look="ghost" onClick={() => closeTab(tab.id)}>
                  Close
                </Button>
              </div>
            )}
          </div>
        );
      })}
    </div>
  );
}
