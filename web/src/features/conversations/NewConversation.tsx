import type { Session } from "../../api/types";
import { runtimeName } from "../session/status";
import { primaryOf, workspacesOf } from "../session/workspaces";

/** What a conversation that was not begun will be. */
export function NewConversation({ session }: { session: Session }) {
  const { name, path, repository } = primaryOf(session);
  const several = workspacesOf(session).length > 1;
  const first = !session.conversations?.length;
  // Until it runs, what is said about the session itself is all that counts.
  if (first && session.state !== "running") return null;
  return (
    <div className="row new-conversation">
      <h2>New conversation</h2>
      <p>
        It starts in <strong>{name}</strong> <code>{path}</code>
        {several && ", the primary repository"}.
        {!first && " The others go on meanwhile; it knows nothing of what was said in them."}
      </p>
      <p>
        {repository
          ? `${runtimeName(session.runtime)} takes its instructions and skills from ${name}.`
          : "It is a plain folder without git: Changes has nothing to show for it."}
        {several && " To start it elsewhere, choose another primary repository first."}
      </p>
    </div>
  );
}
