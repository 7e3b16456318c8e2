import { Suspense, useEffect, useMemo, useState } from "react";
import { Route, Switch, useLocation } from "wouter";
import { useDesktopNotifications } from "../features/notifications/desktop";
import { BackBar } from "../features/session/BackBar";
import { useTabBadge } from "../features/session/favicon";
import { LinkBar } from "../features/session/LinkBar";
import { SessionView } from "../features/session/SessionView";
import { statusOf } from "../features/session/status";
import { sessionPath, useListFilter } from "../features/sessions/filter";
import { SessionList, useShownSessions } from "../features/sessions/SessionList";
import { cyclePane } from "../keys/panes";
import { runCommand, useCommands } from "../keys/registry";
import { useLiveList, useSessionList } from "../live/sessions";
import { NotFound } from "../routes/NotFound";
import { lazily } from "../ui/lazily";
import { useIsNarrow } from "../ui/media";
import { useStored } from "../ui/storage";
import { useThemeChoice } from "../ui/theme";
import { ErrorBoundary } from "./ErrorBoundary";
import { orderedSessions } from "./order";
import "./shell.css";

const NewSession = lazily(async () => ({
  default: (await import("../features/new-session/NewSession")).NewSession,
}));
if (["/", "/new"].includes(window.location.pathname)) NewSession.preload();
const HelpDialog = lazily(async () => ({
  default: (await import("../features/commands/HelpDialog")).HelpDialog,
}));
const Palette = lazily(async () => ({ default: (await import("../features/commands/Palette")).Palette }));
const Trash = lazily(async () => ({ default: (await import("../features/sessions/Trash")).Trash }));
const Settings = lazily(async () => ({ default: (await import("../features/settings/Settings")).Settings }));

const SESSION_PATH = /^\/s\/([^/]+)/;

function useShellCommands(toggleSidebar: () => void, openPalette: () => void, openHelp: () => void) {
  const [location, navigate] = useLocation();
  const { sessions } = useSessionList();
  const shown = useShownSessions().sessions;
  const [filter] = useListFilter();
  const [, setTheme] = useThemeChoice();
  const step = (by: 1 | -1) => {
    const ordered = orderedSessions(shown);
    const current = ordered.findIndex((session) => location === `/s/${session.id}`);
    const next = ordered[current === -1 ? 0 : current + by];
    if (next) navigate(sessionPath(next.id, filter));
  };
  const waiting = () => sessions.find((session) => statusOf(session).group === "needs you");
  useCommands([
    { id: "go.new", title: "New session", group: "Go to", keys: ["c"], run: () => navigate("/new") },
    {
      id: "go.next",
      title: "Next session",
      group: "Go to",
      keys: ["alt+arrowdown"],
      inText: true,
      run: () => step(1),
    },
    {
      id: "go.previous",
      title: "Previous session",
      group: "Go to",
      keys: ["alt+arrowup"],
      inText: true,
      run: () => step(-1),
    },
    {
      id: "go.waiting",
      title: "Session that needs you",
      group: "Go to",
      keys: ["u"],
      when: () => waiting() !== undefined,
      run: () => navigate(`/s/${waiting()?.id}`),
    },
    { id: "go.deleted", title: "Recently deleted", group: "Go to", run: () => navigate("/deleted") },
    {
      id: "go.settings",
      title: "Settings",
      group: "Go to",
      keys: ["mod+,"],
      run: () => navigate("/settings"),
    },
    {
      id: "view.palette",
      title: "Search and commands",
      group: "View",
      keys: ["mod+k"],
      run: openPalette,
      hidden: true,
    },
    { id: "view.help", title: "Keyboard shortcuts", group: "View", keys: ["?"], run: openHelp },
    {
      id: "view.sidebar",
      title: "Show or hide the session list",
      group: "View",
      keys: ["["],
      run: toggleSidebar,
    },
    {
      id: "view.next-pane",
      title: "Next pane",
      group: "View",
      keys: ["f6"],
      inTerminal: true,
      inText: true,
      run: () => cyclePane(1),
      hidden: true,
    },
    {
      id: "view.previous-pane",
      title: "Previous pane",
      group: "View",
      keys: ["shift+f6"],
      inTerminal: true,
      inText: true,
      run: () => cyclePane(-1),
      hidden: true,
    },
    { id: "theme.system", title: "Theme: as the system", group: "View", run: () => setTheme("system") },
    { id: "theme.light", title: "Theme: light", group: "View", run: () => setTheme("light") },
    { id: "theme.dark", title: "Theme: dark", group: "View", run: () => setTheme("dark") },
  ]);
}

