//! What happened, as lines for a person: events in, text out.

use std::collections::HashMap;

use mistle_protocol::agent::{
    AgentEvent, Approval, ApprovalSubject, Decision, FileChange, FileChangeKind, Item, ItemBody, ItemStatus,
    NoticeLevel, PlanStepStatus, SetupStep, TurnOutcome,
};
use mistle_protocol::session::{EventBody, ServerEvent, SessionEvent};

use crate::cli::output::{Output, plain};

/// An approval's question, with its line's end.
pub(in crate::cli) fn approval(approval: &Approval, out: Output) -> String {
    let mut lines = match &approval.subject {
        ApprovalSubject::Command { command, cwd } => {
            let place = out.faint(&format!("in {}", plain(cwd)));
            vec![format!("? {} {place}", out.strong(&plain(command)))]
        }
        ApprovalSubject::FileChange { changes } => {
            let edits = changes
                .iter()
                .flat_map(|change| [format!("  {}", changed(change)), indented(&change.diff)]);
            std::iter::once("? edit files".to_owned()).chain(edits).collect()
        }
        ApprovalSubject::Other { question } => vec![format!("? {}", plain(question))],
    };
    let reason = approval.reason.as_ref();
    lines.extend(reason.map(|reason| out.faint(&format!("  {}", plain(reason)))));
    lines.push(out.faint(&format!("  approval {}", plain(&approval.id))));
    lines.join("\n") + "\n"
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
    let lines: Vec<String> = plain(text).lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// Makes text of events. Remembers what of an item that grows was shown, and whether its last line ended.
pub(in crate::cli) struct Printer {
    out: Output,
    /// What was shown of items that grow. Their last words come with the whole item only.
    streamed: HashMap<String, String>,
    /// Whether the last text ended its line.
    line_ended: bool,
    /// What an event adds.
    text: String,
}

impl Printer {
    pub(in crate::cli) fn new(out: Output) -> Self {
        Self {
            out,
            streamed: HashMap::new(),
            line_ended: true,
            text: String::new(),
        }
    }

    /// What an event adds to what was shown.
    pub(in crate::cli) fn event(&mut self, event: &SessionEvent) -> String {
        match &event.event {
            EventBody::Server(ServerEvent::State { state, trouble }) => {
                let trouble = trouble
                    .as_ref()
                    .map(|trouble| format!(": {}", plain(&trouble.message)))
                    .unwrap_or_default();
                let name = serde_json::to_value(state).unwrap_or_default();
                self.faint(&format!("· {}{trouble}", name.as_str().unwrap_or_default()));
            }
            EventBody::Agent(event) => self.agent(event),
        }
        std::mem::take(&mut self.text)
    }

    /// Text that begins its own line, and ends it.
    fn line(&mut self, line: impl AsRef<str>) {
        self.end_line();
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    fn faint(&mut self, line: &str) {
        let line = self.out.faint(line);
        self.line(line);
    }

    fn end_line(&mut self) {
        if !self.line_ended {
            self.text.push('\n');
            self.line_ended = true;
        }
    }

    fn agent(&mut self, event: &AgentEvent) {
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
                self.faint(&format!("· {what}{detail}"));
            }
            AgentEvent::SetupFailed { message, .. }
            | AgentEvent::RuntimeExited { message }
            | AgentEvent::ConversationLost { message, .. }
            | AgentEvent::MessageRejected { message, .. } => self.line(format!("! {}", plain(message))),
            AgentEvent::Notice { level, message, .. } => {
                let mark = if *level == NoticeLevel::Info { "·" } else { "!" };
                self.line(format!("{mark} {}", plain(message)));
            }
            AgentEvent::ItemStarted { item } => self.started(item),
            AgentEvent::ItemDelta { item_id, text, .. } => self.delta(item_id, text),
            AgentEvent::ItemCompleted { item } => self.completed(item),
            AgentEvent::ApprovalRequested { approval } => {
                self.end_line();
                self.text.push_str(&self::approval(approval, self.out));
            }
            AgentEvent::ApprovalResolved { decision, .. } => {
                let said = match decision {
                    Some(Decision::Accept) => "allowed",
                    Some(Decision::AcceptForSession) => "allowed for this session",
                    Some(Decision::Decline) => "declined",
                    None => "withdrawn",
                };
                self.faint(&format!("· {said}"));
            }
            AgentEvent::TurnCompleted { outcome, .. } => match outcome {
                TurnOutcome::Completed => self.faint("· done"),
                TurnOutcome::Interrupted => self.line("! interrupted"),
                TurnOutcome::Failed { message, .. } => self.line(format!("! failed: {}", plain(message))),
            },
            AgentEvent::RuntimeReady { .. }
            | AgentEvent::ConversationStarted { .. }
            | AgentEvent::ConversationRenamed { .. }
            | AgentEvent::ConversationResumed { .. }
            | AgentEvent::MessageDelivered { .. }
            | AgentEvent::TurnStarted { .. }
            | AgentEvent::UsageUpdated { .. } => {}
        }
    }

    fn started(&mut self, item: &Item) {
        if let ItemBody::Command { command, .. } = &item.body {
            self.streamed.insert(item.id.clone(), String::new());
            self.line(self.out.strong(&format!("$ {}", plain(command))));
        }
        if let ItemBody::AgentMessage { .. } = &item.body {
            self.streamed.insert(item.id.clone(), String::new());
            self.line("");
        }
    }

    fn delta(&mut self, id: &str, text: &str) {
        if let Some(shown) = self.streamed.get_mut(id) {
            shown.push_str(text);
            self.grown(text);
        }
    }

    fn grown(&mut self, text: &str) {
        let text = plain(text);
        if let Some(last) = text.chars().last() {
            self.line_ended = last == '\n';
        }
        self.text.push_str(&text);
    }

    /// Shows what of an item's whole text was not shown while it grew.
    fn rest(&mut self, shown: Option<&str>, whole: &str) {
        let rest = match shown {
            None => {
                self.end_line();
                whole
            }
            Some(shown) => match whole.split_once(shown) {
                Some(("", rest)) => rest,
                // Some runtimes keep a command's first words for the whole item.
                Some((missed, rest)) => {
                    self.faint(&format!("· before that: {}", plain(missed).trim_end()));
                    rest
                }
                // Output that lost its middle goes on elsewhere; what was seen of it is enough.
                None => "",
            },
        };
        self.grown(rest);
        self.end_line();
    }

    fn completed(&mut self, item: &Item) {
        let streamed = self.streamed.remove(&item.id);
        match &item.body {
            ItemBody::UserMessage { text, attachments, .. } => {
                let files = attachments.iter().map(|file| format!("[{}]", file.name));
                let said = (!text.is_empty()).then(|| text.clone());
                let lines: Vec<String> = said.into_iter().chain(files).collect();
                self.line(format!("> {}", plain(&lines.join("\n")).replace('\n', "\n> ")));
            }
            ItemBody::AgentMessage { text } => self.rest(streamed.as_deref(), text),
            ItemBody::Command {
                command,
                output,
                exit_code,
                ..
            } => {
                if streamed.is_none() {
                    self.line(self.out.strong(&format!("$ {}", plain(command))));
                }
                self.rest(streamed.as_deref(), output);
                match (item.status, exit_code) {
                    (ItemStatus::Declined, _) => self.line("! declined"),
                    (_, Some(code)) if *code != 0 => self.line(format!("! exit code {code}")),
                    _ => {}
                }
            }
            ItemBody::FileChange { changes } => {
                for change in changes {
                    self.line(self.out.strong(&changed(change)));
                    self.line(indented(&change.diff));
                }
            }
            ItemBody::ToolCall { tool, arguments, .. } => self.line(format!("· {} {}", plain(tool), plain(arguments))),
            ItemBody::WebSearch { query } => self.line(format!("· searched for {}", plain(query))),
            ItemBody::Plan { steps } => {
                for step in steps {
                    let is_done = step.status == PlanStepStatus::Completed;
                    self.line(format!("[{}] {}", if is_done { "x" } else { " " }, plain(&step.text)));
                }
            }
            ItemBody::Other { label, .. } => self.faint(&format!("· {}", plain(label))),
            ItemBody::Reasoning { .. } => {}
        }
    }
}
