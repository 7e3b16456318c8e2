import { RotateCw } from "lucide-react";
import { Suspense } from "react";
import { Button } from "../../ui/Button";
import { lazily } from "../../ui/lazily";
import type { TerminalViewProps } from "./TerminalView";

/**
 * The screen measures a letter once, so its font has to be there before: with another one's size every row and
 * column would be wrong until the page is loaded again. Without the font the next best one stays.
 */
const letters = () =>
  document.fonts.load(`12px ${getComputedStyle(document.documentElement).getPropertyValue("--mono")}`);

const TerminalView = lazily<TerminalViewProps>(async () => {
  const [view] = await Promise.all([import("./TerminalView"), letters().catch(() => undefined)]);
  return view;
}, Missing);

/** A page that is older than its server asks for a file that the server does not have any more. */
function Missing() {
  return (
    <div className="terminal-empty" role="alert">
      <p>The terminal could not be loaded. The server may have been updated since this page was opened.</p>
      <Button icon={<RotateCw size={14} />} onClick={() => location.reload()}>
        Reload
      </Button>
    </div>
  );
}

/** A terminal's screen, which is loaded when one is first opened. */
export function LazyTerminal(props: TerminalViewProps) {
  return (
    <Suspense>
      <TerminalView {...props} />
    </Suspense>
  );
}
