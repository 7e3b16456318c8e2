import type { Session } from "../../api/types";
import { primaryOf, workspacesOf } from "../session/workspaces";

/** What a conversation that was not begun will be. */
export function NewConversation({ session }: { session: Session }) {
  const { name, path, repository } = primaryOf(session);
  const several = workspacesOf(session).length > 1;
  return (
    <div className="row new-conversation">
      <h2>New conversation</h2>
      <p>
        It starts in <strong>{name}</strong> <code>{path}</code>
        {several && ", the primary repository"}. The others go on meanwhile; it knows nothing of what was said
        in them.
      </p>
      <p>
        {repository
          ? `The instructions in ${name} (AGENTS.md) apply, if it has any.`
          : "The folder has no repository; an AGENTS.md in it applies, if there is one."}
        {several && " To start it elsewhere, choose another primary repository first."}
      </p>
    </div>
  );
}
