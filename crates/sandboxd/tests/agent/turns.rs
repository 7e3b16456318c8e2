//! Turns: text, models, steering, interrupting.

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use mistle_protocol::agent::{AgentEvent, ItemBody, ItemStatus, TurnOutcome};
use mistle_protocol::control::{Ack, Delivered};
use mistle_protocol::plan::ApprovalPolicy;

use crate::world::{World, message};

#[tokio::test]
async fn a_message_gets_an_answer_and_the_thread_remembers() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (conversation, turn) = world.say(None, "remember the word heron").await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    let (same, another) = world.say(Some(&conversation), "what did I ask you to remember?").await;
    assert_eq!(same, conversation);
    assert_ne!(turn, another);
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_eq!(
        events.said(),
        [
            "I will remember: the word heron",
            "You asked me to remember: the word heron"
        ]
    );
    let usage = events.count(|event| matches!(event, AgentEvent::UsageUpdated { .. }));
    assert!(usage >= 2, "{usage}");
    assert!(world.agent().runtime_ready());
}

#[tokio::test]
async fn models_are_listed_with_their_efforts_and_a_message_may_name_one() {
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    world.open().await;
    let mut events = world.events(0);
    world.put_plan().await;
    let ready = events
        .until(|event| matches!(event, AgentEvent::RuntimeReady { .. }))
        .await;
    let AgentEvent::RuntimeReady { version, models } = ready else {
        unreachable!()
    };
    assert_eq!(version, "0.169.0");
    let default = models.iter().find(|model| model.is_default).expect("a default model");
    assert!(default.efforts.contains(&"high".to_owned()), "{default:?}");
    let other = models
        .iter()
        .find(|model| model.id != mistle_scripted_model::MODEL)
        .expect("another model");

    let mut first = message(None, "say: hello");
    first.model = Some(other.id.clone());
    first.effort = Some("high".to_owned());
    let Delivered::Accepted { conversation_id, .. } = world.deliver(&first).await else {
        panic!("not accepted")
    };
    events.turn_end().await;
    // It stays chosen.
    world.say(Some(&conversation_id), "say: again").await;
    events.turn_end().await;
    let asked: Vec<_> = world
        .requests
        .all()
        .iter()
        .map(|request| (request["model"].clone(), request["reasoning"]["effort"].clone()))
        .collect();
    assert_eq!(asked, vec![(other.id.clone().into(), "high".into()); 2]);
}

#[tokio::test]
async fn a_token_stream_becomes_few_rows_that_add_up() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    world.say(None, "slow stream 60 every 5ms").await;
    events.turn_end().await;
    let rows: Vec<(Timestamp, &str)> = events
        .seen
        .iter()
        .filter_map(|entry| match &entry.event {
            AgentEvent::ItemDelta { text, .. } => Some((entry.at, text.as_str())),
            _ => None,
        })
        .collect();
    let said = events.said()[0].to_owned();
    assert!(said.contains("Line 60 of 60."), "{said}");
    let told: String = rows.iter().map(|(_, text)| *text).collect();
    assert!(!told.is_empty() && said.starts_with(&told), "{told}");
    // One row for what is said in 40 ms, however long a machine that is busy takes for all of it. The last
    // one waits for nothing.
    let (_, waited) = rows.split_last().expect("rows");
    for pair in waited.windows(2) {
        let apart = pair[1].0.duration_since(pair[0].0);
        assert!(apart >= SignedDuration::from_millis(39), "{apart:?}: {rows:#?}");
    }
}

