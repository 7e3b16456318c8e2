/** Sessions to look at: one for each state that the page knows. */
import type { FileChange, ModelOption, QueuedMessage, Session, SessionEvent } from "../../src/api/types";
import { Recorder } from "./recorder";

export interface Recording {
  session: Session;
  events: SessionEvent[];
  queue: QueuedMessage[];
  /** Events that come one after the other while one looks. */
  live: SessionEvent[];
}

const NOW = Date.now();
const MINUTE = 60_000;

export const MODELS: ModelOption[] = [
  {
    id: "gpt-5.5",
    name: "GPT-5.5",
    description: "For most work",
    efforts: ["low", "medium", "high", "xhigh"],
    default_effort: "medium",
    images: true,
    is_default: true,
  },
  {
    id: "gpt-5.5-mini",
    name: "GPT-5.5 mini",
    description: "Faster, for small changes",
    efforts: ["low", "medium"],
    default_effort: "low",
    images: true,
    is_default: false,
  },
];

const hex = (n: number) => n.toString(16).padStart(32, "0");

function session(n: number, title: string, patch: Partial<Session>): Session {
  return {
    id: `ses_${hex(n)}`,
    title,
    state: "running",
    state_since: new Date(NOW - 20 * MINUTE).toISOString(),
    activity: "idle",
    trouble: null,
    profile: { name: "default", version: 1 },
    provider_label: "Demo model (scripted)",
    scripted: true,
    runtime: "codex",
    repository: { name: "payments-api", source: "/srv/git/payments-api", branch: "main" },
    cwd: "/workspace/payments-api",
    conversation_id: "thread_1",
    turn_id: null,
    model: "gpt-5.5",
    effort: null,
    models: MODELS,
    usage: {
      input_tokens: 182_000,
      cached_input_tokens: 120_000,
      output_tokens: 9_000,
      context_tokens: 103_000,
      context_window: 272_000,
    },
    approvals: [],
    queued: 0,
    last_seq: 0,
    created_at: new Date(NOW - n * 7 * MINUTE).toISOString(),
    updated_at: new Date(NOW - n * 3 * MINUTE).toISOString(),
    ...patch,
  };
}

function recording(of: Session, recorder: Recorder, more: Partial<Recording> = {}): Recording {
  const events = recorder.events;
  return { session: { ...of, last_seq: events.at(-1)?.seq ?? 0 }, events, queue: [], live: [], ...more };
}

const RETRY_DIFF: FileChange = {
  path: "client/src/retry.rs",
  change: { kind: "update", moved_to: null },
  added: 9,
  removed: 2,
  diff: [
    "@@ -36,8 +36,15 @@ impl Retry {",
    " impl Retry {",
    "-    pub async fn run(&self) -> Result<Response> {",
    "+    pub async fn run(&self) -> Result<Response> {",
    "+        self.run_with(&Tokio).await",
    "+    }",
    "+",
    "+    async fn run_with<C: Clock>(&self, clock: &C)",
    "+        -> Result<Response> {",
    "         let mut wait = self.base;",
    "         loop {",
    "-            sleep(wait).await;",
    "+            clock.sleep(wait).await;",
    "+            // The test drives the clock, so a slow scheduler can't make it fail.",
    "+            wait = wait.saturating_mul(2);",
    "             if let Ok(response) = self.once().await {",
  ].join("\n"),
};

const CLOCK_DIFF: FileChange = {
  path: "client/src/clock.rs",
  change: { kind: "add" },
  added: 38,
  removed: 0,
  diff: Array.from({ length: 38 }, (_, i) => (i % 6 === 5 ? "+" : `+// line ${i + 1} of the clock`)).join(
    "\n",
  ),
};

const TEST_OUTPUT = `\u001b[1m\u001b[32m    Finished\u001b[0m \`test\` profile [unoptimized + debuginfo] target(s) in 6.20s
     Running unittests src/lib.rs (target/debug/deps/client-5d1e)

running 14 tests
.............F
failures:

---- retry::backs_off_exponentially stdout ----

thread 'retry::backs_off_exponentially' panicked at client/src/retry.rs:118:9:
assertion failed: elapsed < Duration::from_millis(120)
note: run with \`RUST_BACKTRACE=1\` environment variable to display a backtrace


failures:
    retry::backs_off_exponentially

test result: FAILED. 13 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.84s
`;

function work(at: number): Recorder {
  const r = new Recorder(at).started();
  r.begin(
    "The retry test in client/retry.rs fails about one run in twenty. Find out why and fix it; keep the public API as it is.",
    `msg_${hex(900)}`,
  );
  r.think("**Looking for the test**\n\nThe test is named in the task. I read it first, then what it calls.");
  r.command('rg -n "retry" client/src --files-with-matches', "client/src/retry.rs\nclient/src/lib.rs\n", 400);
  r.command("sed -n 1,160p client/src/retry.rs", "use std::time::Duration;\n…\n", 200);
  r.command(
    "sed -n 80,140p client/tests/retry.rs",
    "#[tokio::test]\nasync fn backs_off_exponentially() {\n",
    200,
  );
  r.answer(
    "The test sleeps for the backoff and then asserts on wall-clock time, so a slow scheduler makes it fail. I'll make the clock a parameter and let the test drive it.\n\nLet me first see it fail:",
  );
  r.command("cargo test -p client retry", TEST_OUTPUT, 8200, 101);
  r.item({
    kind: "plan",
    steps: [
      { text: "Reproduce the failure", status: "completed" },
      { text: "Put a `Clock` between `Retry` and tokio", status: "in_progress" },
      { text: "Drive the clock from the test", status: "pending" },
      { text: "Run the test a hundred times", status: "pending" },
    ],
  });
  r.files([RETRY_DIFF, CLOCK_DIFF]);
  return r;
}

