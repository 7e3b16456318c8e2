/**
 * `@` completes files, `/` the runtime's commands. The text field keeps the keyboard all the time
 * and names the active option, so a screen reader hears it.
 */
import { useQueryClient } from "@tanstack/react-query";
import {
  type KeyboardEvent,
  type RefObject,
  useEffect,
  useId,
  useLayoutEffect,
  useRef,
  useState,
} from "react";
import type { RuntimeCommand } from "../../../api/completion";
import type { Session } from "../../../api/types";
import { sayError } from "../../../ui/toasts";
import { Completions } from "./Completions";
import { caretPoint } from "./caret";
import type { Option } from "./options";
import { newRun, notRun, type RunNamed } from "./run";
import { commandIn, insertAt, type Trigger, triggerAt } from "./trigger";
import { commandsKey, commandsQuery, useOptions } from "./use-options";

interface Field {
  session: Session;
  area: RefObject<HTMLTextAreaElement | null>;
  text: string;
  setText: (text: string) => void;
  onRun: RunNamed;
}

/** The width of the list, so that it stays inside of the composer. */
const LIST_WIDTH = 420;

export function useCompletion({ session, area, text, setText, onRun }: Field) {
  const id = useId();
  const client = useQueryClient();
  const [caret, setCaret] = useState<number>();
  const [closed, setClosed] = useState<number>();
  const [active, setActive] = useState(0);
  const [place, setPlace] = useState({ left: 0, bottom: 0 });
  const [running, setRunning] = useState<string>();
  const wantedCaret = useRef<number>(undefined);
  /** Enter was pressed before the answer to what was typed came. */
  const chooseFirst = useRef(false);

  const found = caret === undefined ? undefined : triggerAt(text, caret);
  const trigger = found && found.start === closed ? undefined : found;
  const offer = useOptions(session, trigger, text !== "");
  const { options } = offer;
  const open = trigger !== undefined;
  const at = Math.min(active, options.length - 1);

  // Another sign, or none: what was closed may open again.
  useEffect(() => {
    if (closed !== undefined && found?.start !== closed) setClosed(undefined);
  }, [closed, found?.start]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another search begins at the top
  useEffect(() => {
    setActive(0);
    chooseFirst.current = false;
  }, [trigger?.query, trigger?.kind, trigger?.start]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the sign is drawn elsewhere when the text changes
  useLayoutEffect(() => {
    const element = area.current;
    if (!element || trigger === undefined) return;
    const point = caretPoint(element, trigger.start);
    const frame = element.offsetParent as HTMLElement | null;
    const height = frame?.clientHeight ?? element.clientHeight;
    const width = frame?.clientWidth ?? element.clientWidth;
    const left = Math.max(8, Math.min(element.offsetLeft + point.left - 8, width - LIST_WIDTH - 8));
    const bottom = height - element.offsetTop - Math.max(0, point.top) + 4;
    setPlace((old) => (old.left === left && old.bottom === bottom ? old : { left, bottom }));
  }, [area, trigger?.start, text]);

  useLayoutEffect(() => {
    const position = wantedCaret.current;
    if (position === undefined) return;
    wantedCaret.current = undefined;
    area.current?.setSelectionRange(position, position);
    setCaret(position);
  });

  const run = async (name: string, args: string, written: string, key = newRun()) => {
    if (area.current?.value === written) setText("");
    setRunning(name);
    try {
      await onRun(name, args, key);
    } catch (error) {
      // Nothing typed is lost, unless something else was typed meanwhile.
      if (area.current?.value === "") setText(written);
      const again = () => void run(name, args, written, key);
      sayError(notRun(error, name), undefined, { label: "Run again", run: again });
    } finally {
      setRunning(undefined);
    }
  };
  const runNow = (name: string, args: string, written: string) => {
    setText("");
    return run(name, args, written);
  };
  const choose = (option: Option, on: Trigger) => {
    area.current?.focus();
    if (option.run) return void runNow(option.run, "", `/${option.run}`);
    const edit = insertAt(text, on, option.insert);
    wantedCaret.current = edit.caret;
    setText(edit.text);
  };

  const isFresh = trigger !== undefined && offer.query === trigger.query;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the answer that Enter waited for
  useEffect(() => {
    if (!chooseFirst.current || !isFresh || !trigger) return;
    chooseFirst.current = false;
    const first = options[0];
    if (first) choose(first, trigger);
  }, [isFresh, options]);

  const follow = () => {
    const element = area.current;
    if (!element) return;
    setCaret(element.selectionStart === element.selectionEnd ? element.selectionStart : undefined);
  };

  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.nativeEvent.isComposing || !trigger) return;
    if (event.key === "Escape") {
      event.preventDefault();
      setClosed(trigger.start);
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const waits = !isFresh && offer.loading && offer.note === undefined;
    if (options.length === 0 && !waits) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (options.length) setActive((at + step + options.length) % options.length);
    } else if (event.key === "Enter" || event.key === "Tab") {
      event.preventDefault();
      const option = options[at];
      if (!isFresh) chooseFirst.current = true;
      else if (option) choose(option, trigger);
    }
  };

  /** Runs the text when it is one of the runtime's commands, which may have to be asked for first. */
  const runText = (otherwise: () => void) => {
    const written = commandIn(text);
    if (!written || session.state !== "running") return otherwise();
    const decide = (known: readonly RuntimeCommand[]) => {
      const isAction = known.some(({ name, kind }) => name === written.name && kind.kind === "action");
      return isAction ? void runNow(written.name, written.args, text) : otherwise();
    };
    const known = client.getQueryData<RuntimeCommand[]>(commandsKey(session));
    if (known) return decide(known);
    // Who types on meanwhile has not sent it yet.
    const still = () => area.current?.value === text;
    void client.fetchQuery(commandsQuery(session)).then(
      (asked) => still() && decide(asked),
      () => still() && otherwise(),
    );
  };

  const listId = `${id}-options`;
  const listed = open && options.length > 0;
  return {
    open,
    /** The command whose answer is awaited. */
    running,
    runText,
    /** Called when text or caret may have changed. */
    follow,
    field: {
      onKeyDown,
      onSelect: follow,
      onBlur: () => setCaret(undefined),
      "aria-autocomplete": "list" as const,
      "aria-haspopup": "listbox" as const,
      "aria-controls": listed ? listId : undefined,
      "aria-activedescendant": listed ? `${listId}-${at}` : undefined,
    },
    list: open && (
      <Completions
        id={listId}
        label={trigger.kind === "file" ? "Files" : "Commands"}
        offer={offer}
        active={at}
        onActive={setActive}
        onChoose={(option) => choose(option, trigger)}
        place={place}
      />
    ),
  };
}
