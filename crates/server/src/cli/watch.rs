//! Showing a session's work as it happens, on the live stream that pages use too.
//!
//! The server may restart meanwhile: the stream is opened again after the last event that was shown.

mod goal;
mod printer;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use futures::StreamExt as _;
use mistle_protocol::agent::{AgentEvent, Approval, Decision};
use mistle_protocol::api::TicketPurpose;
use mistle_protocol::control::Answer;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::{EventBody, LiveMessage};
use tokio::io::AsyncBufReadExt as _;
use tokio_tungstenite::tungstenite::Message;

use self::goal::Progress;
use super::NEEDS_YOU;
use super::client::{Client, Refused, Socket};
use super::output::{self, Output};

pub(super) use self::goal::Goal;
pub(super) use self::printer::{Printer, approval as shown_approval};

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
        for approval in &asked {
            output::text(&shown_approval(approval, out))?;
        }
    }
    let mut watch = Watch {
        client,
        id,
        after,
        approve,
        out,
        printer: Printer::new(out),
        progress: Progress::new(goal, asked),
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
    approve: Approve,
    out: Output,
    printer: Printer,
    progress: Progress,
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
        let ended = self.progress.hear(&message);
        match &message {
            LiveMessage::Event { event } => {
                self.after = self.after.max(event.seq);
                if !self.out.json && !self.progress.is_elsewhere(&event.event) {
                    output::text(&self.printer.event(event))?;
                }
                if let EventBody::Agent(AgentEvent::ApprovalResolved { approval_id, .. }) = &event.event
                    && self.asked.as_ref() == Some(approval_id)
                {
                    self.asked = None;
                }
            }
            LiveMessage::CaughtUp { seq } => {
                self.after = self.after.max(*seq);
                self.caught_up = true;
            }
            _ => {}
        }
        if let Some(ended) = ended {
            // A program has read of the end that was asked for; why it is another one is for people.
            if !self.out.json || ended.code != 0 {
                ended.said.iter().for_each(output::note);
            }
            return Ok(Some(ended.code));
        }
        if self.caught_up {
            self.approvals().await
        } else {
            Ok(None)
        }
    }

    async fn approvals(&mut self) -> anyhow::Result<Option<u8>> {
        while let Some(approval) = self.progress.question() {
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
            self.progress.settle(&id);
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
        self.progress.settle(&id);
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
