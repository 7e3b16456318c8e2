/** How the server puts comments into a message's text; the page shows them as what they are. */
import type { QueuedMessage } from "../api/types";

const MARK = "Comments on the changes:\n";

/** What the person wrote of a message that comments left with. */
export function withoutComments(text: string): string {
  const at = text.startsWith(MARK) ? 0 : text.indexOf(`\n\n${MARK}`);
  return at < 0 ? text : text.slice(0, at);
}

/** What the person wrote of a message that waits. */
export const ownText = ({ text, comments }: Pick<QueuedMessage, "text" | "comments">): string =>
  comments?.length ? withoutComments(text) : text;
