import { ExternalLink, Play, SquareTerminal } from "lucide-react";
import type { Port, Session } from "../../api/types";
import { runCommand } from "../../keys/registry";
import { Button } from "../../ui/Button";
import { CopyIconButton } from "../../ui/CopyButton";
import { ago, clock, useNow } from "../../ui/time";
import { useSessionActions } from "../session/actions";
import { canStart } from "../session/status";
import "./processes.css";

/**
 * The address that leads to a port: it can be kept and shared, because whoever follows it has to be
 * signed in and is sent on to the port's own origin.
 */
export function portAddress(session: string, port: number): string {
  return `/open/${encodeURIComponent(session)}/${port}`;
}

/** What a person knows a program by: its process, and the command that says which one of several. */
export function nameOf({ process, command }: Pick<Port, "process" | "command">): string {
  return process || command?.split(" ")[0]?.split("/").pop() || "Unknown process";
}

/**
 * A command in the space of one line: of a path from the root only its end, which says more about a
 * program than the folder that it is installed in.
 */
export function shortened(command: string): string {
  return command.replace(/(?<=^|[\s=])\/\S+\/(?=[^\s/])/g, "…/");
}

function PortRow({ session, port }: { session: string; port: Port }) {
  const now = useNow();
  const address = portAddress(session, port.port);
  const name = nameOf(port);
  return (
    <li className="port">
      <a
        className="port-open"
        href={address}
        target="_blank"
        rel="noopener noreferrer"
        aria-label={`Open ${name} on port ${port.port} in a new tab`}
      >
        <span className="port-number">{port.port}</span>
        <span className="port-what">
          <span className="port-name truncate">
            {name}
            <span className="port-facts">
              {port.pid != null && `pid ${port.pid} · `}
              <time dateTime={port.first_seen} title={clock(port.first_seen, now)}>
                {ago(port.first_seen, now)}
              </time>
            </span>
          </span>
          {port.command && (
            <code className="port-command truncate" title={port.command}>
              {shortened(port.command)}
            </code>
          )}
        </span>
        <ExternalLink size={14} aria-hidden="true" />
      </a>
      <CopyIconButton text={() => location.origin + address} label={`Copy URL of port ${port.port}`} />
    </li>
  );
}

interface ProcessListProps {
  session: Session;
  ports: readonly Port[];
  /** Something was done that shows elsewhere. */
  onDone?: () => void;
}

/** What listens in the sandbox, each with the way to its page. */
export function ProcessList({ session, ports, onDone }: ProcessListProps) {
  const actions = useSessionActions();
  const running = session.state === "running" || session.state === "disconnected";
  if (!running) {
    return (
      <div className="ports-empty">
        <p>
          {canStart(session)
            ? "The sandbox does not run, so nothing listens in it."
            : "Ports appear when the session is ready."}
        </p>
        {canStart(session) && (
          <Button icon={<Play size={14} />} onClick={() => void actions.start(session)}>
            Start
          </Button>
        )}
      </div>
    );
  }
  if (ports.length === 0) {
    return (
      <div className="ports-empty">
        <p>Nothing listens. Start a server in a terminal or ask for one, and its port appears here.</p>
        <Button
          icon={<SquareTerminal size={14} />}
          onClick={() => {
            onDone?.();
            runCommand("terminal.new");
          }}
        >
          New terminal
        </Button>
      </div>
    );
  }
  return (
    <ul className="ports" aria-label="Listening ports">
      {ports.map((port) => (
        <PortRow key={port.port} session={session.id} port={port} />
      ))}
    </ul>
  );
}
