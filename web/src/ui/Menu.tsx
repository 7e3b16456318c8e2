import { Check } from "lucide-react";
import { DropdownMenu } from "radix-ui";
import type { ReactNode } from "react";
import { runCommand, useCommand } from "../keys/registry";
import { Kbd } from "./Kbd";

export function Menu({
  trigger,
  children,
  align = "end",
  open,
  onOpenChange,
}: {
  trigger: ReactNode;
  children: ReactNode;
  align?: "start" | "end";
  /** For a menu that something else than its trigger opens too. */
  open?: boolean;
  onOpenChange?: (open: boolean) => void;
}) {
  return (
    <DropdownMenu.Root open={open} onOpenChange={onOpenChange}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content className="pop" align={align} sideOffset={4} collisionPadding={8}>
          {children}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}

interface MenuItemProps {
  icon?: ReactNode;
  keys?: string;
  danger?: boolean;
  disabled?: boolean;
  onSelect: () => void;
  children: ReactNode;
}

export function MenuItem({ icon, keys, danger, disabled, onSelect, children }: MenuItemProps) {
  return (
    <DropdownMenu.Item
      className={danger ? "menu-item danger" : "menu-item"}
      disabled={disabled}
      onSelect={onSelect}
    >
      {icon}
      {children}
      {keys && <Kbd keys={keys} />}
    </DropdownMenu.Item>
  );
}

interface CommandItemProps {
  id: string;
  icon?: ReactNode;
  danger?: boolean;
  /** Why it can't be done, when that is worth saying; without a reason it is left out then. */
  off?: string;
}

/** A command in a menu, with the title and the keys that it has everywhere. */
export function CommandItem({ id, icon, danger, off }: CommandItemProps) {
  const command = useCommand(id);
  if (!command || (off === undefined && command.when?.() === false)) return null;
  return (
    <MenuItem
      icon={icon}
      keys={command.keys?.[0]}
      danger={danger}
      disabled={off !== undefined}
      // The menu gives the focus back first; what the command focuses comes after.
      onSelect={() => setTimeout(() => runCommand(id))}
    >
      <span className="two-lines">
        <span>{command.title}</span>
        {off && <span className="detail">{off}</span>}
      </span>
    </MenuItem>
  );
}

export const MenuLine = () => <DropdownMenu.Separator className="menu-line" />;
export const MenuLabel = ({ children }: { children: ReactNode }) => (
  <DropdownMenu.Label className="menu-label">{children}</DropdownMenu.Label>
);

export interface Choice {
  value: string;
  label: string;
  detail?: string | null;
  disabled?: boolean;
}

/** One of several, as a menu of radio items. */
export function ChoiceMenu({
  trigger,
  value,
  choices,
  onChoose,
  align = "start",
  label,
  note,
  open,
  onOpenChange,
}: {
  trigger: ReactNode;
  value: string | undefined;
  choices: readonly Choice[];
  onChoose: (value: string) => void;
  align?: "start" | "end";
  /** A heading. */
  label?: string;
  /** What choosing does, below the choices. */
  note?: string;
  open?: boolean;
  onOpenChange?: (open: boolean) => void;
}) {
  return (
    <Menu trigger={trigger} align={align} open={open} onOpenChange={onOpenChange}>
      {label && <MenuLabel>{label}</MenuLabel>}
      <DropdownMenu.RadioGroup value={value} onValueChange={onChoose}>
        {choices.map((choice) => (
          <DropdownMenu.RadioItem
            key={choice.value}
            value={choice.value}
            disabled={choice.disabled}
            className="menu-item"
          >
            <span style={{ width: 16, display: "flex" }}>
              <DropdownMenu.ItemIndicator>
                <Check size={16} aria-hidden="true" />
              </DropdownMenu.ItemIndicator>
            </span>
            <span className="two-lines">
              <span>{choice.label}</span>
              {choice.detail && <span className="detail">{choice.detail}</span>}
            </span>
          </DropdownMenu.RadioItem>
        ))}
      </DropdownMenu.RadioGroup>
      {note && <DropdownMenu.Label className="menu-note">{note}</DropdownMenu.Label>}
    </Menu>
  );
}
