/**
 * Stands in for the server while one looks at the page: answers requests and sockets of the
 * recordings. Not a test double: tests run against the real server.
 */
import type {
  Answer,
  LiveMessage,
  NewMessage,
  NewSession,
  ProfileSummary,
  QueuedMessage,
  Session,
} from "../src/api/types";
import { RECORDINGS, type Recording } from "./recordings/sessions";

const recordings = new Map(RECORDINGS.map((recording) => [recording.session.id, recording]));
const sockets = new Set<FakeSocket>();
let next = 5000;
const hex = () => (next++).toString(16).padStart(32, "0");

const PROFILE: ProfileSummary = {
  profile: {
    name: "default",
    version: 1,
    description: "Codex on the demo model",
    image: "host",
    runtime: "codex",
    approval_policy: "ask_when_risky",
    provider: "demo",
    model: null,
    effort: null,
    repositories: [
      { name: "demo", source: "/var/lib/mistle/demo", branch: "main" },
      { name: "payments-api", source: "/srv/git/payments-api", branch: null },
    ],
    egress: { allow: [] },
    resources: { memory_mib: 4096, cpus: 2, pids: 2048 },
    environment: {},
  },
  provider_label: "Demo model (scripted)",
  scripted: true,
  unavailable: null,
};
const PROFILES: ProfileSummary[] = [
  PROFILE,
  {
    ...PROFILE,
    profile: {
      ...PROFILE.profile,
      name: "backend",
      description: "Codex with GPT-5.5",
      approval_policy: "ask_every_time",
      repositories: [],
    },
    provider_label: "OpenAI",
    scripted: false,
  },
  {
    ...PROFILE,
    profile: { ...PROFILE.profile, name: "frontend" },
    provider_label: "OpenAI",
    scripted: false,
    unavailable: "The provider “openai” has no key in the configuration.",
  },
];

function broadcast(id: string, message: LiveMessage): void {
  for (const socket of sockets) {
    if (
      socket.session === id ||
      (socket.session === "*" && (message.type === "session" || message.type === "deleted"))
    )
      socket.push(message);
  }
}

function change(recording: Recording, patch: Partial<Session>): Session {
  recording.session = { ...recording.session, ...patch, updated_at: new Date().toISOString() };
  broadcast(recording.session.id, { type: "session", session: recording.session });
  return recording.session;
}

function emit(recording: Recording, event: Recording["events"][number]["event"]): void {
  const seq = (recording.events.at(-1)?.seq ?? 0) + 1;
  const entry = { seq, at: new Date().toISOString(), event };
  recording.events.push(entry);
  broadcast(recording.session.id, { type: "event", event: entry });
}

function queue(recording: Recording, messages: QueuedMessage[]): void {
  recording.queue = messages;
  broadcast(recording.session.id, { type: "queue", messages });
}

const json = (body: unknown, status = 200) =>
  new Response(body === undefined ? null : JSON.stringify(body), {
    status,
    headers: { "content-type": status >= 400 ? "application/problem+json" : "application/json" },
  });
const problem = (status: number, type: string, detail: string, pointer?: string) =>
  json({ type, title: detail, status, detail, pointer, request_id: `req_${hex()}` }, status);

function send(recording: Recording, body: NewMessage): Response {
  const message: QueuedMessage = {
    id: `msg_${hex()}`,
    text: body.text,
    delivery: body.delivery ?? "steer",
    sending: false,
    created_at: new Date().toISOString(),
  };
  const { session } = recording;
  const goesNow = session.state === "running" && (message.delivery === "steer" || !session.turn_id);
  queue(recording, [...recording.queue, message]);
  if (goesNow) {
    setTimeout(() => {
      const turn = session.turn_id ?? `turn_${hex()}`;
      queue(
        recording,
        recording.queue.filter((other) => other.id !== message.id),
      );
      emit(recording, {
        type: "message.delivered",
        message_id: message.id,
        conversation_id: "thread_1",
        turn_id: turn,
      });
      if (!session.turn_id)
        emit(recording, { type: "turn.started", conversation_id: "thread_1", turn_id: turn });
      change(recording, { turn_id: turn, activity: "working" });
      emit(recording, {
        type: "item.completed",
        item: {
          id: `item_${hex()}`,
          conversation_id: "thread_1",
          turn_id: turn,
          status: "completed",
          started_at: new Date().toISOString(),
          completed_at: new Date().toISOString(),
          body: { kind: "user_message", text: message.text, message_id: message.id },
        },
      });
    }, 400);
  }
  return json(message, 201);
}

