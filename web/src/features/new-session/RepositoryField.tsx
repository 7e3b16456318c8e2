import { FolderGit2 } from "lucide-react";
import { type KeyboardEvent, useId, useRef, useState } from "react";
import { lastPart } from "../session/status";

export interface RepositoryChoice {
  source: string;
  name: string;
  branch: string | null;
}

interface RepositoryFieldProps {
  label: string;
  /** Drawn by the field above. */
  hideLabel: boolean;
  value: string;
  choices: readonly RepositoryChoice[];
  onChange: (source: string) => void;
  onChoose: (choice: RepositoryChoice) => void;
  error: string | undefined;
  hint: string | undefined;
}

/** A repository from the profile, or any path or URL: a text field with suggestions. */
export function RepositoryField({
  label,
  hideLabel,
  value,
  choices,
  onChange,
  onChoose,
  error,
  hint,
}: RepositoryFieldProps) {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const [open, setOpen] = useState(false);
  const [typed, setTyped] = useState(false);
  const [active, setActive] = useState(-1);
  const needle = typed ? value.trim().toLowerCase() : "";
  const shown = choices.filter((choice) => `${choice.name} ${choice.source}`.toLowerCase().includes(needle));
  // What is written out needs no suggestion, which would hide what is below it.
  const isWhole = typed && shown.every((choice) => choice.source === value.trim());
  const isOpen = open && shown.length > 0 && !isWhole;

  const choose = (choice: RepositoryChoice) => {
    onChoose(choice);
    setOpen(false);
    setTyped(false);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen) {
        setOpen(true);
        setActive(0);
        return;
      }
      const step = event.key === "ArrowDown" ? 1 : -1;
      setActive((active + step + shown.length) % shown.length);
    } else if (event.key === "Enter" && isOpen && shown[active]) {
      event.preventDefault();
      choose(shown[active]);
    } else if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      setOpen(false);
    }
  };
  return (
    <div className="field repository-field">
      <label htmlFor={id} className={hideLabel ? "hidden-text" : undefined}>
        {label}
      </label>
      <div className="combo">
        <FolderGit2 size={16} aria-hidden="true" />
        <input
          id={id}
          ref={input}
          className="input"
          role="combobox"
          aria-expanded={isOpen}
          aria-controls={`${id}-list`}
          aria-autocomplete="list"
          aria-activedescendant={isOpen && active >= 0 ? `${id}-${active}` : undefined}
          aria-invalid={error !== undefined}
          aria-describedby={error || hint ? `${id}-note` : undefined}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          placeholder="Path on the server or https:// URL"
          value={value}
          onFocus={() => setOpen(true)}
          onClick={() => setOpen(true)}
          onBlur={() => {
            setOpen(false);
            setTyped(false);
          }}
          onChange={(event) => {
            setOpen(true);
            setTyped(true);
            setActive(-1);
            onChange(event.target.value);
          }}
          onKeyDown={onKeyDown}
        />
        {isOpen && (
          <div id={`${id}-list`} role="listbox" aria-label="Repositories" className="pop combo-list">
            {shown.map((choice, i) => (
              // biome-ignore lint/a11y/useFocusableInteractive: focus stays in the text field, which names the active option
              <div
                key={choice.source}
                id={`${id}-${i}`}
                role="option"
                aria-selected={i === active}
                className="menu-item"
                onPointerDown={(event) => {
                  event.preventDefault();
                  choose(choice);
                }}
                onPointerMove={() => setActive(i)}
              >
                <span className="two-lines">
                  <span>{choice.name}</span>
                  <span className="detail truncate">{choice.source}</span>
                </span>
              </div>
            ))}
          </div>
        )}
      </div>
      {(error || hint) && (
        <p
          id={`${id}-note`}
          className={error ? "field-error" : "field-hint"}
          role={error ? "alert" : undefined}
        >
          {error ?? hint}
        </p>
      )}
    </div>
  );
}

export const choiceOf = (source: string, name?: string | null, branch?: string | null): RepositoryChoice => ({
  source,
  name: name || lastPart(source),
  branch: branch ?? null,
});
