import { CircleAlert, CircleCheck, CircleDashed, CircleX, LoaderCircle, OctagonPause } from "lucide-react";
import type { Status } from "./status";
import "./status.css";

/** The status as a shape and a colour; the word is beside it or said to screen readers. */
export function StatusIcon({ status, size = 14 }: { status: Status; size?: number }) {
  const props = { size, className: `status-icon ${status.tone}`, "aria-hidden": true } as const;
  switch (status.word) {
    case "Working":
    case "Starting":
      return <LoaderCircle {...props} className={`${props.className} spin`} />;
    case "Reconnecting":
    case "Stopping":
      return <CircleDashed {...props} />;
    case "Needs you":
      return <CircleAlert {...props} />;
    case "Ready":
      return <CircleCheck {...props} />;
    case "Failed":
      return <CircleX {...props} />;
    default:
      return <OctagonPause {...props} />;
  }
}
