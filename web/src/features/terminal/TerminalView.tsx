/** xterm.js on a terminal of the sandbox. Loaded when a terminal is first opened. */
import { useEffect, useRef, useState } from "react";
import type { LinkState } from "../../live/link";
import { useTheme } from "../../ui/theme";
import { type TerminalPlace, useClipboard } from "./clipboard";
import { terminalTheme } from "./colours";
import { TerminalConnection, type TerminalEnd } from "./connection";
import { OutputFlow } from "./flow";
import { useScreenReader } from "./reader";
import { SearchField } from "./SearchField";
import { cleanTitle, drawFast, openScreen, type Screen } from "./screen";

/** A page that nobody sees keeps its terminals this long: switching back and forth costs nothing. */
const ASLEEP_AFTER_MS = 15_000;

/** Who types tells the size again after this long: another viewer may have given its own. */
const SIZE_AGAIN_MS = 1_000;

export interface TerminalViewProps {
  session: string;
  terminal: string;
  /** Its name for those who don't see it. */
  label: string;
  /** Which pane it is in. */
  place: TerminalPlace;
  /** Whether it is the one that is seen. */
  shown: boolean;
  /** Grows when the keyboard is to go here. */
  focus: number;
  /** Whether the sandbox has it; keys typed before wait for that. */
  exists?: boolean;
  /** Output before this byte was there before the page looked: what it asks is not answered. */
  replayBefore: number;
  /** How large it is on the page, each time that it is looked at or changes. */
  onSize?: (cols: number, rows: number) => void;
  onState?: (state: LinkState) => void;
  onEnd?: (end: TerminalEnd) => void;
  onTitle?: (title: string) => void;
  /** Something was drawn. */
  onOutput?: () => void;
  /** Asks for the search field. */
  searching?: boolean;
  onSearching?: (searching: boolean) => void;
}

/**
 * Says that output is missing, where a person looks for it: above the screen that comes next. What was
 * on the screen scrolls away, and nothing of the program's is left switched on.
 */
