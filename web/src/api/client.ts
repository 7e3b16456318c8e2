/**
 * Talks to the API. Whatever goes wrong becomes one `ApiError` that can say what failed, when, and
 * what a person may hand to whoever runs the server.
 *
 * Nothing that changes something is sent twice unless it carries an idempotency key: then a lost
 * answer is asked for again, because the server answers the second request with the first result.
 */
import type {
  Answer,
  Approval,
  ConversationPatch,
  ConversationSummary,
  CreatedToken,
  Me,
  MessagePatch,
  NewMessage,
  NewSession,
  NewTerminal,
  NewTui,
  Page,
  Problem,
  ProfileSummary,
  QueuedMessage,
  Repository,
  RepositoryCheck,
  Session,
  SessionFacets,
  SessionPatch,
  TerminalInfo,
  Ticket,
  TicketPurpose,
  Token,
  WarmSession,
} from "./types";

export const API = "/api/v1";

/** A request that takes longer is given up: every answer of the API is meant to be quick. */
const TIMEOUT_MS = 30_000;
/** How often a request that may be repeated is tried. */
const ATTEMPTS = 3;
/** Wait before the second attempt; doubles. */
const RETRY_MS = 400;

export class ApiError extends Error {
  override readonly name = "ApiError";
  /** What was being done, for a person: "Start session". */
  readonly action: string;
  readonly method: string;
  readonly path: string;
  readonly at = new Date();
  /** The server's own description; none when no answer came. */
  readonly problem: Problem | undefined;

  constructor(action: string, method: string, path: string, problem: Problem | undefined, cause?: unknown) {
    super(
      problem
        ? (problem.detail ?? problem.title)
        : "The server did not answer. Check that it is running and that you are connected.",
      { cause },
    );
    this.action = action;
    this.method = method;
    this.path = path;
    this.problem = problem;
  }

  get status(): number {
    return this.problem?.status ?? 0;
  }
  get kind(): string {
    return this.problem?.type ?? "unreachable";
  }
  /** The field of the request that was wrong, as a JSON pointer. */
  get pointer(): string | undefined {
    return this.problem?.pointer ?? undefined;
  }
  get requestId(): string | undefined {
    return this.problem?.request_id ?? undefined;
  }
  /** Everything that helps to find the cause, as text to copy. */
  get details(): string {
    return [
      `${this.action}: ${this.message}`,
      `type: ${this.kind}`,
      this.status ? `status: ${this.status}` : undefined,
      this.pointer ? `field: ${this.pointer}` : undefined,
      this.requestId ? `request: ${this.requestId}` : undefined,
      `call: ${this.method} ${this.path}`,
      `at: ${this.at.toISOString()}`,
      this.cause ? `cause: ${String(this.cause)}` : undefined,
    ]
      .filter(Boolean)
      .join("\n");
  }
}

/** Anything thrown, as an `ApiError`. */
export function asApiError(error: unknown, action: string): ApiError {
  return error instanceof ApiError ? error : new ApiError(action, "", location.pathname, undefined, error);
}

type Listener = () => void;
const signedOutListeners = new Set<Listener>();
/** Called whenever the server says that nobody is signed in. */
export function onSignedOut(listener: Listener): () => void {
  signedOutListeners.add(listener);
  return () => signedOutListeners.delete(listener);
}

interface Call {
  action: string;
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  /** Makes a create safe to repeat. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

async function readProblem(response: Response): Promise<Problem> {
  const fallback: Problem = {
    type: `http-${response.status}`,
    // What stands before the server has answered for it.
    title:
      response.status >= 502 && response.status <= 504
        ? "The server did not answer."
        : response.statusText || `HTTP ${response.status}`,
    status: response.status,
    request_id: response.headers.get("x-request-id"),
  };
  if (!response.headers.get("content-type")?.includes("json")) return fallback;
  try {
    const body = (await response.json()) as Partial<Problem>;
    return { ...fallback, ...body };
  } catch {
    return fallback;
  }
}

async function attempt<T>(path: string, call: Call): Promise<T> {
  const method = call.method ?? "GET";
  const headers: Record<string, string> = { accept: "application/json" };
  if (call.body !== undefined) headers["content-type"] = "application/json";
  if (call.idempotencyKey) headers["idempotency-key"] = call.idempotencyKey;
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(API + path, {
      method,
      headers,
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      credentials: "same-origin",
      signal: call.signal ? AbortSignal.any([call.signal, timeout]) : timeout,
    });
    if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  } catch (error) {
    if (call.signal?.aborted) throw error;
    throw new ApiError(call.action, method, API + path, undefined, error);
  }
  const problem = await readProblem(response);
  if (problem.status === 401) for (const listener of signedOutListeners) listener();
  throw new ApiError(call.action, method, API + path, problem);
}

/** Worth another attempt: no answer, or one that says "later". */
function isTransient(error: unknown): boolean {
  return error instanceof ApiError && [0, 502, 503, 504].includes(error.status);
}

export async function request<T>(path: string, call: Call): Promise<T> {
  const repeatable = (call.method ?? "GET") === "GET" || call.idempotencyKey !== undefined;
  for (let count = 1; ; count++) {
    try {
      return await attempt<T>(path, call);
    } catch (error) {
      if (!repeatable || count === ATTEMPTS || call.signal?.aborted || !isTransient(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS * 2 ** (count - 1)));
    }
  }
}

/** A key that makes a create safe to repeat. Not `randomUUID`: that exists on secure origins only. */
export function newIdempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const session = (id: string) => `/sessions/${encodeURIComponent(id)}`;
/** What a list of sessions is narrowed to, and which of its pages. */
export interface SessionsQuery {
  cursor?: string;
  limit?: number;
  q?: string;
  status?: string;
  repository?: string;
  profile?: string;
  deleted?: true;
}

const query = (values: Record<string, string | number | true | undefined | null>) => {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) if (value != null) search.set(key, String(value));
  return search.size ? `?${search}` : "";
};

