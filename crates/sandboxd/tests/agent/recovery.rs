//! Processes die; the conversation goes on and the record stays honest.

use http::StatusCode;
use mistle_protocol::agent::{AgentEvent, Approval, Decision, Item, ItemBody, ItemStatus, TurnOutcome};
use mistle_protocol::control::Delivered;
use mistle_protocol::id::MessageId;
use mistle_protocol::plan::ApprovalPolicy;

use crate::world::{Events, World, message};

#[tokio::test]
async fn a_runtime_that_dies_in_a_turn_comes_back_with_its_memory() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (conversation, _) = world.say(None, "remember the word heron").await;
    events.turn_end().await;
    world.say(Some(&conversation), "slow stream 200 every 50ms").await;
    events
        .until(|event| matches!(event, AgentEvent::ItemDelta { .. }))
        .await;
    world.kill_runtime();
    events
        .until(|event| matches!(event, AgentEvent::RuntimeExited { .. }))
        .await;
    assert_eq!(events.turn_end().await, TurnOutcome::Interrupted);
    let cut = *events.items().last().expect("the cut message");
    assert_eq!(cut.status, ItemStatus::Failed);
    assert!(
        matches!(&cut.body, ItemBody::AgentMessage { text } if text.starts_with("Line 1 of 200.")),
        "{cut:?}"
    );
    events
        .until(|event| matches!(event, AgentEvent::ConversationResumed { .. }))
        .await;
    events.ready().await;
    world.say(Some(&conversation), "what did I ask you to remember?").await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_eq!(events.said().last(), Some(&"You asked me to remember: the word heron"));
}

