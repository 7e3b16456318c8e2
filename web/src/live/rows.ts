/**
 * From the transcript to what a person reads: consecutive steps of work fold into one row, questions
 * stand in for the steps that wait for them, and what says nothing is left out. Pure; rows that did
 * not change are the same objects as before, so that only the rest is drawn again.
 */
import type { Body, Item } from "../api/types";
import type { Entry, EntryOf, Transcript } from "./reducer";

export type ItemOf<K extends Item["body"]["kind"]> = Item & { body: Body<K> };

/** One step of work. */
export interface Step {
  key: string;
  item: Item;
  interrupted: boolean;
}

export type Row =
  | { kind: "user"; key: string; item: ItemOf<"user_message"> }
  | { kind: "agent"; key: string; item: ItemOf<"agent_message">; streaming: boolean }
  | { kind: "work"; key: string; steps: Step[] }
  | { kind: "files"; key: string; item: ItemOf<"file_change">; interrupted: boolean }
  | { kind: "plan"; key: string; item: ItemOf<"plan"> }
  | { kind: "other"; key: string; item: ItemOf<"other"> }
  | { kind: "approval"; key: string; entry: EntryOf<"approval"> }
  | { kind: "state"; key: string; entry: EntryOf<"state"> }
  | { kind: "turn"; key: string; entry: EntryOf<"turn"> }
  /** The last of `count` notices of one kind in a row, such as those of a request tried again. */
  | { kind: "notice"; key: string; entry: EntryOf<"notice">; count: number }
  | { kind: "lost"; key: string; entry: EntryOf<"lost"> }
  | { kind: "rejected"; key: string; entry: EntryOf<"rejected"> };

const WORK = new Set<Item["body"]["kind"]>(["command", "tool_call", "web_search", "reasoning"]);

/** Thoughts that the model does not show are steps without content. */
function isSilent(entry: EntryOf<"item">): boolean {
  const { body, status } = entry.item;
  const over = status !== "in_progress" || entry.interrupted;
  if (body.kind === "reasoning" || body.kind === "agent_message") return over && body.text.trim() === "";
  return body.kind === "plan" && body.steps.length === 0;
}

/** States that the block at the end of the conversation tells while they last. */
const TOLD_BY_BLOCK = new Set(["starting", "created", "stopping", "stopped", "failed", "disconnected"]);

function stateRow(entry: EntryOf<"state">, before: EntryOf<"state"> | undefined, isLast: boolean): boolean {
  if (isLast && TOLD_BY_BLOCK.has(entry.state)) return false;
  switch (entry.state) {
    case "stopped":
    case "failed":
    case "disconnected":
      return true;
    case "running":
      return before?.state === "disconnected";
    case "starting":
      return before?.state === "stopped" || before?.state === "failed";
    default:
      return false;
  }
}

function itemRow(entry: EntryOf<"item">, isLatest: boolean): Row {
  const { key, item, interrupted } = entry;
  switch (item.body.kind) {
    case "user_message":
      return { kind: "user", key, item: item as ItemOf<"user_message"> };
    case "agent_message":
      return {
        kind: "agent",
        key,
        item: item as ItemOf<"agent_message">,
        // One that broke off and was begun again stays open; only the latest still grows.
        streaming: isLatest && item.status === "in_progress" && !interrupted,
      };
    case "file_change":
      return { kind: "files", key, item: item as ItemOf<"file_change">, interrupted };
    case "plan":
      return { kind: "plan", key, item: item as ItemOf<"plan"> };
    default:
      return { kind: "other", key, item: item as ItemOf<"other"> };
  }
}

function sameSteps(a: readonly Step[], b: readonly Step[]): boolean {
  return (
    a.length === b.length &&
    a.every((step, i) => step.item === b[i]?.item && step.interrupted === b[i]?.interrupted)
  );
}

function same(a: Row, b: Row): boolean {
  if (a.kind === "work") return b.kind === "work" && sameSteps(a.steps, b.steps);
  if ("item" in a) {
    if (!("item" in b) || a.kind !== b.kind || a.item !== b.item) return false;
    if (a.kind === "agent") return b.kind === "agent" && a.streaming === b.streaming;
    return a.kind !== "files" || (b.kind === "files" && a.interrupted === b.interrupted);
  }
  return (
    "entry" in b && a.entry === b.entry && (a.kind !== "notice" || b.kind !== "notice" || a.count === b.count)
  );
}

