//! The Codex driver: `codex app-server`, JSON-RPC over a WebSocket over a Unix socket.
//!
//! The socket, rather than standard input, because others can be clients of the same live thread
//! (Codex' own TUI), and because the daemon finds the process again after a crash of its own.
//!
//! | module | what it does |
//! |---|---|
//! | [`process`] | starts the process, finds it again, ends it |
//! | [`connection`] | calls and notifications |
//! | [`wire`] | the messages, as far as they are read |
//! | [`translate`] | notifications → events, pure |
//! | [`input`] | what it is given of a message |
//! | [`failure`] | error codes → texts for a person |
//! | [`shell`] | commands as a person would type them |
//! | [`tui`] | Codex' own interface on the same thread |
//! | [`commands`] | skills, and what the app-server does when asked |
//! | [`config`] | configuration, rules, instructions; what the approval policies truly do |
//!
//! A message carries its [`MessageId`](mistle_protocol::id::MessageId) as `clientUserMessageId`.
//! Codex stores it with the user message but does not refuse the same one twice; so after every
//! reconnect the turns that the record may lack are read, which tells what was delivered.
//!
//! A steered message shows up as an item only when the model takes it, at its next request; when
//! the turn ends before, Codex forgets it. Whoever steers has to look for the item.

mod commands;
mod config;
mod connection;
mod failure;
mod input;
mod process;
mod shell;
mod translate;
mod tui;
mod wire;

use std::collections::VecDeque;
use std::io;

use jiff::Timestamp;
use mistle_protocol::agent::{
    AgentEvent, Approval, Conversation, ConversationId, Decision, ModelOption, NoticeLevel, TurnId,
};
use mistle_protocol::commands::{RunAgentCommand, RuntimeCommand};
use mistle_protocol::control::Deliver;
use mistle_protocol::plan::Plan;
use serde_json::{Value, json};

use self::connection::{Connection, Incoming};
use self::process::Process;
use self::translate::Translator;
use super::repositories;
use super::runtime::{CallError, Interface, Lacking, Ready, Resumed, Runtime, Sent, Start, StartError};

/// Turns in one page of history.
const PAGE: u32 = 20;
/// The most pages of history that a reconnect reads. What is older is on the server.
const MAX_PAGES: usize = 25;
/// The most pages of models.
const MAX_MODEL_PAGES: usize = 20;

/// A running app-server.
#[derive(Debug)]
pub(super) struct Codex {
    process: Process,
    connection: Connection,
    translator: Translator,
    /// Requests that are no questions for a person and have to be refused.
    to_refuse: VecDeque<(Value, String)>,
    /// Ready before the connection says more.
    events: VecDeque<AgentEvent>,
    /// What its own interface is started with.
    tui: tui::Tui,
    /// The folder in which the next turns run.
    cwd: String,
}

