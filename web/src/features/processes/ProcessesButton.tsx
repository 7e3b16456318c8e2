import { Network } from "lucide-react";
import { Popover } from "radix-ui";
import { useState } from "react";
import type { Port, Session } from "../../api/types";
import { useCommands } from "../../keys/registry";
import { Button } from "../../ui/Button";
import { Tip } from "../../ui/Tip";
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
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Tip text="Listening ports" keys="p">
        <Popover.Trigger asChild>
          <Button className={open ? "on" : ""} icon={<Network size={16} />}>
            Processes
            {ports.length > 0 && (
              <span className="count">
                {ports.length}
                <span className="hidden-text"> {ports.length === 1 ? "port" : "ports"}</span>
              </span>
            )}
          </Button>
        </Popover.Trigger>
      </Tip>
      <Popover.Portal>
        <Popover.Content
          className="pop ports-pop"
          align="end"
          sideOffset={4}
          collisionPadding={8}
          aria-label="Processes"
          onOpenAutoFocus={(event) => {
            // The first port, not the first button, which is all that is looked for otherwise.
            const first = (event.currentTarget as HTMLElement).querySelector<HTMLElement>("a, button");
            event.preventDefault();
            first?.focus();
          }}
        >
          <ProcessList session={session} ports={ports} onDone={() => setOpen(false)} />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
