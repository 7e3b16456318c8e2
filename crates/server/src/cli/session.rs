//! `mistle session` and `mistle profile`.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use http::Method;
use jiff::Timestamp;
use mistle_protocol::agent::{Approval, Decision};
use mistle_protocol::api::{MAX_MESSAGE_BYTES, NewMessage, NewSession, Page};
use mistle_protocol::control::Answer;
use mistle_protocol::id::{AttachmentId, SessionId};
use mistle_protocol::profile::{ProfileSummary, Repository};
use mistle_protocol::session::{
    Activity, ConversationSummary, Delivery, Destination, QueuedMessage, Session, SessionEvent, SessionState,
};

use super::client::Client;
use super::output::{self, Output, plain, short};
use super::watch::{self, Approve, Goal};
use super::{FAILED, exec};

#[derive(Debug, Subcommand)]
pub(super) enum Profile {
    /// List profiles; the first one is the default
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a session and give its agent a task
    New(New),
    /// List sessions, newest first
    List(List),
    /// Show a session
    Show {
        /// Its id
        id: SessionId,
    },
    /// Send a message
    Send(Send),
    /// Answer an approval that waits
    Approve(Answering),
    /// Print a session's record
    Events {
        /// Its id
        id: SessionId,
        /// Events after this sequence number
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// Go on with what happens
        #[arg(long, short)]
        follow: bool,
    },
    /// Run a command in a session's sandbox, with this terminal's input and output
    Exec(exec::Exec),
    /// Start a session that is stopped
    Start {
        /// Its id
        id: SessionId,
        /// Wait until it runs
        #[arg(long)]
        wait: bool,
    },
    /// Stop a session; its disk is kept
    Stop {
        /// Its id
        id: SessionId,
        /// Wait until it is stopped
        #[arg(long)]
        wait: bool,
    },
    /// List a session's conversations; `*` marks the active one
    Conversations {
        /// The session's id
        id: SessionId,
    },
    /// Interrupt the running turn
    Interrupt {
        /// The session's id
        id: SessionId,
        /// The conversation [default: the active one]
        #[arg(long, value_name = "ID")]
        conversation: Option<String>,
    },
    /// Delete a session; it can be restored for some time
    Delete {
        /// Its id
        id: SessionId,
        /// Destroy it with its disk at once, even if it was deleted before
        #[arg(long)]
        now: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Bring a deleted session back, stopped
    Restore {
        /// Its id
        id: SessionId,
    },
}

/// [`SessionStatus`](mistle_protocol::api::SessionStatus), as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    NeedsYou,
    Running,
    Ready,
    Stopped,
    Failed,
}

impl Status {
    fn in_query(self) -> &'static str {
        match self {
            Self::NeedsYou => "needs_you",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Words that are all in the title, the task, a repository or the id
    search: Vec<String>,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',')]
    status: Vec<Status>,
    /// Only those with this repository: a folder on the server's disk, or a clone URL
    #[arg(long, short, value_name = "SOURCE")]
    repository: Option<String>,
    /// Only those of this profile
    #[arg(long)]
    profile: Option<String>,
    /// Those that were deleted and can be restored
    #[arg(long)]
    deleted: bool,
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// What the agent should do; `-` reads it from standard input
    task: String,
    /// A repository: a folder on the server's disk, or a clone URL; again for more
    #[arg(long, short, value_name = "SOURCE")]
    repository: Vec<String>,
    /// Branch or tag of the first repository [default: its own]
    #[arg(long, requires = "repository")]
    branch: Option<String>,
    /// A plain folder without git; again for more
    #[arg(long, value_name = "NAME")]
    workspace: Vec<String>,
    /// The folder to start in, by its name [default: the first repository, or folder]
    #[arg(long, value_name = "NAME")]
    primary: Option<String>,
    /// A file to give to the agent; may be repeated
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// The profile [default: the first one]
    #[arg(long)]
    profile: Option<String>,
    /// The title [default: the task's first line]
    #[arg(long)]
    title: Option<String>,
    /// The model [default: the profile's]
    #[arg(long)]
    model: Option<String>,
    /// The reasoning effort [default: the profile's]
    #[arg(long)]
    effort: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
