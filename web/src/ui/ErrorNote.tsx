import { CircleX } from "lucide-react";
import type { ReactNode } from "react";
import type { ApiError } from "../api/client";
import { CopyButton } from "./CopyButton";
import "./error-note.css";
import { ago, useNow } from "./time";

interface ErrorNoteProps {
  error: ApiError;
  /** What is being done about it, or the next action. */
  children?: ReactNode;
}

/** A failed request: what failed, since when, and what can be done. */
export function ErrorNote({ error, children }: ErrorNoteProps) {
  const now = useNow();
  return (
    <div className="error-note" role="alert">
      <CircleX size={16} aria-hidden="true" />
      <div className="error-note-body">
        <strong>{error.action} failed</strong>
        <p>{error.message}</p>
        <p className="error-note-meta">
          {ago(error.at.toISOString(), now)}
          {error.requestId && (
            <>
              {" · request "}
              <code>{error.requestId}</code>
            </>
          )}
        </p>
        <div className="error-note-actions">
          {children}
          <CopyButton text={() => error.details} label="Copy details" />
        </div>
      </div>
    </div>
  );
}
