/** Short messages about what was done or failed elsewhere than where one looks. */
import { X } from "lucide-react";
import { useSyncExternalStore } from "react";
import { type ApiError, asApiError } from "../api/client";
import { IconButton } from "./Button";
import { ErrorNote } from "./ErrorNote";
import "./toasts.css";

interface Toast {
  id: number;
  text?: string;
  error?: ApiError;
}

const SHOWN_MS = 4_000;
/** More at once would cover the page. */
const MAX_TOASTS = 3;

let toasts: readonly Toast[] = [];
let nextId = 1;
const listeners = new Set<() => void>();

function set(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}
const dismiss = (id: number) => set(toasts.filter((toast) => toast.id !== id));

export function say(text: string): void {
  const id = nextId++;
  set([...toasts, { id, text }].slice(-MAX_TOASTS));
  setTimeout(() => dismiss(id), SHOWN_MS);
}

/** Stays until dismissed: a failure must not disappear while one looks away. */
export function sayError(error: unknown, action = "The action"): void {
  set([...toasts, { id: nextId++, error: asApiError(error, action) }].slice(-MAX_TOASTS));
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <section className="toasts" aria-label="Notifications" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} className="toast">
          {toast.error ? <ErrorNote error={toast.error} /> : <p className="toast-text">{toast.text}</p>}
          <IconButton label="Dismiss" className="toast-close" onClick={() => dismiss(toast.id)}>
            <X size={14} />
          </IconButton>
        </div>
      ))}
    </section>
  );
}
