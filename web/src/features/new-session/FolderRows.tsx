import { useQuery } from "@tanstack/react-query";
import { Folder, FolderPlus, Plus, X } from "lucide-react";
import { useEffect, useId, useState } from "react";
import { ApiError, api } from "../../api/client";
import { useCommands } from "../../keys/registry";
import { Button, IconButton } from "../../ui/Button";
import { BranchField } from "./BranchField";
import { type RepositoryChoice, RepositoryField } from "./RepositoryField";
import {
  addRow,
  changeRow,
  type FolderRow,
  type Folders,
  folderNameProblem,
  MAX_ROWS,
  type RowError,
  removeRow,
} from "./workspaces";

/** After the last key, before the server is asked whether a repository exists. */
const CHECK_AFTER_MS = 350;

function useDebounced(value: string): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), CHECK_AFTER_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

const looksWhole = (source: string) => /^\/.+/.test(source) || /^https?:\/\/[^/]+\/.+/.test(source);

/** What is known of a repository without asking for it: its branches, or what is wrong. */
function useCheck(source: string) {
  const now = source.trim();
  const settled = useDebounced(now);
  const check = useQuery({
    queryKey: ["repository", settled],
    queryFn: ({ signal }) => api.checkRepository({ source: settled }, signal),
    enabled: settled !== "" && looksWhole(settled),
    staleTime: 15_000,
    retry: false,
  });
  const current = settled === now;
  const refused = current && check.error instanceof ApiError ? check.error.message : undefined;
  const partial =
    current && settled !== "" && !looksWhole(settled)
      ? "Give an absolute path on the server's disk or an https:// URL."
      : undefined;
  return {
    branches: current && check.data ? check.data.branches : [],
    problem: partial ?? refused,
    checking: check.isFetching && !check.data,
  };
}

interface RowProps {
  row: FolderRow;
  /** Counted from 1; none when it is the only one. */
  number: number | undefined;
  choices: readonly RepositoryChoice[];
  error: RowError | undefined;
  onChange: (change: Partial<FolderRow>) => void;
}

const named = (label: string, number: number | undefined) =>
  number === undefined || number === 1 ? label : `${label} ${number}`;

function RepositoryRow({ row, number, choices, error, onChange }: RowProps) {
  const { branches, problem, checking } = useCheck(row.source);
  const empty = row.source.trim() === "";
  const hint = empty && number === undefined ? "The agent starts in an empty folder." : undefined;
  const later = number !== undefined && number > 1;
  return (
    <>
      <RepositoryField
        label={named("Repository", number)}
        hideLabel={later}
        value={row.source}
        choices={choices}
        onChange={(source) => onChange({ source, branch: "" })}
        onChoose={(choice) => onChange({ source: choice.source, branch: choice.branch ?? "" })}
        error={error?.field === "source" ? error.message : problem}
        hint={hint}
      />
      <BranchField
        label={named("Branch", number)}
        hideLabel={later}
        branches={branches}
        value={row.branch}
        disabled={empty}
        checking={checking}
        onChange={(branch) => onChange({ branch })}
        error={error?.field === "branch" ? error.message : undefined}
      />
    </>
  );
}

function PlainRow({ row, number, error, onChange }: RowProps) {
  const id = useId();
  const [touched, setTouched] = useState(false);
  const problem = error?.message ?? (touched || row.source ? folderNameProblem(row.source) : undefined);
  return (
    <div className="field plain-field">
      <label htmlFor={id} className={number !== undefined && number > 1 ? "hidden-text" : undefined}>
        {named("Folder name", number)}
      </label>
      <div className="combo">
        <Folder size={16} aria-hidden="true" />
        <input
          id={id}
          className="input"
          // biome-ignore lint/a11y/noAutofocus: the person has just asked for it
          autoFocus={row.source === ""}
          value={row.source}
          placeholder="A folder without git, such as notes"
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          maxLength={64}
          aria-invalid={problem !== undefined}
          aria-describedby={problem ? `${id}-note` : undefined}
          onBlur={() => setTouched(true)}
          onChange={(event) => onChange({ source: event.target.value })}
        />
      </div>
      {problem && (
        <p id={`${id}-note`} className="field-error" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}

interface FolderRowsProps {
  value: Folders;
  onChange: (folders: Folders) => void;
  choices: readonly RepositoryChoice[];
  error: RowError | undefined;
}

/** Repositories and plain folders, and which of them the agent starts in. */
export function FolderRows({ value, onChange, choices, error }: FolderRowsProps) {
  const group = useId();
  const { rows, primary } = value;
  const several = rows.length > 1;
  const full = rows.length >= MAX_ROWS;
  const add = (kind: FolderRow["kind"]) => !full && onChange(addRow(value, kind));
  useCommands([
    { id: "new.add-repository", title: "Add a repository", group: "Session", run: () => add("repository") },
    { id: "new.add-folder", title: "Add a folder without git", group: "Session", run: () => add("folder") },
  ]);
  return (
    <fieldset
      className={several ? "folder-rows several" : "folder-rows"}
      aria-label="Repositories and folders"
    >
      {rows.map((row, at) => {
        const Row = row.kind === "repository" ? RepositoryRow : PlainRow;
        const what = row.source.trim() || `row ${at + 1}`;
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: rows have no identity but their place
          <div key={`${row.kind} ${at}`} className="folder-row">
            {several && (
              <label className="start-here" title="The agent starts here">
                <input
                  type="radio"
                  name={group}
                  checked={at === primary}
                  onChange={() => onChange({ rows, primary: at })}
                />
                <span className="hidden-text">Start in {what}</span>
              </label>
            )}
            <Row
              row={row}
              number={several ? at + 1 : undefined}
              choices={choices}
              error={error?.at === at ? error : undefined}
              onChange={(change) => onChange(changeRow(value, at, change))}
            />
            {several && (
              <IconButton label={`Remove ${what}`} onClick={() => onChange(removeRow(value, at))}>
                <X size={16} />
              </IconButton>
            )}
          </div>
        );
      })}
      <div className="folder-actions">
        <Button look="ghost" icon={<Plus size={14} />} disabled={full} onClick={() => add("repository")}>
          Add repository
        </Button>
        <Button look="ghost" icon={<FolderPlus size={14} />} disabled={full} onClick={() => add("folder")}>
          Add folder
        </Button>
        {several && (
          <span className="folder-note">The agent starts in the chosen one. Change it any time.</span>
        )}
      </div>
    </fieldset>
  );
}
