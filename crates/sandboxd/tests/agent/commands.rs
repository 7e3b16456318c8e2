//! The runtime's own commands: skills of the folder, compacting, reviews.

use std::path::Path;

use http::{Method, StatusCode};
use mistle_protocol::agent::{AgentEvent, ItemBody, TurnOutcome};
use mistle_protocol::commands::{CommandTaken, RunAgentCommand, RuntimeCommand, RuntimeCommandKind, SkillOrigin};
use mistle_protocol::plan::ApprovalPolicy;
use serde_json::json;

use crate::world::{Events, World, message};

async fn listed(world: &World, folder: &str) -> Vec<RuntimeCommand> {
    let path = format!("/agent/commands?cwd={folder}");
    let (status, body) = world.request(Method::GET, &path, &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    serde_json::from_slice(&body).unwrap()
}

fn of_repository(commands: &[RuntimeCommand]) -> Vec<(&str, &str)> {
    let from_here = |command: &&RuntimeCommand| {
        matches!(
            command.kind,
            RuntimeCommandKind::Skill {
                origin: SkillOrigin::Repository,
                ..
            }
        )
    };
    commands
        .iter()
        .filter(from_here)
        .map(|command| (command.name.as_str(), command.description.as_str()))
        .collect()
}

async fn run(world: &World, name: &str, arguments: &str, conversation: Option<&str>) -> Result<CommandTaken, String> {
    run_as(None, world, name, arguments, conversation).await
}

/// Runs a command by a request that has a name.
async fn run_as(
    id: Option<&str>,
    world: &World,
    name: &str,
    arguments: &str,
    conversation: Option<&str>,
) -> Result<CommandTaken, String> {
    let command = RunAgentCommand {
        id: id.map(str::to_owned),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        conversation_id: conversation.map(str::to_owned),
        cwd: world.plan.cwd.clone(),
    };
    let (status, body) = world.request(Method::POST, "/agent/commands", &command).await;
    if status.is_success() {
        return Ok(serde_json::from_slice(&body).unwrap());
    }
    assert_eq!(status, StatusCode::CONFLICT, "{body:?}");
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    Err(problem["detail"].as_str().unwrap().to_owned())
}

fn labels(events: &Events) -> Vec<&str> {
    let items = events.items().into_iter();
    items
        .filter_map(|item| match &item.body {
            ItemBody::Other { label, .. } => Some(label.as_str()),
            _ => None,
        })
        .collect()
}

fn skill(folder: &Path, name: &str) {
    let place = folder.join(".agents/skills").join(name);
    std::fs::create_dir_all(&place).unwrap();
    let text = format!("---\nname: {name}\ndescription: Does {name}.\n---\nThe word is heron-{name}.\n");
    std::fs::write(place.join("SKILL.md"), text).unwrap();
}

#[tokio::test]
async fn skills_are_those_of_the_folder_and_a_message_that_mentions_one_carries_it() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (api, page) = (world.workspaces().join("api"), world.workspaces().join("page"));
    skill(&api, "api-notes");
    skill(&page, "page-notes");
    let commands = listed(&world, api.to_str().unwrap()).await;
    assert_eq!(of_repository(&commands), [("api-notes", "Does api-notes.")]);
    let names: Vec<&str> = commands.iter().take(2).map(|command| command.name.as_str()).collect();
    assert_eq!(names, ["compact", "review"]);
    let other = listed(&world, page.to_str().unwrap()).await;
    assert_eq!(of_repository(&other), [("page-notes", "Does page-notes.")]);
    // One that is added is there at once.
    skill(&page, "late");
    assert_eq!(of_repository(&listed(&world, page.to_str().unwrap()).await).len(), 2);

    let mut mentioned = message(None, "$api-notes say: done");
    mentioned.cwd = Some(api.to_str().unwrap().to_owned());
    world.deliver(&mentioned).await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    let asked = format!("{:?}", world.requests.all());
    assert!(asked.contains("heron-api-notes"), "{asked}");
    assert!(!asked.contains("heron-page-notes"), "{asked}");
}

#[tokio::test]
async fn a_conversation_is_compacted_and_a_change_reviewed() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (conversation, _) = world.say(None, "remember the word heron").await;
    events.turn_end().await;
    run(&world, "compact", "", Some(&conversation)).await.unwrap();
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert!(labels(&events).contains(&"Context compacted"), "{:?}", labels(&events));

    let taken = run(&world, "review", "say: looks good", Some(&conversation))
        .await
        .unwrap();
    assert_eq!(taken.conversation_id, conversation);
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    let labels = labels(&events);
    assert!(
        labels.contains(&"Review began") && labels.contains(&"Review ended"),
        "{labels:?}"
    );
}

#[tokio::test]
async fn a_request_that_is_repeated_runs_nothing_again() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let ask = |id: &'static str| run_as(Some(id), &world, "review", "say: fine", None);
    // Refused, it may be asked again: nothing was run.
    assert!(run_as(Some("one"), &world, "dance", "", None).await.is_err());
    let taken = ask("one").await.unwrap();
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_eq!(ask("one").await.unwrap(), taken);
    let other = ask("two").await.unwrap();
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_ne!(other.conversation_id, taken.conversation_id);
    let reviews = labels(&events).iter().filter(|label| **label == "Review began").count();
    assert_eq!(reviews, 2);
}

#[tokio::test]
async fn a_command_that_can_not_run_says_why_and_a_conversation_is_begun_for_one() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let why = run(&world, "dance", "", None).await.unwrap_err();
    assert_eq!(why, "Codex has no command /dance.");
    let taken = run(&world, "review", "say: fine", None).await.unwrap();
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    // A review is interrupted like any turn.
    run(&world, "review", "run: sleep 60", Some(&taken.conversation_id))
        .await
        .unwrap();
    events
        .until(
            |event| matches!(event, AgentEvent::ItemStarted { item } if matches!(item.body, ItemBody::Command { .. })),
        )
        .await;
    world.interrupt().await;
    assert_eq!(events.turn_end().await, TurnOutcome::Interrupted);
    let (running, _) = world.say(Some(&taken.conversation_id), "run: sleep 60").await;
    events
        .until(
            |event| matches!(event, AgentEvent::ItemStarted { item } if matches!(item.body, ItemBody::Command { .. })),
        )
        .await;
    let why = run(&world, "compact", "", Some(&running)).await.unwrap_err();
    assert!(why.contains("needs a turn of its own"), "{why}");
    let lost = run(&world, "compact", "", Some("00000000-0000-7000-8000-000000000000"))
        .await
        .unwrap_err();
    assert!(lost.contains("does not have this conversation"), "{lost}");
}
