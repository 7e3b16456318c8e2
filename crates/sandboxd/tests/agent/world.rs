//! A sandbox without a sandbox: an agent with its folders, and a model that records its requests.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use mistle_protocol::agent::{AgentEvent, Approval, Decision, Item, ItemBody, JournalEntry, TurnOutcome};
use mistle_protocol::control::{Answer, Deliver, Delivered};
use mistle_protocol::id::{MessageId, SessionId};
use mistle_protocol::plan::{ApprovalPolicy, Plan, ProviderPlan, RepositoryPlan, RuntimePlan};
use mistle_sandboxd::agent::{self, Agent};
use mistle_testkit::small_disk;
use serde::Serialize;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

/// Longer than anything here takes, retries of a failing model included.
const PATIENCE: Duration = Duration::from_mins(1);

/// Codex' program.
pub(crate) fn codex() -> String {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/runtimes/codex/0.169.0/bin/codex");
    let program = std::env::var_os("MISTLE_CODEX").map_or(fetched, PathBuf::from);
    assert!(
        program.is_file(),
        "there is no Codex at {}: run `cargo xtask up` once, or set MISTLE_CODEX to its program",
        program.display()
    );
    program.to_str().expect("a path in UTF-8").to_owned()
}

/// What the model was asked, oldest first.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<Vec<serde_json::Value>>>);

impl Requests {
    async fn record(self, request: Request, next: Next) -> Response {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a whole request").to_bytes();
        if parts.method == Method::POST {
            self.0
                .lock()
                .unwrap()
                .push(serde_json::from_slice(&body).expect("JSON"));
        }
        next.run(Request::from_parts(parts, Body::from(body))).await
    }

    pub(crate) fn all(&self) -> Vec<serde_json::Value> {
        self.0.lock().unwrap().clone()
    }

    /// How often a message of a person is in the conversation of the last request.
    pub(crate) fn times_said(&self, text: &str) -> usize {
        let last = self.all().pop().expect("a request");
        let input = last["input"].as_array().cloned().unwrap_or_default();
        input
            .iter()
            .filter(|entry| entry["role"] == "user" && entry["content"].to_string().contains(text))
            .count()
    }
}

/// An agent, its folders and its model.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) plan: Plan,
    pub(crate) requests: Requests,
    agent: Option<Arc<Agent>>,
    router: Router,
    /// A reader of events keeps the daemon, so it ends before the daemon can die.
    readers: Mutex<Vec<tokio::task::AbortHandle>>,
    model: tokio::task::JoinHandle<()>,
}

impl World {
    /// An agent whose runtime is ready, in an empty working directory.
    pub(crate) async fn ready(policy: ApprovalPolicy) -> (Self, Events) {
        let mut world = Self::new(policy).await;
        world.open().await;
        let mut events = world.events(0);
        world.put_plan().await;
        events
            .until(|event| matches!(event, AgentEvent::RuntimeReady { .. }))
            .await;
        (world, events)
    }

    /// An agent that is not open yet.
    pub(crate) async fn new(policy: ApprovalPolicy) -> Self {
        // Codex refuses to work in the usual folder for temporary files.
        let parent = small_disk().unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
        let dir = tempfile::Builder::new()
            .prefix("mistle-agent-")
            .tempdir_in(parent)
            .unwrap();
        let requests = Requests::default();
        let (address, model) = serve_model(requests.clone()).await;
        let plan = Plan {
            session_id: SessionId::new(),
            repositories: Vec::new(),
            workspaces: Vec::new(),
            cwd: dir.path().join("workspace/project").to_str().unwrap().to_owned(),
            environment: BTreeMap::new(),
            runtime: RuntimePlan {
                name: "codex".to_owned(),
                program: codex(),
                approval_policy: policy,
                provider: ProviderPlan {
                    name: "demo".to_owned(),
                    label: mistle_scripted_model::LABEL.to_owned(),
                    base_url: format!("http://{address}/v1"),
                },
                model: Some(mistle_scripted_model::MODEL.to_owned()),
                effort: None,
            },
            conversation_id: None,
            titles: BTreeMap::new(),
        };
        Self {
            dir,
            plan,
            requests,
            agent: None,
            router: Router::new(),
            readers: Mutex::default(),
            model,
        }
    }

