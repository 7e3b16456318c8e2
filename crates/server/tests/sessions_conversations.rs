//! Several conversations in one session, through the whole chain and with the real agent.

use anyhow::{Context, Result};
use mistle_protocol::agent::{AgentEvent, Decision, ItemBody, TurnOutcome};
use mistle_protocol::api::{ConversationPatch, NewMessage, SessionPatch};
use mistle_protocol::id::SessionId;
use mistle_protocol::session::{
    Activity, ConversationSummary, Delivery, Destination, EventBody, QueuedMessage, Session, SessionState,
};
use mistle_testkit::{Api, Live, Refused, Setup, TestServer, agent_event};
use reqwest::Method;

/// Waits for the end of a conversation's turn; answers what the agent said last in it.
async fn end_of(live: &mut Live, conversation: &str) -> Result<(TurnOutcome, String)> {
    let mut said = String::new();
    let outcome = live
        .until(|message| match agent_event(message)? {
            AgentEvent::ItemCompleted { item } if item.conversation_id == conversation => {
                if let ItemBody::AgentMessage { text } = &item.body {
                    said.clone_from(text);
                }
                None
            }
            AgentEvent::TurnCompleted {
                conversation_id,
                outcome,
                ..
            } if conversation_id == conversation => Some(outcome.clone()),
            _ => None,
        })
        .await?;
    Ok((outcome, said))
}

/// Waits until a message has a conversation; answers which.
async fn place_of(live: &mut Live, message: &QueuedMessage) -> Result<String> {
    live.until(|heard| match agent_event(heard)? {
        AgentEvent::MessageDelivered {
            message_id,
            conversation_id,
            ..
        } if *message_id == message.id => Some(conversation_id.clone()),
        _ => None,
    })
    .await
}

async fn send(api: &Api, id: SessionId, text: &str, destination: Destination) -> Result<QueuedMessage> {
    let new = NewMessage {
        text: text.to_owned(),
        delivery: Delivery::Queue,
        destination,
        ..NewMessage::default()
    };
    api.post(&format!("/sessions/{id}/messages"), &new).await
}

async fn say(api: &Api, live: &mut Live, id: SessionId, conversation: &str, text: &str) -> Result<String> {
    let there = Destination::Conversation {
        id: conversation.to_owned(),
    };
    send(api, id, text, there).await?;
    Ok(end_of(live, conversation).await?.1)
}

async fn change(
    api: &Api,
    id: SessionId,
    conversation: &str,
    wanted: &ConversationPatch,
) -> Result<ConversationSummary> {
    let path = format!("/sessions/{id}/conversations/{conversation}");
    api.request(Method::PATCH, &path, Some(wanted)).await
}

fn kind_of<T: std::fmt::Debug>(refused: Result<T>) -> Result<String> {
    let error = refused.err().context("a refusal")?;
    let Refused(said) = error.downcast_ref().context("a problem")?;
    Ok(said.kind.clone())
}

/// A session with two conversations that know a word each.
async fn two(server: &TestServer) -> Result<(Session, Live, String, String)> {
    let api = &server.api;
    let session = api.new_session("", "remember the word heron").await?;
    let mut live = api.live(session.id, 0).await?;
    live.turn_end().await?;
    let first = api.session(session.id).await?.conversation_id.context("the first")?;
    let begun = send(api, session.id, "remember the word kingfisher", Destination::New).await?;
    let second = place_of(&mut live, &begun).await?;
    end_of(&mut live, &second).await?;
    assert_ne!(first, second);
    Ok((session, live, first, second))
}

async fn both_remember(api: &Api, live: &mut Live, id: SessionId, first: &str, second: &str) -> Result<()> {
    let question = "what did I ask you to remember?";
    for (conversation, word) in [(first, "heron"), (second, "kingfisher")] {
        let said = say(api, live, id, conversation, question).await?;
        assert_eq!(said, format!("You asked me to remember: the word {word}"));
    }
    Ok(())
}

