import { Popover as Radix } from "radix-ui";
import type { ComponentProps, ReactNode } from "react";
import { Tip } from "./Tip";

type ContentProps = ComponentProps<typeof Radix.Content>;

interface PopoverProps
  extends Pick<ContentProps, "align" | "side" | "onKeyDown" | "onOpenAutoFocus" | "onCloseAutoFocus"> {
  /** The button that it belongs to. */
  trigger: ReactNode;
  /** Said while the pointer is on the button. */
  tip?: { text: string; keys?: string };
  /** Its name for those who don't see it. */
  label: string;
  className: string;
  /** For one that something else than its button opens too. */
  open?: boolean;
  onOpenChange?: (open: boolean) => void;
  ref?: React.Ref<HTMLDivElement>;
  children: ReactNode;
}

/** What opens beside a button and stays until one clicks elsewhere. */
export function Popover(props: PopoverProps) {
  const { trigger, tip, label, className, open, onOpenChange, children, ...content } = props;
  const button = <Radix.Trigger asChild>{trigger}</Radix.Trigger>;
  return (
    <Radix.Root open={open} onOpenChange={onOpenChange}>
      {tip ? <Tip {...tip}>{button}</Tip> : button}
      <Radix.Portal>
        <Radix.Content
          {...content}
          className={`pop ${className}`}
          sideOffset={4}
          collisionPadding={8}
          aria-label={label}
        >
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
