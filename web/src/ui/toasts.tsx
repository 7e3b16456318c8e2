/** Short messages about what was done or failed elsewhere than where one looks. */
import { X } from "lucide-react";
import { useSyncExternalStore } from "react";
import { type ApiError, asApiError } from "../api/client";
import { useCommands } from "../keys/registry";
import { Button, IconButton } from "./Button";
import { ErrorNote } from "./ErrorNote";
import { Kbd } from "./Kbd";
import "./toasts.css";

/** What can be done about what a toast says. */
export interface ToastAction {
  label: string;
  run: () => void;
}

interface Toast {
  id: number;
  /** Set for one that goes by itself: when, and what makes it go. */
  shownMs?: number;
  timer?: ReturnType<typeof setTimeout>;
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
  const toast: Toast = { id: nextId++, text, action, shownMs: action ? OFFERED_MS : SHOWN_MS };
  set([...toasts, toast].slice(-MAX_TOASTS));
  goOn(toast);
}

const hold = (toast: Toast) => clearTimeout(toast.timer);
function goOn(toast: Toast): void {
  hold(toast);
  if (toast.shownMs) toast.timer = setTimeout(() => dismiss(toast.id), toast.shownMs);
}

const offered = () => toasts.findLast((toast) => toast.action);

/** Stays until dismissed: a failure must not disappear while one looks away. */
export function sayError(error: unknown, action = "The action", offer?: ToastAction): void {
  set([...toasts, { id: nextId++, error: asApiError(error, action), action: offer }].slice(-MAX_TOASTS));
}

function ToastButton({ action, onDone }: { action: ToastAction; onDone: () => void }) {
  return (
    <Button
      className="toast-action"
      aria-keyshortcuts="z"
      onClick={() => {
        onDone();
        action.run();
      }}
    >
      {action.label}
      <Kbd keys="z" />
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
  useCommands([
    {
      id: "view.toast-action",
      title: "Do what the last message offers (Undo)",
      group: "View",
      keys: ["z"],
      when: () => offered() !== undefined,
      hidden: true,
      run: () => {
        const toast = offered();
        if (!toast) return;
        dismiss(toast.id);
        toast.action?.run();
      },
    },
  ]);
  return (
    <section
      className="toasts"
      aria-label="Messages"
      aria-live="polite"
      data-pane={shown.length ? "toasts" : undefined}
    >
      {shown.map((toast) => (
        // biome-ignore lint/a11y/noStaticElementInteractions: it only stays while someone is at it
        <div
          key={toast.id}
          className="toast"
          onPointerEnter={() => hold(toast)}
          onPointerLeave={() => goOn(toast)}
          onFocus={() => hold(toast)}
          onBlur={() => goOn(toast)}
        >
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
