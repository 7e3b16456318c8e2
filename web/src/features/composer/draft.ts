/** What is written in a composer and not sent, kept by this browser under the composer's scope. */
import { useCallback, useState } from "react";
import { readStored, writeStored } from "../../ui/storage";

const keyOf = (scope: string) => `draft:${scope}`;

const before = (added: string, text: string): string => (text ? `${added}\n\n${text}` : added);

export function useDraft(scope: string): {
  text: string;
  setText: (text: string) => void;
  /** Puts a text in front of what is written. */
  insert: (added: string) => void;
} {
  const [text, show] = useState(() => readStored(keyOf(scope), ""));
  const setText = useCallback(
    (next: string) => {
      show(next);
      writeStored(keyOf(scope), next || undefined);
    },
    [scope],
  );
  return { text, setText, insert: (added) => setText(before(added, text)) };
}

/** Puts a text in front of the draft of a composer that is not on the page. */
export function insertIntoDraft(scope: string, added: string): void {
  writeStored(keyOf(scope), before(added, readStored(keyOf(scope), "")));
}

/** A conversation that has its name is another place than the one without. */
export function moveDraft(from: string, to: string): void {
  const text = readStored(keyOf(from), "");
  if (text) writeStored(keyOf(to), text);
  writeStored(keyOf(from), undefined);
}
