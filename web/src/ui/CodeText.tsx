import { Fragment, type ReactNode } from "react";

/** Plain text in which `code` is set as code, and nothing else means anything. */
export function CodeText({ text }: { text: string }): ReactNode {
  return text.split(/`([^`\n]+)`/).map((part, i) =>
    // biome-ignore lint/suspicious/noArrayIndexKey: parts of a text have no other name
    i % 2 === 1 ? <code key={i}>{part}</code> : <Fragment key={i}>{part}</Fragment>,
  );
}
