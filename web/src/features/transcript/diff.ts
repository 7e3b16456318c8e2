/** Reads the hunks of a unified diff, or the bare lines of an added or deleted file. */

export interface DiffLine {
  kind: "add" | "remove" | "context" | "hunk" | "note";
  text: string;
  before: number | null;
  after: number | null;
}

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)$/;

export function parseDiff(diff: string): DiffLine[] {
  const lines: DiffLine[] = [];
  let before = 1;
  let after = 1;
  const raw = diff.split("\n");
  if (raw.at(-1) === "") raw.pop();
  for (const line of raw) {
    const hunk = HUNK.exec(line);
    if (hunk) {
      before = Number(hunk[1]);
      after = Number(hunk[2]);
      lines.push({ kind: "hunk", text: (hunk[3] ?? "").trim(), before: null, after: null });
    } else if (line.startsWith("+")) {
      lines.push({ kind: "add", text: line.slice(1), before: null, after: after++ });
    } else if (line.startsWith("-")) {
      lines.push({ kind: "remove", text: line.slice(1), before: before++, after: null });
    } else if (line.startsWith("\\")) {
      lines.push({ kind: "note", text: line.slice(2), before: null, after: null });
    } else {
      lines.push({ kind: "context", text: line.slice(1), before: before++, after: after++ });
    }
  }
  return lines;
}
