//! What sandboxes and daemons do wrong. A tiny peer speaks the daemon's side of the protocol here,
//! because no real daemon loses answers, goes silent or rewinds its journal on demand.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use mistle_model::{OpContext, Role};
use mistle_protocol::agent::{AgentEvent, Item, ItemBody, ItemStatus, JournalEntry, SetupStep, TurnOutcome};
use mistle_protocol::api::{NewMessage, NewSession};
use mistle_protocol::control::{CONTROL_SOCKET, Deliver, Delivered, Health};
use mistle_protocol::id::{LayerId, OrganizationId, RequestId, SessionId, UserId};
use mistle_protocol::session::{Activity, Delivery, EventBody, LiveMessage, Session, SessionEvent, SessionState};
use mistle_sandbox::{BoxFuture, Driver, Exit, SandboxError, SandboxInfo, SandboxSpec};
use mistle_store::Store;
use mistle_store::session_index::SessionFilter;
use mistle_store::sessions::{Change, SessionRow};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{Needs, SessionError, Sessions};
use crate::config::{Config, Location};

/// How long what must come may take. Only a hang ends here.
const LIMIT: Duration = Duration::from_mins(1);

/// Sandboxes that are folders with sockets; a test is their daemon.
struct Sandboxes {
    folder: PathBuf,
    running: Mutex<HashMap<SessionId, watch::Sender<bool>>>,
    /// What the next starts answer; those that are not listed succeed.
    starts: Mutex<VecDeque<SandboxError>>,
    /// Starts hang while this is false.
    starting: watch::Sender<bool>,
}

impl Sandboxes {
    fn new(folder: PathBuf) -> Arc<Self> {
        let starting = watch::channel(true).0;
        Arc::new(Self {
            folder,
            running: Mutex::default(),
            starts: Mutex::default(),
            starting,
        })
    }

    fn dir(&self, id: SessionId) -> PathBuf {
        self.folder.join(&id.uuid().simple().to_string()[16..])
    }

    fn end(&self, id: SessionId) {
        if let Some(running) = self.running.lock().unwrap().remove(&id) {
            running.send_replace(false);
        }
    }
}

impl Driver for Sandboxes {
    fn create<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async move {
            std::fs::create_dir_all(self.dir(spec.id)).unwrap();
            Ok(())
        })
    }

    fn start<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async move {
            self.starting.subscribe().wait_for(|go| *go).await.unwrap();
            if let Some(error) = self.starts.lock().unwrap().pop_front() {
                return Err(error);
            }
            if !self.dir(spec.id).exists() {
                return Err(SandboxError::NotFound(spec.id));
            }
            self.running
                .lock()
                .unwrap()
                .entry(spec.id)
                .or_insert_with(|| watch::channel(true).0);
            Ok(())
        })
    }

    fn stop(&self, id: SessionId, _: Duration) -> BoxFuture<'_, Result<(), SandboxError>> {
        self.end(id);
        Box::pin(async { Ok(()) })
    }

    fn delete(&self, id: SessionId) -> BoxFuture<'_, Result<(), SandboxError>> {
        self.end(id);
        let _ = std::fs::remove_dir_all(self.dir(id));
        Box::pin(async { Ok(()) })
    }

    fn freeze(&self, id: SessionId) -> BoxFuture<'_, Result<LayerId, SandboxError>> {
        Box::pin(async move { Err(SandboxError::NotFound(id)) })
    }

    fn delete_layer(&self, id: LayerId) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(async move { Err(SandboxError::LayerNotFound(id)) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SandboxInfo>, SandboxError>> {
        let running = self.running.lock().unwrap();
        let list = running
            .keys()
            .map(|id| SandboxInfo { id: *id, running: true })
            .collect();
        Box::pin(async { Ok(list) })
    }

    fn wait(&self, id: SessionId) -> BoxFuture<'_, Result<Exit, SandboxError>> {
        let running = self.running.lock().unwrap().get(&id).map(watch::Sender::subscribe);
        Box::pin(async move {
            if let Some(mut running) = running {
                let _ = running.wait_for(|running| !running).await;
            }
            Ok(Exit {
                code: Some(137),
                out_of_memory: false,
            })
        })
    }

    fn link_dir(&self, id: SessionId) -> Result<PathBuf, SandboxError> {
        Ok(self.dir(id))
    }
}

/// A daemon, as far as the server can tell.
#[derive(Clone)]
struct Peer {
    journal: Arc<Mutex<Vec<String>>>,
    grown: watch::Sender<usize>,
    ready: Arc<Mutex<bool>>,
    /// What the next deliveries answer. One that is not listed is accepted and begins a turn.
    answers: Arc<Mutex<VecDeque<Option<Delivered>>>>,
    deliveries: mpsc::Sender<Deliver>,
    /// Whether the event stream says nothing at all.
    mute: bool,
}

impl Peer {
    fn new() -> (Self, mpsc::Receiver<Deliver>) {
        let (deliveries, delivered) = mpsc::channel(100);
        let peer = Self {
            journal: Arc::default(),
            grown: watch::channel(0).0,
            ready: Arc::default(),
            answers: Arc::default(),
            deliveries,
            mute: false,
        };
        (peer, delivered)
    }