pub(super) struct Send {
    /// The session's id
    id: SessionId,
    /// The text; `-` reads it from standard input
    text: String,
    /// A file to give to the agent; may be repeated
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// Wait for the next turn instead of joining the running one
    #[arg(long)]
    queue: bool,
    /// Start another conversation with it
    #[arg(long, conflicts_with = "conversation")]
    new: bool,
    /// The conversation that it goes to [default: the active one]
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// The model of this and later turns
    #[arg(long)]
    model: Option<String>,
    /// The reasoning effort of this and later turns
    #[arg(long)]
    effort: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
struct Wait {
    /// Show the work, and end with its outcome
    #[arg(long, short)]
    wait: bool,
    /// What to do with approvals meanwhile [default: ask on a terminal]
    #[arg(long, value_enum, requires = "wait")]
    approve: Option<Approve>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("decision").required(true)))]
pub(super) struct Answering {
    /// The session's id
    id: SessionId,
    /// The approval's id [default: the only one that waits]
    approval: Option<String>,
    /// Yes, this once
    #[arg(long, group = "decision")]
    accept: bool,
    /// Yes, and the same for the rest of the session
    #[arg(long, group = "decision")]
    for_session: bool,
    /// No; the agent goes on
    #[arg(long, group = "decision")]
    decline: bool,
    /// What to tell the agent with it
    #[arg(long)]
    message: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verb {
    Start,
    Stop,
}

pub(super) async fn profile(client: &Client, command: Profile, out: Output) -> anyhow::Result<u8> {
    let Profile::List = command;
    let profiles: Vec<ProfileSummary> = client.get("/profiles").await?;
    if out.json {
        output::value(&profiles)?;
        return Ok(0);
    }
    let row = |summary: &ProfileSummary| {
        let policy = serde_json::to_value(summary.profile.approval_policy).unwrap_or_default();
        vec![
            summary.profile.name.clone(),
            summary.profile.runtime.clone(),
            summary.provider_label.clone(),
            policy.as_str().unwrap_or_default().to_owned(),
            summary
                .unavailable
                .clone()
                .unwrap_or_else(|| short(&summary.profile.description, 60)),
        ]
    };
    let rows: Vec<_> = profiles.iter().map(row).collect();
    out.table(&["NAME", "RUNTIME", "MODELS", "APPROVALS", ""], &rows)?;
    Ok(0)
}

pub(super) async fn run(client: &Client, command: Command, out: Output) -> anyhow::Result<u8> {
    match command {
        Command::New(new) => create(client, new, out).await,
        Command::List(asked) => list(client, asked, out).await,
        Command::Show { id } => show(client, id, out).await,
        Command::Send(send) => message(client, send, out).await,
        Command::Approve(answer) => approve(client, answer, out).await,
        Command::Events {
            id,
            after,
            follow: true,
        } => watch::watch(client, id, after, Goal::Never, Approve::Leave, out).await,
        Command::Events {
            id,
            after,
            follow: false,
        } => events(client, id, after, out).await,
        Command::Exec(command) => exec::run(client, command).await,
        Command::Start { id, wait } => change(client, id, Verb::Start, wait, out).await,
        Command::Stop { id, wait } => change(client, id, Verb::Stop, wait, out).await,
        Command::Conversations { id } => conversations(client, id, out).await,
        Command::Interrupt { id, conversation } => {
            let mut which = url::form_urlencoded::Serializer::new(String::new());
            which.extend_pairs(conversation.map(|id| ("conversation", id)));
            client
                .act(Method::POST, &format!("/sessions/{id}/interrupt?{}", which.finish()))
                .await?;
            Ok(0)
        }
        Command::Delete { id, now, yes } => delete(client, id, now, yes, out).await,
        Command::Restore { id } => restore(client, id, out).await,
    }
}

fn text_or_stdin(text: String) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let mut read = String::new();
    // One byte more than fits, so that the server says what is wrong.
    std::io::stdin()
        .take(MAX_MESSAGE_BYTES as u64 + 1)
        .read_to_string(&mut read)
        .context("cannot read standard input")?;
    Ok(read)
}

/// Uploads files, one after the other.
async fn upload(client: &Client, files: &[PathBuf]) -> anyhow::Result<Vec<AttachmentId>> {
    let mut ids = Vec::with_capacity(files.len());
    for file in files {
        ids.push(client.upload(file).await?.id);
    }
    Ok(ids)
}

/// A folder relative to where one is becomes absolute; everything else stays as it is, for the
/// server to judge, `git@example.org:team/project` too.
fn source(text: String) -> anyhow::Result<String> {
    let folder = Path::new(&text);
    let is_elsewhere = text.contains("://") || (text.contains(':') && !folder.is_absolute() && !folder.exists());
    if text.is_empty() || is_elsewhere {
        return Ok(text);
    }
    Ok(std::path::absolute(folder)?.display().to_string())
}

