import type { Usage } from "../../api/types";
import { Popover } from "../../ui/Popover";

const count = (tokens: number) => tokens.toLocaleString();

/** How full the model's context is, and behind a click what the conversation has used so far. */
export function Context({ usage }: { usage: Usage | null }) {
  if (!usage) return null;
  const { context_tokens, context_window, input_tokens, cached_input_tokens, output_tokens } = usage;
  const percent = context_window
    ? Math.min(100, Math.round((context_tokens / context_window) * 100))
    : undefined;
  const label = percent === undefined ? "Tokens" : `${percent} % of the context`;
  return (
    <Popover
      label="Token use"
      className="context-pop"
      side="top"
      trigger={
        <button
          type="button"
          className={(percent ?? 0) >= 90 ? "btn ghost composer-context full" : "btn ghost composer-context"}
          aria-label={`${label} used`}
        >
          {percent === undefined ? "Tokens" : `${percent} %`}
          {percent !== undefined && <span className="composer-context-word">context</span>}
        </button>
      }
    >
      <h2>Token use</h2>
      <dl>
        {context_window != null && (
          <>
            <dt>In the context</dt>
            <dd>
              {count(context_tokens)} of {count(context_window)}
            </dd>
          </>
        )}
        <dt>Input so far</dt>
        <dd>{count(input_tokens)}</dd>
        <dt>Of these from the cache</dt>
        <dd>{count(cached_input_tokens)}</dd>
        <dt>Output so far</dt>
        <dd>{count(output_tokens)}</dd>
      </dl>
    </Popover>
  );
}