function gapNote(bytes: number, rows: number): Uint8Array {
  const size = bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} kB`;
  // The cancel character ends a sequence whose end is in the gap.
  const calm = "\x18\x1b[?1049l\x1b[?1000;1002;1003;1006l\x1b[!p\x1b[0m";
  const note = `\x1b[${rows};1H\r\n\x1b[2m… ${size} of output skipped …\x1b[0m`;
  return new TextEncoder().encode(calm + note + "\r\n".repeat(rows));
}

interface Live {
  screen: Screen;
  flow: OutputFlow;
  connection: TerminalConnection;
}

function startTerminal(element: HTMLElement, latest: { current: TerminalViewProps }): Live {
  const { session, terminal, label, replayBefore } = latest.current;
  let answering = false;
  /** Shown again after a time without a connection, until all of it is drawn. */
  let catchingUp = false;
  const screen = openScreen(element, label, () => answering && !catchingUp && document.hasFocus());
  const { xterm } = screen;
  const flow = new OutputFlow(
    {
      write: (bytes, drawn) => xterm.write(bytes, drawn),
      onTaken: (offset) => {
        connection.taken(offset);
        if (flow.isIdle) catchingUp = false;
        latest.current.onOutput?.();
      },
      onBatch: (end) => {
        answering = end !== undefined && end > replayBefore;
      },
    },
    replayBefore,
  );
  const connection = new TerminalConnection(session, terminal, {
    onOutput: (bytes, end) => flow.push({ bytes, end }),
    onGap: (bytes) => flow.push({ bytes: gapNote(bytes, xterm.rows) }),
    onScreen: (bytes) => flow.push({ bytes }),
    onState: (state) => latest.current.onState?.(state),
    onEnd: (end) => latest.current.onEnd?.(end),
    onAttached: (again) => {
      catchingUp = again;
      tellSize();
    },
  });
  // The terminal has the size of who looked at it or typed last; nobody reacts to somebody else's.
  let toldAt = 0;
  const tellSize = () => {
    if (!latest.current.shown || document.hidden) return;
    toldAt = performance.now();
    connection.resize(xterm.cols, xterm.rows);
  };
  const type = (bytes: Uint8Array<ArrayBuffer>) => {
    if (performance.now() - toldAt > SIZE_AGAIN_MS) tellSize();
    connection.write(bytes);
  };
  const encoder = new TextEncoder();
  xterm.onData((data) => type(encoder.encode(data)));
  xterm.onBinary((data) => type(Uint8Array.from(data, (char) => char.charCodeAt(0))));
  xterm.onResize(({ cols, rows }) => {
    latest.current.onSize?.(cols, rows);
    tellSize();
  });
  xterm.textarea?.addEventListener("focus", tellSize);
  xterm.onTitleChange((title) => latest.current.onTitle?.(cleanTitle(title)));
  return { screen, flow, connection };
}

/** Lets go of the terminal while the page sleeps. */
function whileAwake({ connection }: Live, latest: { current: TerminalViewProps }): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onVisibility = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => connection.pause(), ASLEEP_AFTER_MS);
    else if (latest.current.exists !== false) connection.resume();
  };
  document.addEventListener("visibilitychange", onVisibility);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", onVisibility);
  };
}

function useTerminal(props: TerminalViewProps, host: React.RefObject<HTMLDivElement | null>) {
  const { session, terminal, shown, focus, exists = true } = props;
  const latest = useRef(props);
  useEffect(() => {
    latest.current = props;
  });
  const [live, setLive] = useState<Live>();
  const theme = useTheme();

  // biome-ignore lint/correctness/useExhaustiveDependencies: another terminal is another screen
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const started = startTerminal(element, latest);
    const { screen, flow, connection } = started;
    const observer = new ResizeObserver(() => screen.fit());
    observer.observe(element);
    const stopWatching = whileAwake(started, latest);
    setLive(started);
    return () => {
      stopWatching();
      observer.disconnect();
      connection.close();
      flow.stop();
      screen.dispose();
      setLive(undefined);
    };
  }, [session, terminal, host]);

  useEffect(() => {
    if (live && exists) live.connection.resume();
  }, [live, exists]);

  useEffect(() => {
    if (!live) return;
    live.flow.hidden = !shown;
    if (!shown) return;
    const { screen, connection } = live;
    const { xterm } = screen;
    // The letters of the graphics card have sizes of their own.
    const stop = drawFast(screen);
    if (screen.fit()) latest.current.onSize?.(xterm.cols, xterm.rows);
    connection.resize(xterm.cols, xterm.rows);
    xterm.textarea?.setAttribute("data-pane-focus", "");
    return () => {
      xterm.textarea?.removeAttribute("data-pane-focus");
      stop();
    };
  }, [live, shown]);

  useEffect(() => {
    if (live && shown && focus > 0) live.screen.xterm.focus();
  }, [live, shown, focus]);

  useEffect(() => {
    if (!live) return;
    // The document has the theme's tokens only after the effects of the whole page.
    const frame = requestAnimationFrame(() => {
      live.screen.xterm.options.theme = terminalTheme(theme);
    });
    return () => cancelAnimationFrame(frame);
  }, [live, theme]);
  const [read] = useScreenReader();
  useEffect(() => {
    if (live) live.screen.xterm.options.screenReaderMode = read;
  }, [live, read]);
  return live?.screen;
}

export default function TerminalView(props: TerminalViewProps) {
  const host = useRef<HTMLDivElement>(null);
  const screen = useTerminal(props, host);
  const { searching, onSearching, shown, place } = props;
  useClipboard(shown ? screen : undefined, place);
  return (
    <div className="terminal-view" data-terminal>
      <div ref={host} className="terminal-host" />
      {searching && screen && (
        <SearchField
          search={screen.search}
          onClose={() => {
            onSearching?.(false);
            screen.xterm.focus();
          }}
        />
      )}
    </div>
  );
}
