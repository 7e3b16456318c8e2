import { ChevronLeft, PanelLeft } from "lucide-react";
import { Link } from "wouter";
import { runCommand } from "../../keys/registry";
import { IconButton } from "../../ui/Button";
import { useIsNarrow } from "../../ui/media";

/** The way to the list from a page that has no header of its own. */
export function BackBar({ sidebarOpen }: { sidebarOpen: boolean }) {
  const narrow = useIsNarrow();
  if (sidebarOpen) return null;
  return (
    <nav className="page-bar" aria-label="Back">
      {narrow ? (
        <Link href="/" className="btn ghost icon" aria-label="All sessions">
          <ChevronLeft size={16} />
        </Link>
      ) : (
        <IconButton label="Show session list" keys="[" onClick={() => runCommand("view.sidebar")}>
          <PanelLeft size={16} />
        </IconButton>
      )}
    </nav>
  );
}
