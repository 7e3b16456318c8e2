import { ChevronDown } from "lucide-react";
import type { ModelOption } from "../../api/types";
import { ChoiceMenu } from "../../ui/Menu";
import { effortName, type Resolved } from "./models";

interface ModelPickersProps {
  models: readonly ModelOption[];
  resolved: Resolved;
  onModel: (model: string) => void;
  onEffort: (effort: string) => void;
}

/** Model and reasoning effort, as far as the runtime offers them. */
export function ModelPickers({ models, resolved, onModel, onEffort }: ModelPickersProps) {
  const { model, effort } = resolved;
  if (!model) return null;
  return (
    <>
      <ChoiceMenu
        value={model.id}
        choices={models.map((option) => ({
          value: option.id,
          label: option.name,
          detail: option.description,
        }))}
        onChoose={onModel}
        trigger={
          <button type="button" className="btn ghost picker" aria-label={`Model: ${model.name}`}>
            <span className="truncate">{model.name}</span>
            <ChevronDown size={14} aria-hidden="true" />
          </button>
        }
      />
      {model.efforts.length > 0 && (
        <ChoiceMenu
          value={effort}
          choices={model.efforts.map((option) => ({
            value: option,
            label: effortName(option),
            detail: option === model.default_effort ? "Default" : undefined,
          }))}
          onChoose={onEffort}
          trigger={
            <button
              type="button"
              className="btn ghost picker"
              aria-label={`Reasoning effort: ${effort ? effortName(effort) : "default"}`}
            >
              {effort ? effortName(effort) : "Effort"}
              <ChevronDown size={14} aria-hidden="true" />
            </button>
          }
        />
      )}
    </>
  );
}
