//! A session's conversations as it shows them: folded from the runtime's events and from what
//! people do with them.
//!
//! What comes from a sandbox is bounded here. When there are too many, the one that was used least
//! recently leaves the session, an archived one first; never the active one, nor one in which
//! something goes on. The record keeps them all.

use jiff::Timestamp;
use mistle_protocol::agent::{Conversation, ConversationId, Usage};
use mistle_protocol::session::{ConversationSummary, MAX_CONVERSATIONS, Session};

/// The longest title, in characters.
pub const MAX_TITLE: usize = 200;
/// The longest name or folder that a runtime may give a conversation, in bytes.
const MAX_NAME: usize = 4096;

/// Why a conversation can't be archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("A turn runs in this conversation. Interrupt it first, or wait until it is over.")]
pub struct Working;

/// One of the session's conversations.
pub fn find<'a>(session: &'a Session, id: &str) -> Option<&'a ConversationSummary> {
    session.conversations.iter().find(|conversation| conversation.id == id)
}

pub(crate) fn find_mut<'a>(session: &'a mut Session, id: &str) -> Option<&'a mut ConversationSummary> {
    session
        .conversations
        .iter_mut()
        .find(|conversation| conversation.id == id)
}

/// A conversation exists. Saying so again changes nothing.
pub(crate) fn begin(session: &mut Session, conversation: &Conversation, at: Timestamp) {
    let sane = |text: &str| text.len() <= MAX_NAME;
    if find(session, &conversation.id).is_some() || !sane(&conversation.id) || conversation.id.is_empty() {
        return;
    }
    make_room(session);
    let title = conversation.title.as_deref().map(first_line).unwrap_or_default();
    session.conversations.push(ConversationSummary {
        id: conversation.id.clone(),
        named: !title.is_empty(),
        title,
        cwd: if sane(&conversation.cwd) {
            conversation.cwd.clone()
        } else {
            session.cwd.clone()
        },
        archived: false,
        lost: false,
        turn_id: None,
        approvals: 0,
        usage: None,
        created_at: conversation.created_at.min(at),
        updated_at: at,
    });
}

/// A conversation that the record tells of only now.
pub(crate) fn known<'a>(
    session: &'a mut Session,
    id: &ConversationId,
    at: Timestamp,
) -> Option<&'a mut ConversationSummary> {
    let conversation = Conversation {
        id: id.clone(),
        cwd: session.cwd.clone(),
        title: None,
        created_at: at,
    };
    begin(session, &conversation, at);
    find_mut(session, id)
}

/// Takes over what a session from before it had several conversations says of its only one.
pub fn adopt(session: &mut Session, started: &[Conversation]) {
    for conversation in started {
        begin(session, conversation, conversation.created_at);
    }
    let Some(id) = session.conversation_id.clone() else {
        return;
    };
    let (turn_id, usage, at) = (session.turn_id.clone(), session.usage, session.updated_at);
    let title = session.title.clone();
    if let Some(active) = known(session, &id, at) {
        active.turn_id = turn_id;
        active.usage = usage;
        active.updated_at = at;
        if active.title.is_empty() {
            active.title = title;
        }
    }
    settle(session);
}

/// Makes a conversation the active one. Nothing that runs is touched.
pub fn activate(session: &mut Session, id: &str) {
    session.conversation_id = Some(id.to_owned());
    session.starter_id = None;
    if let Some(conversation) = find_mut(session, id) {
        conversation.archived = false;
    }
    settle(session);
}

/// Puts a conversation aside, or brings it back. The most recent of the others becomes the active
/// one in its place.
pub fn archive(session: &mut Session, id: &str, archived: bool) -> Result<(), Working> {
    if let Some(conversation) = find_mut(session, id) {
        if archived && conversation.turn_id.is_some() {
            return Err(Working);
        }
        conversation.archived = archived;
    }
    let is_active = session.conversation_id.as_deref() == Some(id);
    if archived && is_active {
        let others = session
            .conversations
            .iter()
            .filter(|other| !other.archived && !other.lost);
        session.conversation_id = others
            .max_by_key(|other| other.updated_at)
            .map(|other| other.id.clone());
    } else if !archived && session.conversation_id.is_none() {
        session.conversation_id = Some(id.to_owned());
    }
    settle(session);
    Ok(())
}

/// A person names a conversation.
pub fn rename(session: &mut Session, id: &str, title: &str) {
    if let Some(conversation) = find_mut(session, id) {
        title.clone_into(&mut conversation.title);
        conversation.named = true;
    }
}