    fn says(&self, event: AgentEvent) {
        if matches!(event, AgentEvent::RuntimeReady { .. }) {
            *self.ready.lock().unwrap() = true;
        }
        let mut journal = self.journal.lock().unwrap();
        let entry = JournalEntry {
            seq: journal.len() as u64 + 1,
            at: Timestamp::now(),
            event,
        };
        journal.push(serde_json::to_string(&entry).unwrap());
        self.grown.send_replace(journal.len());
    }

    fn is_ready(&self) {
        self.says(AgentEvent::RuntimeReady {
            version: "1".to_owned(),
            models: Vec::new(),
        });
    }

    fn ends_turn(&self, turn: &str) {
        let (conversation_id, turn_id) = ("c".to_owned(), turn.to_owned());
        self.says(AgentEvent::TurnCompleted {
            conversation_id,
            turn_id,
            outcome: TurnOutcome::Completed,
        });
    }

    fn takes(&self, message: &Deliver, turn: &str) {
        let (conversation_id, turn_id) = ("c".to_owned(), turn.to_owned());
        self.says(AgentEvent::MessageDelivered {
            message_id: message.message_id,
            conversation_id,
            turn_id,
        });
    }

    /// Dials as soon as somebody listens; the connection lasts as long as what is returned.
    async fn dials(&self, folder: PathBuf) -> AbortOnDropHandle<()> {
        let stream = loop {
            match UnixStream::connect(folder.join(CONTROL_SOCKET)).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let router = Router::new()
            .route("/health", get(health))
            .route("/plan", put(async || StatusCode::NO_CONTENT))
            .route("/agent/events", get(events))
            .route("/agent/ack", post(async || StatusCode::NO_CONTENT))
            .route("/agent/messages", post(deliver))
            .route("/shutdown", post(async || StatusCode::ACCEPTED))
            .with_state(self.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let service = TowerToHyperService::new(router);
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }))
    }
}

async fn health(State(peer): State<Peer>) -> Json<Health> {
    let journal_seq = peer.journal.lock().unwrap().len() as u64;
    let runtime_ready = *peer.ready.lock().unwrap();
    Json(Health {
        version: "1".to_owned(),
        journal_seq,
        runtime_ready,
        resident_bytes: 0,
    })
}

async fn events(State(peer): State<Peer>, Query(query): Query<HashMap<String, usize>>) -> axum::body::Body {
    let mut grown = peer.grown.subscribe();
    let mut after = query["after"];
    axum::body::Body::from_stream(async_stream::stream! {
        loop {
            let lines: Vec<String> = peer.journal.lock().unwrap().iter().skip(after).cloned().collect();
            after += lines.len();
            for line in lines {
                yield Ok::<_, std::convert::Infallible>(format!("{line}\n"));
            }
            tokio::select! {
                _ = grown.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(1)), if !peer.mute => yield Ok("\n".to_owned()),
            }
        }
    })
}

async fn deliver(State(peer): State<Peer>, Json(message): Json<Deliver>) -> Json<Delivered> {
    let answer = peer.answers.lock().unwrap().pop_front();
    let _ = peer.deliveries.send(message.clone()).await;
    match answer {
        Some(Some(answer)) => Json(answer),
        // The answer never comes.
        Some(None) => std::future::pending().await,
        None => {
            let turn = message.message_id.to_string();
            peer.takes(&message, &turn);
            Json(Delivered::Accepted {
                conversation_id: "c".to_owned(),
                turn_id: turn,
            })
        }
    }
}

/// A server without a front door.
struct Bench {
    folder: tempfile::TempDir,
    config: Arc<Config>,
    sandboxes: Arc<Sandboxes>,
    sessions: Sessions,
    ctx: OpContext,
}

impl Bench {
    async fn new() -> Self {
        Self::configured("").await
    }

    /// With more in its configuration.
    async fn configured(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().join("codex");
        std::fs::create_dir_all(runtime.join("bin")).unwrap();
        std::fs::write(runtime.join("bin/codex"), "").unwrap();
        let location = Location {
            file: None,
            data_dir: Some(folder.path().to_owned()),
        };
        let text = format!("{more}\n[runtimes.codex]\npath = \"{}\"\n", runtime.display());
        let mut config = Config::parse(&text, None, &location).unwrap();
        for provider in config.providers.values_mut() {
            provider.base_url = Some("http://127.0.0.1:9/v1".parse().unwrap());
        }
        let config = Arc::new(config);
        let sandboxes = Sandboxes::new(folder.path().join("s"));
        let sessions = open(&folder, &config, &sandboxes).await;
        let ctx = OpContext {
            user_id: UserId::new(),
            organization_id: OrganizationId::new(),
            role: Role::Member,
            request_id: RequestId::new(),
        };
        Self {
            folder,
            config,
            sandboxes,
            sessions,
            ctx,
        }
    }

    async fn restart(&mut self) {
        self.sessions.shutdown().await;
        self.sessions = open(&self.folder, &self.config, &self.sandboxes).await;
    }

    async fn create(&self) -> SessionId {
        let task = "do it".to_owned();
        let new = NewSession {
            task,
            ..NewSession::default()
        };
        self.sessions.create(&self.ctx, new, None).await.unwrap().id
    }

