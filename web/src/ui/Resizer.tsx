import { type KeyboardEvent, type PointerEvent, useRef } from "react";
import "./resizer.css";

interface ResizerProps {
  label: string;
  /** What the separator sizes, in pixels. */
  value: number;
  min: number;
  max: number;
  onChange: (value: number) => void;
  /**
   * A horizontal line between two panes above each other, sizing the lower one, or a vertical one
   * between two beside each other, sizing the right one.
   */
  orientation: "horizontal" | "vertical";
}

const STEP = 24;

/** A separator between two panes, moved by pointer or arrow keys. */
export function Resizer({ label, value, min, max, onChange, orientation }: ResizerProps) {
  const start = useRef<{ at: number; value: number } | undefined>(undefined);
  const place = (event: PointerEvent) => (orientation === "vertical" ? event.clientX : event.clientY);
  const clamp = (next: number) => Math.round(Math.max(min, Math.min(max, next)));

  const onPointerDown = (event: PointerEvent<HTMLElement>) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    start.current = { at: place(event), value };
  };
  const onPointerMove = (event: PointerEvent) => {
    if (start.current) onChange(clamp(start.current.value + start.current.at - place(event)));
  };
  const onPointerUp = () => {
    start.current = undefined;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const [grow, shrink] =
      orientation === "vertical" ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
    const step = event.key === grow ? STEP : event.key === shrink ? -STEP : undefined;
    if (step === undefined) return;
    event.preventDefault();
    onChange(clamp(value + step));
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a separator that can be moved is a widget; <hr> is not
    <div
      className="resizer"
      role="separator"
      tabIndex={0}
      aria-label={label}
      aria-orientation={orientation}
      aria-valuenow={clamp(value)}
      aria-valuemin={min}
      aria-valuemax={max}
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={onPointerUp}
      onPointerCancel={onPointerUp}
      onKeyDown={onKeyDown}
    />
  );
}