    /// Starts the daemon's part.
    pub(crate) async fn open(&mut self) {
        let environment = [("PATH", std::env::var("PATH").unwrap()), ("HOME", self.path("home"))];
        std::fs::create_dir_all(self.path("home")).unwrap();
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let agent = Agent::open_with(&self.state(), &self.workspaces(), environment)
            .await
            .unwrap();
        self.router = agent::routes(Arc::clone(&agent));
        self.agent = Some(agent);
    }

    /// The daemon dies, and nothing of it works on. The runtime goes on.
    pub(crate) async fn crash(&mut self) {
        let died = self.agent.as_ref().map(Arc::downgrade).unwrap_or_default();
        self.drop_daemon();
        while died.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
        // Its task was cancelled and is dropped by the next turn of this thread.
        tokio::task::yield_now().await;
    }

    fn drop_daemon(&mut self) {
        for reader in self.readers.lock().unwrap().drain(..) {
            reader.abort();
        }
        self.router = Router::new();
        self.agent = None;
    }

    /// The daemon ends in order.
    pub(crate) async fn shutdown(&mut self) {
        let agent = self.agent.take().expect("an open agent");
        agent.shutdown().await;
        self.router = Router::new();
    }

    /// The runtime's process dies.
    pub(crate) fn kill_runtime(&self) {
        kill_group(self.runtime_pid());
    }

    pub(crate) fn runtime_pid(&self) -> i32 {
        let named = std::fs::read(self.state().join("codex/app-server.json")).expect("a named process");
        let named: serde_json::Value = serde_json::from_slice(&named).unwrap();
        i32::try_from(named["pid"].as_i64().unwrap()).unwrap()
    }

    pub(crate) fn stop_model(&self) {
        self.model.abort();
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("an open agent")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn workspaces(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }

    pub(crate) fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(Path::new(&self.plan.cwd).join(name)).ok()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = Path::new(&self.plan.cwd).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) async fn put_plan(&self) {
        let (status, _) = self.request(Method::PUT, "/plan", &self.plan).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: &impl Serialize) -> (StatusCode, Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Body::from(serde_json::to_vec(body).unwrap()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    pub(crate) async fn deliver(&self, deliver: &Deliver) -> Delivered {
        let (status, body) = self.request(Method::POST, "/agent/messages", deliver).await;
        assert_eq!(status, StatusCode::OK, "{body:?}");
        serde_json::from_slice(&body).unwrap()
    }

    /// Says something in a conversation, a new one when there is none.
    pub(crate) async fn say(&self, conversation: Option<&str>, text: &str) -> (String, String) {
        match self.deliver(&message(conversation, text)).await {
            Delivered::Accepted {
                conversation_id,
                turn_id,
            } => (conversation_id, turn_id),
            other => panic!("{text}: {other:?}"),
        }
    }

    pub(crate) async fn answer(&self, approval: &Approval, decision: Decision, message: Option<&str>) -> StatusCode {
        let answer = Answer {
            decision,
            message: message.map(str::to_owned),
        };
        self.request(Method::POST, &format!("/agent/approvals/{}", approval.id), &answer)
            .await
            .0
    }

    pub(crate) async fn interrupt(&self) {
        let (status, _) = self
            .request(Method::POST, "/agent/interrupt", &serde_json::json!({}))
            .await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }

    /// Everything after `after`, then live.
    pub(crate) fn events(&self, after: u64) -> Events {
        let request = Request::builder()
            .uri(format!("/agent/events?after={after}"))
            .body(Body::empty())
            .unwrap();
        let (chunks, body) = mpsc::channel(1);
        let router = self.router.clone();
        let reader = tokio::spawn(async move {
            let mut body = router.oneshot(request).await.unwrap().into_body();
            while let Some(frame) = body.frame().await {
                let data = frame.expect("events").into_data().expect("data");
                if chunks.send(data).await.is_err() {
                    return;
                }
            }
        });
        self.readers.lock().unwrap().push(reader.abort_handle());
        Events {
            body,
            rest: Vec::new(),
            seen: Vec::new(),
        }
    }

    pub(crate) fn repository(&mut self, name: &str, source: &str) -> &mut RepositoryPlan {
        self.plan.repositories.push(RepositoryPlan {
            name: name.to_owned(),
            source: source.to_owned(),
            origin: None,
            branch: None,
        });
        self.plan.cwd = self.path(&format!("workspace/{name}"));
        self.plan.repositories.last_mut().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.model.abort();
        self.drop_daemon();
        if self.state().join("codex/app-server.json").exists() {
            self.kill_runtime();
        }
    }
}

fn kill_group(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

async fn serve_model(requests: Requests) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let record = move |request: Request, next: Next| requests.clone().record(request, next);
    let router =
        mistle_scripted_model::router(mistle_scripted_model::Scenarios::builtin()).layer(middleware::from_fn(record));
    let serve = async move { axum::serve(listener, router).await.expect("a model that serves") };
    (address, tokio::spawn(serve))
}

pub(crate) fn message(conversation: Option<&str>, text: &str) -> Deliver {
    Deliver {
        message_id: MessageId::new(),
        conversation_id: conversation.map(str::to_owned),
        text: text.to_owned(),
        attachments: Vec::new(),
        cwd: None,
        steer: false,
        model: None,
        effort: None,
    }
}

/// The agent's event stream.
pub(crate) struct Events {
    body: mpsc::Receiver<Bytes>,
    rest: Vec<u8>,
    pub(crate) seen: Vec<JournalEntry>,
}

impl Events {
    /// The next event.
    pub(crate) async fn next(&mut self) -> AgentEvent {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.len() > 1 {
                    let entry: JournalEntry = serde_json::from_slice(&line).expect("an entry");
                    if let Some(before) = self.seen.last() {
                        assert_eq!(entry.seq, before.seq + 1, "no gap");
                    }
                    self.seen.push(entry.clone());
                    return entry.event;
                }
                continue;
            }
            let data = patiently("an event", self.body.recv()).await.expect("more events");
            self.rest.extend_from_slice(&data);
        }
    }