    async fn send(&self, id: SessionId, text: &str, delivery: Delivery) {
        let new = NewMessage {
            text: text.to_owned(),
            delivery,
            ..NewMessage::default()
        };
        self.sessions.send(&self.ctx, id, new, None).await.unwrap();
    }

    async fn get(&self, id: SessionId) -> Session {
        self.sessions.get(&self.ctx, id).await.unwrap()
    }

    async fn live(&self, id: SessionId) -> BoxStream<'static, LiveMessage> {
        self.sessions.live(&self.ctx, id, 0).await.unwrap()
    }

    /// Waits until the session is as wanted.
    async fn until(&self, id: SessionId, wanted: impl Fn(&Session) -> bool) -> Session {
        let mut live = self.live(id).await;
        let search = async {
            while let Some(message) = live.next().await {
                if let LiveMessage::Session { session } = message
                    && wanted(&session)
                {
                    return *session;
                }
            }
            panic!("the stream ended");
        };
        let Ok(session) = tokio::time::timeout(LIMIT, search).await else {
            panic!("it did not come: {:?}", self.get(id).await);
        };
        session
    }

    async fn until_state(&self, id: SessionId, state: SessionState) -> Session {
        self.until(id, |session| session.state == state).await
    }

    /// A session that runs, with its daemon, which has its task.
    async fn running(&self) -> (SessionId, Peer, mpsc::Receiver<Deliver>, AbortOnDropHandle<()>) {
        let id = self.create().await;
        let (peer, mut deliveries) = Peer::new();
        let connection = peer.dials(self.sandboxes.dir(id)).await;
        peer.is_ready();
        let task = deliveries.recv().await.unwrap();
        assert_eq!(task.text, "do it");
        self.until(id, |session| session.activity == Activity::Working).await;
        (id, peer, deliveries, connection)
    }

    async fn events(&self, id: SessionId) -> Vec<SessionEvent> {
        self.sessions.events(&self.ctx, id, 0, 10_000).await.unwrap().data
    }
}

async fn open(folder: &tempfile::TempDir, config: &Arc<Config>, sandboxes: &Arc<Sandboxes>) -> Sessions {
    crate::install_crypto();
    let store = Store::connect(&format!("sqlite:{}", folder.path().join("mistle.db").display()))
        .await
        .unwrap();
    let egress = crate::models::gateway(config).unwrap();
    let files = crate::attachments::Attachments::open(store.clone(), folder.path(), config.limits);
    let needs = Needs {
        store,
        attachments: files.unwrap(),
        driver: sandboxes.clone(),
        egress,
        config: config.clone(),
    };
    Sessions::open(needs).await.unwrap()
}

fn says(text: &str) -> AgentEvent {
    AgentEvent::ItemCompleted {
        item: Item {
            id: text.to_owned(),
            conversation_id: "c".to_owned(),
            turn_id: "t".to_owned(),
            status: ItemStatus::Completed,
            started_at: Timestamp::now(),
            completed_at: None,
            body: ItemBody::AgentMessage { text: text.to_owned() },
        },
    }
}

fn texts(events: &[SessionEvent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| match &event.event {
            EventBody::Agent(AgentEvent::ItemCompleted { item }) => Some(item.id.as_str()),
            _ => None,
        })
        .collect()
}

fn code(session: &Session) -> Option<&str> {
    session.trouble.as_ref().map(|trouble| trouble.code.as_str())
}

