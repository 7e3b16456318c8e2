//! Another folder becomes the one to work in, in the middle of a conversation.

use mistle_protocol::agent::AgentEvent;
use mistle_protocol::control::{Deliver, Delivered};
use mistle_protocol::plan::ApprovalPolicy;

use crate::world::{World, message};

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
