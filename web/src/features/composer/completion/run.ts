/**
 * Running one of the runtime's commands. It is not queued: when no answer comes, it did not run, or
 * did and nobody heard. Asking again under the same key is safe either way, and is offered.
 */
import { ApiError, asApiError, newIdempotencyKey } from "../../../api/client";
import { type CommandTaken, completionApi } from "../../../api/completion";
import { isStarter, NEW } from "../../../live/conversations";

/** Runs a command by its name. The same key again runs nothing again. */
export type RunNamed = (name: string, args: string, key: string) => Promise<CommandTaken>;

const waits = (name: string) =>
  new ApiError(`Run /${name}`, "", "", {
    type: "conversation-waits",
    title: "Not yet",
    status: 409,
    detail: "This conversation begins with the message that waits. Run the command when it has begun.",
  });

/** In the conversation that is looked at; where nothing was said yet, it begins one. */
export async function runIn(session: string, view: string, name: string, args: string, key: string) {
  if (isStarter(view)) throw waits(name);
  const where = view === NEW ? { new_conversation: true } : { conversation_id: view };
  return completionApi.run(session, { name, arguments: args, ...where }, key);
}

/** What went wrong, so that it says whether the command ran. */
export function notRun(error: unknown, name: string): ApiError {
  const failed = asApiError(error, `Run /${name}`);
  if (failed.status !== 0) return failed;
  const detail = `/${name} did not run, or ran and the answer was lost: the server could not be reached. Run it again once it can; it is not done twice.`;
  const problem = { type: "unreachable", title: "No answer", status: 0, detail };
  return new ApiError(failed.action, failed.method, failed.path, problem, failed.cause);
}

export const newRun = newIdempotencyKey;
