import { Check, ChevronRight, FileWarning } from "lucide-react";
import { useMemo, useRef, useState } from "react";
import { Virtualizer } from "virtua";
import { type ChangedFile, keyOf } from "../../api/changes";
import { Rows } from "../../ui/Rows";
import { treeRows } from "./tree";

const LETTER: Partial<Record<ChangedFile["status"], [letter: string, tone: string]>> = {
  added: ["A", "added"],
  untracked: ["A", "added"],
  deleted: ["D", "removed"],
  renamed: ["R", ""],
  copied: ["C", ""],
  conflicted: ["!", "need-ink"],
};

/** The changed files as folders. */
export function FileTree({
  files,
  current,
  isViewed,
  commented,
  onChoose,
}: {
  files: readonly ChangedFile[];
  current: string | undefined;
  isViewed: (file: ChangedFile) => boolean;
  /** Keys of files with comments. */
  commented: ReadonlySet<string>;
  onChoose: (file: ChangedFile) => void;
}) {
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const rows = useMemo(() => treeRows(files, closed), [files, closed]);
  const scroller = useRef<HTMLElement>(null);
  const toggle = (path: string) => {
    const next = new Set(closed);
    if (!next.delete(path)) next.add(path);
    setClosed(next);
  };
  return (
    <nav ref={scroller} className="change-tree" aria-label="Changed files">
      <Virtualizer as={Rows} scrollRef={scroller} data={rows} itemSize={26}>
        {(row) => {
          const indent = { paddingLeft: 8 + row.depth * 12 };
          if (row.kind === "folder") {
            return (
              <button
                key={`/${row.path}`}
                type="button"
                className="tree-row"
                style={indent}
                aria-expanded={row.open}
                onClick={() => toggle(row.path)}
              >
                <ChevronRight size={14} className={row.open ? "turned" : ""} aria-hidden="true" />
                <span className="truncate">{row.name}</span>
              </button>
            );
          }
          const key = keyOf(row.file.path);
          const [letter, tone] = LETTER[row.file.status] ?? ["M", ""];
          return (
            <button
              key={key}
              type="button"
              className={isViewed(row.file) ? "tree-row file viewed" : "tree-row file"}
              style={indent}
              aria-current={key === current ? "true" : undefined}
              title={row.file.path.text}
              onClick={() => onChoose(row.file)}
            >
              <span className={`tree-letter ${tone}`}>{letter}</span>
              <span className="truncate">{row.name}</span>
              <span className="spacer" />
              {row.file.self_running && (
                <>
                  <FileWarning size={13} className="need-ink" aria-hidden="true" />
                  <span className="hidden-text">runs by itself</span>
                </>
              )}
              {commented.has(key) && (
                <span className="tree-comment">
                  <span className="hidden-text">has comments</span>
                </span>
              )}
              {isViewed(row.file) && (
                <>
                  <Check size={13} aria-hidden="true" />
                  <span className="hidden-text">viewed</span>
                </>
              )}
            </button>
          );
        }}
      </Virtualizer>
    </nav>
  );
}
