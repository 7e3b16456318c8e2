//! What a runtime driver does.
//!
//! One task owns a runtime and calls it; nothing here is called twice at once. A driver translates
//! its protocol into [`AgentEvent`]s and may repeat itself: the journal's ledger drops what the
//! record has. Drivers keep no record of their own.

use std::collections::BTreeMap;
use std::path::Path;

use mistle_protocol::agent::{AgentEvent, Approval, Conversation, ConversationId, Decision, ModelOption, TurnId};
use mistle_protocol::commands::{RunAgentCommand, RuntimeCommand};
use mistle_protocol::control::Deliver;
use mistle_protocol::plan::Plan;

/// What a runtime is started with.
pub(crate) struct Start<'a> {
    /// The plan.
    pub(crate) plan: &'a Plan,
    /// The folder that holds the repositories.
    pub(crate) workspaces: &'a Path,
    /// Folder for the runtime's own files.
    pub(crate) home: &'a Path,
    /// The whole environment of its process.
    pub(crate) environment: &'a BTreeMap<String, String>,
}

/// What a runtime that accepts messages says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ready {
    pub(crate) version: String,
    pub(crate) models: Vec<ModelOption>,
    /// For the record, such as what of the repository's configuration is not used.
    pub(crate) notices: Vec<AgentEvent>,
}

/// Why a runtime does not start, for a person.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct StartError {
    pub(crate) message: String,
    /// Whether the same might work in a moment.
    pub(crate) transient: bool,
}

/// Why a call of a runtime failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The runtime said no, for a person.
    #[error("{0}")]
    Refused(String),
    /// It would have to write and can't. What it knows is not lost.
    #[error("the sandbox's disk is full")]
    DiskFull,
    /// The runtime is gone or does not answer; it has to be started again.
    #[error("the runtime does not answer: {0}")]
    Gone(String),
}

/// Which turns the record may lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// None that matter: the conversation is not in the record.
    Nothing,
    /// Any.
    All,
    /// The end of this one and any after it.
    From(TurnId),
}

/// A conversation that goes on.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// As the runtime knows it.
    pub(crate) conversation: Conversation,
    /// What the record may lack of it.
    pub(crate) missed: Vec<AgentEvent>,
    /// The turn that is running in the runtime.
    pub(crate) running: Option<TurnId>,
}

/// How a runtime's own terminal interface is started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interface {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// Its whole environment, but for what a terminal adds.
    pub(crate) environment: BTreeMap<String, String>,
    /// Its working directory.
    pub(crate) cwd: String,
}

/// What became of a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Sent {
    /// It is in this turn.
    Turn(TurnId),
    /// A turn is running that takes no messages.
    Busy,
}

/// A runtime whose process runs.
pub(crate) trait Runtime: Sized + Send {
    /// Starts the process, or finds the one that an earlier daemon started.
    fn start(start: Start<'_>) -> impl Future<Output = Result<(Self, Ready), StartError>> + Send;

    /// Starts a conversation in a folder.
    fn converse(&mut self, plan: &Plan, cwd: &str) -> impl Future<Output = Result<Conversation, CallError>> + Send;

    /// Continues a conversation.
    fn resume(
        &mut self,
        plan: &Plan,
        conversation: &ConversationId,
        lacking: &Lacking,
    ) -> impl Future<Output = Result<Resumed, CallError>> + Send;

    /// Works from another folder of the workspaces from here on: the next turn of each conversation
    /// runs there and has its instructions, also when it is typed in the runtime's own interface.
    /// Nothing that runs is touched.
    fn relocate(&mut self, cwd: &str) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Whether the conversation was started or resumed in this process.
    fn has(&self, conversation: &str) -> bool;

    /// Gives a message to a conversation; into the running turn if there is one.
    fn send(
        &mut self,
        conversation: &ConversationId,
        running: Option<&TurnId>,
        message: &Deliver,
    ) -> impl Future<Output = Result<Sent, CallError>> + Send;

    /// Begins a turn in which nobody says anything: the model goes on from what is there. It is told
    /// `note`, which is no message of a person.
    fn go_on(
        &mut self,
        conversation: &ConversationId,
        note: &str,
    ) -> impl Future<Output = Result<TurnId, CallError>> + Send;

    /// Calls a conversation by a title in the runtime's own interface.
    fn name(
        &mut self,
        conversation: &ConversationId,
        title: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Conversations in which a turn began and which this process does not follow yet: a person
    /// started or opened them in the runtime's own interface.
    fn take_newcomers(&mut self) -> Vec<ConversationId>;

    /// Interrupts a turn; one that is over is fine.
    fn interrupt(
        &mut self,
        conversation: &ConversationId,
        turn: &TurnId,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Answers an approval. False when it was answered already.
    fn answer(
        &mut self,
        approval: &Approval,
        decision: Decision,
        message: Option<&str>,
    ) -> impl Future<Output = Result<bool, CallError>> + Send;

    /// Its own commands, with the skills that it finds from a folder.
    fn commands(&mut self, cwd: &str) -> impl Future<Output = Result<Vec<RuntimeCommand>, CallError>> + Send;

    /// Runs one of them in a conversation that this process has. Answers the turn that it is in, if
    /// the runtime says so.
    fn command(
        &mut self,
        conversation: &ConversationId,
        running: Option<&TurnId>,
        command: &RunAgentCommand,
    ) -> impl Future<Output = Result<Option<TurnId>, CallError>> + Send;

    /// The program that shows a conversation, which this process has, in a terminal.
    fn interface(&self, plan: &Plan, conversation: &ConversationId) -> Interface;

    /// What happened next. None when the process is gone. Safe to drop and call again.
    fn next(&mut self) -> impl Future<Output = Option<Vec<AgentEvent>>> + Send;

    /// Makes sure that nothing of the process is left; answers its last words, for a person.
    fn bury(self) -> impl Future<Output = String> + Send;

    /// Ends the process in order.
    fn stop(self) -> impl Future<Output = ()> + Send;
}