impl Runtime for Codex {
    async fn start(start: Start<'_>) -> Result<(Self, Ready), StartError> {
        let Start {
            plan,
            workspaces,
            home,
            environment,
        } = start;
        let configuration = config::write(home, plan, workspaces)
            .await
            .map_err(|error| StartError {
                message: match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => repositories::disk_full(),
                    _ => format!("Codex' configuration can't be written: {error}."),
                },
                transient: false,
            })?;
        let program = &plan.runtime.program;
        let fingerprint = process::fingerprint(program, &configuration, environment);
        let earlier = Process::find(home, fingerprint).await;
        let found = earlier.is_some();
        let (process, stream) = match earlier {
            Some(earlier) => earlier,
            None => Process::spawn(program, home, &plan.cwd, environment, fingerprint).await?,
        };
        match greet(stream).await {
            Ok((connection, mut ready, upgrades)) => {
                if found {
                    // It was said when the process was started.
                    ready.notices.clear();
                }
                let codex = Self {
                    process,
                    connection,
                    translator: Translator::default(),
                    to_refuse: VecDeque::new(),
                    events: VecDeque::new(),
                    tui: tui::Tui {
                        home: home.to_owned(),
                        environment: environment.clone(),
                        upgrades,
                    },
                    cwd: plan.cwd.clone(),
                };
                Ok((codex, ready))
            }
            Err(error) => {
                let words = process.bury().await;
                Err(StartError {
                    message: format!("Codex does not answer ({error}). {words}"),
                    transient: true,
                })
            }
        }
    }

    async fn converse(&mut self, plan: &Plan, cwd: &str) -> Result<Conversation, CallError> {
        let params = json!({
            "cwd": cwd,
            "approvalPolicy": config::approval_policy(plan.runtime.approval_policy),
            "sandbox": config::SANDBOX_MODE,
        });
        let answer: wire::ThreadAnswer = self.connection.call("thread/start", params).await?;
        self.translator.adopt(&answer.thread.id);
        Ok(translate::conversation(answer.thread, Timestamp::now()))
    }

    async fn resume(
        &mut self,
        plan: &Plan,
        conversation: &ConversationId,
        lacking: &Lacking,
    ) -> Result<Resumed, CallError> {
        let params = json!({
            "threadId": conversation,
            "excludeTurns": true,
            "approvalPolicy": config::approval_policy(plan.runtime.approval_policy),
            "sandbox": config::SANDBOX_MODE,
        });
        let answer: wire::ThreadAnswer = self.connection.call("thread/resume", params).await?;
        self.translator.adopt(conversation);
        self.move_thread(conversation).await?;
        let turns = self.turns_since(conversation, lacking).await?;
        let running = turns
            .iter()
            .find(|turn| turn.status == "inProgress")
            .map(|turn| turn.id.clone());
        let missed = match lacking {
            Lacking::Nothing => Vec::new(),
            Lacking::All | Lacking::From(_) => self.translator.history(conversation, turns, Timestamp::now()),
        };
        Ok(Resumed {
            conversation: translate::conversation(answer.thread, Timestamp::now()),
            missed,
            running,
        })
    }

    async fn relocate(&mut self, cwd: &str) -> Result<(), CallError> {
        if let Err(error) = config::link_instructions(&self.tui.home, cwd).await {
            tracing::warn!(%error, cwd, "the folder's instructions can't be linked");
        }
        if self.cwd == cwd {
            return Ok(());
        }
        cwd.clone_into(&mut self.cwd);
        for thread in self.translator.threads() {
            self.move_thread(&thread).await?;
        }
        Ok(())
    }

    fn has(&self, conversation: &str) -> bool {
        self.translator.has(conversation)
    }

    async fn send(
        &mut self,
        conversation: &ConversationId,
        running: Option<&TurnId>,
        message: &Deliver,
    ) -> Result<Sent, CallError> {
        if let Some(turn) = running {
            match self.steer(conversation, turn, message).await {
                Ok(turn) => return Ok(Sent::Turn(turn)),
                // The turn ended meanwhile.
                Err(CallError::Refused(why))
                    if why.contains("no active turn") || why.contains("expected active turn") => {}
                Err(CallError::Refused(why)) if why.contains("steer") => return Ok(Sent::Busy),
                Err(error) => return Err(error),
            }
        }
        let params = json!({
            "threadId": conversation,
            "input": input::message(message),
            "clientUserMessageId": message.message_id,
            "cwd": message.cwd,
            "model": message.model,
            "effort": message.effort,
        });
        let answer: wire::TurnAnswer = self.connection.call("turn/start", params).await?;
        Ok(Sent::Turn(answer.turn.id))
    }

    async fn go_on(&mut self, conversation: &ConversationId, note: &str) -> Result<TurnId, CallError> {
        let params = json!({
            "threadId": conversation,
            "input": [],
            "additionalContext": { "mistle": { "value": note, "kind": "application" } },
        });
        let answer: wire::TurnAnswer = self.connection.call("turn/start", params).await?;
        Ok(answer.turn.id)
    }

    async fn name(&mut self, conversation: &ConversationId, title: &str) -> Result<(), CallError> {
        let params = json!({ "threadId": conversation, "name": title });
        self.connection.call::<Value>("thread/name/set", params).await.map(drop)
    }

    fn take_newcomers(&mut self) -> Vec<ConversationId> {
        self.translator.take_newcomers()
    }

    async fn interrupt(&mut self, conversation: &ConversationId, turn: &TurnId) -> Result<(), CallError> {
        let turn = self.translator.working_turn(turn).clone();
        match self
            .connection
            .call::<Value>("turn/interrupt", json!({ "threadId": conversation, "turnId": turn }))
            .await
        {
            // It is over.
            Ok(_) | Err(CallError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn answer(
        &mut self,
        approval: &Approval,
        decision: Decision,
        message: Option<&str>,
    ) -> Result<bool, CallError> {
        let Some(request) = self.translator.answer(&approval.id, decision) else {
            return Ok(false);
        };
        if let Some(text) = message.filter(|text| !text.trim().is_empty()) {
            // Before the decision, so that the model reads both at once.
            let params = json!({ "threadId": approval.conversation_id, "expectedTurnId": approval.turn_id, "input": input::text(text) });
            match self.connection.call::<Value>("turn/steer", params).await {
                Err(CallError::Refused(why)) => {
                    tracing::warn!(why, "what was said with a decision could not be passed on");
                }
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        self.connection
            .respond(&request, json!({ "decision": translate::decision_name(decision) }))
            .await?;
        Ok(true)
    }

    async fn commands(&mut self, cwd: &str) -> Result<Vec<RuntimeCommand>, CallError> {
        commands::list(&mut self.connection, cwd).await
    }

    async fn command(
        &mut self,
        conversation: &ConversationId,
        running: Option<&TurnId>,
        command: &RunAgentCommand,
    ) -> Result<Option<TurnId>, CallError> {
        commands::run(&mut self.connection, conversation, running, command).await
    }

    fn interface(&self, plan: &Plan, conversation: &ConversationId) -> Interface {
        self.tui.interface(plan, conversation)
    }

    async fn next(&mut self) -> Option<Vec<AgentEvent>> {
        loop {
            if !self.events.is_empty() {
                return Some(self.events.drain(..).collect());
            }
            while let Some((id, method)) = self.to_refuse.front() {
                if self.connection.refuse(id, method).await.is_err() {
                    return None;
                }
                self.to_refuse.pop_front();
            }
            while let Some(thread) = self.translator.stray().map(str::to_owned) {
                if self.move_thread(&thread).await.is_err() {
                    return None;
                }
                self.translator.moved(&thread);
            }
            let incoming = self.connection.next().await?;
            self.translate(incoming);
            if self.events.is_empty() && self.translator.has_newcomers() {
                return Some(Vec::new());
            }
        }
    }

    async fn bury(self) -> String {
        self.process.bury().await
    }

    async fn stop(self) {
        self.process.end().await;
    }
}

impl Codex {
    fn translate(&mut self, incoming: Incoming) {
        let at = Timestamp::now();
        let parse = |params: Value, method: &str| {
            serde_json::from_value::<wire::Params>(params)
                .inspect_err(|error| tracing::warn!(%error, method, "a message of Codex was not understood"))
                .ok()
        };
        match incoming {
            Incoming::Notification { method, params } => {
                if let Some(params) = parse(params, &method) {
                    self.events.extend(self.translator.notification(&method, params, at));
                }
            }
            Incoming::Request { id, method, params } => {
                let event = parse(params, &method).and_then(|params| self.translator.request(&id, &method, params, at));
                match event {
                    Some(event) => self.events.push_back(event),
                    None => self.to_refuse.push_back((id, method)),
                }
            }
        }
    }

    /// Lets a thread's next turn run in the folder to work in, wherever it is typed: Codex' own
    /// interface follows, and so does what is typed there. A turn that runs goes on where it is.
    async fn move_thread(&mut self, thread: &str) -> Result<(), CallError> {
        let params = json!({ "threadId": thread, "cwd": self.cwd });
        match self.connection.call::<Value>("thread/settings/update", params).await {
            Err(gone @ CallError::Gone(_)) => Err(gone),
            Err(error) => {
                tracing::warn!(%error, thread, "a thread stays in its folder");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    async fn steer(
        &mut self,
        conversation: &ConversationId,
        turn: &TurnId,
        message: &Deliver,
    ) -> Result<TurnId, CallError> {
        if message.model.is_some() || message.effort.is_some() {
            let params = json!({ "threadId": conversation, "model": message.model, "effort": message.effort });
            let _: Value = self.connection.call("thread/settings/update", params).await?;
        }
        let params = json!({
            "threadId": conversation,
            "expectedTurnId": turn,
            "input": input::message(message),
            "clientUserMessageId": message.message_id,
        });
        let answer: wire::SteerAnswer = self.connection.call("turn/steer", params).await?;
        Ok(answer.turn_id)
    }

    /// The turns that the record may lack, at least the last one, oldest first. Turn ids grow with
    /// time.
    async fn turns_since(&mut self, conversation: &str, lacking: &Lacking) -> Result<Vec<wire::Turn>, CallError> {
        let (limit, first) = match lacking {
            Lacking::Nothing => (1, None),
            Lacking::All => (PAGE, None),
            Lacking::From(turn) => (PAGE, Some(turn)),
        };
        let mut turns: Vec<wire::Turn> = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let params = json!({ "threadId": conversation, "limit": limit, "cursor": cursor, "itemsView": "full" });
            let page: wire::TurnsPage = self.connection.call("thread/turns/list", params).await?;
            turns.extend(page.data);
            cursor = page.next_cursor;
            let reached = first.is_some_and(|first| turns.last().is_some_and(|turn| turn.id <= *first));
            if reached || cursor.is_none() || *lacking == Lacking::Nothing {
                break;
            }
        }
        turns.retain(|turn| first.is_none_or(|first| turn.id >= *first));
        turns.reverse();
        Ok(turns)
    }
}

async fn greet(stream: tokio::net::UnixStream) -> Result<(Connection, Ready, tui::Upgrades), CallError> {
    let mut connection = Connection::upgrade(stream).await?;
    let params = json!({
        "clientInfo": { "name": "mistle", "title": "Mistle", "version": env!("CARGO_PKG_VERSION") },
        "capabilities": { "experimentalApi": true, "requestAttestation": false },
    });
    let initialized: wire::Initialized = connection.call("initialize", params).await?;
    connection.notify("initialized").await?;
    let (models, upgrades) = models(&mut connection).await?;
    let notices = connection
        .take_backlog()
        .iter()
        .filter_map(ignored_configuration)
        .collect();
    Ok((
        connection,
        Ready {
            version: version(&initialized.user_agent),
            models,
            notices,
        },
        upgrades,
    ))
}

/// The version in a user agent such as `mistle/0.169.0 (Debian 12.0.0; x86_64)`.
fn version(user_agent: &str) -> String {
    user_agent
        .split_once('/')
        .map_or(user_agent, |(_, rest)| rest)
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The models on offer, and which ones Codex would rather have used.
async fn models(connection: &mut Connection) -> Result<(Vec<ModelOption>, tui::Upgrades), CallError> {
    let (mut models, mut upgrades) = (Vec::new(), tui::Upgrades::new());
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_MODEL_PAGES {
        let page: wire::ModelsPage = connection.call("model/list", json!({ "cursor": cursor })).await?;
        upgrades.extend(
            page.data
                .iter()
                .filter_map(|model| Some((model.id.clone(), model.upgrade.clone()?))),
        );
        models.extend(
            page.data
                .into_iter()
                .filter(|model| !model.hidden)
                .map(translate::model),
        );
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok((models, upgrades))
}

/// Codex says at each start which of the repository's configuration it does not read.
fn ignored_configuration(incoming: &Incoming) -> Option<AgentEvent> {
    let Incoming::Notification { method, params } = incoming else {
        return None;
    };
    let summary = params.get("summary")?.as_str()?;
    (method == "configWarning" && summary.starts_with("Project-local config")).then(|| AgentEvent::Notice {
        level: NoticeLevel::Info,
        code: "repository_configuration_ignored".to_owned(),
        conversation_id: None,
        message: "The repository brings a configuration for Codex (.codex). It is not used, because it could start programs and approve commands.".to_owned(),
    })
}