/// Gives a conversation without a title the first line of what was said in it.
pub(crate) fn title_from(conversation: &mut ConversationSummary, text: &str) {
    if conversation.title.is_empty() && !conversation.named {
        conversation.title = first_line(text);
    }
}

pub(crate) fn set_usage(session: &mut Session, id: &str, usage: Usage) {
    if let Some(conversation) = find_mut(session, id) {
        conversation.usage = Some(usage);
    }
}

/// The conversations in which a turn runs.
pub fn working(session: &Session) -> impl Iterator<Item = &ConversationSummary> {
    session
        .conversations
        .iter()
        .filter(|conversation| conversation.turn_id.is_some())
}

/// The first line of a text that says something, as a title.
pub fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or_default()
        .chars()
        .filter(|character| !character.is_control())
        .take(MAX_TITLE)
        .collect()
}

/// Brings what the session says of its active conversation, and the counts of approvals, in line.
pub(crate) fn settle(session: &mut Session) {
    for conversation in &mut session.conversations {
        let of_it = session
            .approvals
            .iter()
            .filter(|approval| approval.conversation_id == conversation.id);
        conversation.approvals = u32::try_from(of_it.count()).unwrap_or(u32::MAX);
    }
    let active = session.conversation_id.as_deref().and_then(|id| find(session, id));
    let (turn_id, usage) = active.map_or((None, None), |active| (active.turn_id.clone(), active.usage));
    session.turn_id = turn_id;
    session.usage = usage;
}

fn make_room(session: &mut Session) {
    while session.conversations.len() >= MAX_CONVERSATIONS {
        let active = session.conversation_id.as_deref();
        let quiet = |conversation: &&ConversationSummary| {
            conversation.turn_id.is_none() && conversation.approvals == 0 && active != Some(&conversation.id)
        };
        let oldest = session
            .conversations
            .iter()
            .filter(quiet)
            .min_by_key(|conversation| (!conversation.archived, conversation.updated_at))
            .or_else(|| session.conversations.first());
        let Some(oldest) = oldest.map(|conversation| conversation.id.clone()) else {
            return;
        };
        session.conversations.retain(|conversation| conversation.id != oldest);
    }
}

#[cfg(test)]
mod tests {
    use mistle_protocol::agent::{AgentEvent, Approval, ApprovalSubject, Item, ItemBody, ItemStatus, TurnOutcome};
    use mistle_protocol::id::MessageId;
    use mistle_protocol::session::Activity;