    /// Reads up to an event that fits; answers it.
    pub(crate) async fn until(&mut self, fits: impl Fn(&AgentEvent) -> bool) -> AgentEvent {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let Ok(event) = tokio::time::timeout_at(deadline, self.next()).await else {
                panic!("it did not come; there were {:#?}", self.seen);
            };
            if fits(&event) {
                return event;
            }
        }
    }

    pub(crate) async fn turn_end(&mut self) -> TurnOutcome {
        match self
            .until(|event| matches!(event, AgentEvent::TurnCompleted { .. }))
            .await
        {
            AgentEvent::TurnCompleted { outcome, .. } => outcome,
            _ => unreachable!(),
        }
    }

    pub(crate) async fn approval(&mut self) -> Approval {
        match self
            .until(|event| matches!(event, AgentEvent::ApprovalRequested { .. }))
            .await
        {
            AgentEvent::ApprovalRequested { approval } => approval,
            _ => unreachable!(),
        }
    }

    pub(crate) async fn resolved(&mut self, id: &str) -> Option<Decision> {
        match self
            .until(|event| matches!(event, AgentEvent::ApprovalResolved { approval_id, .. } if approval_id == id))
            .await
        {
            AgentEvent::ApprovalResolved { decision, .. } => decision,
            _ => unreachable!(),
        }
    }

    pub(crate) async fn ready(&mut self) {
        self.until(|event| matches!(event, AgentEvent::RuntimeReady { .. }))
            .await;
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.seen.last().map_or(0, |entry| entry.seq)
    }

    /// The completed items so far.
    pub(crate) fn items(&self) -> Vec<&Item> {
        self.seen
            .iter()
            .filter_map(|entry| match &entry.event {
                AgentEvent::ItemCompleted { item } => Some(item),
                _ => None,
            })
            .collect()
    }

    /// What the agent said, message by message.
    pub(crate) fn said(&self) -> Vec<&str> {
        let text = |item: &&Item| matches!(item.body, ItemBody::AgentMessage { .. });
        self.items()
            .into_iter()
            .filter(text)
            .map(|item| match &item.body {
                ItemBody::AgentMessage { text } => text.as_str(),
                _ => unreachable!(),
            })
            .collect()
    }

    pub(crate) fn count(&self, fits: impl Fn(&AgentEvent) -> bool) -> usize {
        self.seen.iter().filter(|entry| fits(&entry.event)).count()
    }
}

pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}
