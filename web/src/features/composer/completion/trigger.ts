/** What is being completed, from the text and the caret alone. Pure. */

export interface Trigger {
  kind: "file" | "command";
  /** What was typed behind the sign. */
  query: string;
  /** Where the sign is. */
  start: number;
  /** Where the caret is. */
  end: number;
}

/** A longer search is none: the server takes no more either. */
const MAX_QUERY = 200;

/** `@` at the beginning of a word opens files; what is quoted may have spaces. */
const FILE = /(?:^|[\s([{"'`])@(?:"([^"\n]*)|([^\s"@]*))$/;
/** `/` at the beginning of the whole text opens commands. */
const COMMAND = /^\/([^\s/]*)$/;

export function triggerAt(text: string, caret: number): Trigger | undefined {
  const before = text.slice(0, caret);
  const command = COMMAND.exec(before);
  if (command) return { kind: "command", query: command[1] ?? "", start: 0, end: caret };
  const line = before.slice(before.lastIndexOf("\n") + 1);
  const file = FILE.exec(line);
  if (!file) return undefined;
  const quoted = file[1];
  const query = quoted ?? file[2] ?? "";
  if (query.length > MAX_QUERY) return undefined;
  const start = caret - query.length - (quoted === undefined ? 1 : 2);
  return { kind: "file", query, start, end: caret };
}

/** A path as it stands in a message: quoted when a space would cut it. */
export const quotedPath = (path: string): string =>
  /[\s"'`]/.test(path) ? `"${path.replace(/(["\\])/g, "\\$1")}"` : path;

export interface Edit {
  text: string;
  caret: number;
}

/** The text with what was chosen in the place of what was typed, and room to write on. */
export function insertAt(text: string, { start, end }: Trigger, chosen: string): Edit {
  const rest = text.slice(end);
  const space = /^\s/.test(rest) ? "" : " ";
  return { text: text.slice(0, start) + chosen + space + rest, caret: start + chosen.length + 1 };
}

/** A command and what is written behind it; none when the text is a message. */
export function commandIn(text: string): { name: string; args: string } | undefined {
  const found = /^\/([^\s/]+)(?:\s+([\s\S]*))?$/.exec(text.trimEnd());
  return found ? { name: found[1] as string, args: (found[2] ?? "").trim() } : undefined;
}
