import { useEffect, useState } from "react";
import type { LinkState } from "../../live/link";
import { duration, useNow } from "../../ui/time";
import "./link-bar.css";

/** A connection that is back before this was never missed. */
const PATIENCE_MS = 700;

function Countdown({ link }: { link: Exclude<LinkState, { status: "open" | "closed" }> }) {
  const now = useNow();
  const down = now - link.since;
  const next = link.status === "waiting" ? link.retryAt - now : 0;
  return (
    <>
      Reconnecting to the server
      {down > 5000 && <span> · since {duration(down)}</span>}
      {next > 1500 && <span> · next try in {duration(next)}</span>}
    </>
  );
}

/** A thin bar while the page has no connection. The page stays as it is and stays usable. */
export function LinkBar({ link, onRetry }: { link: LinkState; onRetry: () => void }) {
  const [shown, setShown] = useState(false);
  const down = link.status === "connecting" || link.status === "waiting";
  const since = down ? link.since : 0;
  useEffect(() => {
    if (!since) return setShown(false);
    const timer = setTimeout(() => setShown(true), Math.max(0, since + PATIENCE_MS - Date.now()));
    return () => clearTimeout(timer);
  }, [since]);
  if (!shown || !down) return null;
  return (
    <div className="link-bar" role="status">
      <span>
        <Countdown link={link} />
      </span>
      <button type="button" className="link-btn" onClick={onRetry}>
        Try now
      </button>
    </div>
  );
}
