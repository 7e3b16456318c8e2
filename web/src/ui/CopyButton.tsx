import { Check, Copy } from "lucide-react";
import { useEffect, useState } from "react";
import { Button, IconButton } from "./Button";

/** Copies where the clipboard API is missing: on origins that are not secure. */
function copyByHand(text: string): boolean {
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByHand(text);
  }
}

const SHOWN_MS = 1_500;

function useCopy(text: string | (() => string)): [boolean, () => void] {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  return [copied, () => void copyText(typeof text === "function" ? text() : text).then(setCopied)];
}

export function CopyIconButton({ text, label }: { text: string | (() => string); label: string }) {
  const [copied, copy] = useCopy(text);
  return (
    <IconButton label={copied ? "Copied" : label} onClick={copy}>
      {copied ? <Check size={14} /> : <Copy size={14} />}
    </IconButton>
  );
}

export function CopyButton({
  text,
  label,
  look = "ghost",
}: {
  text: string | (() => string);
  label: string;
  look?: "ghost" | "default";
}) {
  const [copied, copy] = useCopy(text);
  return (
    <Button look={look} onClick={copy} icon={copied ? <Check size={14} /> : <Copy size={14} />}>
      {copied ? "Copied" : label}
    </Button>
  );
}
