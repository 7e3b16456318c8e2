import type { Session } from "../../api/types";
import { Confirm } from "../../ui/Confirm";
import { useSessionActions } from "../session/actions";

/** The end of a session that is asked about before it is irrevocable. */
export function DestroyDialog({
  session,
  onClose,
  onDestroyed,
}: {
  session: Session | undefined;
  onClose: () => void;
  onDestroyed?: () => void;
}) {
  const actions = useSessionActions();
  return (
    <Confirm
      open={session !== undefined}
      onOpenChange={(open) => !open && onClose()}
      title="Delete this session for good?"
      action="Delete for good"
      danger
      onConfirm={() => {
        if (session) void actions.destroy(session).then((done) => done && onDestroyed?.());
      }}
    >
      “{session?.title}” goes with its conversation and its disk, including changes that were not pushed. This
      can't be undone.
    </Confirm>
  );
}
