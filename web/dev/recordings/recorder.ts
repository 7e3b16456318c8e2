/** Writes down a session's record, event by event. For tests and for looking at the page. */
import type {
  Approval,
  EventBody,
  FileChange,
  ItemBody,
  ItemStatus,
  SessionEvent,
  TurnOutcome,
} from "../../src/api/types";

const CONVERSATION = "thread_1";

export class Recorder {
  readonly events: SessionEvent[] = [];
  #seq = 0;
  #at: number;
  #items = 0;
  #turns = 0;
  turn = "";

  constructor(startedAt: number) {
    this.#at = startedAt;
  }

  get now(): string {
    return new Date(this.#at).toISOString();
  }

  wait(ms: number): this {
    this.#at += ms;
    return this;
  }

  say(event: EventBody): this {
    this.events.push({ seq: ++this.#seq, at: this.now, event });
    return this;
  }

  started(repository = "payments-api"): this {
    return this.say({ type: "session.state", state: "created", trouble: null })
      .say({ type: "session.state", state: "starting", trouble: null })
      .say({ type: "setup.progress", step: "repository", detail: `Cloning into '${repository}'…` })
      .wait(300)
      .say({ type: "setup.progress", step: "runtime", detail: null })
      .wait(200)
      .say({ type: "runtime.ready", version: "0.169.0", models: [] })
      .say({ type: "session.state", state: "running", trouble: null });
  }

  begin(text: string, messageId: string | null = null): this {
    this.turn = `turn_${++this.#turns}`;
    if (messageId) {
      this.say({
        type: "message.delivered",
        message_id: messageId,
        conversation_id: CONVERSATION,
        turn_id: this.turn,
      });
    }
    this.say({ type: "turn.started", conversation_id: CONVERSATION, turn_id: this.turn });
    this.item({ kind: "user_message", text, message_id: messageId });
    return this;
  }

  end(outcome: TurnOutcome = { status: "completed" }): this {
    return this.say({ type: "turn.completed", conversation_id: CONVERSATION, turn_id: this.turn, outcome });
  }

  /** An item that began and goes on. Gives its id. */
  open(body: ItemBody): string {
    const id = `item_${++this.#items}`;
    this.say({ type: "item.started", item: this.#item(id, body, "in_progress", this.now, null) });
    return id;
  }

  delta(id: string, text: string): this {
    return this.say({ type: "item.delta", conversation_id: CONVERSATION, item_id: id, text });
  }

  /** An item from beginning to end. */
  item(body: ItemBody, status: ItemStatus = "completed", ms = 0): this {
    const id = `item_${++this.#items}`;
    const startedAt = this.now;
    this.say({ type: "item.started", item: this.#item(id, emptied(body), "in_progress", startedAt, null) });
    this.wait(ms);
    return this.say({ type: "item.completed", item: this.#item(id, body, status, startedAt, this.now) });
  }

  command(command: string, output: string, ms: number, exit = 0): this {
    return this.item(
      {
        kind: "command",
        command: `/bin/bash -lc '${command}'`,
        cwd: "/workspace/payments-api",
        output,
        output_truncated: false,
        exit_code: exit,
      },
      exit === 0 ? "completed" : "failed",
      ms,
    );
  }

  files(changes: FileChange[]): this {
    return this.item({ kind: "file_change", changes });
  }

  think(text: string, ms = 800): this {
    return this.item({ kind: "reasoning", text }, "completed", ms);
  }

  answer(text: string, ms = 1200): this {
    return this.item({ kind: "agent_message", text }, "completed", ms);
  }

  /** A question about an item that waits for its answer. */
  ask(id: string, item: string, subject: Approval["subject"], reason: string | null = null): Approval {
    const approval: Approval = {
      id,
      conversation_id: CONVERSATION,
      turn_id: this.turn,
      item_id: item,
      requested_at: this.now,
      reason,
      subject,
      decisions: ["accept", "accept_for_session", "decline"],
    };
    this.say({ type: "approval.requested", approval });
    return approval;
  }

  #item(id: string, body: ItemBody, status: ItemStatus, startedAt: string, completedAt: string | null) {
    return {
      id,
      conversation_id: CONVERSATION,
      turn_id: this.turn,
      status,
      started_at: startedAt,
      completed_at: completedAt,
      body,
    };
  }
}

function emptied(body: ItemBody): ItemBody {
  switch (body.kind) {
    case "agent_message":
    case "reasoning":
      return { ...body, text: "" };
    case "command":
      return { ...body, output: "", exit_code: null };
    default:
      return body;
  }
}
