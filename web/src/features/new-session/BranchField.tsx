import { ChevronDown, GitBranch } from "lucide-react";
import { useId } from "react";
import { ChoiceMenu } from "../../ui/Menu";

interface BranchFieldProps {
  label: string;
  hideLabel: boolean;
  branches: readonly string[];
  value: string;
  onChange: (branch: string) => void;
  disabled: boolean;
  /** Whether the repository is being looked at. Said in the field: a line below would move what a person is about to press. */
  checking: boolean;
  error: string | undefined;
}

export function BranchField({
  label,
  hideLabel,
  branches,
  value,
  onChange,
  disabled,
  checking,
  error,
}: BranchFieldProps) {
  const id = useId();
  const shown = value || (branches[0] ?? "Default branch");
  return (
    <div className="field branch-field">
      <label htmlFor={id} className={hideLabel ? "hidden-text" : undefined}>
        {label}
      </label>
      {branches.length > 0 ? (
        <ChoiceMenu
          value={value || branches[0]}
          choices={branches.map((branch, i) => ({
            value: branch,
            label: branch,
            detail: i === 0 ? "Checked out" : undefined,
          }))}
          onChoose={onChange}
          trigger={
            <button id={id} type="button" className="btn select" aria-label={`${label}: ${shown}`}>
              <GitBranch size={14} aria-hidden="true" />
              <span className="truncate">{shown}</span>
              <span className="spacer" />
              <ChevronDown size={14} aria-hidden="true" />
            </button>
          }
        />
      ) : (
        <input
          id={id}
          className="input"
          placeholder={disabled ? "No repository" : checking ? "Checking…" : "Default branch"}
          disabled={disabled}
          value={disabled ? "" : value}
          spellCheck={false}
          autoComplete="off"
          aria-invalid={error !== undefined}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
      {error && (
        <p className="field-error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
