//! Another folder becomes the one to work in, in the middle of a conversation.

use futures::SinkExt as _;
use mistle_protocol::agent::{AgentEvent, ItemBody};
use mistle_protocol::control::{Deliver, Delivered};
use mistle_protocol::plan::ApprovalPolicy;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;

use crate::world::{Events, World, message};

/// Whether the last request of the model holds a text, and where it stands first.
fn last_place(world: &World, text: &str) -> Option<usize> {
    let request = world.requests.all().pop().expect("a request").to_string();
    request.rfind(text)
}

#[tokio::test]
async fn instructions_are_those_of_the_folder_to_work_in() {
    let (mut world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let first = world.plan.cwd.clone();
    let second = world.path("workspace/second");
    for (folder, notes) in [(&first, "Speak of pears."), (&second, "Speak of plums.")] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(format!("{folder}/AGENTS.md"), notes).unwrap();
    }
    let say = async |world: &World, conversation: Option<&str>, cwd: &str, text: &str| {
        let deliver = Deliver {
            cwd: Some(cwd.to_owned()),
            ..message(conversation, text)
        };
        match world.deliver(&deliver).await {
            Delivered::Accepted { conversation_id, .. } => conversation_id,
            other => panic!("{other:?}"),
        }
    };
    let ended = |event: &AgentEvent| matches!(event, AgentEvent::TurnCompleted { .. });
    let thread = say(&world, None, &first, "say: one").await;
    events.until(ended).await;
    assert!(last_place(&world, "Speak of pears.").is_some());
    assert_eq!(last_place(&world, "Speak of plums."), None);

    // The plan moves too; the runtime goes on.
    let pid = world.runtime_pid();
    world.plan.cwd.clone_from(&second);
    world.put_plan().await;
    assert_eq!(say(&world, Some(&thread), &second, "say: two").await, thread);
    events.until(ended).await;
    assert!(last_place(&world, "Speak of plums.") > last_place(&world, "Speak of pears."));
    assert_eq!(world.runtime_pid(), pid);

    // A conversation that begins there knows only of there.
    let other = say(&world, None, &second, "say: three").await;
    assert_ne!(other, thread);
    events.until(ended).await;
    assert!(last_place(&world, "Speak of plums.").is_some());
    assert_eq!(last_place(&world, "Speak of pears."), None);
}

/// Another client of Codex' process, as its own interface is one.
struct Client(WebSocketStream<UnixStream>);

impl Client {
    async fn connect(world: &World) -> Self {
        let socket = world.state().join("codex/app-server.sock");
        let stream = UnixStream::connect(socket).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async("ws://localhost/", stream)
            .await
            .unwrap();
        let mut client = Self(socket);
        let info = json!({ "name": "another", "title": "Another", "version": "1" });
        client.send("initialize", json!({ "clientInfo": info })).await;
        client
    }

    async fn send(&mut self, method: &str, params: Value) {
        let call = json!({ "id": method, "method": method, "params": params });
        self.0.send(call.to_string().into()).await.unwrap();
    }

    /// Says something and not where.
    async fn say(&mut self, thread: &str, text: &str) {
        let input = json!([{ "type": "text", "text": text }]);
        self.send("turn/start", json!({ "threadId": thread, "input": input }))
            .await;
    }
}

/// What the turn's command printed.
async fn printed(events: &mut Events) -> String {
    events
        .until(|event| matches!(event, AgentEvent::TurnCompleted { .. }))
        .await;
    let items = events.items();
    let mut outputs = items.iter().rev().filter_map(|item| match &item.body {
        ItemBody::Command { output, .. } => Some(output.clone()),
        _ => None,
    });
    outputs.next().expect("a command")
}

#[tokio::test]
async fn a_turn_that_another_client_begins_is_there_too() {
    let (mut world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (first, second) = (world.plan.cwd.clone(), world.path("workspace/second"));
    for (folder, notes) in [(&first, "Speak of pears."), (&second, "Speak of plums.")] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(format!("{folder}/AGENTS.md"), notes).unwrap();
    }
    let (thread, _) = world.say(None, "run: pwd").await;
    assert_eq!(printed(&mut events).await.trim(), first);
    let mut client = Client::connect(&world).await;
    client.say(&thread, "run: pwd").await;
    assert_eq!(printed(&mut events).await.trim(), first);
    assert_eq!(last_place(&world, "Speak of plums."), None);

    world.plan.cwd.clone_from(&second);
    world.put_plan().await;
    // What is asked after it is answered when it is carried out.
    world.interrupt().await;
    client.say(&thread, "run: pwd").await;
    assert_eq!(printed(&mut events).await.trim(), second);
    assert!(last_place(&world, "Speak of plums.") > last_place(&world, "Speak of pears."));

    // A process that was started again continues it there.
    world.kill_runtime();
    events
        .until(|event| matches!(event, AgentEvent::ConversationResumed { .. }))
        .await;
    events.ready().await;
    let mut client = Client::connect(&world).await;
    client.say(&thread, "run: pwd").await;
    assert_eq!(printed(&mut events).await.trim(), second);
}
