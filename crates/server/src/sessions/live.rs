//! What happens, as it happens.
//!
//! A reader subscribes first and then reads the store, so nothing falls between the two; what comes
//! twice is told apart by its number. A reader that is slower than the broadcast reads the store
//! again from where it was: falling behind costs time and never events.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use mistle_protocol::api::SessionStatus;
use mistle_protocol::id::{OrganizationId, SessionId};
use mistle_protocol::session::{LiveMessage, QueuedMessage, Session, SessionEvent, SessionState};
use mistle_store::session_index::SessionFilter;
use mistle_store::{Store, StoreError};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many changes a reader may fall behind before it reads the store again.
pub(super) const MAX_BEHIND: usize = 64;
/// The same for readers of every session.
pub(super) const MAX_BEHIND_ALL: usize = 512;
/// Events or sessions that are read at once.
const PAGE: u32 = 500;

/// One stored change of a session.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) organization_id: OrganizationId,
    pub(super) revision: u64,
    /// The session, when more changed than its place in the record.
    pub(super) session: Option<Session>,
    /// The whole queue, when it changed.
    pub(super) queue: Option<Vec<QueuedMessage>>,
    pub(super) events: Vec<SessionEvent>,
    /// Whether comments changed, which are no part of the session's row.
    pub(super) comments: bool,
}

impl Update {
    /// Only the comments changed.
    pub(super) fn of_comments(organization_id: OrganizationId) -> Self {
        Self {
            organization_id,
            revision: 0,
            session: None,
            queue: None,
            events: Vec::new(),
            comments: true,
        }
    }
}

/// Changes of one session, after everything in its record behind `after`.
pub(super) fn of_session(
    store: Store,
    id: SessionId,
    after: u64,
    mut updates: broadcast::Receiver<Arc<Update>>,
) -> BoxStream<'static, LiveMessage> {
    async_stream::stream! {
        let mut place = Place { seq: after, revision: 0 };
        let mut caught_up = false;
        loop {
            let mut stored = Box::pin(read(&store, id, &mut place));
            while let Some(message) = stored.next().await {
                match message {
                    Ok(message) => {
                        let deleted = matches!(message, LiveMessage::Deleted { .. });
                        yield message;
                        if deleted {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::error!(error = %super::trouble::chain(&error), session = %id, "a live stream can't read the record");
                        yield LiveMessage::Lagged;
                        return;
                    }
                }
            }
            drop(stored);
            if std::mem::replace(&mut caught_up, true) {
                // They may have changed in what was missed.
                yield LiveMessage::Comments;
            } else {
                yield LiveMessage::CaughtUp { seq: place.seq };
            }
            loop {
                match updates.recv().await {
                    Ok(update) => {
                        for message in place.advance(&update) {
                            let deleted = matches!(message, LiveMessage::Deleted { .. });
                            yield message;
                            if deleted {
                                return;
                            }
                        }
                    }
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }
    .boxed()
}

/// How far a reader is.
struct Place {
    seq: u64,
    revision: u64,
}

impl Place {
    /// What of an update the reader does not have.
    fn advance(&mut self, update: &Update) -> Vec<LiveMessage> {
        let mut messages: Vec<_> = update.comments.then_some(LiveMessage::Comments).into_iter().collect();
        for event in update.events.iter().filter(|event| event.seq > self.seq) {
            messages.push(LiveMessage::Event {
                event: Box::new(event.clone()),
            });
        }
        self.seq = update.events.last().map_or(self.seq, |event| event.seq.max(self.seq));
        if update.revision > self.revision {
            self.revision = update.revision;
            messages.extend(update.queue.clone().map(|messages| LiveMessage::Queue { messages }));
            messages.extend(update.session.as_ref().map(session_message));
        }
        messages
    }
}

fn read<'a>(
    store: &'a Store,
    id: SessionId,
    place: &'a mut Place,
) -> impl futures::Stream<Item = Result<LiveMessage, StoreError>> + 'a {
    async_stream::try_stream! {
        let Some(row) = store.session(id).await? else {
            yield LiveMessage::Deleted { session_id: id };
            return;
        };
        // A reader that claims more than there is would miss what comes.
        place.seq = place.seq.min(row.session.last_seq);
        place.revision = row.revision;
        let gone = row.session.state == SessionState::Deleted;
        yield session_message(&row.session);
        if gone {
            return;
        }
        let messages = store.queue(id).await?.into_iter().map(|entry| entry.message).collect();
        yield LiveMessage::Queue { messages };
        loop {
            let events = store.events(id, place.seq, PAGE).await?;
            let Some(last) = events.last() else { break };
            place.seq = last.seq;
            yield LiveMessage::Events { events };
        }
    }
}

/// Every session of an organization that has processes, then the changes of all.
pub(super) fn of_organization(
    store: Store,
    organization: OrganizationId,
    mut updates: broadcast::Receiver<Arc<Update>>,
) -> BoxStream<'static, LiveMessage> {
    async_stream::stream! {
        let with_processes = SessionFilter {
            status: vec![SessionStatus::NeedsYou, SessionStatus::Running, SessionStatus::Ready],
            ..SessionFilter::default()
        };
        let mut before = None;
        loop {
            let page = match store.sessions(organization, &with_processes, before, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(error = %super::trouble::chain(&error), "a live stream can't read the sessions");
                    yield LiveMessage::Lagged;
                    return;
                }
            };
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            for session in page {
                yield session_message(&session);
            }
        }
        loop {
            match updates.recv().await {
                Ok(update) => {
                    let own = update.session.as_ref().filter(|_| update.organization_id == organization);
                    if let Some(session) = own {
                        yield session_message(session);
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    yield LiveMessage::Lagged;
                    return;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }
    .boxed()
}

fn session_message(session: &Session) -> LiveMessage {
    if session.state == SessionState::Deleted {
        LiveMessage::Deleted { session_id: session.id }
    } else {
        LiveMessage::Session {
            session: Box::new(session.clone()),
        }
    }
}