function needsYou(): Recording {
  const r = work(NOW - 6 * MINUTE);
  r.command("cargo check -p client", "    Finished `dev` profile in 3.1s\n", 3100);
  r.answer(
    "`Retry::run` is unchanged for callers. The new trait is private:\n\n```rust\ntrait Clock {\n    async fn sleep(&self, wait: Duration);\n}\n```\n\n| | before | after |\n|---|---|---|\n| test time | 1.84 s | 0.01 s |\n| depends on the scheduler | yes | **no** |\n\nNext I run the test many times, see [the tokio docs](https://docs.rs/tokio) on paused time.",
  );
  const command = "cargo test -p client retry -- --nocapture --test-threads=1";
  const item = r.open({
    kind: "command",
    command,
    cwd: "/workspace/payments-api",
    output: "",
    output_truncated: false,
    exit_code: null,
  });
  const approval = r.ask("apr_1", item, { kind: "command", command, cwd: "/workspace/payments-api" });
  const of = session(1, "Fix flaky retry test", {
    activity: "needs_you",
    turn_id: r.turn,
    approvals: [approval],
    scripted: false,
    provider_label: "OpenAI",
  });
  return recording(of, r);
}

const STREAMED =
  "Axum 0.8 changes three things that touch us:\n\n1. **Path syntax.** `/:id` is now `/{id}`, and a wildcard is `/{*rest}`. There are 41 routes; the old form panics at start-up, so none can be missed.\n2. **`Option<T>` extractors** need `OptionalFromRequestParts`. We use two: `Option<Query<…>>` and `Option<TypedHeader<…>>`.\n3. **`async_trait` is gone** from `FromRequest`; our four extractors lose the attribute.\n\nI'll begin with the routes, because the compiler helps with the other two.\n";

function working(): Recording {
  const r = new Recorder(NOW - 14 * MINUTE).started("gateway");
  r.begin("Upgrade to axum 0.8.", `msg_${hex(901)}`);
  r.command("cargo tree -i axum", "axum v0.7.9\n", 900);
  r.command("rg -c 'route\\(' src", "src/api/mod.rs:41\n", 100);
  const live = new Recorder(NOW);
  const stored = r.events.length;
  const message = r.open({ kind: "agent_message", text: "" });
  for (const part of STREAMED.match(/\S+\s*/g) ?? []) r.delta(message, part);
  r.say({
    type: "item.completed",
    item: {
      id: message,
      conversation_id: "thread_1",
      turn_id: r.turn,
      status: "completed",
      started_at: live.now,
      completed_at: live.now,
      body: { kind: "agent_message", text: STREAMED },
    },
  });
  const command = r.open({
    kind: "command",
    command: "cargo check --all-targets",
    cwd: "/workspace/gateway",
    output: "",
    output_truncated: false,
    exit_code: null,
  });
  for (const name of ["serde v1.0.228", "tokio v1.48.0", "hyper v1.8.1", "axum v0.8.7", "gateway v0.4.0"]) {
    r.delta(command, `   Compiling ${name}\n`);
  }
  const events = r.events.splice(stored);
  const of = session(2, "Upgrade to axum 0.8", {
    activity: "working",
    turn_id: r.turn,
    queued: 2,
    scripted: false,
    provider_label: "OpenAI",
    repository: { name: "gateway", source: "/srv/git/gateway", branch: "main" },
  });
  return recording(of, r, {
    live: events,
    queue: [
      {
        id: `msg_${hex(910)}`,
        text: "When that compiles, run the load test and compare with main.",
        delivery: "queue",
        sending: false,
        created_at: new Date(NOW).toISOString(),
      },
      {
        id: `msg_${hex(911)}`,
        text: "Then write the changelog entry.",
        delivery: "queue",
        sending: false,
        created_at: new Date(NOW).toISOString(),
      },
    ],
  });
}

function ready(): Recording {
  const r = work(NOW - 70 * MINUTE);
  r.command("cargo test -p client retry", "test result: ok. 14 passed; 0 failed\n", 4000);
  r.answer("Done. All 14 tests pass, a hundred times in a row.");
  r.end();
  r.wait(2 * MINUTE).begin("Thanks. Does anything else in the workspace assert on wall-clock time?");
  r.item({ kind: "web_search", query: "tokio time pause advance" }, "completed", 900);
  r.item({
    kind: "tool_call",
    tool: "github.search_code",
    arguments: '{"query":"Instant::now repo:payments"}',
    result: '{"total_count":2}',
  });
  r.answer("Two more places, both in `server/tests/limits.rs`. Neither is flaky today.");
  r.end();
  return recording(session(3, "Add idempotency keys", {}), r);
}

