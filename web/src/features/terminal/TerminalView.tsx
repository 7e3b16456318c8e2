/** xterm.js on a terminal of the sandbox. Loaded when a terminal is first opened. */
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { WebglAddon } from "@xterm/addon-webgl";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { ChevronDown, ChevronUp, X } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { commandFor } from "../../keys/registry";
import type { LinkState } from "../../live/link";
import { IconButton } from "../../ui/Button";
import { useTheme } from "../../ui/theme";
import { terminalTheme } from "./colours";
import { TerminalConnection, type TerminalEnd } from "./connection";

const SCROLLBACK_LINES = 10_000;

export interface TerminalViewProps {
  session: string;
  terminal: string;
  onState: (state: LinkState) => void;
  onEnd: (end: TerminalEnd) => void;
  onTitle: (title: string) => void;
  /** Asks for the search field. */
  searching: boolean;
  onSearching: (searching: boolean) => void;
}

const SAFE_LINK = /^https?:\/\//i;
function openLink(event: MouseEvent, url: string): void {
  // A plain click selects text; a link in a terminal was written by whoever runs in it.
  if (!(event.ctrlKey || event.metaKey) || !SAFE_LINK.test(url)) return;
  window.open(url, "_blank", "noopener,noreferrer");
}

/** Titles come from programs in the sandbox. */
function cleanTitle(title: string): string {
  return title.replace(/\p{C}/gu, "").slice(0, 80);
}

function useTerminal(props: TerminalViewProps, host: React.RefObject<HTMLDivElement | null>) {
  const { session, terminal } = props;
  const latest = useRef(props);
  useEffect(() => {
    latest.current = props;
  });
  const [xterm, setXterm] = useState<Terminal>();
  const [search, setSearch] = useState<SearchAddon>();
  const theme = useTheme();

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const style = getComputedStyle(document.documentElement);
    const xterm = new Terminal({
      allowProposedApi: true,
      fontFamily: style.getPropertyValue("--mono"),
      fontSize: 12,
      lineHeight: 1.35,
      scrollback: SCROLLBACK_LINES,
      cursorBlink: !window.matchMedia("(prefers-reduced-motion: reduce)").matches,
      macOptionIsMeta: true,
      minimumContrastRatio: 4.5,
      screenReaderMode: false,
      theme: terminalTheme(document.documentElement.dataset.theme === "dark" ? "dark" : "light"),
      linkHandler: { activate: openLink, allowNonHttpProtocols: false },
    });
    const fit = new FitAddon();
    const search = new SearchAddon();
    xterm.loadAddon(fit);
    xterm.loadAddon(search);
    xterm.loadAddon(new WebLinksAddon(openLink));
    // Programs in the sandbox have no business with the person's clipboard.
    xterm.parser.registerOscHandler(52, () => true);
    xterm.open(element);
    xterm.textarea?.setAttribute("aria-label", "Terminal");
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      xterm.loadAddon(webgl);
    } catch {
      // Without WebGL it draws with the document.
    }
    const connection = new TerminalConnection(session, terminal, {
      onOutput: (bytes) => xterm.write(bytes),
      onReset: () => xterm.reset(),
      onState: (state) => latest.current.onState(state),
      onEnd: (end) => latest.current.onEnd(end),
      onAttached: () => connection.resize(xterm.cols, xterm.rows),
    });
    const encoder = new TextEncoder();
    xterm.onData((data) => connection.write(encoder.encode(data)));
    xterm.onBinary((data) => connection.write(Uint8Array.from(data, (char) => char.charCodeAt(0))));
    xterm.onResize(({ cols, rows }) => connection.resize(cols, rows));
    xterm.onTitleChange((title) => latest.current.onTitle(cleanTitle(title)));
    xterm.attachCustomKeyEventHandler((event) => {
      if (
        event.type === "keydown" &&
        (event.ctrlKey || event.metaKey) &&
        event.shiftKey &&
        event.code === "KeyF"
      ) {
        event.preventDefault();
        latest.current.onSearching(true);
        return false;
      }
      // The page's own few keys pass by the terminal; everything else is the terminal's.
      return commandFor(event) === undefined;
    });
    const refit = () => {
      if (element.clientHeight > 0 && element.clientWidth > 0) fit.fit();
    };
    const observer = new ResizeObserver(refit);
    observer.observe(element);
    void document.fonts.ready.then(refit);
    refit();
    xterm.focus();
    setXterm(xterm);
    setSearch(search);
    return () => {
      observer.disconnect();
      connection.close();
      xterm.dispose();
    };
  }, [session, terminal, host]);

  useEffect(() => {
    if (xterm) xterm.options.theme = terminalTheme(theme);
  }, [xterm, theme]);
  return { xterm, search };
}

export default function TerminalView(props: TerminalViewProps) {
  const host = useRef<HTMLDivElement>(null);
  const { xterm, search } = useTerminal(props, host);
  const [query, setQuery] = useState("");
  const { searching, onSearching } = props;
  const close = () => {
    onSearching(false);
    search?.clearDecorations();
    xterm?.focus();
  };
  return (
    <div className="terminal-view" data-terminal>
      <div ref={host} className="terminal-host" />
      {searching && (
        <search className="terminal-search">
          <input
            className="input"
            // biome-ignore lint/a11y/noAutofocus: the person has just asked for this field
            autoFocus
            aria-label="Find in terminal"
            placeholder="Find"
            value={query}
            onChange={(event) => {
              setQuery(event.target.value);
              search?.findPrevious(event.target.value, { incremental: true });
            }}
            onKeyDown={(event) => {
              event.stopPropagation();
              if (event.key === "Escape") close();
              if (event.key === "Enter")
                event.shiftKey ? search?.findNext(query) : search?.findPrevious(query);
            }}
          />
          <IconButton label="Previous match" onClick={() => search?.findPrevious(query)}>
            <ChevronUp size={14} />
          </IconButton>
          <IconButton label="Next match" onClick={() => search?.findNext(query)}>
            <ChevronDown size={14} />
          </IconButton>
          <IconButton label="Close search" onClick={close}>
            <X size={14} />
          </IconButton>
        </search>
      )}
    </div>
  );
}
