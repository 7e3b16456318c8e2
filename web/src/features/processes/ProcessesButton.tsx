import { Network } from "lucide-react";
import { useState } from "react";
import type { Port, Session } from "../../api/types";
import { useCommands } from "../../keys/registry";
import { Button } from "../../ui/Button";
import { Popover } from "../../ui/Popover";
import { ProcessList } from "./ProcessList";

/** How many ports listen in the sandbox, and which. */
export function ProcessesButton({ session, ports }: { session: Session; ports: readonly Port[] }) {
  const [open, setOpen] = useState(false);
  useCommands([
    {
      id: "view.processes",
      title: "Show processes and ports",
      group: "View",
      keys: ["p"],
      run: () => setOpen(true),
    },
  ]);
  return (
    <Popover
      label="Processes"
      className="ports-pop"
      align="end"
      open={open}
      onOpenChange={setOpen}
      onOpenAutoFocus={(event) => {
        // The first port, not the first button, which is all that is looked for otherwise.
        const first = (event.currentTarget as HTMLElement).querySelector<HTMLElement>("a, button");
        event.preventDefault();
        first?.focus();
      }}
      tip={{ text: "Listening ports", keys: "p" }}
      trigger={
        <Button className={open ? "on" : ""} icon={<Network size={16} />}>
          Processes
          {ports.length > 0 && (
            <span className="count">
              {ports.length}
              <span className="hidden-text"> {ports.length === 1 ? "port" : "ports"}</span>
            </span>
          )}
        </Button>
      }
    >
      <ProcessList session={session} ports={ports} onDone={() => setOpen(false)} />
    </Popover>
  );
}
