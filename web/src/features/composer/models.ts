/** Which model and effort the next message goes to. Pure. */
import type { ModelOption, Session } from "../../api/types";

export interface Choice {
  model: string | null;
  effort: string | null;
}

export interface Resolved {
  model: ModelOption | undefined;
  effort: string | undefined;
}

/** What is in force: the person's choice as far as it exists, else the session's, else the default. */
export function resolveChoice(
  models: readonly ModelOption[],
  choice: Choice,
  session: Pick<Session, "model" | "effort">,
): Resolved {
  const find = (id: string | null | undefined) => models.find((model) => model.id === id);
  const model =
    find(choice.model) ?? find(session.model) ?? models.find((option) => option.is_default) ?? models[0];
  const fits = (effort: string | null | undefined) =>
    effort && model?.efforts.includes(effort) ? effort : undefined;
  return { model, effort: fits(choice.effort) ?? fits(session.effort) ?? fits(model?.default_effort) };
}

const EFFORTS: Record<string, string> = { xhigh: "Extra high" };
export function effortName(effort: string): string {
  return EFFORTS[effort] ?? effort.charAt(0).toUpperCase() + effort.slice(1);
}
