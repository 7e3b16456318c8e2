//! Several conversations in one process.

use std::collections::BTreeMap;

use http::Method;
use mistle_protocol::agent::{AgentEvent, Decision, ItemBody, TurnOutcome};
use mistle_protocol::control::{Delivered, Interrupt};
use mistle_protocol::plan::ApprovalPolicy;

use crate::world::{Events, World, message};

/// Waits for the end of a conversation's turn.
async fn turn_end(events: &mut Events, conversation: &str) -> TurnOutcome {
    let end = events
        .until(
            |event| matches!(event, AgentEvent::TurnCompleted { conversation_id, .. } if conversation_id == conversation),
        )
        .await;
    match end {
        AgentEvent::TurnCompleted { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_conversations_work_at_once_and_know_nothing_of_each_other() {
    let (world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    let (first, _) = world.say(None, "remember the word heron").await;
    turn_end(&mut events, &first).await;
    let (asking, _) = world.say(None, "create notes.txt: a kingfisher").await;
    let approval = events.approval().await;
    assert_eq!(approval.conversation_id, asking);
    assert_ne!(first, asking);

    // A turn of another conversation comes and goes while the question waits.
    world.say(Some(&first), "what did I ask you to remember?").await;
    assert_eq!(turn_end(&mut events, &first).await, TurnOutcome::Completed);
    assert_eq!(events.said().last(), Some(&"You asked me to remember: the word heron"));
    world.answer(&approval, Decision::Accept, None).await;
    assert_eq!(turn_end(&mut events, &asking).await, TurnOutcome::Completed);
    assert_eq!(world.file("notes.txt").as_deref(), Some("a kingfisher\n"));
    world.say(Some(&asking), "what did I ask you to remember?").await;
    turn_end(&mut events, &asking).await;
    assert!(
        events
            .said()
            .last()
            .is_some_and(|said| said.contains("remember nothing"))
    );
}

#[tokio::test]
async fn a_turn_of_one_holds_up_no_other_and_ends_alone() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (slow, _) = world.say(None, "slow stream 400 every 50ms").await;
    let (quick, _) = world.say(None, "say: quick").await;
    assert_eq!(turn_end(&mut events, &quick).await, TurnOutcome::Completed);
    let mut waits = message(Some(&slow), "say: later");
    waits.steer = false;
    assert_eq!(world.deliver(&waits).await, Delivered::Busy);
    let (other, _) = world.say(None, "slow stream 30 every 50ms").await;
    let interrupt = Interrupt {
        conversation_id: Some(slow.clone()),
    };
    world.request(Method::POST, "/agent/interrupt", &interrupt).await;
    // Either may be the first to end.
    let mut ends = BTreeMap::new();
    while ends.len() < 2 {
        let end = events
            .until(|event| matches!(event, AgentEvent::TurnCompleted { .. }))
            .await;
        if let AgentEvent::TurnCompleted {
            conversation_id,
            outcome,
            ..
        } = end
        {
            ends.insert(conversation_id, outcome);
        }
    }
    assert_eq!(
        ends,
        BTreeMap::from([(slow, TurnOutcome::Interrupted), (other, TurnOutcome::Completed)])
    );
}

#[tokio::test]
async fn both_go_on_when_the_process_died() {
    let (world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    let (first, _) = world.say(None, "remember the word heron").await;
    turn_end(&mut events, &first).await;
    let (second, _) = world.say(None, "remember the word kingfisher").await;
    turn_end(&mut events, &second).await;
    world.say(Some(&first), "run: echo one >> one.txt").await;
    let one = events.approval().await;
    world.say(Some(&second), "run: echo two >> two.txt").await;
    let two = events.approval().await;
    world.kill_runtime();
    assert_eq!(events.resolved(&one.id).await, None);
    let mut again = BTreeMap::new();
    for _ in 0..2 {
        let approval = events.approval().await;
        again.insert(approval.conversation_id.clone(), approval);
    }
    assert_eq!(
        (&again[&first].subject, &again[&second].subject),
        (&one.subject, &two.subject)
    );
    for conversation in [&first, &second] {
        world.answer(&again[conversation], Decision::Accept, None).await;
        assert_eq!(turn_end(&mut events, conversation).await, TurnOutcome::Completed);
        world.say(Some(conversation), "what did I ask you to remember?").await;
        turn_end(&mut events, conversation).await;
    }
    for (file, word) in [("one.txt", "one\n"), ("two.txt", "two\n")] {
        assert_eq!(world.file(file).as_deref(), Some(word));
    }
    for word in ["heron", "kingfisher"] {
        assert!(
            events
                .said()
                .iter()
                .any(|said| *said == format!("You asked me to remember: the word {word}"))
        );
    }
}

#[tokio::test]
async fn a_message_starts_one_conversation_whoever_dies() {
    let (mut world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let first = message(None, "say: hello");
    let Delivered::Accepted { conversation_id, .. } = world.deliver(&first).await else {
        panic!("not accepted")
    };
    turn_end(&mut events, &conversation_id).await;
    let started = |event: &AgentEvent| matches!(event, AgentEvent::ConversationStarted { message_id, .. } if *message_id == Some(first.message_id));
    assert_eq!(events.count(started), 1);
    world.crash().await;
    world.open().await;
    world.events(events.last_seq()).ready().await;
    let again = world.deliver(&first).await;
    assert!(matches!(again, Delivered::Accepted { conversation_id: same, .. } if same == conversation_id));
}

#[tokio::test]
async fn a_title_reaches_the_runtime_and_its_own_comes_back() {
    let (mut world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (conversation, _) = world.say(None, "say: hello").await;
    turn_end(&mut events, &conversation).await;
    world.plan.titles = BTreeMap::from([(conversation.clone(), "Herons".to_owned())]);
    world.put_plan().await;
    // The runtime keeps it: after it died it still says so.
    world.kill_runtime();
    events
        .until(|event| matches!(event, AgentEvent::ConversationResumed { .. }))
        .await;
    events.ready().await;
    world.say(Some(&conversation), "say: again").await;
    turn_end(&mut events, &conversation).await;
    // What the server asked for is no news to it.
    assert_eq!(
        events.count(|event| matches!(event, AgentEvent::ConversationRenamed { .. })),
        0
    );
    assert!(
        mentions(&world.state().join("codex"), b"Herons"),
        "the runtime keeps the title"
    );
    let items = events.items();
    assert!(
        items
            .iter()
            .any(|item| matches!(&item.body, ItemBody::AgentMessage { text } if text == "again"))
    );
}

/// Whether a file of a folder, or of one below it, has these bytes.
fn mentions(folder: &std::path::Path, wanted: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            return mentions(&path, wanted);
        }
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(wanted.len()).any(|part| part == wanted))
    })
}