#[tokio::test]
async fn what_is_said_is_stored_once_whatever_the_connection_does() {
    let mut bench = Bench::new().await;
    let (id, peer, _deliveries, mut connection) = bench.running().await;
    let mut expected = Vec::new();
    for round in 0..20 {
        for number in 0..10 {
            let text = format!("{round}-{number}");
            peer.says(says(&text));
            expected.push(text);
        }
        // A newer connection replaces the older, which may be in the middle of anything.
        let newer = peer.dials(bench.sandboxes.dir(id)).await;
        if round % 2 == 0 {
            connection = newer;
        } else {
            drop(std::mem::replace(&mut connection, newer));
        }
        if round % 7 == 6 {
            bench.restart().await;
            connection = peer.dials(bench.sandboxes.dir(id)).await;
        }
    }
    peer.ends_turn("t");
    bench
        .until(id, |session| {
            session.activity == Activity::Idle && session.state == SessionState::Running
        })
        .await;
    let events = bench.events(id).await;
    assert_eq!(texts(&events), expected);
    assert!(events.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let bench = Bench::new().await;
    let (id, peer, mut deliveries, connection) = bench.running().await;
    peer.ends_turn("t");
    peer.answers.lock().unwrap().push_back(None);
    bench.send(id, "once", Delivery::Queue).await;
    let first = deliveries.recv().await.unwrap();
    // It can't be taken back now.
    let refused = bench.sessions.remove_message(&bench.ctx, id, first.message_id).await;
    assert!(
        matches!(
            refused,
            Err(SessionError::Conflict {
                kind: "message-sending",
                ..
            })
        ),
        "{refused:?}"
    );
    drop(connection);
    let _connection = peer.dials(bench.sandboxes.dir(id)).await;
    let second = deliveries.recv().await.unwrap();
    assert_eq!(first, second);
    bench.until(id, |session| session.queued == 0).await;
}

#[tokio::test]
async fn a_message_that_is_on_its_way_survives_the_server() {
    let mut bench = Bench::new().await;
    let (id, peer, mut deliveries, _connection) = bench.running().await;
    peer.ends_turn("t");
    peer.answers.lock().unwrap().push_back(None);
    bench.send(id, "once", Delivery::Queue).await;
    bench.send(id, "then", Delivery::Queue).await;
    let first = deliveries.recv().await.unwrap();
    bench.restart().await;
    assert_eq!(bench.get(id).await.queued, 2);
    let _connection = peer.dials(bench.sandboxes.dir(id)).await;
    assert_eq!(deliveries.recv().await.unwrap(), first);
    bench.until(id, |session| session.queued == 1).await;
    peer.ends_turn("t");
    assert_eq!(deliveries.recv().await.unwrap().text, "then");
}

#[tokio::test]
async fn a_busy_agent_is_asked_when_its_turn_is_over() {
    let bench = Bench::new().await;
    let (id, peer, mut deliveries, _connection) = bench.running().await;
    peer.ends_turn("t");
    bench.until(id, |session| session.activity == Activity::Idle).await;
    peer.answers
        .lock()
        .unwrap()
        .extend([Some(Delivered::Busy), Some(Delivered::NotReady)]);
    bench.send(id, "later", Delivery::Queue).await;
    let first = deliveries.recv().await.unwrap();
    // Nothing changed, so nothing is asked again.
    let early = tokio::time::timeout(Duration::from_millis(300), deliveries.recv()).await;
    assert!(early.is_err(), "{early:?}");
    peer.ends_turn("other");
    assert_eq!(deliveries.recv().await.unwrap(), first);
    peer.is_ready();
    assert_eq!(deliveries.recv().await.unwrap(), first);
    bench.until(id, |session| session.queued == 0).await;
}

#[tokio::test]
async fn a_rejected_message_says_why_and_can_be_mended() {
    let bench = Bench::new().await;
    let (id, peer, mut deliveries, _connection) = bench.running().await;
    peer.ends_turn("t");
    peer.answers.lock().unwrap().push_back(Some(Delivered::Rejected {
        message: "no".to_owned(),
    }));
    bench.send(id, "bad", Delivery::Queue).await;
    let bad = deliveries.recv().await.unwrap();
    bench.send(id, "good", Delivery::Queue).await;
    assert_eq!(deliveries.recv().await.unwrap().text, "good");
    bench
        .until(id, |session| {
            session.queued == 1 && session.activity == Activity::Working
        })
        .await;
    let queue = bench.sessions.queue(&bench.ctx, id).await.unwrap();
    assert_eq!(
        (queue[0].id, queue[0].error.as_deref(), queue[0].sending),
        (bad.message_id, Some("no"), false)
    );
    let patch = mistle_protocol::api::MessagePatch {
        text: Some("better".to_owned()),
        ..mistle_protocol::api::MessagePatch::default()
    };
    bench
        .sessions
        .patch_message(&bench.ctx, id, bad.message_id, patch)
        .await
        .unwrap();
    peer.ends_turn("t");
    assert_eq!(deliveries.recv().await.unwrap().text, "better");
}

#[tokio::test]
async fn a_silent_daemon_is_lost_and_found() {
    let bench = Bench::new().await;
    let (id, peer, mut deliveries, connection) = bench.running().await;
    peer.ends_turn("t");
    let mute = Peer {
        mute: true,
        ..peer.clone()
    };
    drop(connection);
    let _mute = mute.dials(bench.sandboxes.dir(id)).await;
    bench
        .until(id, |session| {
            session.state == SessionState::Running && session.activity == Activity::Idle
        })
        .await;
    let lost = bench.until_state(id, SessionState::Disconnected).await;
    assert_eq!(code(&lost), Some("link_lost"));
    // What is written meanwhile waits.
    bench.send(id, "waits", Delivery::Queue).await;
    let unavailable = bench.sessions.terminals(&bench.ctx, id).await;
    assert!(
        matches!(unavailable, Err(SessionError::Unavailable { .. })),
        "{unavailable:?}"
    );
    let _connection = peer.dials(bench.sandboxes.dir(id)).await;
    let back = bench.until_state(id, SessionState::Running).await;
    assert_eq!(code(&back), None);
    assert_eq!(deliveries.recv().await.unwrap().text, "waits");
}

#[tokio::test]
async fn a_journal_that_went_back_goes_on() {
    let bench = Bench::new().await;
    let (id, peer, _deliveries, connection) = bench.running().await;
    for text in ["a", "b", "c"] {
        peer.says(says(text));
    }
    peer.ends_turn("t");
    bench.until(id, |session| session.activity == Activity::Idle).await;
    drop(connection);
    bench.until_state(id, SessionState::Disconnected).await;
    // The power went before the last two entries were on the disk.
    let kept = peer.journal.lock().unwrap().len() - 2;
    peer.journal.lock().unwrap().truncate(kept);
    let _connection = peer.dials(bench.sandboxes.dir(id)).await;
    bench.until(id, |session| session.state == SessionState::Running).await;
    peer.says(says("d"));
    peer.ends_turn("t");
    let mut live = bench.live(id).await;
    let said = async {
        while let Some(message) = live.next().await {
            let told = match message {
                LiveMessage::Events { events } => events,
                LiveMessage::Event { event } => vec![*event],
                _ => continue,
            };
            if texts(&told).last() == Some(&"d") {
                break;
            }
        }
    };
    tokio::time::timeout(LIMIT, said).await.unwrap();
    assert_eq!(texts(&bench.events(id).await), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_journal_that_is_nonsense_fails_the_session_and_not_the_server() {
    let bench = Bench::new().await;
    let (id, peer, _deliveries, _connection) = bench.running().await;
    peer.journal.lock().unwrap().push("{ nonsense".to_owned());
    peer.grown.send_replace(99);
    let failed = bench.until_state(id, SessionState::Failed).await;
    assert_eq!(
        (code(&failed), failed.activity),
        (Some("sandbox_broken"), Activity::Idle)
    );
}

#[tokio::test]
async fn a_setup_that_fails_fails_the_session_and_it_starts_again() {
    let bench = Bench::new().await;
    let id = bench.create().await;
    let (peer, mut deliveries) = Peer::new();
    let connection = peer.dials(bench.sandboxes.dir(id)).await;
    let step = SetupStep::Repository;
    // A daemon that was told its plan.
    bench.until(id, |session| session.last_seq >= 1).await;
    while bench
        .sessions
        .terminals(&bench.ctx, id)
        .await
        .is_err_and(|error| matches!(&error, SessionError::Unavailable { message } if message.contains("starting")))
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    peer.says(AgentEvent::SetupFailed {
        step,
        message: "cannot clone".to_owned(),
    });
    let failed = bench.until_state(id, SessionState::Failed).await;
    let trouble = failed.trouble.unwrap();
    assert_eq!(
        (trouble.code.as_str(), trouble.message.as_str()),
        ("repository_unreachable", "cannot clone")
    );
    assert!(trouble.hint.is_some());
    drop(connection);

    bench.sessions.start(&bench.ctx, id).await.unwrap();
    // The journal of the earlier run says nothing about this one.
    let _connection = peer.dials(bench.sandboxes.dir(id)).await;
    peer.is_ready();
    assert_eq!(bench.until_state(id, SessionState::Running).await.trouble, None);
    assert_eq!(deliveries.recv().await.unwrap().text, "do it");
}

#[tokio::test]
async fn a_start_that_fails_says_what_to_do() {
    let bench = Bench::new().await;
    let unsupported = SandboxError::Unsupported {
        what: "no user namespaces".to_owned(),
        advice: "Turn them on.".to_owned(),
    };
    bench.sandboxes.starts.lock().unwrap().push_back(unsupported);
    let id = bench.create().await;
    let failed = bench.until_state(id, SessionState::Failed).await;
    let trouble = failed.trouble.unwrap();
    assert_eq!(trouble.code, "isolation_unavailable");
    assert!(trouble.hint.unwrap().contains("Turn them on."));
    // The task is still there and goes when it works.
    assert_eq!(failed.queued, 1);
    bench.sessions.start(&bench.ctx, id).await.unwrap();
    let (peer, mut deliveries) = Peer::new();
    let _connection = peer.dials(bench.sandboxes.dir(id)).await;
    peer.is_ready();
    assert_eq!(deliveries.recv().await.unwrap().text, "do it");
}

#[tokio::test]
async fn a_lost_disk_is_never_replaced() {
    let bench = Bench::new().await;
    let (id, _peer, _deliveries, _connection) = bench.running().await;
    bench.sessions.stop(&bench.ctx, id).await.unwrap();
    bench.until_state(id, SessionState::Stopped).await;
    std::fs::rename(bench.sandboxes.dir(id), bench.folder.path().join("moved")).unwrap();
    bench.sessions.start(&bench.ctx, id).await.unwrap();
    let failed = bench.until_state(id, SessionState::Failed).await;
    assert!(!bench.sandboxes.dir(id).exists(), "{failed:?}");
    std::fs::rename(bench.folder.path().join("moved"), bench.sandboxes.dir(id)).unwrap();
    bench.sessions.start(&bench.ctx, id).await.unwrap();
    bench.until_state(id, SessionState::Starting).await;
}

#[tokio::test]
async fn a_server_that_ends_in_the_middle_of_a_start_goes_on_with_it() {
    let mut bench = Bench::new().await;
    bench.sandboxes.starting.send_replace(false);
    let id = bench.create().await;
    bench.until_state(id, SessionState::Starting).await;
    let (sandboxes, ends) = (bench.sandboxes.clone(), bench.sessions.shared.stop.clone());
    tokio::spawn(async move {
        ends.cancelled().await;
        sandboxes.starting.send_replace(true);
    });
    bench.restart().await;
    let (peer, mut deliveries) = Peer::new();
    let _connection = peer.dials(bench.sandboxes.dir(id)).await;
    peer.is_ready();
    assert_eq!(deliveries.recv().await.unwrap().text, "do it");
}

#[tokio::test]
async fn stop_and_delete_in_the_middle_of_a_start_wait_for_it() {
    let bench = Bench::new().await;
    for delete in [false, true] {
        bench.sandboxes.starting.send_replace(false);
        let id = bench.create().await;
        assert_eq!(
            bench.sessions.stop(&bench.ctx, id).await.unwrap().state,
            SessionState::Stopping
        );
        let refused = bench.sessions.start(&bench.ctx, id).await;
        assert!(
            matches!(
                refused,
                Err(SessionError::Conflict {
                    kind: "session-stopping",
                    ..
                })
            ),
            "{refused:?}"
        );
        let mut live = bench.live(id).await;
        if delete {
            bench.sessions.delete(&bench.ctx, id, true).await.unwrap();
        }
        bench.sandboxes.starting.send_replace(true);
        if delete {
            while !matches!(live.next().await, Some(LiveMessage::Deleted { .. }) | None) {}
            while bench.sandboxes.dir(id).exists()
                || bench.sessions.shared.needs.store.session(id).await.unwrap().is_some()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(matches!(
                bench.sessions.get(&bench.ctx, id).await,
                Err(SessionError::NotFound { .. })
            ));
        } else {
            bench.until_state(id, SessionState::Stopped).await;
        }
        assert!(bench.sandboxes.running.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_sandbox_that_ends_by_itself_is_told() {
    let bench = Bench::new().await;
    let (id, _peer, _deliveries, connection) = bench.running().await;
    drop(connection);
    bench.sandboxes.end(id);
    let failed = bench.until_state(id, SessionState::Failed).await;
    assert_eq!((code(&failed), &failed.turn_id), (Some("sandbox_exited"), &None));
}

#[tokio::test]
async fn a_reader_that_falls_behind_misses_nothing() {
    let bench = Bench::new().await;
    let (id, peer, _deliveries, _connection) = bench.running().await;
    let mut live = bench.live(id).await;
    while !matches!(live.next().await, Some(LiveMessage::CaughtUp { .. })) {}
    // One commit each, and more of them than the reader may fall behind.
    for number in 0..2 * super::live::MAX_BEHIND {
        peer.says(says(&number.to_string()));
        let stored = async {
            while bench.get(id).await.last_seq <= number as u64 + 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, stored).await.unwrap();
    }
    peer.ends_turn("t");
    let mut seen = Vec::new();
    while let Some(message) = tokio::time::timeout(LIMIT, live.next()).await.unwrap() {
        match message {
            LiveMessage::Events { events } => seen.extend(events),
            LiveMessage::Event { event } => seen.push(*event),
            _ => continue,
        }
        let ended = |event: &SessionEvent| matches!(event.event, EventBody::Agent(AgentEvent::TurnCompleted { .. }));
        if seen.last().is_some_and(ended) {
            break;
        }
    }
    let seqs: Vec<u64> = seen.iter().map(|event| event.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
    assert_eq!(texts(&seen).len(), 2 * super::live::MAX_BEHIND);
}

#[tokio::test]
async fn another_organization_sees_nothing() {
    let bench = Bench::new().await;
    let id = bench.create().await;
    let stranger = OpContext {
        organization_id: OrganizationId::new(),
        role: Role::Owner,
        ..bench.ctx.clone()
    };
    let sessions = &bench.sessions;
    assert!(matches!(
        sessions.get(&stranger, id).await,
        Err(SessionError::NotFound { .. })
    ));
    assert!(matches!(
        sessions.delete(&stranger, id, false).await,
        Err(SessionError::NotFound { .. })
    ));
    assert!(matches!(
        sessions.live(&stranger, id, 0).await,
        Err(SessionError::NotFound { .. })
    ));
    assert_eq!(
        sessions
            .list(&stranger, &SessionFilter::default(), None, 10)
            .await
            .unwrap()
            .data,
        []
    );
    // A colleague may work with it and not delete it.
    let colleague = OpContext {
        user_id: UserId::new(),
        ..bench.ctx.clone()
    };
    assert!(sessions.get(&colleague, id).await.is_ok());
    assert!(matches!(
        sessions.delete(&colleague, id, false).await,
        Err(SessionError::Forbidden {
            kind: "role-needed",
            ..
        })
    ));
    assert!(matches!(
        sessions.restore_session(&colleague, id).await,
        Err(SessionError::Forbidden { .. })
    ));
}

#[tokio::test]
async fn a_deleted_session_stops_at_once_and_comes_back_with_its_disk() {
    let bench = Bench::new().await;
    let (id, _peer, _deliveries, _connection) = bench.running().await;
    let sessions = &bench.sessions;
    let deleted = sessions.delete(&bench.ctx, id, false).await.unwrap();
    let deletion = deleted.deletion.expect("it is in the trash");
    assert_eq!(
        deletion.until.duration_since(deletion.at),
        crate::config::Sessions::default().keep_deleted
    );
    // Again, as after an answer that was lost.
    assert_eq!(
        sessions.delete(&bench.ctx, id, false).await.unwrap().deletion,
        Some(deletion)
    );
    bench.until_state(id, SessionState::Stopped).await;

    let trash = SessionFilter {
        deleted: true,
        ..SessionFilter::default()
    };
    let ctx = &bench.ctx;
    let ids = |filter| async move {
        let page = sessions.list(ctx, &filter, None, 10).await.unwrap();
        page.data.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(SessionFilter::default()).await, []);
    assert_eq!(ids(trash.clone()).await, [id]);
    for refused in [
        sessions.start(&bench.ctx, id).await.map(drop),
        sessions
            .send(&bench.ctx, id, NewMessage::default(), None)
            .await
            .map(drop),
    ] {
        assert!(
            matches!(
                refused,
                Err(SessionError::Conflict {
                    kind: "session-deleted",
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    assert!(bench.sandboxes.dir(id).exists());

    let restored = sessions.restore_session(&bench.ctx, id).await.unwrap();
    assert_eq!((restored.state, restored.deletion), (SessionState::Stopped, None));
    assert_eq!(ids(SessionFilter::default()).await, [id]);
    assert_eq!(ids(trash).await, []);
    assert!(sessions.start(&bench.ctx, id).await.is_ok());
}

#[tokio::test]
async fn the_trash_is_emptied_by_whichever_server_runs_then() {
    let mut bench = Bench::configured("[sessions]\nkeep_deleted = \"500ms\"").await;
    let (id, _peer, _deliveries, _connection) = bench.running().await;
    bench.sessions.delete(&bench.ctx, id, false).await.unwrap();
    bench.restart().await;
    let gone = async {
        while bench.sandboxes.dir(id).exists() || bench.sessions.shared.needs.store.session(id).await.unwrap().is_some()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
    let kept = bench.create().await;
    let at_once = bench.sessions.delete(&bench.ctx, kept, true).await.unwrap();
    assert_eq!((at_once.state, at_once.deletion), (SessionState::Deleted, None));
}

#[tokio::test]
async fn whoever_looks_is_told_that_comments_changed() {
    let bench = Bench::new().await;
    let id = bench.create().await;
    let mut live = bench.live(id).await;
    while !matches!(live.next().await, Some(LiveMessage::CaughtUp { .. })) {}
    let path = serde_json::json!({ "text": "src/main.rs" });
    let anchor = serde_json::json!({ "path": path, "side": "new", "start_line": 1, "end_line": 1, "quote": ["x"] });
    let new = serde_json::from_value(serde_json::json!({ "anchor": anchor, "text": "Why?" })).unwrap();
    let comment = bench.sessions.add_comment(&bench.ctx, id, new).await.unwrap();
    let told = async { while !matches!(live.next().await, Some(LiveMessage::Comments)) {} };
    tokio::time::timeout(LIMIT, told).await.unwrap();
    bench.sessions.delete_comment(&bench.ctx, id, comment.id).await.unwrap();
    let told = async { while !matches!(live.next().await, Some(LiveMessage::Comments)) {} };
    tokio::time::timeout(LIMIT, told).await.unwrap();
}

impl Bench {
    async fn warm(&self, new: NewSession) -> Option<Timestamp> {
        self.sessions.warm(&self.ctx, new).await.unwrap()
    }

    /// The sessions that wait to be adopted.
    async fn waiting(&self) -> Vec<SessionRow> {
        let store = &self.sessions.shared.needs.store;
        let (organization, user) = (self.ctx.organization_id, self.ctx.user_id);
        store.warm_sessions(organization, user).await.unwrap()
    }

    /// The sessions of the list.
    async fn listed(&self) -> Vec<SessionId> {
        let filter = SessionFilter::default();
        let page = self.sessions.list(&self.ctx, &filter, None, 10).await.unwrap();
        page.data.into_iter().map(|session| session.id).collect()
    }

    /// The one that waits.
    async fn prepared(&self) -> SessionId {
        self.warm(NewSession::default()).await.expect("there is room");
        let waiting = self.waiting().await;
        assert_eq!(waiting.len(), 1);
        waiting[0].session.id
    }

    /// Waits until everything of a session is gone.
    async fn until_gone(&self, id: SessionId) {
        let store = &self.sessions.shared.needs.store;
        let gone = async {
            while self.sandboxes.dir(id).exists() || store.session(id).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, gone).await.unwrap();
    }

    /// Waits until a session that waits has processes and a runtime.
    async fn until_warm(&self, id: SessionId) {
        let mut view = self.sessions.shared.handles()[&id].view.clone();
        let running = view.wait_for(|view| view.state == SessionState::Running);
        tokio::time::timeout(LIMIT, running).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_warm_session_is_nobodys_business_until_it_is_adopted_with_its_task() {
    let bench = Bench::new().await;
    let mut all = bench.sessions.live_all(&bench.ctx).await.unwrap();
    let id = bench.prepared().await;
    // The same wish again is the same session.
    assert_eq!(bench.prepared().await, id);
    let (peer, mut deliveries) = Peer::new();
    let _connection = peer.dials(bench.sandboxes.dir(id)).await;
    peer.is_ready();
    bench.until_warm(id).await;
    let hidden = bench.sessions.get(&bench.ctx, id).await;
    assert!(matches!(hidden, Err(SessionError::NotFound { .. })), "{hidden:?}");
    assert_eq!(bench.listed().await, []);

    let new = NewSession {
        task: "do it\nwith care".to_owned(),
        ..NewSession::default()
    };
    for _ in 0..2 {
        let created = bench
            .sessions
            .create(&bench.ctx, new.clone(), Some("key"))
            .await
            .unwrap();
        assert_eq!((created.id, created.title.as_str()), (id, "do it"));
    }
    assert_eq!(deliveries.recv().await.unwrap().text, "do it\nwith care");
    bench.until(id, |session| session.queued == 0).await;
    peer.ends_turn("t");
    bench.send(id, "then", Delivery::Queue).await;
    assert_eq!(deliveries.recv().await.unwrap().text, "then");
    assert_eq!(bench.waiting().await, []);
    // The first that anyone hears of it is that it is somebody's.
    let heard = tokio::time::timeout(LIMIT, all.next()).await.unwrap().unwrap();
    let LiveMessage::Session { session } = heard else {
        panic!("{heard:?}")
    };
    assert_eq!((session.id, session.title.as_str()), (id, "do it"));
    assert_eq!(bench.listed().await, [id]);
}

#[tokio::test]
async fn one_that_is_on_its_way_is_adopted_too_also_by_the_next_server() {
    let mut bench = Bench::new().await;
    let id = bench.prepared().await;
    bench.restart().await;
    assert_eq!(bench.create().await, id);
    let (peer, mut deliveries) = Peer::new();
    let _connection = peer.dials(bench.sandboxes.dir(id)).await;
    peer.is_ready();
    assert_eq!(deliveries.recv().await.unwrap().text, "do it");
}

#[tokio::test]
async fn another_choice_replaces_it_and_is_not_served_by_it() {
    let bench = Bench::new().await;
    let first = bench.prepared().await;
    let other = NewSession {
        workspaces: vec!["notes".to_owned()],
        ..NewSession::default()
    };
    bench.warm(other).await.expect("there is room");
    bench.until_gone(first).await;
    let second = bench.waiting().await[0].session.id;
    assert_ne!(bench.create().await, second);
    assert_eq!(bench.waiting().await[0].session.id, second);

    // What can't be had is said, and leaves nothing behind.
    let wrong = NewSession {
        profile: Some("no such".to_owned()),
        ..NewSession::default()
    };
    let refused = bench.sessions.warm(&bench.ctx, wrong).await;
    assert!(
        matches!(
            refused,
            Err(SessionError::Invalid {
                kind: "profile-not-found",
                ..
            })
        ),
        "{refused:?}"
    );
    bench.until_gone(second).await;
}

#[tokio::test]
async fn a_colleague_adopts_no_session_of_mine() {
    let bench = Bench::new().await;
    let id = bench.prepared().await;
    let colleague = OpContext {
        user_id: UserId::new(),
        ..bench.ctx.clone()
    };
    let new = NewSession {
        task: "do it".to_owned(),
        ..NewSession::default()
    };
    let created = bench.sessions.create(&colleague, new, None).await.unwrap();
    assert_ne!(created.id, id);
    assert_eq!(bench.create().await, id);
}

#[tokio::test]
async fn one_that_nobody_adopted_goes_in_time_whichever_server_runs_then() {
    let mut bench = Bench::new().await;
    let id = bench.prepared().await;
    bench.sessions.shutdown().await;
    let store = bench.sessions.shared.needs.store.clone();
    let mut row = store.session(id).await.unwrap().unwrap();
    row.warm_until = Some(Timestamp::now());
    row.revision += 1;
    let change = Change {
        row: &row,
        events: &[],
        messages: &[],
    };
    store.commit(&change).await.unwrap();
    bench.restart().await;
    bench.until_gone(id).await;
    assert_ne!(bench.create().await, id);
}

#[tokio::test]
async fn one_that_fails_goes_and_the_session_is_created_without_it() {
    let bench = Bench::new().await;
    let broken = SandboxError::NotFound(SessionId::new());
    bench.sandboxes.starts.lock().unwrap().push_back(broken);
    let id = bench.prepared().await;
    bench.until_gone(id).await;
    let created = bench.create().await;
    let (peer, mut deliveries) = Peer::new();
    let _connection = peer.dials(bench.sandboxes.dir(created)).await;
    peer.is_ready();
    assert_eq!(deliveries.recv().await.unwrap().text, "do it");
}

#[tokio::test]
async fn none_is_prepared_when_that_is_off_or_there_is_no_room() {
    let off = Bench::configured("[sessions]\nwarm = false").await;
    assert_eq!(off.warm(NewSession::default()).await, None);
    assert_eq!(off.waiting().await, []);

    let full = Bench::configured("[limits]\nrunning_sessions = 1").await;
    let id = full.prepared().await;
    // It takes nobody's place.
    let colleague = OpContext {
        user_id: UserId::new(),
        ..full.ctx.clone()
    };
    assert_eq!(
        full.sessions.warm(&colleague, NewSession::default()).await.unwrap(),
        None
    );
    assert_eq!(full.create().await, id);
    assert_eq!(full.warm(NewSession::default()).await, None);
}
