import { Dialog } from "radix-ui";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import { useLocation } from "wouter";
import type { Session } from "../../api/types";
import { type Command, useCommandList } from "../../keys/registry";
import { useFoundSessions } from "../../live/sessions";
import { Kbd } from "../../ui/Kbd";
import { StatusIcon } from "../session/StatusIcon";
import { repositoryName, statusOf } from "../session/status";
import { MAX_SEARCH } from "../sessions/filter";
import "./commands.css";
import { rank } from "./rank";

interface Entry {
  id: string;
  title: string;
  group: string;
  session?: Session;
  command?: Command;
}

/** More rows than this are no answer. */
const MAX_ROWS = 60;
/** A letter finds everything. */
const MIN_SEARCH = 2;
const TYPING_MS = 150;

interface PaletteProps {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  sessions: readonly Session[];
}

export function Palette({ open, onOpenChange, sessions }: PaletteProps) {
  return (
    <Dialog.Root open={open} onOpenChange={onOpenChange}>
      <Dialog.Portal>
        <Dialog.Overlay className="veil" />
        <Dialog.Content className="dialog palette" aria-describedby={undefined}>
          <Dialog.Title className="hidden-text">Search and commands</Dialog.Title>
          <List sessions={sessions} onClose={() => onOpenChange(false)} />
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

/** The server finds sessions by their tasks too, and those that are not loaded. */
function useAlsoFound(query: string): readonly Session[] {
  const [asked, setAsked] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => setAsked(query.trim().slice(0, MAX_SEARCH)), TYPING_MS);
    return () => clearTimeout(timer);
  }, [query]);
  const q = asked.length < MIN_SEARCH ? "" : new URLSearchParams({ q: asked }).toString();
  const { sessions, isPlaceholderData } = useFoundSessions(q, () => []);
  return q && !isPlaceholderData ? sessions : [];
}

function List({ sessions, onClose }: { sessions: readonly Session[]; onClose: () => void }) {
  const commands = useCommandList();
  const [, navigate] = useLocation();
  const [query, setQuery] = useState("");
  const [active, setActive] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const found = useAlsoFound(query);

  const entries = useMemo<Entry[]>(() => {
    const possible = commands.filter((command) => !command.hidden && command.when?.() !== false);
    const all: Entry[] = [
      ...possible.map((command) => ({
        id: command.id,
        title: command.title,
        group: command.group as string,
        command,
      })),
      ...sessions.map((session) => ({ id: session.id, title: session.title, group: "Sessions", session })),
    ];
    const ranked = rank(all, query, (entry) =>
      entry.session
        ? `${entry.title} ${repositoryName(entry.session) ?? ""}`
        : `${entry.title} ${entry.group}`,
    );
    const known = new Set(ranked.map((entry) => entry.id));
    const more = found
      .filter((session) => !known.has(session.id))
      .map((session) => ({ id: session.id, title: session.title, group: "Sessions", session }));
    return [...ranked, ...more].slice(0, MAX_ROWS);
  }, [commands, sessions, found, query]);

  const choose = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    // The dialog gives the focus back first; what the command focuses comes after.
    setTimeout(() => (entry.session ? navigate(`/s/${entry.session.id}`) : entry.command?.run()));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setActive((active + step + entries.length) % Math.max(1, entries.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      choose(entries[active]);
    }
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: follows the active row
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [active, query]);

  return (
    <>
      <input
        className="palette-input"
        // biome-ignore lint/a11y/noAutofocus: the dialog is for typing
        autoFocus
        role="combobox"
        aria-label="Search sessions and commands"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={entries[active] ? `palette-${active}` : undefined}
        placeholder="Search sessions and commands"
        value={query}
        onChange={(event) => {
          setQuery(event.target.value);
          setActive(0);
        }}
        onKeyDown={onKeyDown}
      />
      <div ref={list} id="palette-list" role="listbox" aria-label="Results" className="palette-list">
        {entries.map((entry, i) => (
          // biome-ignore lint/a11y/useFocusableInteractive: focus stays in the text field, which names the active option
          // biome-ignore lint/a11y/useKeyWithClickEvents: the text field has the keyboard
          <div
            key={entry.id}
            id={`palette-${i}`}
            role="option"
            aria-selected={i === active}
            className="menu-item"
            onPointerMove={() => setActive(i)}
            onClick={() => choose(entry)}
          >
            {entry.session && <StatusIcon status={statusOf(entry.session)} />}
            <span className="truncate">{entry.title}</span>
            <span className="detail">{entry.session ? repositoryName(entry.session) : entry.group}</span>
            {entry.command?.keys?.[0] && <Kbd keys={entry.command.keys[0]} />}
          </div>
        ))}
        {entries.length === 0 && <p className="palette-empty">Nothing is called that.</p>}
      </div>
    </>
  );
}
