//! A session's lists that its daemon tells as they change: ports, terminals.
//!
//! However many pages show a session, its daemon is watched once for each kind, and only while
//! somebody reads: watching costs the sandbox a little, always. A list is a sandbox's word and is
//! bounded before anybody sees it; one that changes faster than [`PACE`] is read that slowly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use http_body_util::BodyExt as _;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::{LiveMessage, SessionState};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::control::{ANSWER_WITHIN, Control, ControlError, empty, successful, within};
use super::driver::View;

/// The longest list, in bytes: as many entries as there may be, each text at its limit and escaped.
const MAX_LIST: usize = 1024 * 1024;
/// The shortest time between two lists.
const PACE: Duration = Duration::from_millis(50);
/// The first and the longest wait before a daemon that does not tell its list is asked again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What a daemon tells a list of.
pub(super) trait Watchable: Clone + PartialEq + DeserializeOwned + Send + Sync + 'static {
    /// Where it tells it.
    const PATH: &'static str;

    /// As much of a list as is shown.
    fn bounded(list: Vec<Self>) -> Vec<Self>;

    /// What readers are told.
    fn message(list: Vec<Self>) -> LiveMessage;
}

/// The sessions whose lists of one kind somebody reads.
#[derive(Debug)]
pub(super) struct Watches<T> {
    by_session: Mutex<HashMap<SessionId, Weak<Watched<T>>>>,
}

impl<T> Default for Watches<T> {
    fn default() -> Self {
        Self {
            by_session: Mutex::default(),
        }
    }
}

/// One session's list. Watched until the last of its readers drops it.
#[derive(Debug)]
pub(super) struct Watched<T> {
    /// None until they are known.
    lists: watch::Receiver<Option<Vec<T>>>,
    _task: AbortOnDropHandle<()>,
}

impl<T: Watchable> Watches<T> {
    pub(super) fn watch(&self, id: SessionId, view: watch::Receiver<View>) -> Arc<Watched<T>> {
        let mut by_session = self.by_session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = by_session.get(&id).and_then(Weak::upgrade) {
            return watched;
        }
        by_session.retain(|_, watched| watched.strong_count() > 0);
        let (sender, lists) = watch::channel(None);
        let watched = Arc::new(Watched {
            lists,
            _task: AbortOnDropHandle::new(tokio::spawn(follow(id, view, sender))),
        });
        by_session.insert(id, Arc::downgrade(&watched));
        watched
    }
}

/// A session's messages, with a list beside them once the reader has caught up.
pub(super) fn beside<T: Watchable>(
    mut messages: BoxStream<'static, LiveMessage>,
    watched: Arc<Watched<T>>,
) -> BoxStream<'static, LiveMessage> {
    async_stream::stream! {
        let mut lists = watched.lists.clone();
        lists.mark_changed();
        let mut caught_up = false;
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return };
                    caught_up |= matches!(message, LiveMessage::CaughtUp { .. });
                    yield message;
                }
                Ok(()) = lists.changed(), if caught_up => {
                    let list = lists.borrow_and_update().clone();
                    if let Some(list) = list {
                        yield T::message(list);
                    }
                }
            }
        }
    }
    .boxed()
}

/// Reads the list from whichever connection there is to the daemon.
async fn follow<T: Watchable>(id: SessionId, mut view: watch::Receiver<View>, lists: watch::Sender<Option<Vec<T>>>) {
    let mut wait = RETRY.0;
    loop {
        let View { state, control, .. } = view.borrow_and_update().clone();
        let Some(control) = control else {
            // A link that is lost for a moment says nothing about what is there.
            if state != SessionState::Disconnected {
                show(&lists, Vec::new());
            }
            if view.changed().await.is_err() {
                return;
            }
            continue;
        };
        let outcome = read(&control, &lists, &mut wait).await;
        tracing::debug!(session = %id, ?outcome, path = T::PATH, "a list is told no more");
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY.1),
        }
    }
}

fn show<T: Watchable>(lists: &watch::Sender<Option<Vec<T>>>, list: Vec<T>) {
    lists.send_if_modified(|shown| {
        let differs = shown.as_ref() != Some(&list);
        if differs {
            *shown = Some(list);
        }
        differs
    });
}

async fn read<T: Watchable>(
    control: &Control,
    lists: &watch::Sender<Option<Vec<T>>>,
    wait: &mut Duration,
) -> std::result::Result<(), ControlError> {
    let asked = within(ANSWER_WITHIN, control.send(Method::GET, T::PATH, empty())).await?;
    let mut data = successful(asked).await?.into_body().into_data_stream();
    let mut buffer = BytesMut::new();
    while let Some(bytes) = data
        .try_next()
        .await
        .map_err(|error| ControlError::Lost(error.into()))?
    {
        if let Some(line) = last_line(&mut buffer, &bytes)? {
            let list = serde_json::from_slice(&line).map_err(|error| ControlError::Unreadable(error.into()))?;
            show(lists, T::bounded(list));
            *wait = RETRY.0;
            tokio::time::sleep(PACE).await;
        }
    }
    Ok(())
}

/// Takes all whole lines out of the buffer; the last one counts.
fn last_line(buffer: &mut BytesMut, bytes: &[u8]) -> std::result::Result<Option<Bytes>, ControlError> {
    let before = buffer.len();
    buffer.extend_from_slice(bytes);
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
        if buffer.len() > MAX_LIST {
            return Err(ControlError::Unreadable("the list is too long".into()));
        }
        return Ok(None);
    };
    let mut lines = buffer.split_to(before + end);
    buffer.advance(1);
    let begin = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    lines.advance(begin);
    Ok(Some(lines.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_counts() {
        let mut buffer = BytesMut::new();
        let mut push = |bytes: &[u8]| last_line(&mut buffer, bytes).unwrap();
        assert_eq!(push(b"[1"), None);
        assert_eq!(push(b"]\n[2]\n[3"), Some(Bytes::from("[2]")));
        assert_eq!(push(b"]\n"), Some(Bytes::from("[3]")));
        assert_eq!(push(b""), None);
        assert!(last_line(&mut buffer, &vec![b'x'; MAX_LIST + 1]).is_err());
    }
}
