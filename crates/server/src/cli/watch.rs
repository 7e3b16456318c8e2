//! Showing a session's work as it happens, on the live stream that pages use too.
//!
//! The server may restart meanwhile: the stream is opened again after the last event that was shown.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use futures::StreamExt as _;
use mistle_protocol::agent::{
    AgentEvent, Approval, ApprovalSubject, ConversationId, Decision, FileChange, FileChangeKind, Item, ItemBody,
    ItemStatus, NoticeLevel, PlanStepStatus, SetupStep, TurnId, TurnOutcome,
};
use mistle_protocol::api::TicketPurpose;
use mistle_protocol::control::Answer;
use mistle_protocol::id::{MessageId, SessionId};
use mistle_protocol::session::{EventBody, LiveMessage, ServerEvent, Session, SessionEvent, SessionState};
use tokio::io::AsyncBufReadExt as _;
use tokio_tungstenite::tungstenite::Message;

use super::client::{Client, Refused, Socket};
use super::output::{self, Output, plain};
use super::session::state;
use super::{FAILED, INTERRUPTED, NEEDS_YOU};

/// Between attempts to reach the server again; doubles up to the second.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Attempts before giving up: about a minute.
const ATTEMPTS: u32 = 32;
/// The server pings every 20 s; silence longer than this means that it is gone.
const SILENCE: Duration = Duration::from_secs(65);
/// Exit code after Ctrl-C, as shells have it.
const BY_SIGNAL: u8 = 130;

/// What to do with approvals while one watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Approve {
    /// Ask here
    Ask,
    /// Say yes to all
    Accept,
    /// Say no to all
    Decline,
    /// End with exit code 4 at the first one
    Stop,
    /// Show them and go on waiting
    Leave,
}

/// When watching ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// When the turn of this message ends; without one, of the session's first.
    Turn(Option<MessageId>),
    /// When the session runs.
    Running,
    /// When it is stopped.
    Stopped,
    /// Never.
    Never,
}

/// Watches until the goal is reached. Answers the exit code.
pub(super) async fn watch(
    client: &Client,
    id: SessionId,
    after: u64,
    goal: Goal,
    approve: Approve,
    out: Output,
) -> anyhow::Result<u8> {
    watch_asked(client, id, after, goal, approve, Vec::new(), out).await
}

/// The same where questions waited before: a message into a turn that asks goes no further either.
pub(super) async fn watch_asked(
    client: &Client,
    id: SessionId,
    after: u64,
    goal: Goal,
    approve: Approve,
    asked: Vec<Approval>,
    out: Output,
) -> anyhow::Result<u8> {
    if !out.json {
        asked.iter().try_for_each(|approval| show_approval(approval, out))?;
    }
    let mut watch = Watch {
        client,
        id,
        after,
        goal,
        approve,
        out,
        printer: Printer::new(out),
        turn: None,
        conversation: None,
        ended: HashMap::new(),
        pending: asked.into(),
        caught_up: false,
        asked: None,
    };
    tokio::select! {
        code = watch.run() => code,
        _ = tokio::signal::ctrl_c() => {
            output::note(format!("\nThe session goes on; see `mistle session events {id} --follow`."));
            Ok(BY_SIGNAL)
        }
    }
}

struct Watch<'a> {
    client: &'a Client,
    id: SessionId,
    after: u64,
    goal: Goal,
    approve: Approve,
    out: Output,
    printer: Printer,
    turn: Option<TurnId>,
    /// Where the turn is, once that is known.
    conversation: Option<ConversationId>,
    ended: HashMap<TurnId, u8>,
    pending: VecDeque<Approval>,
    caught_up: bool,
    /// The approval that the person was asked about last.
    asked: Option<String>,
}

