//! What a person reads when the model or the runtime fails.

use mistle_protocol::agent::{AgentEvent, SetupStep, TurnOutcome};
use mistle_protocol::plan::ApprovalPolicy;
use mistle_testkit::{on_a_small_disk, small_disk};

use crate::world::World;

async fn failure(text: &str) -> (String, String, usize) {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (conversation, _) = world.say(None, text).await;
    let TurnOutcome::Failed { code, message } = events.turn_end().await else {
        panic!("{text} did not fail")
    };
    let retries = events.count(|event| matches!(event, AgentEvent::Notice { code, .. } if code == "retrying"));
    // The conversation goes on.
    world.say(Some(&conversation), "say: fine").await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    (code, message, retries)
}

#[tokio::test]
async fn a_wrong_key() {
    let (code, message, retries) = failure("fail 401").await;
    assert_eq!(code, "model_unauthorized", "{message}");
    assert!(message.contains("key"), "{message}");
    assert!(retries > 0);
}

#[tokio::test]
async fn a_cut_stream() {
    let (code, message, retries) = failure("cut").await;
    assert_eq!(code, "model_stream_cut", "{message}");
    assert!(retries > 0);
}

#[tokio::test]
async fn a_full_context() {
    let (code, message, _) = failure("fail context").await;
    assert_eq!(code, "context_full", "{message}");
}

#[tokio::test]
async fn a_used_up_plan() {
    let (code, message, _) = failure("fail usage").await;
    assert_eq!(code, "usage_limit", "{message}");
}

#[tokio::test]
async fn a_model_that_is_not_there() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    world.stop_model();
    world.say(None, "say: hello").await;
    let TurnOutcome::Failed { code, message } = events.turn_end().await else {
        panic!("it did not fail")
    };
    assert_eq!(code, "model_unreachable", "{message}");
    assert!(events.count(|event| matches!(event, AgentEvent::Notice { code, .. } if code == "retrying")) > 0);
}

#[tokio::test]
async fn a_full_disk_stops_nothing_and_loses_no_conversation() {
    if small_disk().is_none() {
        return on_a_small_disk("failures::a_full_disk_stops_nothing_and_loses_no_conversation", "24m").unwrap();
    }
    let (mut world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (conversation, _) = world.say(None, "remember the word heron").await;
    events.turn_end().await;
    let ballast = world.path("ballast");
    std::fs::write(&ballast, vec![1; 64 << 20]).unwrap_err();
    let full = |event: &AgentEvent| matches!(event, AgentEvent::Notice { code, .. } if code == "disk_full");
    world.say(Some(&conversation), "say: still here").await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    while events.count(full) == 0 {
        world
            .say(Some(&conversation), &format!("say: {}", "more ".repeat(2000)))
            .await;
        assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    }

    // Stopped and started on the full disk.
    let seen = events.last_seq();
    world.shutdown().await;
    let more = world.path("more-ballast");
    std::fs::write(&more, vec![1; 64 << 20]).unwrap_err();
    world.open().await;
    let mut events = world.events(seen);
    let failed = events
        .until(|event| matches!(event, AgentEvent::SetupFailed { .. }))
        .await;
    let AgentEvent::SetupFailed { message, .. } = failed else {
        unreachable!()
    };
    assert!(message.contains("disk is full"), "{message}");
    assert_eq!(
        events.count(|event| matches!(event, AgentEvent::ConversationLost { .. })),
        0
    );

    // A person frees space and tries again.
    std::fs::remove_file(&ballast).unwrap();
    std::fs::remove_file(&more).unwrap();
    world.put_plan().await;
    events.ready().await;
    world.say(Some(&conversation), "what did I ask you to remember?").await;
    events.turn_end().await;
    assert_eq!(events.said().last(), Some(&"You asked me to remember: the word heron"));
}

async fn setup_failure(change: impl FnOnce(&mut World)) -> (World, SetupStep, String) {
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    change(&mut world);
    world.open().await;
    let mut events = world.events(0);
    world.put_plan().await;
    let failed = events
        .until(|event| matches!(event, AgentEvent::SetupFailed { .. }))
        .await;
    let AgentEvent::SetupFailed { step, message } = failed else {
        unreachable!()
    };
    assert!(!world.agent().runtime_ready());
    (world, step, message)
}

#[tokio::test]
async fn a_runtime_that_is_not_there_and_then_is() {
    let (mut world, step, message) =
        setup_failure(|world| world.plan.runtime.program = "/nowhere/codex".to_owned()).await;
    assert_eq!(step, SetupStep::Runtime);
    assert!(message.contains("/nowhere/codex"), "{message}");
    let mut events = world.events(world.agent().journal_seq());
    world.plan.runtime.program = crate::world::codex();
    world.put_plan().await;
    events.ready().await;
}

#[tokio::test]
async fn a_program_that_is_no_runtime() {
    let (_, step, message) = setup_failure(|world| world.plan.runtime.program = "/bin/false".to_owned()).await;
    assert_eq!(step, SetupStep::Runtime);
    assert!(message.contains("exit status: 1"), "{message}");
}

#[tokio::test]
async fn a_runtime_of_another_name() {
    let (_, step, message) = setup_failure(|world| world.plan.runtime.name = "other".to_owned()).await;
    assert_eq!(step, SetupStep::Runtime);
    assert!(message.contains("other"), "{message}");
}