export const api = {
  me: () => request<Me>("/me", { action: "Sign in" }),
  signOut: () => request<void>("/logout", { action: "Sign out", method: "POST" }),

  profiles: () => request<ProfileSummary[]>("/profiles", { action: "Load profiles" }),
  checkRepository: (body: Repository, signal?: AbortSignal) =>
    request<RepositoryCheck>("/repositories/check", {
      action: "Check repository",
      method: "POST",
      body,
      signal,
    }),

  sessions: (asked: SessionsQuery = {}, signal?: AbortSignal) =>
    request<Page<Session>>(`/sessions${query({ limit: 50, ...asked })}`, { action: "Load sessions", signal }),
  sessionFacets: () => request<SessionFacets>("/session-facets", { action: "Load filters" }),
  session: (id: string) => request<Session>(session(id), { action: "Load session" }),
  createSession: (body: NewSession, idempotencyKey: string) =>
    request<Session>("/sessions", { action: "Start session", method: "POST", body, idempotencyKey }),
  warmSession: (body: NewSession) =>
    request<WarmSession>("/sessions/warm", { action: "Prepare a session", method: "POST", body }),
  patchSession: (id: string, body: SessionPatch) =>
    request<Session>(session(id), { action: "Rename session", method: "PATCH", body }),
  startSession: (id: string) =>
    request<Session>(`${session(id)}/start`, { action: "Start session", method: "POST" }),
  stopSession: (id: string) =>
    request<Session>(`${session(id)}/stop`, { action: "Stop session", method: "POST" }),
  deleteSession: (id: string, now = false) =>
    request<Session>(`${session(id)}${now ? "?now=true" : ""}`, {
      action: "Delete session",
      method: "DELETE",
    }),
  restoreSession: (id: string) =>
    request<Session>(`${session(id)}/restore`, { action: "Restore session", method: "POST" }),
  patchConversation: (id: string, conversation: string, body: ConversationPatch) =>
    request<ConversationSummary>(`${session(id)}/conversations/${encodeURIComponent(conversation)}`, {
      action: "Change conversation",
      method: "PATCH",
      body,
    }),
  interrupt: (id: string, conversation?: string | null) =>
    request<void>(`${session(id)}/interrupt${query({ conversation })}`, {
      action: "Interrupt",
      method: "POST",
    }),

  send: (id: string, body: NewMessage, idempotencyKey: string) =>
    request<QueuedMessage>(`${session(id)}/messages`, {
      action: "Send message",
      method: "POST",
      body,
      idempotencyKey,
    }),
  patchMessage: (id: string, message: string, body: MessagePatch) =>
    request<QueuedMessage>(`${session(id)}/messages/${encodeURIComponent(message)}`, {
      action: "Change message",
      method: "PATCH",
      body,
    }),
  removeMessage: (id: string, message: string) =>
    request<void>(`${session(id)}/messages/${encodeURIComponent(message)}`, {
      action: "Remove message",
      method: "DELETE",
    }),

  approvals: (id: string) => request<Approval[]>(`${session(id)}/approvals`, { action: "Load approvals" }),
  answer: (id: string, approval: string, body: Answer) =>
    request<void>(`${session(id)}/approvals/${encodeURIComponent(approval)}`, {
      action: "Answer approval",
      method: "POST",
      body,
    }),

  terminals: (id: string) =>
    request<TerminalInfo[]>(`${session(id)}/terminals`, { action: "Load terminals" }),
  openTerminal: (id: string, body: NewTerminal) =>
    request<TerminalInfo>(`${session(id)}/terminals`, { action: "Open terminal", method: "POST", body }),
  openTui: (id: string, body: NewTui) =>
    request<TerminalInfo>(`${session(id)}/tui`, { action: "Open TUI", method: "POST", body }),
  renameTerminal: (id: string, terminal: string, name: string) =>
    request<TerminalInfo>(`${session(id)}/terminals/${encodeURIComponent(terminal)}`, {
      action: "Rename terminal",
      method: "PATCH",
      body: { name },
    }),
  closeTerminal: (id: string, terminal: string) =>
    request<void>(`${session(id)}/terminals/${encodeURIComponent(terminal)}`, {
      action: "Close terminal",
      method: "DELETE",
    }),

  ticket: (body: TicketPurpose) => request<Ticket>("/tickets", { action: "Connect", method: "POST", body }),

  tokens: (cursor?: string) => request<Page<Token>>(`/tokens${query({ cursor })}`, { action: "Load tokens" }),
  createToken: (name: string, idempotencyKey: string) =>
    request<CreatedToken>("/tokens", {
      action: "Create token",
      method: "POST",
      body: { name },
      idempotencyKey,
    }),
  revokeToken: (id: string) =>
    request<void>(`/tokens/${encodeURIComponent(id)}`, { action: "Revoke token", method: "DELETE" }),
};