impl Watch<'_> {
    async fn run(&mut self) -> anyhow::Result<u8> {
        let mut keyboard = tokio::io::BufReader::new(tokio::io::stdin()).lines();
        let (mut wait, mut failures) = (RECONNECT.0, 0);
        loop {
            let path = format!("/sessions/{}/live?after={}", self.id, self.after);
            let purpose = TicketPurpose::SessionLive { session_id: self.id };
            match self.client.socket(&purpose, &path).await {
                Ok(mut socket) => {
                    (wait, failures) = (RECONNECT.0, 0);
                    self.caught_up = false;
                    if let Some(code) = self.read(&mut socket, &mut keyboard).await? {
                        return Ok(code);
                    }
                }
                // Its "no" is final, unless it is the server that is in trouble.
                Err(error)
                    if error
                        .downcast_ref::<Refused>()
                        .is_some_and(|Refused(problem)| problem.status < 500) =>
                {
                    return Err(error);
                }
                Err(error) => {
                    failures += 1;
                    if failures > ATTEMPTS {
                        return Err(error.context("the server does not come back"));
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RECONNECT.1);
        }
    }

    /// Reads one stream to its end. None means that it broke and another one is needed.
    async fn read(
        &mut self,
        socket: &mut Socket,
        keyboard: &mut tokio::io::Lines<tokio::io::BufReader<tokio::io::Stdin>>,
    ) -> anyhow::Result<Option<u8>> {
        loop {
            tokio::select! {
                received = tokio::time::timeout(SILENCE, socket.next()) => match received {
                    Ok(Some(Ok(Message::Text(text)))) => {
                        let message: LiveMessage = serde_json::from_str(&text).context("the server's message can't be read")?;
                        if matches!(message, LiveMessage::Lagged) {
                            return Ok(None);
                        }
                        for message in message.one_by_one() {
                            if let Some(code) = self.message(message).await? {
                                return Ok(Some(code));
                            }
                        }
                    }
                    Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return Ok(None),
                    Ok(Some(Ok(_))) => {}
                },
                line = keyboard.next_line(), if self.asked.is_some() => {
                    let Some(line) = line? else {
                        output::note("Nobody answers here.");
                        return Ok(Some(NEEDS_YOU));
                    };
                    self.typed(line.trim()).await?;
                }
            }
        }
    }

    async fn message(&mut self, message: LiveMessage) -> anyhow::Result<Option<u8>> {
        if self.out.json {
            output::value(&message)?;
        }
        match message {
            LiveMessage::Event { event } => {
                self.after = self.after.max(event.seq);
                let code = self.note(event.event.clone());
                if !self.out.json && !self.is_elsewhere(&event.event) {
                    self.printer.event(&event)?;
                }
                if let Some(code) = code {
                    return Ok(Some(code));
                }
            }
            LiveMessage::CaughtUp { seq } => {
                self.after = self.after.max(seq);
                self.caught_up = true;
            }
            LiveMessage::Session { session } => {
                if let Some(code) = self.session(&session) {
                    return Ok(Some(code));
                }
            }
            LiveMessage::Deleted { .. } => {
                output::note("The session was deleted.");
                return Ok(Some(INTERRUPTED));
            }
            LiveMessage::Queue { messages } => {
                if let Goal::Turn(Some(id)) = self.goal
                    && let Some(error) = messages
                        .iter()
                        .find(|message| message.id == id)
                        .and_then(|message| message.error.as_ref())
                {
                    output::note(format!("The message was refused: {}", plain(error)));
                    return Ok(Some(FAILED));
                }
            }
            // Events come one by one here.
            LiveMessage::Events { .. }
            | LiveMessage::Lagged
            | LiveMessage::Changes { .. }
            | LiveMessage::Ports { .. }
            | LiveMessage::Terminals { .. }
            | LiveMessage::Comments => {}
        }
        if self.caught_up {
            self.approvals().await
        } else {
            Ok(None)
        }
    }

    /// Notes what an event means for the goal.
    fn note(&mut self, event: EventBody) -> Option<u8> {
        let EventBody::Agent(event) = event else { return None };
        match event {
            AgentEvent::MessageDelivered {
                message_id,
                turn_id,
                conversation_id,
            } => {
                let Goal::Turn(wanted) = self.goal else { return None };
                if wanted.map_or(self.turn.is_none(), |wanted| wanted == message_id) {
                    self.pending
                        .retain(|approval| approval.conversation_id == conversation_id);
                    self.conversation = Some(conversation_id);
                    let ended = self.ended.get(&turn_id).copied();
                    self.turn = Some(turn_id);
                    return ended;
                }
            }
            AgentEvent::MessageRejected { message_id, .. } => {
                let Goal::Turn(wanted) = self.goal else { return None };
                return wanted.is_none_or(|wanted| wanted == message_id).then_some(FAILED);
            }
            AgentEvent::TurnCompleted { turn_id, outcome, .. } => {
                let code = match outcome {
                    TurnOutcome::Completed => 0,
                    TurnOutcome::Interrupted => INTERRUPTED,
                    TurnOutcome::Failed { .. } => FAILED,
                };
                let ours = self.turn.as_ref() == Some(&turn_id);
                self.ended.insert(turn_id, code);
                return ours.then_some(code);
            }
            // What another conversation asks is not answered here.
            AgentEvent::ApprovalRequested { approval } => {
                let ours = |own: &ConversationId| *own == approval.conversation_id;
                let is_known = self.pending.iter().any(|known| known.id == approval.id);
                if !is_known && self.conversation.as_ref().is_none_or(ours) {
                    self.pending.push_back(approval);
                }
            }
            AgentEvent::ApprovalResolved { approval_id, .. } => {
                self.pending.retain(|approval| approval.id != approval_id);
                if self.asked.as_ref() == Some(&approval_id) {
                    self.asked = None;
                }
            }
            _ => {}
        }
        None
    }

    /// Whether it is about another conversation than the one that is waited for.
    fn is_elsewhere(&self, event: &EventBody) -> bool {
        let EventBody::Agent(event) = event else { return false };
        let of = match event {
            AgentEvent::ItemStarted { item } | AgentEvent::ItemCompleted { item } => &item.conversation_id,
            AgentEvent::ItemDelta { conversation_id, .. } | AgentEvent::TurnCompleted { conversation_id, .. } => {
                conversation_id
            }
            AgentEvent::ApprovalRequested { approval } => &approval.conversation_id,
            _ => return false,
        };
        self.conversation.as_ref().is_some_and(|own| own != of)
    }

    fn session(&mut self, session: &Session) -> Option<u8> {
        match (self.goal, session.state) {
            (Goal::Never, _) => return None,
            (Goal::Running, SessionState::Running) | (Goal::Stopped, SessionState::Stopped) => {
                if !self.out.json {
                    output::note(state(session));
                }
                return Some(0);
            }
            _ => {}
        }
        match session.state {
            SessionState::Failed => {
                if let Some(trouble) = &session.trouble {
                    output::note(format!("The session failed: {}", plain(&trouble.message)));
                    trouble.hint.iter().for_each(|hint| output::note(plain(hint)));
                }
                Some(FAILED)
            }
            SessionState::Stopped | SessionState::Deleted => {
                output::note("The session is stopped.");
                Some(INTERRUPTED)
            }
            _ => None,
        }
    }

    async fn approvals(&mut self) -> anyhow::Result<Option<u8>> {
        while let Some(approval) = self.pending.front() {
            let decision = match self.approve {
                Approve::Leave => return Ok(None),
                Approve::Stop => {
                    output::note(format!(
                        "An approval waits; answer it with `mistle session approve {} --accept`.",
                        self.id
                    ));
                    return Ok(Some(NEEDS_YOU));
                }
                Approve::Ask => {
                    if self.asked.as_ref() != Some(&approval.id) {
                        self.asked = Some(approval.id.clone());
                        output::text("Allow it? [y]es, [a]lways in this session, [n]o, or what to do instead: ")?;
                    }
                    return Ok(None);
                }
                Approve::Accept => Decision::Accept,
                Approve::Decline => Decision::Decline,
            };
            let id = approval.id.clone();
            self.pending.pop_front();
            answer_if_open(
                self.client,
                self.id,
                &id,
                &Answer {
                    decision,
                    message: None,
                },
            )
            .await?;
        }
        Ok(None)
    }

    async fn typed(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(id) = self.asked.take() else { return Ok(()) };
        let (decision, message) = match line {
            "y" | "yes" => (Decision::Accept, None),
            "a" | "always" => (Decision::AcceptForSession, None),
            "n" | "no" => (Decision::Decline, None),
            "" => {
                self.approvals().await?;
                return Ok(());
            }
            instead => (Decision::Decline, Some(instead.to_owned())),
        };
        self.pending.retain(|approval| approval.id != id);
        answer_if_open(self.client, self.id, &id, &Answer { decision, message }).await?;
        self.approvals().await.map(drop)
    }
}

/// Answers an approval.
pub(super) async fn answer(client: &Client, id: SessionId, approval: &str, answer: &Answer) -> anyhow::Result<()> {
    // An id comes from the runtime: it must not lead to another path.
    if approval.is_empty()
        || !approval
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    {
        bail!("{approval:?} is not the id of an approval");
    }
    client
        .post_and_forget(&format!("/sessions/{id}/approvals/{approval}"), answer)
        .await
}

/// The same; one that was answered elsewhere meanwhile is fine.
async fn answer_if_open(client: &Client, id: SessionId, approval: &str, with: &Answer) -> anyhow::Result<()> {
    match answer(client, id, approval, with).await {
        Err(error)
            if error
                .downcast_ref::<Refused>()
                .is_some_and(|Refused(problem)| problem.status == 409) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Prints an approval's question.
pub(super) fn show_approval(approval: &Approval, out: Output) -> anyhow::Result<()> {
    match &approval.subject {
        ApprovalSubject::Command { command, cwd } => {
            output::line(format!(
                "? {} {}",
                out.strong(&plain(command)),
                out.faint(&format!("in {}", plain(cwd)))
            ))?;
        }
        ApprovalSubject::FileChange { changes } => {
            output::line("? edit files")?;
            for change in changes {
                output::line(format!("  {}", changed(change)))?;
                output::line(indented(&change.diff))?;
            }
        }
        ApprovalSubject::Other { question } => output::line(format!("? {}", plain(question)))?,
    }
    if let Some(reason) = &approval.reason {
        output::line(out.faint(&format!("  {}", plain(reason))))?;
    }
    output::line(out.faint(&format!("  approval {}", plain(&approval.id))))
}

fn changed(change: &FileChange) -> String {
    let kind = match &change.change {
        FileChangeKind::Add => "A",
        FileChangeKind::Delete => "D",
        FileChangeKind::Update { moved_to: None } => "M",
        FileChangeKind::Update { moved_to: Some(_) } => "R",
    };
    format!("{kind} {} +{} −{}", plain(&change.path), change.added, change.removed)
}

fn indented(text: &str) -> String {
    plain(text)
        .lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Prints events for a person.
pub(super) struct Printer {
    out: Output,
    /// What was printed of items that grow. Their last words come with the whole item only.
    streamed: HashMap<String, String>,
    /// Whether the last text ended its line.
    line_ended: bool,
}

impl Printer {
    pub(super) fn new(out: Output) -> Self {
        Self {
            out,
            streamed: HashMap::new(),
            line_ended: true,
        }
    }

    fn line(&mut self, text: impl AsRef<str>) -> anyhow::Result<()> {
        if !self.line_ended {
            output::line("")?;
            self.line_ended = true;
        }
        output::line(text)
    }

    pub(super) fn event(&mut self, event: &SessionEvent) -> anyhow::Result<()> {
        match &event.event {
            EventBody::Server(ServerEvent::State { state, trouble }) => {
                let trouble = trouble
                    .as_ref()
                    .map(|trouble| format!(": {}", plain(&trouble.message)))
                    .unwrap_or_default();
                let name = serde_json::to_value(state)?;
                let text = format!("· {}{trouble}", name.as_str().unwrap_or_default());
                self.line(self.out.faint(&text))
            }
            EventBody::Agent(event) => self.agent(event),
        }
    }

    fn agent(&mut self, event: &AgentEvent) -> anyhow::Result<()> {
        match event {
            AgentEvent::SetupProgress { step, detail } => {
                let what = match step {
                    SetupStep::Repository => "fetching the repository",
                    SetupStep::Runtime => "starting the agent",
                    SetupStep::Conversation => "continuing the conversation",
                };
                let detail = detail
                    .as_ref()
                    .map(|detail| format!(" ({})", plain(detail)))
                    .unwrap_or_default();
                self.line(self.out.faint(&format!("· {what}{detail}")))
            }
            AgentEvent::SetupFailed { message, .. }
            | AgentEvent::RuntimeExited { message }
            | AgentEvent::ConversationLost { message, .. }
            | AgentEvent::MessageRejected { message, .. } => self.line(format!("! {}", plain(message))),
            AgentEvent::Notice { level, message, .. } => {
                let mark = if *level == NoticeLevel::Info { "·" } else { "!" };
                self.line(format!("{mark} {}", plain(message)))
            }
            AgentEvent::ItemStarted { item } => self.started(item),
            AgentEvent::ItemDelta { item_id, text, .. } => self.delta(item_id, text),
            AgentEvent::ItemCompleted { item } => self.completed(item),
            AgentEvent::ApprovalRequested { approval } => {
                if !self.line_ended {
                    self.line("")?;
                }
                show_approval(approval, self.out)
            }
            AgentEvent::ApprovalResolved { decision, .. } => {
                let said = match decision {
                    Some(Decision::Accept) => "allowed",
                    Some(Decision::AcceptForSession) => "allowed for this session",
                    Some(Decision::Decline) => "declined",
                    None => "withdrawn",
                };
                self.line(self.out.faint(&format!("· {said}")))
            }
            AgentEvent::TurnCompleted { outcome, .. } => match outcome {
                TurnOutcome::Completed => self.line(self.out.faint("· done")),
                TurnOutcome::Interrupted => self.line("! interrupted"),
                TurnOutcome::Failed { message, .. } => self.line(format!("! failed: {}", plain(message))),
            },
            AgentEvent::RuntimeReady { .. }
            | AgentEvent::ConversationStarted { .. }
            | AgentEvent::ConversationRenamed { .. }
            | AgentEvent::ConversationResumed { .. }
            | AgentEvent::MessageDelivered { .. }
            | AgentEvent::TurnStarted { .. }
            | AgentEvent::UsageUpdated { .. } => Ok(()),
        }
    }

    fn started(&mut self, item: &Item) -> anyhow::Result<()> {
        if let ItemBody::Command { command, .. } = &item.body {
            self.streamed.insert(item.id.clone(), String::new());
            self.line(self.out.strong(&format!("$ {}", plain(command))))?;
        }
        if let ItemBody::AgentMessage { .. } = &item.body {
            self.streamed.insert(item.id.clone(), String::new());
            self.line("")?;
        }
        Ok(())
    }

    fn delta(&mut self, id: &str, text: &str) -> anyhow::Result<()> {
        let Some(printed) = self.streamed.get_mut(id) else {
            return Ok(());
        };
        printed.push_str(text);
        self.grown(text)
    }

    fn grown(&mut self, text: &str) -> anyhow::Result<()> {
        let text = plain(text);
        if let Some(last) = text.chars().last() {
            self.line_ended = last == '\n';
        }
        output::text(&text)
    }

    /// Prints what of an item's whole text was not printed while it grew.
    fn rest(&mut self, printed: Option<&str>, whole: &str) -> anyhow::Result<()> {
        let rest = match printed {
            None => whole,
            Some(printed) => match whole.split_once(printed) {
                Some(("", rest)) => rest,
                // Some runtimes keep a command's first words for the whole item.
                Some((missed, rest)) => {
                    self.line(self.out.faint(&format!("· before that: {}", plain(missed).trim_end())))?;
                    rest
                }
                // Output that lost its middle goes on elsewhere; what was seen of it is enough.
                None => "",
            },
        };
        if printed.is_none() && !self.line_ended {
            self.line("")?;
        }
        self.grown(rest)?;
        if self.line_ended { Ok(()) } else { self.line_end() }
    }

    fn completed(&mut self, item: &Item) -> anyhow::Result<()> {
        let streamed = self.streamed.remove(&item.id);
        match &item.body {
            ItemBody::UserMessage { text, attachments, .. } => {
                let files = attachments.iter().map(|file| format!("[{}]", file.name));
                let said = (!text.is_empty()).then(|| text.clone());
                let lines: Vec<String> = said.into_iter().chain(files).collect();
                self.line(format!("> {}", plain(&lines.join("\n")).replace('\n', "\n> ")))
            }
            ItemBody::AgentMessage { text } => self.rest(streamed.as_deref(), text),
            ItemBody::Command {
                command,
                output,
                exit_code,
                ..
            } => {
                if streamed.is_none() {
                    self.line(self.out.strong(&format!("$ {}", plain(command))))?;
                }
                self.rest(streamed.as_deref(), output)?;
                match (item.status, exit_code) {
                    (ItemStatus::Declined, _) => self.line("! declined"),
                    (_, Some(code)) if *code != 0 => self.line(format!("! exit code {code}")),
                    _ => Ok(()),
                }
            }
            ItemBody::FileChange { changes } => changes.iter().try_for_each(|change| {
                self.line(self.out.strong(&changed(change)))?;
                self.line(indented(&change.diff))
            }),
            ItemBody::ToolCall { tool, arguments, .. } => self.line(format!("· {} {}", plain(tool), plain(arguments))),
            ItemBody::WebSearch { query } => self.line(format!("· searched for {}", plain(query))),
            ItemBody::Plan { steps } => steps.iter().try_for_each(|step| {
                let mark = if step.status == PlanStepStatus::Completed {
                    "x"
                } else {
                    " "
                };
                self.line(format!("[{mark}] {}", plain(&step.text)))
            }),
            ItemBody::Other { label, .. } => self.line(self.out.faint(&format!("· {}", plain(label)))),
            ItemBody::Reasoning { .. } => Ok(()),
        }
    }

    fn line_end(&mut self) -> anyhow::Result<()> {
        self.line_ended = true;
        output::line("")
    }
}
