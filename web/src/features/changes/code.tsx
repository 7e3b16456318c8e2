/**
 * One line of code. Colour is for what was added and removed, so syntax is told apart by weight and
 * ink alone. Characters that reorder or hide text are shown as what they are.
 */
import { Fragment, memo, type ReactNode } from "react";

/** Longer lines are data or bundles: nobody reads their syntax. */
const MAX_SYNTAX = 2_000;
/** Controls, zero-width characters and marks that reorder what follows. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

type Language = "c" | "hash" | "sql" | "none";

const C_LIKE =
  /\.(rs|[cm]?[jt]sx?|go|java|kt|kts|swift|scala|c|h|cc|cpp|hpp|cs|css|scss|less|php|dart|proto|zig|json5?|jsonc)$/i;
const HASH_LIKE =
  /(\.(py|rb|sh|bash|zsh|ya?ml|toml|pl|r|jl|ex|exs|nix|tf|cfg|ini|conf|mk)|(^|\/)(Dockerfile|Makefile|justfile))$/i;

export function languageOf(path: string): Language {
  if (C_LIKE.test(path)) return "c";
  if (HASH_LIKE.test(path)) return "hash";
  return /\.(sql|lua|hs|elm)$/i.test(path) ? "sql" : "none";
}

const WORDS =
  "abstract as async await begin break case catch class const continue def default defer del do elif else end enum except export extends extern false final finally fn for from func function global go if impl implements import in interface is lambda let loop match mod module move mut namespace new nil none not null or package pass private protected pub public raise return self static struct super switch then this throw throws trait true try type typeof undefined union unless unsafe until use using val var virtual void where while with yield select insert update delete create table into values join".split(
    " ",
  );
const KEYWORDS = new Set(WORDS);

const STRING = /"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`?/y;
const COMMENTS: Record<Language, RegExp> = {
  c: /\/\/.*|\/\*.*?(?:\*\/|$)|^\s*\*(?:\s.*|\/.*|$)/y,
  hash: /#.*/y,
  sql: /--.*/y,
  none: /(?!)/y,
};
const WORD = /[A-Za-z_][\w]*/y;

type Token = [kind: "" | "comment" | "string" | "word", text: string];

export function tokens(text: string, language: Language): Token[] {
  if (language === "none" || text.length > MAX_SYNTAX) return [["", text]];
  const out: Token[] = [];
  let plain = "";
  const push = (kind: Token[0], part: string) => {
    if (plain) out.push(["", plain]);
    plain = "";
    out.push([kind, part]);
  };
  for (let at = 0; at < text.length; ) {
    const read = (pattern: RegExp) => {
      pattern.lastIndex = at;
      return pattern.exec(text)?.[0];
    };
    const comment = read(COMMENTS[language]);
    const string = comment ? undefined : read(STRING);
    const word = comment || string ? undefined : read(WORD);
    const found = comment || string || word || text[at] || "";
    if (comment) push("comment", comment);
    else if (string) push("string", string);
    else if (word && KEYWORDS.has(word)) push("word", word);
    else plain += found;
    at += found.length;
  }
  if (plain) out.push(["", plain]);
  return out;
}

function visible(text: string): ReactNode {
  if (text.search(ODD) < 0) return text;
  const parts: ReactNode[] = [];
  let at = 0;
  for (const match of text.matchAll(ODD)) {
    const code = `U+${(match[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
    parts.push(text.slice(at, match.index));
    parts.push(
      <span key={match.index} className="odd-character" title="A character that can't be seen">
        {code}
      </span>,
    );
    at = match.index + match[0].length;
  }
  parts.push(text.slice(at));
  return parts;
}

/** Cuts tokens where the emphasis begins and ends. */
function cut(parts: readonly Token[], mark: readonly [number, number]): [Token, boolean][] {
  const out: [Token, boolean][] = [];
  let at = 0;
  for (const [kind, text] of parts) {
    const points = [0, mark[0] - at, mark[1] - at, text.length].map((point) =>
      Math.max(0, Math.min(text.length, point)),
    );
    for (let i = 0; i < 3; i++) {
      const piece = text.slice(points[i], points[i + 1]);
      if (piece) out.push([[kind, piece], i === 1]);
    }
    at += text.length;
  }
  return out;
}

export const Code = memo(
  ({ text, language, mark }: { text: string; language: Language; mark?: readonly [number, number] }) => {
    const shown = text.endsWith("\r") ? text.slice(0, -1) : text;
    if (shown === "") return "\n";
    const parts = tokens(shown, language);
    const cutParts: [Token, boolean][] = mark ? cut(parts, mark) : parts.map((part) => [part, false]);
    return cutParts.map(([[kind, part], marked], i) => {
      const content = visible(part);
      const classes = [kind && `code-${kind}`, marked && "code-mark"].filter(Boolean).join(" ");
      return classes ? (
        // biome-ignore lint/suspicious/noArrayIndexKey: parts of a line have no other name
        <span key={i} className={classes}>
          {content}
        </span>
      ) : (
        // biome-ignore lint/suspicious/noArrayIndexKey: parts of a line have no other name
        <Fragment key={i}>{content}</Fragment>
      );
    });
  },
);