/// The process may die before it wrote down what it had accepted.
#[tokio::test]
async fn a_message_that_was_just_accepted_is_said_once_whenever_the_runtime_dies() {
    let (world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    let (conversation, _) = world.say(None, "say: first").await;
    events.turn_end().await;
    for round in 1..=3 {
        let text = format!("remember round {round}");
        let deliver = message(Some(&conversation), &text);
        assert!(matches!(world.deliver(&deliver).await, Delivered::Accepted { .. }));
        world.kill_runtime();
        events
            .until(|event| matches!(event, AgentEvent::RuntimeExited { .. }))
            .await;
        events.ready().await;
        let said = turn_of(&mut events, deliver.message_id).await;
        let is_over =
            |event: &AgentEvent| matches!(event, AgentEvent::TurnCompleted { turn_id, .. } if *turn_id == said);
        if events.count(is_over) == 0 {
            events.until(is_over).await;
        }
        assert_eq!(
            events
                .items()
                .iter()
                .filter(|item| says(item, deliver.message_id))
                .count(),
            1
        );
    }
}

fn says(item: &Item, message: MessageId) -> bool {
    matches!(&item.body, ItemBody::UserMessage { message_id, .. } if *message_id == Some(message))
}

/// The turn that has a message, whether it was read before the process died or after.
async fn turn_of(events: &mut Events, message: MessageId) -> String {
    loop {
        if let Some(item) = events.items().into_iter().find(|item| says(item, message)) {
            return item.turn_id.clone();
        }
        events.next().await;
    }
}

/// After the process is back: the turn that it cut is closed, and the same question stands in another
/// one, with a word about why.
async fn asked_again(events: &mut Events, earlier: &Approval) -> Approval {
    assert_eq!(events.resolved(&earlier.id).await, None);
    assert_eq!(events.turn_end().await, TurnOutcome::Interrupted);
    let again = events.approval().await;
    assert_ne!((&again.id, &again.turn_id), (&earlier.id, &earlier.turn_id));
    assert_eq!(
        (&again.subject, &again.conversation_id),
        (&earlier.subject, &earlier.conversation_id)
    );
    let told = |event: &AgentEvent| matches!(event, AgentEvent::Notice { code, conversation_id, .. } if code == "question_asked_again" && conversation_id.as_ref() == Some(&earlier.conversation_id));
    assert_eq!(events.count(told), 1, "{:#?}", events.seen);
    again
}

#[tokio::test]
async fn a_pending_question_is_asked_again_when_its_process_died() {
    for decision in [Decision::Accept, Decision::Decline] {
        let (world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
        let (conversation, _) = world.say(None, "run: echo done >> done.txt").await;
        let approval = events.approval().await;
        world.kill_runtime();
        let again = asked_again(&mut events, &approval).await;
        // The question that ended can't be answered, and nothing ran unasked.
        assert_eq!(
            world.answer(&approval, Decision::Accept, None).await,
            StatusCode::CONFLICT
        );
        assert_eq!(world.file("done.txt"), None);
        assert_eq!(world.answer(&again, decision, None).await, StatusCode::NO_CONTENT);
        assert_eq!(events.turn_end().await, TurnOutcome::Completed);
        let ran = (decision == Decision::Accept).then_some("done\n");
        assert_eq!(world.file("done.txt").as_deref(), ran);
        // The person said it once.
        let said = |item: &&Item| matches!(&item.body, ItemBody::UserMessage { .. });
        assert_eq!(events.items().into_iter().filter(said).count(), 1);
        world.say(Some(&conversation), "say: going on").await;
        assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    }
}

#[tokio::test]
async fn an_edit_that_waited_is_asked_about_again_and_made_once() {
    let (world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    world.say(None, "create notes.txt: a heron").await;
    let approval = events.approval().await;
    world.kill_runtime();
    let again = asked_again(&mut events, &approval).await;
    assert_eq!(world.file("notes.txt"), None);
    world.answer(&again, Decision::Accept, None).await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_eq!(world.file("notes.txt").as_deref(), Some("a heron\n"));
}

#[tokio::test]
async fn what_was_done_before_the_question_is_not_done_again() {
    let (world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    world.say(None, "run 2 times: echo done >> done.txt").await;
    let first = events.approval().await;
    world.answer(&first, Decision::Accept, None).await;
    let second = events.approval().await;
    assert_eq!(world.file("done.txt").as_deref(), Some("done\n"));
    world.kill_runtime();
    let again = asked_again(&mut events, &second).await;
    assert_eq!(world.file("done.txt").as_deref(), Some("done\n"));
    world.answer(&again, Decision::Accept, None).await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_eq!(world.file("done.txt").as_deref(), Some("done\ndone\n"));
}

#[tokio::test]
async fn a_pending_question_survives_the_daemon() {
    let (mut world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    world.say(None, "run: echo done > done.txt").await;
    let approval = events.approval().await;
    let (runtime, seen) = (world.runtime_pid(), events.last_seq());
    world.crash().await;
    world.open().await;
    let mut events = world.events(seen);
    // It goes on by itself: no plan was sent again.
    events.ready().await;
    assert_eq!(world.runtime_pid(), runtime);
    assert_eq!(
        events.count(|event| matches!(
            event,
            AgentEvent::ApprovalRequested { .. } | AgentEvent::ApprovalResolved { .. }
        )),
        0
    );
    assert_eq!(
        world.answer(&approval, Decision::Accept, None).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(events.resolved(&approval.id).await, Some(Decision::Accept));
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_eq!(world.file("done.txt").as_deref(), Some("done\n"));
}

#[tokio::test]
async fn what_happened_while_the_daemon_was_dead_is_recorded() {
    let (mut world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
    world
        .say(None, "run: until [ -e go ]; do sleep 0.05; done; echo late")
        .await;
    events
        .until(
            |event| matches!(event, AgentEvent::ItemStarted { item } if matches!(item.body, ItemBody::Command { .. })),
        )
        .await;
    let seen = events.last_seq();
    world.crash().await;
    world.write("go", "");
    // Its last words are the model's second request.
    crate::world::patiently("the turn's end", async {
        while world.requests.all().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    world.open().await;
    let mut later = world.events(seen);
    assert_eq!(later.turn_end().await, TurnOutcome::Completed);
    let commands: Vec<_> = later
        .items()
        .into_iter()
        .filter(|item| matches!(&item.body, ItemBody::Command { output, .. } if output == "late\n"))
        .collect();
    assert_eq!(commands.len(), 1, "{:#?}", later.seen);
    assert_eq!(later.said().len(), 1);
}

#[tokio::test]
async fn a_question_is_asked_again_when_daemon_and_runtime_died() {
    let (mut world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    world.say(None, "run: echo done >> done.txt").await;
    let approval = events.approval().await;
    let seen = events.last_seq();
    world.crash().await;
    world.kill_runtime();
    world.open().await;
    let mut events = world.events(seen);
    let again = asked_again(&mut events, &approval).await;
    world.answer(&again, Decision::Accept, None).await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_eq!(world.file("done.txt").as_deref(), Some("done\n"));
}

#[tokio::test]
async fn a_message_that_was_sent_but_not_recorded_is_not_sent_again() {
    for runtime_dies_too in [false, true] {
        let (mut world, mut events) = World::ready(ApprovalPolicy::Autonomous).await;
        let (conversation, _) = world.say(None, "say: first").await;
        events.turn_end().await;
        let second = message(Some(&conversation), "say: second");
        let Delivered::Accepted { turn_id, .. } = world.deliver(&second).await else {
            panic!("not accepted")
        };
        events.turn_end().await;
        let seq = events
            .seen
            .iter()
            .find(|entry| matches!(&entry.event, AgentEvent::MessageDelivered { message_id, .. } if *message_id == second.message_id))
            .expect("its delivery")
            .seq;
        world.crash().await;
        if runtime_dies_too {
            world.kill_runtime();
        }
        // The machine lost power before the journal reached its disk.
        let segment = world.state().join("journal").join(format!("{:020}.ndjson", 1));
        let journal = std::fs::read_to_string(&segment).unwrap();
        let kept: String = journal
            .split_inclusive('\n')
            .take_while(|line| !line.starts_with(&format!("{{\"seq\":{seq},")))
            .collect();
        assert!(kept.len() < journal.len());
        std::fs::write(&segment, kept).unwrap();

        world.open().await;
        let mut events = world.events(seq - 1);
        events.ready().await;
        let again = world.deliver(&second).await;
        assert_eq!(
            again,
            Delivered::Accepted {
                conversation_id: conversation,
                turn_id
            }
        );
        assert_eq!(events.said(), ["second"]);
        assert_eq!(world.requests.all().len(), 2);
    }
}

#[tokio::test]
async fn stop_and_start_keep_the_conversation() {
    let (mut world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    let (conversation, _) = world.say(None, "remember the word heron").await;
    events.turn_end().await;
    world.say(Some(&conversation), "run: echo one").await;
    let approval = events.approval().await;
    let runtime = world.runtime_pid();
    let seen = events.last_seq();
    world.shutdown().await;
    assert!(
        !std::path::Path::new(&format!("/proc/{runtime}")).exists(),
        "the runtime is left running"
    );
    world.open().await;
    let mut events = world.events(seen);
    assert_eq!(events.resolved(&approval.id).await, None);
    assert_eq!(events.turn_end().await, TurnOutcome::Interrupted);
    events.ready().await;
    world.say(Some(&conversation), "what did I ask you to remember?").await;
    events.turn_end().await;
    assert_eq!(events.said(), ["You asked me to remember: the word heron"]);
}

#[tokio::test]
async fn a_lost_conversation_says_so_and_the_next_message_starts_another() {
    let mut world = World::new(ApprovalPolicy::Autonomous).await;
    let lost = "01a2045a-5cf7-76e2-99d6-000000000000".to_owned();
    world.plan.conversation_id = Some(lost.clone());
    world.open().await;
    let mut events = world.events(0);
    world.put_plan().await;
    events
        .until(
            |event| matches!(event, AgentEvent::ConversationLost { conversation_id, .. } if *conversation_id == lost),
        )
        .await;
    events.ready().await;
    let (conversation, _) = world.say(Some(&lost), "say: hello").await;
    assert_ne!(conversation, lost);
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
}

#[tokio::test]
async fn another_plan_starts_the_runtime_again_and_the_same_plan_does_not() {
    let (mut world, mut events) = World::ready(ApprovalPolicy::AskEveryTime).await;
    let (conversation, _) = world.say(None, "say: hello").await;
    events.turn_end().await;
    let runtime = world.runtime_pid();
    // The server knows the conversation by now; that is no other plan.
    world.plan.conversation_id = Some(conversation.clone());
    world.put_plan().await;
    world.say(Some(&conversation), "say: same").await;
    events.turn_end().await;
    assert_eq!(world.runtime_pid(), runtime);
    world.plan.runtime.approval_policy = ApprovalPolicy::Autonomous;
    world.put_plan().await;
    events.ready().await;
    assert_ne!(world.runtime_pid(), runtime);
    world.say(Some(&conversation), "run: echo unasked > made").await;
    assert_eq!(events.turn_end().await, TurnOutcome::Completed);
    assert_eq!(world.file("made").as_deref(), Some("unasked\n"));
}