fn approve_by_default(wait: &Wait) -> Approve {
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    wait.approve
        .unwrap_or(if on_terminal { Approve::Ask } else { Approve::Stop })
}

/// Says which repositories a profile offers to somebody who chose none.
async fn tell_of_repositories(client: &Client, profile: &str) {
    // A hint, so no reason to fail.
    let profiles: Vec<ProfileSummary> = client.get("/profiles").await.unwrap_or_default();
    let offered = profiles.iter().find(|summary| summary.profile.name == profile);
    let sources: Vec<String> = offered
        .into_iter()
        .flat_map(|summary| &summary.profile.repositories)
        .map(|repository| plain(&repository.source))
        .collect();
    if !sources.is_empty() {
        output::note(format!(
            "It has no repository; --repository chooses one. The profile offers {}.",
            sources.join(", ")
        ));
    }
}

async fn create(client: &Client, new: New, out: Output) -> anyhow::Result<u8> {
    let chose_none = new.repository.is_empty() && new.workspace.is_empty();
    let mut branch = new.branch;
    let repositories = new.repository.into_iter().map(|text| {
        Ok(Repository {
            name: None,
            source: source(text)?,
            branch: branch.take(),
        })
    });
    let mut repositories = repositories.collect::<anyhow::Result<Vec<_>>>()?.into_iter();
    let body = NewSession {
        profile: new.profile,
        repository: repositories.next(),
        repositories: repositories.collect(),
        workspaces: new.workspace,
        primary: new.primary,
        task: text_or_stdin(new.task)?,
        title: new.title,
        model: new.model,
        effort: new.effort,
        attachments: upload(client, &new.attach).await?,
    };
    let session: Session = client.create("/sessions", &body).await?;
    if !new.wait.wait {
        if out.json {
            output::value(&session)?;
        } else {
            output::line(session.id.to_string())?;
            if chose_none {
                tell_of_repositories(client, &session.profile.name).await;
            }
        }
        return Ok(0);
    }
    if !out.json {
        output::note(format!(
            "{} {}",
            out.strong(&session.id.to_string()),
            short(&session.title, 80)
        ));
        if chose_none {
            tell_of_repositories(client, &session.profile.name).await;
        }
    }
    watch::watch(
        client,
        session.id,
        0,
        Goal::Turn(None),
        approve_by_default(&new.wait),
        out,
    )
    .await
}

async fn message(client: &Client, send: Send, out: Output) -> anyhow::Result<u8> {
    let id = send.id;
    // What was there before is not shown again.
    let before: Session = client.get(&format!("/sessions/{id}")).await?;
    let body = NewMessage {
        text: text_or_stdin(send.text)?,
        delivery: if send.queue { Delivery::Queue } else { Delivery::Steer },
        model: send.model,
        effort: send.effort,
        attachments: upload(client, &send.attach).await?,
        destination: match (send.new, send.conversation) {
            (true, _) => Destination::New,
            (false, Some(id)) => Destination::Conversation { id },
            (false, None) => Destination::Active,
        },
        ..NewMessage::default()
    };
    // One that is answered meanwhile is not among them, and one that is asked meanwhile comes twice.
    let mut asked: Vec<Approval> = if send.wait.wait {
        client.get(&format!("/sessions/{id}/approvals")).await?
    } else {
        Vec::new()
    };
    let message: QueuedMessage = client.create(&format!("/sessions/{id}/messages"), &body).await?;
    if matches!(before.state, SessionState::Stopped | SessionState::Failed) {
        output::note(format!(
            "The message waits until the session runs; `mistle session start {id}` starts it."
        ));
    }
    if send.wait.wait {
        let goes_to = match &body.destination {
            Destination::Active => before.conversation_id,
            Destination::Conversation { id } => Some(id.clone()),
            Destination::New | Destination::StartedBy { .. } => None,
        };
        asked.retain(|approval| goes_to.as_ref() == Some(&approval.conversation_id));
        let goal = Goal::Turn(Some(message.id));
        let answers = approve_by_default(&send.wait);
        return watch::watch_asked(client, id, before.last_seq, goal, answers, asked, out).await;
    }
    if out.json {
        output::value(&message)?;
    } else {
        output::line(message.id.to_string())?;
    }
    Ok(0)
}

