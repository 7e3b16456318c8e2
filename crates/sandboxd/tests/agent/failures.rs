//! What a person reads when the model or the runtime fails.

use mistle_protocol::agent::{AgentEvent, SetupStep, TurnOutcome};
use mistle_protocol::plan::ApprovalPolicy;

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
