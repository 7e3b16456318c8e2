import { Braces, File, FileCode, FileImage, FileText, Sparkles, TerminalSquare } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import "./completions.css";
import type { Option, Part } from "./options";
import type { Offer } from "./use-options";

const ICONS = {
  code: FileCode,
  text: FileText,
  image: FileImage,
  data: Braces,
  file: File,
  command: TerminalSquare,
  skill: Sparkles,
};
/** Most answers are faster; an indicator would only flicker. */
const SLOW_MS = 300;

function Marked({ parts }: { parts: readonly Part[] }) {
  return parts.map((part, i) =>
    // biome-ignore lint/suspicious/noArrayIndexKey: parts have no other identity
    part.match ? <b key={i}>{part.text}</b> : <span key={i}>{part.text}</span>,
  );
}

function Row({ option }: { option: Option }) {
  const Icon = ICONS[option.icon];
  return (
    <>
      <Icon size={14} aria-hidden="true" />
      <span className="completion-name">
        <Marked parts={option.name} />
      </span>
      <span
        className={`completion-detail ${option.icon === "command" || option.icon === "skill" ? "" : "path"}`}
      >
        <bdi>
          <Marked parts={option.detail} />
        </bdi>
      </span>
    </>
  );
}

interface CompletionsProps {
  id: string;
  label: string;
  offer: Offer;
  active: number;
  onActive: (index: number) => void;
  onChoose: (option: Option) => void;
  /** From the composer's edges. */
  place: { left: number; bottom: number };
}

/** What the composer offers to complete, at the caret. The text field keeps the keyboard. */
export function Completions({ id, label, offer, active, onActive, onChoose, place }: CompletionsProps) {
  const list = useRef<HTMLDivElement>(null);
  const [slow, setSlow] = useState(false);
  const { options, loading, note, total } = offer;
  useEffect(() => {
    setSlow(false);
    if (!loading) return;
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    return () => clearTimeout(timer);
  }, [loading]);
  useEffect(() => {
    list.current?.children[active]?.scrollIntoView({ block: "nearest" });
  }, [active]);
  const said = note ?? (loading ? (slow ? "Searching…" : "") : "");
  const more = total > options.length ? `${(total - options.length).toLocaleString()} more` : undefined;
  // Before the first answer there is nothing worth a box, unless it takes long.
  if (options.length === 0 && !said) return <p className="hidden-text" role="status" />;
  return (
    <div className="completions pop" style={{ left: place.left, bottom: place.bottom }}>
      {options.length > 0 && (
        <div ref={list} id={id} role="listbox" aria-label={label} className="completion-list">
          {options.map((option, i) => (
            // biome-ignore lint/a11y/useFocusableInteractive: focus stays in the text field, which names the active option
            <div
              key={option.key}
              id={`${id}-${i}`}
              role="option"
              aria-selected={i === active}
              className="menu-item completion"
              onPointerDown={(event) => {
                event.preventDefault();
                if (event.button === 0) onChoose(option);
              }}
              onPointerMove={() => i !== active && onActive(i)}
            >
              <Row option={option} />
            </div>
          ))}
        </div>
      )}
      {(said || more) && (
        <p className="completion-note" aria-hidden={said ? undefined : true}>
          {said || `${more}. Type on to narrow it down.`}
        </p>
      )}
      <p className="hidden-text" role="status">
        {said || `${total.toLocaleString()} ${total === 1 ? "result" : "results"}`}
      </p>
    </div>
  );
}
