import type { ISearchOptions, SearchAddon } from "@xterm/addon-search";
import { ChevronDown, ChevronUp, X } from "lucide-react";
import { useEffect, useState } from "react";
import { IconButton } from "../../ui/Button";
import { useTheme } from "../../ui/theme";

/** More than this many matches are not marked, and counted as "1000+". */
const MAX_MATCHES = 1000;

interface Count {
  resultIndex: number;
  resultCount: number;
}

/** "2 of 7", counted from the end: the search begins at the newest output. Pure. */
export function countText(query: string, { resultIndex, resultCount }: Count): string {
  if (!query) return "";
  if (resultCount === 0) return "No results";
  const all = resultCount >= MAX_MATCHES ? `${MAX_MATCHES}+` : String(resultCount);
  return resultIndex < 0 ? all : `${resultIndex + 1} of ${all}`;
}

/** Marks take plain colours only; the tokens have them. */
function marks(): ISearchOptions["decorations"] {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(name).trim();
  return {
    matchBackground: token("--need-line"),
    matchOverviewRuler: token("--need-mark"),
    activeMatchBackground: token("--need-mark"),
    activeMatchColorOverviewRuler: token("--need"),
  };
}

export function SearchField({ search, onClose }: { search: SearchAddon; onClose: () => void }) {
  const [query, setQuery] = useState("");
  const [count, setCount] = useState<Count>({ resultIndex: -1, resultCount: 0 });
  const theme = useTheme();

  useEffect(() => {
    const listening = search.onDidChangeResults(setCount);
    return () => {
      listening.dispose();
      search.clearDecorations();
    };
  }, [search]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another theme has other marks
  useEffect(() => search.clearDecorations(), [search, theme]);

  const find = (text: string, step: "previous" | "next" | "typed") => {
    const decorations = marks();
    if (!text) return search.clearDecorations();
    if (step === "next") search.findNext(text, { decorations });
    else search.findPrevious(text, { decorations, incremental: step === "typed" });
  };
  return (
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
          find(event.target.value, "typed");
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape") onClose();
          else if (event.key === "Enter") find(query, event.shiftKey ? "next" : "previous");
          else return;
          event.preventDefault();
          event.stopPropagation();
        }}
      />
      <span className="terminal-search-count" role="status">
        {countText(query, count)}
      </span>
      <IconButton label="Previous match" keys="enter" onClick={() => find(query, "previous")}>
        <ChevronUp size={14} />
      </IconButton>
      <IconButton label="Next match" keys="shift+enter" onClick={() => find(query, "next")}>
        <ChevronDown size={14} />
      </IconButton>
      <IconButton label="Close search" keys="escape" onClick={onClose}>
        <X size={14} />
      </IconButton>
    </search>
  );
}