function resolve(recording: Recording, id: string, body: Answer): Response {
  const approval = recording.session.approvals.find((waiting) => waiting.id === id);
  if (!approval) return problem(409, "approval-answered", "This was answered already.");
  emit(recording, { type: "approval.resolved", approval_id: id, decision: body.decision });
  change(recording, { approvals: [], activity: "working" });
  return new Response(null, { status: 204 });
}

function sessionCall(method: string, recording: Recording, rest: string[], body: unknown): Response {
  const [noun, id] = rest;
  if (!noun) {
    if (method === "DELETE") {
      recordings.delete(recording.session.id);
      broadcast(recording.session.id, { type: "deleted", session_id: recording.session.id });
      return new Response(null, { status: 204 });
    }
    return json(method === "PATCH" ? change(recording, body as Partial<Session>) : recording.session);
  }
  const since = new Date().toISOString();
  switch (noun) {
    case "start":
      return json(change(recording, { state: "starting", state_since: since, trouble: null }));
    case "stop":
      return json(change(recording, { state: "stopping", state_since: since }));
    case "interrupt":
      emit(recording, {
        type: "turn.completed",
        conversation_id: "thread_1",
        turn_id: recording.session.turn_id ?? "",
        outcome: { status: "interrupted" },
      });
      change(recording, { activity: "idle", turn_id: null, approvals: [] });
      return new Response(null, { status: 204 });
    case "messages":
      if (method === "DELETE") {
        queue(
          recording,
          recording.queue.filter((message) => message.id !== id),
        );
        return new Response(null, { status: 204 });
      }
      if (method === "PATCH") {
        queue(
          recording,
          recording.queue.map((message) =>
            message.id === id ? { ...message, ...(body as Partial<QueuedMessage>) } : message,
          ),
        );
        return json(recording.queue.find((message) => message.id === id));
      }
      return send(recording, body as NewMessage);
    case "approvals":
      return resolve(recording, id ?? "", body as Answer);
    case "terminals":
      return json([{ id: `trm_${hex()}`, title: "bash", cols: 80, rows: 24, offset: 0, exit_code: null }]);
    default:
      return problem(404, "not-found", "Not found.");
  }
}

async function answer(url: URL, init: RequestInit): Promise<Response> {
  const method = init.method ?? "GET";
  const body: unknown = init.body ? JSON.parse(String(init.body)) : undefined;
  const [noun, id, ...rest] = url.pathname.replace("/api/v1/", "").split("/");
  switch (noun) {
    case "me":
      return json({ user_id: "usr_1", organization_id: "org_1", name: "Owner", server_version: "0.1.0" });
    case "profiles":
      return json(PROFILES);
    case "tickets":
      return json({ ticket: JSON.stringify(body) });
    case "tokens":
      if (method === "POST") {
        const token = {
          id: "tok_9",
          name: (body as { name: string }).name,
          created_at: new Date().toISOString(),
          last_used_at: null,
        };
        return json({ token, secret: "mst_4f9Zk2pQ7vXc1BnRt8LwYd3H" }, 201);
      }
      return json({
        data: [
          {
            id: "tok_1",
            name: "laptop",
            created_at: "2026-11-01T10:00:00Z",
            last_used_at: "2026-11-22T10:00:00Z",
          },
        ],
        next_cursor: null,
      });
    case "repositories": {
      const { source } = body as { source: string };
      if (source.includes("missing"))
        return problem(422, "repository-not-found", `There is no folder ${source} on the server.`, "/source");
      return json({
        name: source.split("/").at(-1),
        branches: source.startsWith("/") ? ["main", "develop", "fix/retry"] : [],
      });
    }
    case "sessions": {
      const recording = id ? recordings.get(id) : undefined;
      if (id)
        return recording
          ? sessionCall(method, recording, rest, body)
          : problem(404, "not-found", "This session does not exist.");
      if (method === "GET")
        return json({ data: [...recordings.values()].map((row) => row.session), next_cursor: null });
      const task = body as NewSession;
      const made: Recording = structuredClone(RECORDINGS[3] as Recording);
      made.session = {
        ...made.session,
        id: `ses_${hex()}`,
        title: task.task.split("\n")[0] ?? "",
        repository: task.repository ?? null,
      };
      recordings.set(made.session.id, made);
      return json(made.session, 201);
    }
    default:
      return problem(404, "not-found", "Not found.");
  }
}

