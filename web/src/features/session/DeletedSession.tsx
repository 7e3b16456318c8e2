import { RotateCcw } from "lucide-react";
import { useState } from "react";
import { useLocation } from "wouter";
import type { Session } from "../../api/types";
import { Button } from "../../ui/Button";
import { ago, clock, useNow } from "../../ui/time";
import { DestroyDialog } from "../sessions/DestroyDialog";
import { useSessionActions } from "./actions";
import { BackBar } from "./BackBar";

/** What a link to a session in the trash shows. */
export function DeletedSession({ session, sidebarOpen }: { session: Session; sidebarOpen: boolean }) {
  const now = useNow();
  const actions = useSessionActions();
  const [, navigate] = useLocation();
  const [destroying, setDestroying] = useState<Session>();
  const { deletion } = session;
  return (
    <div className="page">
      <BackBar sidebarOpen={sidebarOpen} />
      <main id="main" className="session-gone" tabIndex={-1} data-pane="main">
        <h1>This session was deleted</h1>
        <p>
          “{session.title}”
          {deletion &&
            ` was deleted ${ago(deletion.at, now)} and is kept until ${clock(deletion.until, now)}.`}{" "}
          Its conversation and its disk are whole; restored, it is stopped and can be started.
        </p>
        <div className="notice-actions">
          <Button
            look="primary"
            icon={<RotateCcw size={16} />}
            onClick={() => void actions.restore(session)}
            data-pane-focus
          >
            Restore
          </Button>
          <Button look="danger" onClick={() => setDestroying(session)}>
            Delete for good
          </Button>
          <Button look="ghost" onClick={() => navigate("/new")}>
            New session
          </Button>
        </div>
        <DestroyDialog
          session={destroying}
          onClose={() => setDestroying(undefined)}
          onDestroyed={() => navigate("/")}
        />
      </main>
    </div>
  );
}