function starting(): Recording {
  const r = new Recorder(NOW - 4000);
  r.say({ type: "session.state", state: "created", trouble: null })
    .say({ type: "session.state", state: "starting", trouble: null })
    .say({
      type: "setup.progress",
      step: "repository",
      detail: "Receiving objects:  64% (12043/18817), 9.20 MiB",
    });
  const of = session(4, "Why is CI slow on main?", {
    state: "starting",
    state_since: new Date(NOW - 4000).toISOString(),
    conversation_id: null,
    models: [],
    usage: null,
    created_at: new Date(NOW - 4000).toISOString(),
  });
  return recording(of, r, {
    queue: [
      {
        id: `msg_${hex(920)}`,
        text: "Why is CI slow on main? Look at the last 20 runs and tell me which step grew.",
        delivery: "queue",
        sending: false,
        created_at: new Date(NOW).toISOString(),
      },
    ],
  });
}

function stopped(): Recording {
  const r = work(NOW - 3 * 24 * 60 * MINUTE);
  r.answer("The spike works with NATS JetStream; numbers are in `docs/spike.md`.");
  r.end();
  r.say({ type: "session.state", state: "stopping", trouble: null });
  r.say({ type: "session.state", state: "stopped", trouble: null });
  const at = new Date(NOW - 3 * 24 * 60 * MINUTE).toISOString();
  return recording(
    session(5, "Spike: webhooks over NATS", {
      state: "stopped",
      state_since: at,
      created_at: at,
      updated_at: at,
    }),
    r,
  );
}

function failed(): Recording {
  const trouble = {
    code: "repository_unreachable",
    message:
      "git could not fetch https://git.example.com/finance/invoices.git: the host is not on the profile's allow-list.",
    hint: "Add git.example.com to the profile's egress allow-list, then start the session again.",
    since: new Date(NOW - 26 * 60 * MINUTE).toISOString(),
  };
  const r = new Recorder(NOW - 26 * 60 * MINUTE);
  r.say({ type: "session.state", state: "created", trouble: null })
    .say({ type: "session.state", state: "starting", trouble: null })
    .say({ type: "setup.progress", step: "repository", detail: null })
    .say({ type: "setup.failed", step: "repository", message: trouble.message })
    .say({ type: "session.state", state: "failed", trouble });
  return recording(
    session(6, "Backfill invoices", {
      state: "failed",
      trouble,
      state_since: trouble.since,
      created_at: trouble.since,
      conversation_id: null,
      models: [],
      usage: null,
    }),
    r,
    {
      queue: [
        {
          id: `msg_${hex(930)}`,
          text: "Backfill the invoices of October from the event log.",
          delivery: "queue",
          sending: false,
          created_at: trouble.since,
        },
      ],
    },
  );
}

function failedTurn(): Recording {
  const r = new Recorder(NOW - 9 * MINUTE).started();
  r.begin("Rename `Retry` to `Backoff` everywhere.");
  r.say({
    type: "notice",
    level: "warning",
    code: "model_unreachable",
    message: "The model did not answer; retrying in 4 s.",
  });
  r.wait(8000).end({
    status: "failed",
    code: "model_unauthorized",
    message: "The provider answered 401: Incorrect API key provided.",
  });
  return recording(session(7, "Rename Retry to Backoff", {}), r);
}

function editToApprove(): Recording {
  const r = new Recorder(NOW - 3 * MINUTE).started();
  r.begin("Make the greeting polite.");
  const item = r.open({ kind: "file_change", changes: [RETRY_DIFF] });
  const approval = r.ask(
    "apr_2",
    item,
    { kind: "file_change", changes: [RETRY_DIFF] },
    "The edit is outside the folder named in the task.",
  );
  return recording(
    session(8, "Make the greeting polite", { activity: "needs_you", turn_id: r.turn, approvals: [approval] }),
    r,
  );
}

/** As long as a conversation gets: for scrolling and for reload. */
function long(): Recording {
  const r = new Recorder(NOW - 500 * MINUTE).started();
  for (let turn = 0; turn < 600; turn++) {
    r.begin(`Question ${turn + 1}: what does module ${turn + 1} do?`);
    for (let i = 0; i < 4; i++) r.command(`sed -n 1,80p src/module_${turn}_${i}.rs`, "fn main() {}\n", 300);
    r.answer(
      `Module ${turn + 1} parses the ${turn + 1}. record.\n\n- it reads\n- it checks\n- it **writes**\n`,
    );
    r.command(`cargo test module_${turn}`, "test result: ok\n", 2000);
    r.answer(`All tests of module ${turn + 1} pass.`);
    r.end();
  }
  return recording(session(9, "A very long conversation about every module of a large system", {}), r);
}

export const RECORDINGS: Recording[] = [
  needsYou(),
  editToApprove(),
  working(),
  starting(),
  ready(),
  failedTurn(),
  long(),
  stopped(),
  failed(),
];