#[tokio::test]
async fn a_running_turn_takes_messages_only_when_they_steer() {
    let (world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    let (conversation, turn) = world.say(None, "run: echo one").await;
    let approval = events.approval().await;
    let mut later = message(Some(&conversation), "and then stop");
    assert_eq!(world.deliver(&later).await, Delivered::Busy);
    later.steer = true;
    assert_eq!(
        world.deliver(&later).await,
        Delivered::Accepted {
            conversation_id: conversation,
            turn_id: turn
        }
    );
    assert_eq!(
        world
            .answer(&approval, mistle_protocol::agent::Decision::Accept, None)
            .await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    let steered = events.items().into_iter().filter(
        |item| matches!(&item.body, ItemBody::UserMessage { message_id: Some(id), .. } if *id == later.message_id),
    );
    assert_eq!(steered.count(), 1);
    assert_eq!(world.requests.times_said("and then stop"), 1);
}

#[tokio::test]
async fn a_message_in_mid_sentence_cuts_it() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (conversation, _) = world.say(None, "slow stream 200 every 50ms").await;
    events
        .until(|event| matches!(event, AgentEvent::ItemDelta { .. }))
        .await;
    let mut steered = message(Some(&conversation), "enough");
    steered.steer = true;
    assert!(matches!(world.deliver(&steered).await, Delivered::Accepted { .. }));
    let cut = events.until(|event| matches!(event, AgentEvent::ItemCompleted { item } if matches!(item.body, ItemBody::AgentMessage { .. }))).await;
    let AgentEvent::ItemCompleted { item } = cut else {
        unreachable!()
    };
    assert_eq!(item.status, ItemStatus::Failed);
    let next = events.next().await;
    assert!(matches!(next, AgentEvent::ItemStarted { item } if matches!(item.body, ItemBody::UserMessage { .. })));
    world.interrupt().await;
    events.turn_end().await;
}

#[tokio::test]
async fn a_steered_message_that_the_turn_did_not_take_is_sent_again() {
    let (world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    let (conversation, _) = world.say(None, "run: echo one").await;
    events.approval().await;
    let mut steered = message(Some(&conversation), "say: not lost");
    steered.steer = true;
    assert!(matches!(world.deliver(&steered).await, Delivered::Accepted { .. }));
    world.interrupt().await;
    assert_eq!(events.turn_end().await, TurnOutcome::Interrupted);
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_eq!(events.said(), ["not lost"]);
    assert_eq!(events.count(|event| matches!(event, AgentEvent::MessageDelivered { message_id, .. } if *message_id == steered.message_id)), 1);
}

#[tokio::test]
async fn an_interrupted_turn_ends_with_what_was_said() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    world.say(None, "slow stream 200 every 50ms").await;
    events
        .until(|event| matches!(event, AgentEvent::ItemDelta { .. }))
        .await;
    world.interrupt().await;
    assert_eq!(events.turn_end().await, TurnOutcome::Interrupted);
    let cut = events
        .items()
        .into_iter()
        .find(|item| matches!(item.body, ItemBody::AgentMessage { .. }))
        .expect("the cut message");
    assert_eq!(cut.status, ItemStatus::Failed);
    assert!(matches!(&cut.body, ItemBody::AgentMessage { text } if text.starts_with("Line 1 of 200.")));
    // Nothing runs: that is fine.
    world.interrupt().await;
}

#[tokio::test]
async fn the_same_message_twice_is_delivered_once() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let deliver = message(None, "say: once");
    let first = world.deliver(&deliver).await;
    events.turn_end().await;
    assert_eq!(world.deliver(&deliver).await, first);
    assert_eq!(world.requests.all().len(), 1);
}

#[tokio::test]
async fn an_empty_or_endless_message_is_refused_for_good() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    assert!(matches!(
        world.deliver(&message(None, " \n")).await,
        Delivered::Rejected { .. }
    ));
    let endless = message(None, &"x".repeat(10 << 20));
    let Delivered::Rejected { message: why } = world.deliver(&endless).await else {
        panic!("accepted")
    };
    assert!(why.contains("refused"), "{why}");
    events.until(|event| matches!(event, AgentEvent::MessageRejected { message_id, .. } if *message_id == endless.message_id)).await;
    // The conversation goes on.
    world.say(None, "say: still here").await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
}

#[tokio::test]
async fn events_are_read_from_anywhere_and_forgotten_when_acknowledged() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    world.say(None, "say: hello").await;
    events.turn_end().await;
    let middle = events.last_seq() / 2;
    let mut again = world.events(middle);
    again.turn_end().await;
    assert_eq!(again.seen[..], events.seen[usize::try_from(middle).unwrap()..]);
    assert_eq!(
        world
            .request(Method::POST, "/agent/ack", &Ack { seq: events.last_seq() })
            .await
            .0,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_thought_a_file_and_a_command_become_items() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (conversation, _) = world.say(None, "think: about birds").await;
    events.turn_end().await;
    world.say(Some(&conversation), "create notes.txt: a heron").await;
    events.turn_end().await;
    world
        .say(Some(&conversation), "edit notes.txt: a heron => two herons")
        .await;
    events.turn_end().await;
    world.say(Some(&conversation), "run: cat notes.txt; exit 3").await;
    events.turn_end().await;
    assert_eq!(world.file("notes.txt").as_deref(), Some("two herons\n"));
    let kinds: Vec<String> = events
        .items()
        .into_iter()
        .filter_map(|item| match &item.body {
            ItemBody::Reasoning { text } => Some(format!("thought {text:?}")),
            ItemBody::FileChange { changes } => Some(format!(
                "change {:?} +{} -{} {:?}",
                changes[0].change, changes[0].added, changes[0].removed, changes[0].diff
            )),
            ItemBody::Command {
                command,
                output,
                exit_code,
                ..
            } => Some(format!("{command} → {output:?} {exit_code:?} {:?}", item.status)),
            _ => None,
        })
        .collect();
    insta::assert_snapshot!(kinds.join("\n"));
}