#[tokio::test]
async fn two_conversations_work_at_once_and_ask_for_themselves() -> Result<()> {
    let server = TestServer::start(Setup::policy("ask_every_time")).await?;
    let api = &server.api;
    let (session, mut live, first, second) = two(&server).await?;
    let id = session.id;
    assert_eq!(api.session(id).await?.conversation_id.as_ref(), Some(&second));

    let to_first = Destination::Conversation { id: first.clone() };
    send(api, id, "run: echo asked", to_first.clone()).await?;
    let approval = live.approval().await?;
    assert_eq!(approval.conversation_id, first);
    // What waits for the end of that turn holds the other one up in nothing.
    let later = send(api, id, "say: later", to_first).await?;
    assert_eq!(say(api, &mut live, id, &second, "say: meanwhile").await?, "meanwhile");
    let now = api.session(id).await?;
    let summary: Vec<_> = now
        .conversations
        .iter()
        .map(|one| (one.title.as_str(), one.turn_id.is_some(), one.approvals))
        .collect();
    assert_eq!(
        summary,
        [
            ("remember the word heron", true, 1),
            ("remember the word kingfisher", false, 0)
        ]
    );
    assert_eq!((now.activity, now.turn_id, now.queued), (Activity::NeedsYou, None, 1));

    api.answer(id, &approval.id, Decision::Accept, None).await?;
    assert_eq!(place_of(&mut live, &later).await?, first);
    assert_eq!(end_of(&mut live, &first).await?.1, "later");
    assert_eq!(api.session(id).await?.activity, Activity::Idle);
    Ok(())
}

#[tokio::test]
async fn where_a_message_goes_is_settled_when_it_is_accepted() -> Result<()> {
    let mut server = TestServer::start(Setup::policy("autonomous")).await?;
    let (session, mut live, first, second) = two(&server).await?;
    let id = session.id;
    let api = server.api.clone();
    api.act(id, "stop").await?;
    live.state(SessionState::Stopped).await?;

    // Written while nothing runs, before the server is killed.
    let starter = send(&api, id, "remember the word plover", Destination::New).await?;
    let follows = Destination::StartedBy { message_id: starter.id };
    let follower = send(&api, id, "what did I ask you to remember?", Destination::Active).await?;
    assert_eq!(follower.destination, follows);
    let patch = SessionPatch {
        conversation_id: Some(first.clone()),
        ..SessionPatch::default()
    };
    let switched: Session = api
        .request(Method::PATCH, &format!("/sessions/{id}"), Some(&patch))
        .await?;
    assert_eq!(
        (switched.conversation_id.as_ref(), switched.starter_id),
        (Some(&first), None)
    );
    let to_first = send(&api, id, "what did I ask you to remember?", Destination::Active).await?;
    assert_eq!(to_first.destination, Destination::Conversation { id: first.clone() });
    server.kill().await?;
    server.start_again().await?;
    let api = &server.api;
    let mut live = api.live(id, api.session(id).await?.last_seq).await?;
    api.act(id, "start").await?;

    let third = place_of(&mut live, &starter).await?;
    assert!(![&first, &second].contains(&&third));
    let (mut one, mut other) = (String::new(), String::new());
    live.until(|message| {
        if let AgentEvent::ItemCompleted { item } = agent_event(message)?
            && let ItemBody::AgentMessage { text } = &item.body
            && text.starts_with("You asked")
        {
            if item.conversation_id == third {
                one.clone_from(text);
            } else if item.conversation_id == first {
                other.clone_from(text);
            }
        }
        (!one.is_empty() && !other.is_empty()).then_some(())
    })
    .await?;
    assert!(one.ends_with("plover") && other.ends_with("heron"), "{one} {other}");
    assert_eq!(api.session(id).await?.conversation_id, Some(first));
    // The starter is long delivered; whoever names it still gets there.
    let late = send(api, id, "say: late", follows).await?;
    assert_eq!(late.destination, Destination::Conversation { id: third });
    let unknown = Destination::Conversation { id: "x".to_owned() };
    assert_eq!(kind_of(send(api, id, "x", unknown).await)?, "conversation-not-found");
    Ok(())
}