class FakeSocket extends EventTarget {
  static readonly OPEN = 1;
  readyState = 0;
  binaryType = "blob";
  session: string;
  onopen?: () => void;
  onmessage?: (event: { data: unknown }) => void;
  onclose?: (event: { code: number; reason: string }) => void;
  readonly #terminal: boolean;
  readonly #after: number;
  #line = "";

  constructor(address: URL) {
    super();
    const parts = address.pathname.replace("/api/v1/", "").split("/");
    this.#terminal = parts[2] === "terminals";
    this.#after = Number(address.searchParams.get("after") ?? 0);
    this.session = parts[0] === "live" ? "*" : this.#terminal ? "" : (parts[1] ?? "");
    sockets.add(this);
    setTimeout(() => this.#open(), 20);
  }

  push(message: LiveMessage): void {
    if (this.readyState === 1) this.onmessage?.({ data: JSON.stringify(message) });
  }

  close(): void {
    this.readyState = 3;
    sockets.delete(this);
  }

  send(data: unknown): void {
    if (!this.#terminal || typeof data === "string") return;
    const text = new TextDecoder().decode(data as Uint8Array);
    this.#line += text;
    this.#print(text === "\r" ? `\r\n${PROMPT}` : text);
  }

  #print(text: string): void {
    this.onmessage?.({ data: new TextEncoder().encode(text).buffer });
  }

  #open(): void {
    if (this.readyState === 3) return;
    this.readyState = 1;
    this.onopen?.();
    if (this.#terminal) {
      this.onmessage?.({ data: JSON.stringify({ type: "attached", offset: 0 }) });
      return this.#print(SCREEN);
    }
    const recording = recordings.get(this.session);
    if (!recording) return;
    this.push({ type: "session", session: recording.session });
    this.push({ type: "queue", messages: recording.queue });
    for (const event of recording.events) if (event.seq > this.#after) this.push({ type: "event", event });
    this.push({ type: "caught_up", seq: recording.session.last_seq });
    const pending = recording.live;
    recording.live = [];
    pending.forEach((event, i) => {
      setTimeout(
        () => {
          recording.events.push(event);
          broadcast(this.session, { type: "event", event });
        },
        400 + i * 45,
      );
    });
  }
}

const PROMPT = "\u001b[32magent@payments-api\u001b[0m:\u001b[34m~/payments-api\u001b[0m$ ";
const SCREEN = `${PROMPT}cargo test -p client retry\r\n    \u001b[1;32mFinished\u001b[0m \`test\` profile in 6.20s\r\nrunning 14 tests ............\u001b[31mF\u001b[0m.\r\ntest retry::backs_off_exponentially ... \u001b[31mFAILED\u001b[0m\r\n${PROMPT}`;

export function install(): void {
  const real = window.fetch.bind(window);
  window.fetch = async (input, init = {}) => {
    const url = new URL(String(input), location.href);
    if (!url.pathname.startsWith("/api/")) return real(input, init);
    await new Promise((resolve) => setTimeout(resolve, 30));
    return answer(url, init);
  };
  const Real = window.WebSocket;
  window.WebSocket = new Proxy(Real, {
    construct(_, [address]: [URL]) {
      return new URL(address).pathname.startsWith("/api/")
        ? new FakeSocket(new URL(address))
        : new Real(address);
    },
  });
}
