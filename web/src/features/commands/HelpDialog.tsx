import { X } from "lucide-react";
import { Dialog } from "radix-ui";
import { type Command, type CommandGroup, useCommandList } from "../../keys/registry";
import { Kbd } from "../../ui/Kbd";
import "./commands.css";

const ORDER: readonly CommandGroup[] = [
  "Go to",
  "Session",
  "Message",
  "Approval",
  "Changes",
  "Terminal",
  "View",
  "Account",
];

interface Row {
  title: string;
  keys: string[];
}

/** Commands that do the same are one row with all their keys. */
function rowsOf(commands: readonly Command[]): Row[] {
  const rows = new Map<string, Row>();
  for (const { title, keys = [] } of commands) {
    const row = rows.get(title);
    if (row) row.keys.push(...keys);
    else rows.set(title, { title, keys: [...keys] });
  }
  return [...rows.values()];
}

function groups(commands: readonly Command[]): [CommandGroup, Row[]][] {
  return ORDER.map((group): [CommandGroup, Row[]] => [
    group,
    rowsOf(commands.filter((command) => command.group === group && command.keys?.length)),
  ]).filter(([, rows]) => rows.length > 0);
}

/** Every shortcut of the page that is open. */
export function HelpDialog({ open, onOpenChange }: { open: boolean; onOpenChange: (open: boolean) => void }) {
  const commands = useCommandList();
  return (
    <Dialog.Root open={open} onOpenChange={onOpenChange}>
      <Dialog.Portal>
        <Dialog.Overlay className="veil" />
        <Dialog.Content className="dialog help" aria-describedby={undefined}>
          <Dialog.Title asChild>
            <h2>Keyboard shortcuts</h2>
          </Dialog.Title>
          <Dialog.Close asChild>
            <button type="button" className="btn ghost icon help-close" aria-label="Close">
              <X size={16} />
            </button>
          </Dialog.Close>
          <div className="help-groups">
            {groups(commands).map(([group, rows]) => (
              <section key={group}>
                <h3>{group}</h3>
                <ul>
                  {rows.map(({ title, keys }) => (
                    <li key={title}>
                      <span>{title}</span>
                      <span className="help-keys">
                        {keys.map((chord) => (
                          <Kbd key={chord} keys={chord} />
                        ))}
                      </span>
                    </li>
                  ))}
                </ul>
              </section>
            ))}
          </div>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