#[tokio::test]
async fn both_go_on_after_stop_and_start_and_a_killed_server() -> Result<()> {
    let mut server = TestServer::start(Setup::policy("autonomous")).await?;
    let (session, mut live, first, second) = two(&server).await?;
    let id = session.id;
    server.api.act(id, "stop").await?;
    live.state(SessionState::Stopped).await?;
    server.api.act(id, "start").await?;
    live.state(SessionState::Running).await?;
    both_remember(&server.api, &mut live, id, &first, &second).await?;

    // Killed while a turn runs in each.
    let seq = server.api.session(id).await?.last_seq;
    for conversation in [&first, &second] {
        let there = Destination::Conversation {
            id: conversation.clone(),
        };
        let message = send(&server.api, id, "slow stream 200 every 50ms", there).await?;
        place_of(&mut live, &message).await?;
    }
    server.kill().await?;
    server.start_again().await?;
    let api = &server.api;
    let mut live = api.live(id, seq).await?;
    let mut open = vec![first.clone(), second.clone()];
    live.until(|message| {
        if let AgentEvent::TurnCompleted {
            conversation_id,
            outcome: TurnOutcome::Completed,
            ..
        } = agent_event(message)?
        {
            open.retain(|conversation| conversation != conversation_id);
        }
        open.is_empty().then_some(())
    })
    .await?;
    both_remember(api, &mut live, id, &first, &second).await?;
    let whole = |event: &mistle_protocol::session::SessionEvent| matches!(&event.event, EventBody::Agent(AgentEvent::ItemCompleted { item }) if matches!(&item.body, ItemBody::AgentMessage { text } if text.contains("Line 1 of 200.") && text.contains("Line 200 of 200.")));
    let events = api.events(id).await?;
    assert_eq!(events.iter().filter(|event| whole(event)).count(), 2);
    Ok(())
}

#[tokio::test]
async fn titles_and_archives_survive() -> Result<()> {
    let mut server = TestServer::start(Setup::policy("autonomous")).await?;
    let (session, _, first, second) = two(&server).await?;
    let id = session.id;
    let named = ConversationPatch {
        title: Some(" Herons ".to_owned()),
        ..ConversationPatch::default()
    };
    let archived = |archived| ConversationPatch {
        archived: Some(archived),
        ..ConversationPatch::default()
    };
    assert_eq!(change(&server.api, id, &first, &named).await?.title, "Herons");
    assert!(change(&server.api, id, &second, &archived(true)).await?.archived);
    // The active one was put aside, so the other one is.
    assert_eq!(server.api.session(id).await?.conversation_id.as_ref(), Some(&first));
    server.kill().await?;
    server.start_again().await?;
    let api = &server.api;
    let listed: Vec<ConversationSummary> = api.get(&format!("/sessions/{id}/conversations")).await?;
    let seen: Vec<_> = listed.iter().map(|one| (one.title.as_str(), one.archived)).collect();
    assert_eq!(seen, [("Herons", false), ("remember the word kingfisher", true)]);

    // A message brings one back; one that works can't be put aside.
    let mut live = api.live(id, api.session(id).await?.last_seq).await?;
    let there = Destination::Conversation { id: second.clone() };
    let message = send(api, id, "slow stream 200 every 50ms", there).await?;
    place_of(&mut live, &message).await?;
    assert!(!api.session(id).await?.conversations[1].archived);
    let refused = change(api, id, &second, &archived(true)).await;
    assert_eq!(kind_of(refused)?, "conversation-working");
    let interrupt = format!("interrupt?conversation={second}");
    api.act(id, &interrupt).await?;
    assert_eq!(end_of(&mut live, &second).await?.0, TurnOutcome::Interrupted);
    assert_eq!(kind_of(change(api, id, "x", &named).await)?, "not-found");
    Ok(())
}
