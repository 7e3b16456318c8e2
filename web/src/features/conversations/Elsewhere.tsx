import { CircleAlert } from "lucide-react";
import type { Session } from "../../api/types";
import { titleOf } from "../../live/conversations";
import { Button } from "../../ui/Button";

/** Above the composer while questions wait in conversations that are not in view. */
export function Elsewhere({
  session,
  view,
  onShow,
}: {
  session: Session;
  view: string;
  onShow: (id: string) => void;
}) {
  const waiting = (session.conversations ?? []).filter((other) => other.id !== view && other.approvals > 0);
  const [first] = waiting;
  if (!first) return null;
  const count = waiting.reduce((sum, other) => sum + other.approvals, 0);
  return (
    <section className="elsewhere" aria-label="Waiting elsewhere">
      <CircleAlert size={16} aria-hidden="true" />
      <span className="truncate">
        {count === 1 ? "A question waits in" : `${count} questions wait, the first in`}{" "}
        <strong>{titleOf(first)}</strong>
      </span>
      <Button onClick={() => onShow(first.id)}>Go there</Button>
    </section>
  );
}
