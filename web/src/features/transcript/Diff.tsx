import { ChevronRight } from "lucide-react";
import { createContext, memo, use, useId, useMemo, useState } from "react";
import type { FileChange } from "../../api/types";
import "./diff.css";
import { type DiffLine, parseDiff } from "./diff";

/** A diff of more lines is folded at first: it belongs to a review, not into a conversation. */
const OPEN_LINES = 24;
/** More lines than this are drawn only when asked for. */
const MAX_LINES = 400;

/** The folder that paths are shown from. */
export const Folder = createContext("");

/** A path as a person in that folder would say it. */
export function pathIn(folder: string, path: string): string {
  return folder && path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : path;
}

const SIGN: Record<DiffLine["kind"], string> = { add: "+", remove: "−", context: " ", hunk: "", note: "" };

export const DiffLines = memo(({ diff }: { diff: string }) => {
  const lines = useMemo(() => parseDiff(diff), [diff]);
  const [whole, setWhole] = useState(false);
  // The first hunk needs no mark unless it says where it is.
  const first = lines[0]?.kind === "hunk" && !lines[0].text ? 1 : 0;
  const shown = lines.slice(first, whole ? undefined : MAX_LINES);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <div className="diff" tabIndex={0}>
      <table>
        <tbody>
          {shown.map((line, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: lines of a diff have no other name
            <tr key={i} className={line.kind}>
              {line.kind === "hunk" || line.kind === "note" ? (
                <td colSpan={3}>{line.text || "⋯"}</td>
              ) : (
                <>
                  <td className="number">{line.after ?? line.before}</td>
                  <td className="sign">{SIGN[line.kind]}</td>
                  <td className="text">{line.text || " "}</td>
                </>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {!whole && lines.length > MAX_LINES && (
        <button type="button" className="btn ghost" onClick={() => setWhole(true)}>
          Show all {lines.length.toLocaleString()} lines
        </button>
      )}
    </div>
  );
});

export function Counts({ added, removed }: { added: number; removed: number }) {
  return (
    <span className="counts">
      {added > 0 && <span className="added">+{added}</span>}
      {removed > 0 && <span className="removed">−{removed}</span>}
      <span className="hidden-text">
        {added} lines added, {removed} removed
      </span>
    </span>
  );
}

function verb({ change }: FileChange): string {
  if (change.kind === "add") return "New";
  if (change.kind === "delete") return "Deleted";
  return change.moved_to ? "Renamed" : "Edited";
}

/** One changed file: a line with its counts, its diff below. */
export function FileCard({
  file,
  state,
  alwaysOpen,
}: {
  file: FileChange;
  state?: string;
  alwaysOpen?: boolean;
}) {
  const small = file.diff.length > 0 && file.diff.split("\n").length <= OPEN_LINES;
  const [open, setOpen] = useState(alwaysOpen || small);
  const id = useId();
  const folder = use(Folder);
  const moved = file.change.kind === "update" ? file.change.moved_to : undefined;
  return (
    <div className="file-card">
      <button
        type="button"
        className="file-head"
        aria-expanded={open}
        aria-controls={id}
        onClick={() => setOpen(!open)}
      >
        <ChevronRight size={14} className={open ? "turned" : ""} aria-hidden="true" />
        <code className="truncate">
          {pathIn(folder, file.path)}
          {moved && ` → ${pathIn(folder, moved)}`}
        </code>
        <Counts added={file.added} removed={file.removed} />
        <span className="spacer" />
        <span className={state ? "file-state" : "file-verb"}>{state ?? verb(file)}</span>
      </button>
      <div id={id} hidden={!open}>
        {open &&
          (file.diff ? <DiffLines diff={file.diff} /> : <p className="file-empty">No lines changed.</p>)}
      </div>
    </div>
  );
}
