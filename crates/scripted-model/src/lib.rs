//! A model that follows a script.
//!
//! A small server that speaks the `OpenAI` Responses API, `OpenAI` Chat Completions and Anthropic
//! Messages, and answers from *scenarios* instead of a language model. It is the provider of a
//! first run, labelled [`LABEL`], and it stands in for the model in tests. The agents that talk to
//! it are the real ones, and what it tells them to do is really done.
//!
//! # How an answer comes about
//! 1. [`conversation`] reads a request of any of the three APIs into one list of entries and finds
//!    the *turn*: the last real message of the person (agents wrap their own remarks into user
//!    messages; those do not count), what was done since, and what the person added meanwhile.
//! 2. [`script`] picks the first scenario whose `match` fits the message and replays its steps
//!    against the tool outputs in the request. Which step is next follows from the request alone,
//!    so restarts of either side and repeated requests are harmless.
//! 3. [`tools`] says the step's command or patch with whatever tool the agent offers.
//! 4. [`responses`], [`chat`] and [`messages`] write the answer in the words of their API, whole
//!    or as the event stream that the real API would send; [`sse`] paces it, cuts it or stalls it.
//!
//! # What the built-in scenarios understand
//! | message | what happens |
//! |---|---|
//! | `fix the failing test` and the like | finds and fixes the fault of the demo repository |
//! | `run: COMMAND` | runs it and quotes its output |
//! | `run 3 times: COMMAND` | the same several times in a row; `{{n}}` counts from 1 |
//! | `say: TEXT` | answers with the text |
//! | `think` or `think: TEXT` | reasons, then answers |
//! | `create FILE: TEXT` | adds a file |
//! | `edit FILE` | appends a line to a file |
//! | `edit FILE: OLD => NEW` | replaces one line of a file |
//! | `patch: *** Begin Patch …` | applies the patch as it is |
//! | `remember TEXT`, `what did I ask you to remember` | recalls it from the conversation that the agent sends |
//! | `slow stream`, `slow stream 20 every 100ms` | many lines with a pause before each |
//! | `markdown` | a message with every kind of block |
//! | `fail 401` (any status), `fail 500: MESSAGE` | refuses the request |
//! | `fail context`, `fail usage` | the errors of a full context and of a used-up plan |
//! | `rate limit`, `rate limit 5` | 429 with `retry-after` |
//! | `cut`, `cut 4` | drops the connection after that many events |
//! | `stall`, `stall 4` | says nothing more after that many events |
//! | anything else | says that it is scripted, what it can do and how to connect a real model |
//!
//! A message that arrives while a turn runs is acknowledged ("You added: …") and the turn goes on.
//!
//! # Scenario files
//! TOML, unknown keys are errors. Texts may use `{{1}}` or `{{name}}` (captures of `match`),
//! `{{prompt}}`, `{{output}}` (the last tool output), `{{recalled}}`, `{{n}}` and `{{help}}`.
//!
//! ```toml
//! [[scenario]]
//! name = "greet"
//! help = "`greet NAME`: looks around and greets"  # shown to whoever asks for something unknown
//! match = '(?i)^greet (?<who>\w+)'
//! defaults = { who = "you" }                      # for captures that took no part
//!
//! [[scenario.steps]]
//! reasoning = "Looking around first."
//! text = "Let me look."
//! run = "ls"                                      # or patch = "*** Begin Patch …"
//!
//! [[scenario.steps]]
//! when = { declined = true }                      # a step whose condition fails is left out
//! text = "Then I will not look."                  # a step that calls no tool ends the turn
//!
//! [[scenario.steps]]
//! text = "Hello {{who}}, here is `{{output}}`."
//! chunk_delay_ms = 40
//! ```
//! See [`scenario::Step`] for every key.

mod chat;
mod conversation;
mod image;
mod messages;
mod patch;
mod responses;
pub mod scenario;
mod script;
mod server;
mod sse;
mod tools;

pub use scenario::{LoadError, Scenarios};
pub use server::{router, serve};

/// What a person sees as the provider's name.
pub const LABEL: &str = "Demo model (scripted)";

/// The model name to ask for. Codex decides by the name which tools it offers: with this one it
/// offers its shell and `apply_patch` directly, with a name that is not in its catalogue it leaves
/// `apply_patch` out. Any other name is answered too.
pub const MODEL: &str = "gpt-5.5";
