/** Short messages about what was done or failed elsewhere than where one looks. */
import { X } from "lucide-react";
import { useSyncExternalStore } from "react";
import { type ApiError, asApiError } from "../api/client";
import { Button, IconButton } from "./Button";
import { ErrorNote } from "./ErrorNote";
import "./toasts.css";

/** What can be done about what a toast says. */
export interface ToastAction {
  label: string;
  run: () => void;
}

interface Toast {
  id: number;
  text?: string;
  action?: ToastAction;
  error?: ApiError;
}

const SHOWN_MS = 4_000;
/** One that offers something stays long enough to be read, thought about and reached. */
const OFFERED_MS = 12_000;
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

export function say(text: string, action?: ToastAction): void {
  const id = nextId++;
  set([...toasts, { id, text, action }].slice(-MAX_TOASTS));
  setTimeout(() => dismiss(id), action ? OFFERED_MS : SHOWN_MS);
}

/** Stays until dismissed: a failure must not disappear while one looks away. */
export function sayError(error: unknown, action = "The action"): void {
  set([...toasts, { id: nextId++, error: asApiError(error, action) }].slice(-MAX_TOASTS));
}

function ToastButton({ action, onDone }: { action: ToastAction; onDone: () => void }) {
  return (
    <Button
      className="toast-action"
      onClick={() => {
        onDone();
        action.run();
      }}
    >
      {action.label}
    </Button>
  );
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
          {toast.action && <ToastButton action={toast.action} onDone={() => dismiss(toast.id)} />}
          <IconButton label="Dismiss" className="toast-close" onClick={() => dismiss(toast.id)}>
            <X size={14} />
          </IconButton>
        </div>
      ))}
    </section>
  );
}
