/** What a folded stretch of work says about itself. Pure. */
import type { Step } from "../../live/rows";

export const isRunning = (step: Step) => step.item.status === "in_progress" && !step.interrupted;
export const isFailed = (step: Step) => step.item.status === "failed";
export const isDeclined = (step: Step) => step.item.status === "declined";

function count(n: number, one: string, many: string): string {
  return n === 1 ? one : `${n} ${many}`;
}

/** The first line of a command, without the shell that runs it. */
export function shortCommand(command: string): string {
  const wrapped = /^(?:\S*\/)?(?:ba|z|da)?sh -l?c (['"])([\s\S]*)\1$/.exec(command.trim());
  const inner = wrapped?.[2] ?? command;
  const [first = "", ...rest] = inner.trim().split("\n");
  return rest.length ? `${first} …` : first;
}

/** The last line of an output that says something, without terminal codes. */
export function lastLine(output: string): string {
  const end = output.slice(-4000);
  const lines = stripAnsi(end).split(/[\r\n]+/);
  for (let i = lines.length - 1; i >= 0; i--) {
    const line = lines[i]?.trim();
    if (line) return line;
  }
  return "";
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const ANSI = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: what is left of them is not text
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;

/** Text of a terminal, as text. */
export function stripAnsi(text: string): string {
  return text.replace(ANSI, "").replace(CONTROL, "");
}

/** How long the steps took together, from the first beginning to the last end. */
export function elapsedMs(steps: readonly Step[], now: number): number {
  const first = steps[0];
  if (!first) return 0;
  const start = Date.parse(first.item.started_at);
  const ends = steps.map((step) =>
    step.item.completed_at
      ? Date.parse(step.item.completed_at)
      : isRunning(step)
        ? now
        : Date.parse(step.item.started_at),
  );
  return Math.max(0, Math.max(...ends) - start);
}

/** "Ran 6 commands, called a tool". */
export function summary(steps: readonly Step[]): string {
  const of = (kind: Step["item"]["body"]["kind"]) =>
    steps.filter((step) => step.item.body.kind === kind).length;
  const commands = of("command");
  const tools = of("tool_call");
  const searches = of("web_search");
  const thoughts = of("reasoning");
  const parts = [
    commands > 0 && `ran ${count(commands, "a command", "commands")}`,
    tools > 0 && `called ${count(tools, "a tool", "tools")}`,
    searches > 0 && (searches === 1 ? "searched the web" : `searched the web ${searches} times`),
    commands + tools + searches === 0 && thoughts > 0 && "thought",
  ].filter((part) => part !== false);
  const text = parts.join(", ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The only thing done in a stretch, when it is one; thoughts aside. */
export function onlyAction(steps: readonly Step[]): Step | undefined {
  const actions = steps.filter((step) => step.item.body.kind !== "reasoning");
  return actions.length === 1 ? actions[0] : undefined;
}
