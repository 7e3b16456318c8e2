/** What the session's page knows about changes while the panel is closed: numbers, comments, marks. */
import { useMemo, useState } from "react";
import { type Comment, keyOf } from "../../api/changes";
import type { Session } from "../../api/types";
import { useStored } from "../../ui/storage";
import { folderOf, noRepository } from "../session/workspaces";
import type { PanelOptions } from "./ChangesPanel";
import { isElsewhere } from "./describe";
import { useChangeList } from "./list";
import { pathOf, useComments, useViews } from "./marks";
import { readPanelUrl } from "./url";

const OPTIONS: PanelOptions = { scope: "branch", ignoreWhitespace: false };

export function useChanges(session: Session, tick: number, settled: unknown) {
  const [stored, setOptions] = useStored<PanelOptions>(`changes:${session.id}`, OPTIONS);
  // A link's scope counts until the person chooses another.
  const [linked, setLinked] = useState(() => readPanelUrl(location.search));
  const options = linked.scope ? { ...stored, scope: linked.scope } : stored;
  const running = session.state === "running";
  const folder = folderOf(session);
  const comparison = { session: session.id, folder, ...options };
  const list = useChangeList(comparison, running, tick);
  const comments = useComments(session.id, options.scope, settled);
  const views = useViews(session.id, folder);
  // Comments on other repositories leave with the next message too, but are not of this diff.
  const here = useMemo(
    () => comments.filter(({ anchor }) => !anchor.workspace || anchor.workspace === session.cwd),
    [comments, session.cwd],
  );
  const [target, setTarget] = useState<{ comment: Comment }>();
  const onOptions = (next: PanelOptions) => {
    setLinked({ ...linked, scope: undefined });
    setOptions(next);
  };
  return {
    list,
    comments,
    here,
    views,
    running,
    options,
    onOptions,
    /** Whether the address named a place in the panel. */
    linked: linked.file !== undefined || linked.scope !== undefined,
    target,
    /** Brings a comment into view; in the scope that it was written in, when its lines are not in this one. */
    show: (comment: Comment) => {
      const { scope = "branch" } = comment.anchor;
      const isListed = list.files.some((file) => keyOf(file.path) === keyOf(pathOf(comment)));
      const isHere = isListed && !isElsewhere(comment, list.head, options.scope);
      if (!isHere && scope !== options.scope) onOptions({ ...options, scope });
      setTarget({ comment });
    },
  };
}

/** Why the panel has nothing to show; none when it has. */
export function unavailable(
  session: Session,
  list: { head: { repository?: string | null } | undefined },
): string | undefined {
  if (session.state === "stopped" || session.state === "failed") return "The sandbox is stopped";
  if (session.state !== "running" && session.state !== "disconnected") return "The session is not ready yet";
  if (list.head ? !list.head.repository : !session.repository) return noRepository(session);
  return undefined;
}
