import { Bell, BellOff } from "lucide-react";
import { Button } from "../../ui/Button";
import { sayError } from "../../ui/toasts";
import { askPermission, type Permission, usePermission, useWanted } from "./desktop";

function explain(permission: Permission, wanted: boolean): string {
  switch (permission) {
    case "granted":
      return wanted
        ? "On in this browser, while no Mistle page is in view."
        : "Off. The browser allows them already.";
    case "denied":
      return "Blocked in the browser. Open the site settings beside the address, allow notifications, and come back.";
    case "unsupported":
      return "Not offered by this browser here. Browsers show notifications only of pages on HTTPS or on this machine.";
    default:
      return "Off. The browser asks once when you turn them on.";
  }
}

/** Being called by the desktop: opt-in, with what the browser says to it. */
export function NotificationSettings() {
  const permission = usePermission();
  const [wanted, setWanted] = useWanted();
  const on = permission === "granted" && wanted;
  const turnOn = async () => {
    try {
      const answer = permission === "granted" ? permission : await askPermission();
      setWanted(answer === "granted");
    } catch (error) {
      sayError(error, "Turn on notifications");
    }
  };
  return (
    <section className="settings-part" aria-labelledby="notifications">
      <h2 id="notifications">Notifications</h2>
      <p className="settings-lead">When a session needs you, is ready, or fails.</p>
      <div className="notifications-line">
        {on ? (
          <Button icon={<BellOff size={16} />} onClick={() => setWanted(false)}>
            Turn off
          </Button>
        ) : (
          <Button
            icon={<Bell size={16} />}
            disabled={permission === "denied" || permission === "unsupported"}
            aria-describedby="notifications-state"
            onClick={() => void turnOn()}
          >
            Turn on desktop notifications
          </Button>
        )}
        <p id="notifications-state" className="field-hint" role="status">
          {explain(permission, wanted)}
        </p>
      </div>
    </section>
  );
}