    use super::*;
    use crate::summary::{self, tests::session};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn conversation(id: &str) -> Conversation {
        Conversation {
            id: id.to_owned(),
            cwd: "/workspace".to_owned(),
            title: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn started(id: &str, message_id: Option<MessageId>) -> AgentEvent {
        AgentEvent::ConversationStarted {
            conversation: conversation(id),
            message_id,
        }
    }

    fn turn(id: &str, runs: bool) -> AgentEvent {
        let (conversation_id, turn_id) = (id.to_owned(), format!("turn of {id}"));
        if runs {
            AgentEvent::TurnStarted {
                conversation_id,
                turn_id,
            }
        } else {
            AgentEvent::TurnCompleted {
                conversation_id,
                turn_id,
                outcome: TurnOutcome::Completed,
            }
        }
    }

    fn asked(id: &str) -> AgentEvent {
        AgentEvent::ApprovalRequested {
            approval: Approval {
                id: format!("asked in {id}"),
                conversation_id: id.to_owned(),
                turn_id: format!("turn of {id}"),
                item_id: "i".to_owned(),
                requested_at: Timestamp::UNIX_EPOCH,
                reason: None,
                subject: ApprovalSubject::Other {
                    question: "?".to_owned(),
                },
                decisions: Vec::new(),
            },
        }
    }

    fn said(id: &str, text: &str) -> AgentEvent {
        AgentEvent::ItemStarted {
            item: Item {
                id: "i".to_owned(),
                conversation_id: id.to_owned(),
                turn_id: "t".to_owned(),
                status: ItemStatus::InProgress,
                started_at: Timestamp::UNIX_EPOCH,
                completed_at: None,
                body: ItemBody::UserMessage {
                    text: text.to_owned(),
                    message_id: None,
                    attachments: Vec::new(),
                },
            },
        }
    }

    fn after(events: &[AgentEvent]) -> Session {
        let mut session = session();
        for (second, event) in (1..).zip(events) {
            summary::apply(&mut session, event, at(second));
        }
        session
    }

    #[test]
    fn the_session_is_the_whole_and_shows_its_active_one() {
        let events = [
            started("a", None),
            started("b", None),
            turn("a", true),
            turn("b", true),
            asked("b"),
        ];
        let mut session = after(&events);
        assert_eq!(session.conversation_id.as_deref(), Some("a"));
        assert_eq!(
            (session.activity, session.turn_id.as_deref()),
            (Activity::NeedsYou, Some("turn of a"))
        );
        assert_eq!(find(&session, "b").unwrap().approvals, 1);
        activate(&mut session, "b");
        assert_eq!(session.turn_id.as_deref(), Some("turn of b"));
        // A turn's end takes its own questions along and no others.
        summary::apply(&mut session, &turn("a", false), at(9));
        assert_eq!((session.activity, session.approvals.len()), (Activity::NeedsYou, 1));
        summary::apply(&mut session, &turn("b", false), at(9));
        assert_eq!((session.activity, session.approvals.len()), (Activity::Idle, 0));
    }

    #[test]
    fn what_a_message_starts_is_active_unless_a_person_chose_another() {
        let message = MessageId::new();
        let mut session = after(&[started("a", None)]);
        session.starter_id = Some(message);
        summary::apply(&mut session, &started("tui", None), at(2));
        assert_eq!(session.conversation_id.as_deref(), Some("a"));
        summary::apply(&mut session, &started("b", Some(message)), at(3));
        assert_eq!(
            (session.conversation_id.as_deref(), session.starter_id),
            (Some("b"), None)
        );
        summary::apply(&mut session, &started("c", Some(MessageId::new())), at(4));
        assert_eq!(session.conversation_id.as_deref(), Some("b"));
    }

    #[test]
    fn a_title_is_the_first_line_until_somebody_gives_another() {
        let title = |session: &Session| find(session, "a").unwrap().title.clone();
        let mut session = after(&[started("a", None), said("a", "\nFix it\nnow"), said("a", "more")]);
        assert_eq!(title(&session), "Fix it");
        rename(&mut session, "a", "Mine");
        assert_eq!(title(&session), "Mine");
        let renamed = AgentEvent::ConversationRenamed {
            conversation_id: "a".to_owned(),
            title: "In the TUI\n".to_owned(),
        };
        summary::apply(&mut session, &renamed, at(5));
        assert_eq!(title(&session), "In the TUI");
    }

    #[test]
    fn one_that_works_is_not_archived_and_one_that_begins_to_is_brought_back() {
        let mut session = after(&[started("a", None), started("b", None), turn("a", true)]);
        assert_eq!(archive(&mut session, "a", true), Err(Working));
        summary::apply(&mut session, &turn("a", false), at(4));
        archive(&mut session, "a", true).unwrap();
        assert_eq!(session.conversation_id.as_deref(), Some("b"));
        archive(&mut session, "b", true).unwrap();
        assert_eq!(session.conversation_id, None);
        archive(&mut session, "b", false).unwrap();
        assert_eq!(session.conversation_id.as_deref(), Some("b"));
        summary::apply(&mut session, &turn("a", true), at(5));
        assert!(!find(&session, "a").unwrap().archived);
    }

    #[test]
    fn there_are_never_too_many_and_what_matters_stays() {
        let mut events = vec![started("active", None), started("working", None), turn("working", true)];
        events.extend((0..2 * MAX_CONVERSATIONS).map(|number| started(&number.to_string(), None)));
        let session = after(&events);
        assert_eq!(session.conversations.len(), MAX_CONVERSATIONS);
        assert!(find(&session, "active").is_some() && find(&session, "working").is_some());
        let long = "x".repeat(MAX_NAME + 1);
        assert!(find(&after(&[started(&long, None)]), &long).is_none());
    }

    #[test]
    fn a_session_from_before_keeps_its_conversation() {
        let mut session = session();
        session.conversation_id = Some("a".to_owned());
        session.turn_id = Some("t".to_owned());
        adopt(&mut session, &[conversation("a")]);
        let adopted = find(&session, "a").unwrap();
        assert_eq!((adopted.turn_id.as_deref(), adopted.title.as_str()), (Some("t"), "x"));
        assert_eq!(session.turn_id.as_deref(), Some("t"));
    }
}
