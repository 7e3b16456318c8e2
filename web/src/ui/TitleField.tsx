import { useEffect, useRef, useState } from "react";

/** What the server accepts. */
const MAX_TITLE = 200;

/** A title that is being written. Enter and leaving it keep what was written, Escape does not. */
export function TitleField({
  label,
  title,
  onSave,
  onCancel,
}: {
  label: string;
  title: string;
  onSave: (title: string) => void;
  onCancel: () => void;
}) {
  const [text, setText] = useState(title);
  const input = useRef<HTMLInputElement>(null);
  const over = useRef(false);
  useEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);
  const end = (save: boolean) => {
    if (over.current) return;
    over.current = true;
    const next = text.trim();
    if (save && next && next !== title) onSave(next);
    else onCancel();
  };
  return (
    <input
      ref={input}
      className="title-input"
      aria-label={label}
      value={text}
      maxLength={MAX_TITLE}
      onChange={(event) => setText(event.target.value)}
      onBlur={() => end(true)}
      onKeyDown={(event) => {
        if (event.nativeEvent.isComposing) return;
        event.stopPropagation();
        if (event.key === "Enter") end(true);
        if (event.key === "Escape") {
          event.preventDefault();
          end(false);
        }
      }}
    />
  );
}