function approvalRow(entry: EntryOf<"approval">, transcript: Transcript): Row | undefined {
  if (!entry.resolved) return { kind: "approval", key: entry.key, entry };
  // Answered: the item tells how it went on. A question without an item keeps its line.
  const { conversation_id, item_id } = entry.approval;
  const told = transcript.index.has(`item:${conversation_id}/${item_id}`);
  return told ? undefined : { kind: "approval", key: entry.key, entry };
}

export function foldRows(transcript: Transcript, before: readonly Row[] = []): readonly Row[] {
  const known = new Map(before.map((row) => [row.key, row]));
  const rows: Row[] = [];
  const asked = new Set<string>();
  let lastState: EntryOf<"state"> | undefined;
  const latest = transcript.entries.findLast((entry) => entry.kind === "item");
  for (const entry of transcript.entries) {
    if (entry.kind === "approval" && !entry.resolved) {
      asked.add(`item:${entry.approval.conversation_id}/${entry.approval.item_id}`);
    }
    if (entry.kind === "state") lastState = entry;
  }

  let work: Step[] | undefined;
  const push = (row: Row) => {
    const old = known.get(row.key);
    rows.push(old && same(old, row) ? old : row);
  };
  const flush = () => {
    if (work?.[0]) push({ kind: "work", key: `work:${work[0].key}`, steps: work });
    work = undefined;
  };

  let previousState: EntryOf<"state"> | undefined;
  for (const entry of transcript.entries) {
    if (entry.kind === "item") {
      if (isSilent(entry) || asked.has(entry.key)) continue;
      if (WORK.has(entry.item.body.kind)) {
        work ??= [];
        work.push({ key: entry.key, item: entry.item, interrupted: entry.interrupted });
        continue;
      }
      flush();
      push(itemRow(entry, entry === latest));
      continue;
    }
    if (entry.kind === "notice") {
      flush();
      pushNotice(rows, entry, known);
      continue;
    }
    const row = entryRow(entry, transcript, previousState, entry === lastState);
    if (entry.kind === "state") previousState = entry;
    if (!row) continue;
    flush();
    push(row);
  }
  flush();
  return rows.length === before.length && rows.every((row, i) => row === before[i]) ? before : rows;
}

function pushNotice(rows: Row[], entry: EntryOf<"notice">, known: ReadonlyMap<string, Row>): void {
  const last = rows.at(-1);
  const repeats =
    last?.kind === "notice" && last.entry.code === entry.code && last.entry.level === entry.level;
  const row: Row = repeats
    ? { ...last, entry, count: last.count + 1 }
    : { kind: "notice", key: entry.key, entry, count: 1 };
  if (repeats) rows.pop();
  const old = known.get(row.key);
  rows.push(old && same(old, row) ? old : row);
}

function entryRow(
  entry: Exclude<Entry, { kind: "item" | "notice" }>,
  transcript: Transcript,
  previousState: EntryOf<"state"> | undefined,
  isLastState: boolean,
): Row | undefined {
  switch (entry.kind) {
    case "approval":
      return approvalRow(entry, transcript);
    case "state":
      return stateRow(entry, previousState, isLastState)
        ? { kind: "state", key: entry.key, entry }
        : undefined;
    case "turn":
      return { kind: "turn", key: entry.key, entry };
    case "lost":
      return { kind: "lost", key: entry.key, entry };
    case "rejected":
      return { kind: "rejected", key: entry.key, entry };
  }
}

/** The message that began a turn, or that was last said in it: what "Try again" says once more. */
export function lastMessageOf(transcript: Transcript, turnId: string): Body<"user_message"> | undefined {
  for (let i = transcript.entries.length - 1; i >= 0; i--) {
    const entry = transcript.entries[i];
    if (entry?.kind === "item" && entry.item.turn_id === turnId && entry.item.body.kind === "user_message") {
      return entry.item.body;
    }
  }
  return undefined;
}

/** Whether a turn has already changed something, so that saying its task again would do it twice. */
export function didWork(transcript: Transcript, turnId: string): boolean {
  return transcript.entries.some(
    (entry) =>
      entry.kind === "item" &&
      entry.item.turn_id === turnId &&
      (entry.item.body.kind === "command" || entry.item.body.kind === "file_change"),
  );
}
