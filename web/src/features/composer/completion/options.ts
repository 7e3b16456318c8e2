/** What is offered, as the list draws it. Pure. */
import type { FoundFile, RuntimeCommand } from "../../../api/completion";

export interface Option {
  key: string;
  /** Text in parts; those that match are marked. */
  name: readonly Part[];
  /** Dimmed, behind the name. */
  detail: readonly Part[];
  icon: "code" | "text" | "image" | "data" | "file" | "command" | "skill";
  /** What takes the place of what was typed. */
  insert: string;
  /** Run at once instead. */
  run?: string;
}

export interface Part {
  text: string;
  match: boolean;
}

const KINDS: readonly [Option["icon"], RegExp][] = [
  ["image", /\.(png|jpe?g|gif|webp|avif|svg|ico|bmp)$/i],
  ["text", /\.(md|mdx|txt|rst|adoc|log)$|^(license|readme|changelog)/i],
  ["data", /\.(json|ya?ml|toml|lock|csv|ndjson|xml|ini|env)$/i],
  ["code", /\.[a-z0-9+]{1,5}$/i],
];

function parts(letters: readonly string[], marked: ReadonlySet<number>, from: number): Part[] {
  const cut: Part[] = [];
  letters.forEach((letter, i) => {
    const match = marked.has(from + i);
    const last = cut.at(-1);
    if (last?.match === match) last.text += letter;
    else cut.push({ text: letter, match });
  });
  return cut;
}

export function fileOption({ path, matches }: FoundFile, quote: (path: string) => string): Option {
  const letters = Array.from(path.text);
  const slash = letters.lastIndexOf("/");
  const marked = new Set(matches);
  const name = letters.slice(slash + 1);
  const icon = KINDS.find(([, pattern]) => pattern.test(name.join("")))?.[0] ?? "file";
  return {
    key: path.bytes ?? path.text,
    name: parts(name, marked, slash + 1),
    detail: parts(letters.slice(0, Math.max(0, slash)), marked, 0),
    icon,
    insert: quote(path.text),
  };
}

/** Where each letter of the query is in the text, at its first occurrence; none when one is missing. */
function lettersIn(text: string, query: string): number[] | undefined {
  const hay = text.toLowerCase();
  const whole = hay.indexOf(query.toLowerCase());
  if (whole >= 0) return Array.from(query, (_, i) => whole + i);
  const found: number[] = [];
  for (const letter of query.toLowerCase()) {
    const at = hay.indexOf(letter, (found.at(-1) ?? -1) + 1);
    if (at < 0) return undefined;
    found.push(at);
  }
  return found;
}

/** Commands whose name fits: those that begin with what was typed first, in the runtime's order. */
export function commandOptions(commands: readonly RuntimeCommand[], query: string): Option[] {
  return commands
    .flatMap((command) => {
      const places = lettersIn(command.name, query);
      return places ? [{ command, places, begins: places[0] === 0 || query === "" }] : [];
    })
    .sort((a, b) => Number(b.begins) - Number(a.begins))
    .map(({ command, places }) => {
      const skill = command.kind.kind === "skill" ? command.kind : undefined;
      const sign = skill ? "" : "/";
      const name = parts(Array.from(command.name), new Set(places), 0);
      return {
        key: command.name,
        name: sign ? [{ text: sign, match: false }, ...name] : name,
        detail: [{ text: command.description, match: false }],
        icon: skill ? ("skill" as const) : ("command" as const),
        insert: skill ? skill.mention : `/${command.name}`,
        ...(skill || command.arguments ? {} : { run: command.name }),
      };
    });
}
