import { chordLabels } from "../keys/keys";

/** The keys of a shortcut. Decoration: the control's name and `aria-keyshortcuts` say it too. */
export function Kbd({ keys }: { keys: string }) {
  return (
    <span className="kbd" aria-hidden="true">
      {chordLabels(keys).map((label) => (
        <kbd key={label}>{label}</kbd>
      ))}
    </span>
  );
}