/** A file that is dropped where nothing takes it would open in the page's place. */
function useDropGuard(): void {
  useEffect(() => {
    const refuse = (event: DragEvent) => {
      if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "none";
    };
    window.addEventListener("dragover", refuse);
    window.addEventListener("drop", refuse);
    return () => {
      window.removeEventListener("dragover", refuse);
      window.removeEventListener("drop", refuse);
    };
  }, []);
}

/** Pages that are no session: their content, with the way to the list. */
function Page({ children, sidebarOpen }: { children: React.ReactNode; sidebarOpen: boolean }) {
  const live = useLiveList();
  return (
    <div className="page">
      <LinkBar link={live.state} onRetry={live.retryNow} />
      <BackBar sidebarOpen={sidebarOpen} />
      <main id="main" className="page-main" tabIndex={-1} data-pane="main">
        {children}
      </main>
    </div>
  );
}

export function Shell() {
  const narrow = useIsNarrow();
  const [open, setOpen] = useStored("sidebar", true);
  // Until the first time they are not there at all.
  const [palette, setPalette] = useState<boolean>();
  const [help, setHelp] = useState<boolean>();
  const [location, navigate] = useLocation();
  const { sessions } = useSessionList();
  const toggle = () => (narrow ? navigate("/") : setOpen(!open));
  useShellCommands(
    toggle,
    () => setPalette(true),
    () => setHelp(true),
  );

  const [searchNext, setSearchNext] = useState(false);
  const listIsShown = narrow ? location === "/" : open;
  useCommands(
    listIsShown
      ? []
      : [
          {
            id: "go.search",
            title: "Search sessions",
            group: "Go to",
            keys: ["/"],
            run: () => {
              setSearchNext(true);
              toggle();
            },
          },
        ],
  );
  useEffect(() => {
    // The list's own command takes over once it is there.
    if (searchNext && listIsShown) {
      setSearchNext(false);
      setTimeout(() => runCommand("go.search"));
    }
  }, [searchNext, listIsShown]);

  const currentId = SESSION_PATH.exec(location)?.[1];
  const current = useMemo(() => sessions.find((session) => session.id === currentId), [sessions, currentId]);
  const waiting = sessions.filter((session) => statusOf(session).group === "needs you").length;
  useDesktopNotifications();
  useDropGuard();
  useTabBadge(
    waiting,
    current?.title ??
      { "/settings": "Settings", "/new": "New session", "/deleted": "Recently deleted" }[location],
  );

  const listOnly = narrow && location === "/";
  const showList = listOnly || (!narrow && open);
  const sidebarShown = narrow ? false : open;
  return (
    <div className={showList && !listOnly ? "shell with-list" : "shell"}>
      <a className="skip-link" href="#main">
        Skip to content
      </a>
      {listOnly && (
        <main id="main" className="shell-list" tabIndex={-1}>
          <h1 className="hidden-text">Sessions</h1>
          <SessionList />
        </main>
      )}
      {showList && !listOnly && (
        <aside className="shell-list" aria-label="Session list">
          <SessionList onCollapse={toggle} />
        </aside>
      )}
      {!listOnly && (
        <ErrorBoundary key={location}>
          <Switch>
            <Route path="/s/:id">
              {({ id }) => <SessionView key={id} id={id} sidebarOpen={sidebarShown} />}
            </Route>
            <Route>
              <Page sidebarOpen={sidebarShown}>
                <Suspense fallback={null}>
                  <Switch>
                    <Route path="/">
                      <NewSession />
                    </Route>
                    <Route path="/new">
                      <NewSession />
                    </Route>
                    <Route path="/deleted">
                      <Trash />
                    </Route>
                    <Route path="/settings">
                      <Settings />
                    </Route>
                    <Route>
                      <NotFound />
                    </Route>
                  </Switch>
                </Suspense>
              </Page>
            </Route>
          </Switch>
        </ErrorBoundary>
      )}
      <Suspense fallback={null}>
        {palette !== undefined && <Palette open={palette} onOpenChange={setPalette} sessions={sessions} />}
        {help !== undefined && <HelpDialog open={help} onOpenChange={setHelp} />}
      </Suspense>
    </div>
  );
}