async fn list(client: &Client, asked: List, out: Output) -> anyhow::Result<u8> {
    let limit = asked.limit as usize;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("deleted", if asked.deleted { "true" } else { "false" });
    if !asked.search.is_empty() {
        query.append_pair("q", &asked.search.join(" "));
    }
    if !asked.status.is_empty() {
        let wanted: Vec<_> = asked.status.iter().map(|status| status.in_query()).collect();
        query.append_pair("status", &wanted.join(","));
    }
    if let Some(repository) = asked.repository {
        query.append_pair("repository", &source(repository)?);
    }
    if let Some(profile) = &asked.profile {
        query.append_pair("profile", profile);
    }
    let query = query.finish();
    let mut sessions: Vec<Session> = Vec::new();
    let mut cursor = String::new();
    while sessions.len() < limit {
        let wanted = (limit - sessions.len()).min(200);
        let page: Page<Session> = client.get(&format!("/sessions?{query}&limit={wanted}{cursor}")).await?;
        sessions.extend(page.data);
        let Some(next) = page.next_cursor else { break };
        cursor = format!("&cursor={next}");
    }
    if out.json {
        output::value(&sessions)?;
        return Ok(0);
    }
    if sessions.is_empty() {
        output::note("There is none.");
        return Ok(0);
    }
    let row = |session: &Session| {
        vec![
            session.id.to_string(),
            state(session).to_owned(),
            ago(session.updated_at),
            short(&session.title, 60),
        ]
    };
    let rows: Vec<_> = sessions.iter().map(row).collect();
    out.table(&["ID", "STATE", "UPDATED", "TITLE"], &rows)?;
    Ok(0)
}

async fn conversations(client: &Client, id: SessionId, out: Output) -> anyhow::Result<u8> {
    let session: Session = client.get(&format!("/sessions/{id}")).await?;
    let all: Vec<ConversationSummary> = client.get(&format!("/sessions/{id}/conversations")).await?;
    if out.json {
        output::value(&all)?;
        return Ok(0);
    }
    let row = |conversation: &ConversationSummary| {
        let is_active = session.conversation_id.as_ref() == Some(&conversation.id);
        vec![
            if is_active { "*" } else { "" }.to_owned(),
            plain(&conversation.id),
            doing(conversation).to_owned(),
            ago(conversation.updated_at),
            short(&conversation.title, 60),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    out.table(&["", "ID", "STATE", "UPDATED", "TITLE"], &rows)?;
    Ok(0)
}

/// One word for what goes on in a conversation.
fn doing(conversation: &ConversationSummary) -> &'static str {
    match conversation {
        ConversationSummary { approvals: 1.., .. } => "needs you",
        ConversationSummary { turn_id: Some(_), .. } => "working",
        ConversationSummary { lost: true, .. } => "lost",
        ConversationSummary { archived: true, .. } => "archived",
        _ => "ready",
    }
}

/// One word for where a session is and what it does.
pub(super) fn state(session: &Session) -> &'static str {
    match (session.state, session.activity) {
        (SessionState::Running, Activity::Working) => "working",
        (SessionState::Running, Activity::NeedsYou) => "needs you",
        (SessionState::Running, Activity::Idle) => "ready",
        (SessionState::Created, _) => "created",
        (SessionState::Starting, _) => "starting",
        (SessionState::Disconnected, _) => "disconnected",
        (SessionState::Stopping, _) => "stopping",
        (SessionState::Stopped, _) => "stopped",
        (SessionState::Failed, _) => "failed",
        (SessionState::Deleted, _) => "deleted",
    }
}

fn ago(at: Timestamp) -> String {
    let seconds = Timestamp::now().duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86400),
    }
}

async fn show(client: &Client, id: SessionId, out: Output) -> anyhow::Result<u8> {
    let session: Session = client.get(&format!("/sessions/{id}")).await?;
    if out.json {
        output::value(&session)?;
        return Ok(0);
    }
    output::line(out.strong(&short(&session.title, 100)))?;
    let mut rows = vec![
        ("id", session.id.to_string()),
        ("state", format!("{}, {}", state(&session), ago(session.state_since))),
        (
            "profile",
            format!("{} ({})", session.profile.name, session.profile.version),
        ),
        (
            "model",
            format!(
                "{} at {}",
                session.model.as_deref().unwrap_or("default"),
                session.provider_label
            ),
        ),
        ("folder", session.cwd.clone()),
    ];
    if let Some(deletion) = session.deletion {
        rows.push((
            "deleted",
            format!("{}, kept until {}", ago(deletion.at), minute(deletion.until)),
        ));
    }
    if let Some(repository) = &session.repository {
        rows.push(("repository", repository.source.clone()));
    }
    if let Some(trouble) = &session.trouble {
        rows.push(("trouble", trouble.message.clone()));
        rows.extend(trouble.hint.clone().map(|hint| ("", hint)));
    }
    if let Some(usage) = &session.usage {
        rows.push((
            "tokens",
            format!("{} in, {} out", usage.input_tokens, usage.output_tokens),
        ));
    }
    rows.push(("queued", session.queued.to_string()));
    for (name, value) in rows {
        output::line(format!("{} {}", out.faint(&format!("{name:<10}")), plain(&value)))?;
    }
    for approval in &session.approvals {
        output::line("")?;
        output::text(&watch::shown_approval(approval, out))?;
    }
    Ok(0)
}

