import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";
import { ariaChord } from "../keys/keys";
import { Kbd } from "./Kbd";
import { Tip } from "./Tip";

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: "default" | "primary" | "ghost" | "danger" | "danger-primary";
  icon?: ReactNode;
  keys?: string;
  ref?: Ref<HTMLButtonElement>;
}

const LOOKS = {
  default: "btn",
  primary: "btn primary",
  ghost: "btn ghost",
  danger: "btn danger",
  "danger-primary": "btn primary danger",
};

export function Button({ look = "default", icon, keys, className, children, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      className={`${LOOKS[look]} ${className ?? ""}`}
      aria-keyshortcuts={keys && ariaChord(keys)}
      {...rest}
    >
      {icon}
      {children}
      {keys && <Kbd keys={keys} />}
    </button>
  );
}

interface IconButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  label: string;
  keys?: string;
  ref?: Ref<HTMLButtonElement>;
}

/** A button that is only an icon: its label is its name and its tooltip. */
export function IconButton({ label, keys, className, children, ...rest }: IconButtonProps) {
  return (
    <Tip text={label} keys={keys}>
      <button
        type="button"
        className={`btn ghost icon ${className ?? ""}`}
        aria-label={label}
        aria-keyshortcuts={keys && ariaChord(keys)}
        {...rest}
      >
        {children}
      </button>
    </Tip>
  );
}
