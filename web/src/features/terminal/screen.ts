/**
 * A screen of a terminal: xterm.js with what the page adds and what it forbids. Everything that is
 * drawn was written by programs in the sandbox, which the page does not trust: no clipboard, links
 * only on purpose and only to the web, and no answers to questions that were asked before this page
 * looked, or while somebody works elsewhere, because those would arrive as typed text.
 */
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { WebglAddon } from "@xterm/addon-webgl";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { isMac } from "../../keys/keys";
import { commandFor } from "../../keys/registry";
import { pasteable } from "./clipboard";
import { terminalTheme } from "./colours";

const SCROLLBACK_LINES = 10_000;
const SAFE_LINK = /^https?:\/\//i;
const LINK_HINT = isMac ? "Cmd-click opens the link" : "Ctrl-click opens the link";

/** Sequences that programs ask with: attributes, status, modes, version, window, keyboard. */
const QUESTIONS = [
  { final: "c" },
  { prefix: ">", final: "c" },
  { prefix: "=", final: "c" },
  { final: "n" },
  { prefix: "?", final: "n" },
  { intermediates: "$", final: "p" },
  { prefix: "?", intermediates: "$", final: "p" },
  { prefix: ">", final: "q" },
  { prefix: "?", final: "u" },
  { final: "t" },
] as const;
/** Colours: asked for with a question mark, set otherwise. */
const COLOURS = [4, 10, 11, 12] as const;

function openLink(event: MouseEvent, url: string): void {
  // A plain click selects text; a link in a terminal was written by whoever runs in it.
  if (!(event.ctrlKey || event.metaKey) || !SAFE_LINK.test(url)) return;
  window.open(url, "_blank", "noopener,noreferrer");
}

/** Before xterm.js sees it, which would type every character as it is. */
function pasteInto(xterm: Terminal, event: ClipboardEvent): void {
  event.preventDefault();
  event.stopPropagation();
  const text = event.clipboardData?.getData("text/plain");
  if (text) xterm.paste(pasteable(text));
}

/** A title that a program gave, without what would reorder or hide the text around it. Pure. */
export function cleanTitle(title: string): string {
  return title.replace(/\p{C}/gu, "").trim().slice(0, 80);
}

export interface Screen {
  xterm: Terminal;
  search: SearchAddon;
  /** Takes the size of its element; false while that has none. */
  fit: () => boolean;
  dispose: () => void;
}

/** `mayAnswer`: whether what is being drawn may be answered. */
export function openScreen(element: HTMLElement, label: string, mayAnswer: () => boolean): Screen {
  const root = document.documentElement;
  const hint = (text: string) => () => {
    element.title = text;
  };
  const xterm = new Terminal({
    allowProposedApi: true,
    fontFamily: getComputedStyle(root).getPropertyValue("--mono"),
    fontSize: 12,
    lineHeight: 1.35,
    scrollback: SCROLLBACK_LINES,
    cursorBlink: !window.matchMedia("(prefers-reduced-motion: reduce)").matches,
    macOptionIsMeta: true,
    // Where a program has the mouse, text is selected with Shift, and on a Mac with Option.
    macOptionClickForcesSelection: true,
    minimumContrastRatio: 4.5,
    theme: terminalTheme(root.dataset.theme === "dark" ? "dark" : "light"),
    linkHandler: {
      activate: openLink,
      allowNonHttpProtocols: false,
      hover: (_event, url) => hint(`${LINK_HINT}: ${url}`)(),
      leave: hint(""),
    },
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  xterm.loadAddon(fit);
  xterm.loadAddon(search);
  // Emoji and the characters of China, Japan and Korea take two cells, as programs count on.
  xterm.loadAddon(new Unicode11Addon());
  xterm.unicode.activeVersion = "11";
  xterm.loadAddon(new WebLinksAddon(openLink, { hover: hint(LINK_HINT), leave: hint("") }));
  // Programs in the sandbox have no business with the person's clipboard.
  xterm.parser.registerOscHandler(52, () => true);
  for (const question of QUESTIONS) xterm.parser.registerCsiHandler(question, () => !mayAnswer());
  xterm.parser.registerDcsHandler({ intermediates: "$", final: "q" }, () => !mayAnswer());
  for (const id of COLOURS) xterm.parser.registerOscHandler(id, (data) => data.includes("?") && !mayAnswer());
  xterm.open(element);
  xterm.textarea?.setAttribute("aria-label", label);
  element.addEventListener("paste", (event) => pasteInto(xterm, event), { capture: true });
  // The page's own few keys pass by the terminal; everything else is the terminal's.
  xterm.attachCustomKeyEventHandler((event) => commandFor(event) === undefined);
  return {
    xterm,
    search,
    fit: () => {
      const hasSize = element.clientHeight > 0 && element.clientWidth > 0;
      if (hasSize) fit.fit();
      return hasSize;
    },
    dispose: () => xterm.dispose(),
  };
}

/** Draws with the graphics card while it is there. One context for each screen that is seen: browsers have few. */
export function drawFast({ xterm }: Screen): () => void {
  try {
    const webgl = new WebglAddon();
    let lost = false;
    webgl.onContextLoss(() => {
      lost = true;
      webgl.dispose();
    });
    xterm.loadAddon(webgl);
    return () => {
      if (!lost) webgl.dispose();
    };
  } catch {
    // Without WebGL it draws with the document.
    return () => {};
  }
}