async fn approve(client: &Client, answer: Answering, out: Output) -> anyhow::Result<u8> {
    // One of them was said, and no other.
    let decision = match (answer.accept, answer.for_session) {
        (true, _) => Decision::Accept,
        (_, true) => Decision::AcceptForSession,
        _ => Decision::Decline,
    };
    let approval = match answer.approval {
        Some(approval) => approval,
        None => only_approval(client, answer.id, out).await?,
    };
    watch::answer(
        client,
        answer.id,
        &approval,
        &Answer {
            decision,
            message: answer.message,
        },
    )
    .await?;
    Ok(0)
}

async fn only_approval(client: &Client, id: SessionId, out: Output) -> anyhow::Result<String> {
    let mut waiting: Vec<Approval> = client.get(&format!("/sessions/{id}/approvals")).await?;
    if waiting.len() > 1 {
        for approval in &waiting {
            output::text(&watch::shown_approval(approval, out))?;
        }
        bail!("{} approvals wait; say which one", waiting.len());
    }
    waiting
        .pop()
        .map(|approval| approval.id)
        .context("no approval waits in this session")
}

async fn events(client: &Client, id: SessionId, after: u64, out: Output) -> anyhow::Result<u8> {
    let mut printer = watch::Printer::new(out);
    let mut after = after;
    loop {
        let page: Page<SessionEvent> = client
            .get(&format!("/sessions/{id}/events?after={after}&limit=1000"))
            .await?;
        for event in &page.data {
            if out.json {
                output::value(event)?;
            } else {
                output::text(&printer.event(event))?;
            }
        }
        let Some(last) = page.data.last() else { break };
        after = last.seq;
        if page.next_cursor.is_none() {
            break;
        }
    }
    Ok(0)
}

async fn change(client: &Client, id: SessionId, verb: Verb, wait: bool, out: Output) -> anyhow::Result<u8> {
    let (path, goal) = match verb {
        Verb::Start => ("start", Goal::Running),
        Verb::Stop => ("stop", Goal::Stopped),
    };
    let session: Session = client.post(&format!("/sessions/{id}/{path}"), &()).await?;
    if wait {
        return watch::watch(client, id, session.last_seq, goal, Approve::Leave, out).await;
    }
    if out.json {
        output::value(&session)?;
    } else {
        output::line(state(&session))?;
    }
    Ok(0)
}

async fn delete(client: &Client, id: SessionId, now: bool, yes: bool, out: Output) -> anyhow::Result<u8> {
    // What can be undone needs no question.
    if now && !yes {
        if !std::io::stdin().is_terminal() {
            bail!("destroying takes the session's disk with it; say --yes");
        }
        let session: Session = client.get(&format!("/sessions/{id}")).await?;
        output::text(&format!(
            "Destroy \"{}\" with its disk? This can't be undone. [y/N] ",
            short(&session.title, 60)
        ))?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(FAILED);
        }
    }
    let session: Session = client.delete(&format!("/sessions/{id}?now={now}")).await?;
    if out.json {
        output::value(&session)?;
    } else if let Some(deletion) = session.deletion {
        output::line(format!(
            "deleted; until {} `mistle session restore {id}` brings it back",
            minute(deletion.until)
        ))?;
    } else {
        output::line("destroyed")?;
    }
    Ok(0)
}

async fn restore(client: &Client, id: SessionId, out: Output) -> anyhow::Result<u8> {
    let session: Session = client.post(&format!("/sessions/{id}/restore"), &()).await?;
    if out.json {
        output::value(&session)?;
    } else {
        output::line(format!("restored; {}", state(&session)))?;
    }
    Ok(0)
}

/// A time to the minute, where the reader is.
fn minute(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M")
        .to_string()
}
