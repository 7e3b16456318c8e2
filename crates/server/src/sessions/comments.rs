//! Comments on a session's changes, and what people have viewed of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use mistle_model::authorization::Action;
use mistle_model::{OpContext, comments};
use mistle_protocol::changes::{
    Comment, CommentPatch, CommentState, MAX_COMMENTS, MAX_MESSAGE_COMMENTS, MarkViewed, NewComment, Placement,
    RepoPath, Scope, Side, Viewed,
};
use mistle_protocol::id::{CommentId, SessionId};
use mistle_protocol::session::QueuedMessage;
use mistle_store::comments::Added;
use mistle_store::idempotency::Key;

use super::changes::{AskedChanges, AskedFile};
use super::live::Update;
use super::{Result, SessionError, Sessions, internal, workspaces};

/// How long looking for the places of comments may take; without them the comments are answered
/// all the same.
const PLACES_WITHIN: Duration = Duration::from_secs(5);
/// Files that are looked into at once.
const FILES_AT_ONCE: usize = 4;
/// The most of a file that is looked through, in bytes.
const MAX_LOOKED_AT: usize = 8 * 1024 * 1024;
/// The longest fingerprint, in bytes: a mark names those of a few diffs of its file.
const MAX_FINGERPRINT: usize = 256;

/// A file as a comment knows it.
type Place = (Option<String>, RepoPath, Side, Scope);

impl Sessions {
    /// The session's comments, oldest first, with their places in the tree as it is while the
    /// session runs.
    pub async fn comments(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<Comment>> {
        self.row(ctx, id, Action::ReadSession).await?;
        let mut all = self.shared.needs.store.comments(id).await.map_err(internal)?;
        self.place(ctx, id, &mut all).await;
        Ok(all)
    }

    /// Finds the lines of comments in the files as they are. Without a sandbox nobody looks.
    async fn place(&self, ctx: &OpContext, id: SessionId, all: &mut [Comment]) {
        if all.is_empty() || self.tree(ctx, id).await.is_err() {
            return;
        }
        let mut files: BTreeMap<String, (Place, Vec<usize>)> = BTreeMap::new();
        for (number, comment) in all.iter().enumerate() {
            let anchor = &comment.anchor;
            let place = (anchor.workspace.clone(), anchor.path.clone(), anchor.side, anchor.scope);
            files
                .entry(format!("{place:?}"))
                .or_insert_with(|| (place, Vec::new()))
                .1
                .push(number);
        }
        let looked = futures::stream::iter(files.into_values())
            .map(|(place, numbers)| async { (self.content(ctx, id, place).await, numbers) })
            .buffer_unordered(FILES_AT_ONCE)
            .collect::<Vec<_>>();
        let looked = tokio::time::timeout(PLACES_WITHIN, looked).await.unwrap_or_default();
        for (content, numbers) in looked {
            let Ok(content) = content else { continue };
            let text = content.as_deref().map(String::from_utf8_lossy);
            let lines: Option<Vec<&str>> = text.as_deref().map(|text| text.split('\n').collect());
            for number in numbers {
                let placed = lines.as_ref().map_or(Placement::Outdated, |lines| {
                    comments::relocate(&all[number].anchor, lines)
                });
                all[number].placement = Some(placed);
            }
        }
    }

    /// A file's beginning; none when it is not there.
    async fn content(
        &self,
        ctx: &OpContext,
        id: SessionId,
        (cwd, path, side, scope): Place,
    ) -> Result<Option<Vec<u8>>> {
        let asked = AskedFile {
            changes: AskedChanges {
                cwd,
                scope,
                ..AskedChanges::default()
            },
            path,
            old_path: None,
            context: None,
            full: false,
        };
        let mut bytes = match self.blob(ctx, id, &asked, side).await {
            Ok(content) => content.bytes,
            Err(SessionError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        while let Some(more) = bytes.try_next().await? {
            content.extend_from_slice(&more);
            if content.len() > MAX_LOOKED_AT {
                break;
            }
        }
        Ok(Some(content))
    }

    /// Writes a draft.
    pub async fn add_comment(&self, ctx: &OpContext, id: SessionId, new: NewComment) -> Result<Comment> {
        let row = self.row(ctx, id, Action::UseSession).await?;
        if let Some(folder) = &new.anchor.workspace {
            workspaces::find(&row.session, folder, "/anchor/workspace")?;
        }
        comments::check_text(&new.text).map_err(|denied| denied_comment(denied, "/text"))?;
        comments::check_anchor(&new.anchor).map_err(|denied| denied_comment(denied, "/anchor"))?;
        let now = Timestamp::now();
        let comment = Comment {
            id: CommentId::new(),
            session_id: id,
            created_by: ctx.user_id,
            anchor: new.anchor,
            text: new.text,
            state: CommentState::Draft,
            message_id: None,
            placement: None,
            created_at: now,
            updated_at: now,
        };
        match self.shared.needs.store.add_comment(&comment).await.map_err(internal)? {
            Added::Written => {
                self.tell_of_comments(ctx, id);
                Ok(comment)
            }
            Added::Full => Err(SessionError::Conflict {
                kind: "comments-full",
                message: format!("A session has at most {MAX_COMMENTS} comments. Delete some first."),
            }),
        }
    }

    /// Changes a draft.
    pub async fn change_comment(
        &self,
        ctx: &OpContext,
        id: SessionId,
        comment: CommentId,
        patch: CommentPatch,
    ) -> Result<Comment> {
        self.row(ctx, id, Action::UseSession).await?;
        comments::check_text(&patch.text).map_err(|denied| denied_comment(denied, "/text"))?;
        let mut comment = self.comment(id, comment).await?;
        comment.text = patch.text;
        comment.updated_at = Timestamp::now();
        if self
            .shared
            .needs
            .store
            .change_comment(&comment)
            .await
            .map_err(internal)?
        {
            self.tell_of_comments(ctx, id);
            return Ok(comment);
        }
        Err(sent())
    }

    /// Deletes a comment. What was said with a message stays in the conversation.
    pub async fn delete_comment(&self, ctx: &OpContext, id: SessionId, comment: CommentId) -> Result<()> {
        self.row(ctx, id, Action::UseSession).await?;
        if self
            .shared
            .needs
            .store
            .delete_comment(id, comment)
            .await
            .map_err(internal)?
        {
            self.tell_of_comments(ctx, id);
            return Ok(());
        }
        Err(SessionError::NotFound { what: "comment" })
    }

    /// Tells the pages that show the session. Without a task nobody does.
    fn tell_of_comments(&self, ctx: &OpContext, id: SessionId) {
        if let Some(handle) = self.shared.handles().get(&id) {
            let _ = handle.updates.send(Arc::new(Update::of_comments(ctx.organization_id)));
        }
    }

    /// What the actor has viewed.
    pub async fn viewed(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<Viewed>> {
        self.row(ctx, id, Action::ReadSession).await?;
        self.shared.needs.store.viewed(id, ctx.user_id).await.map_err(internal)
    }

    /// Sets or takes away one of the actor's marks.
    pub async fn mark_viewed(&self, ctx: &OpContext, id: SessionId, mark: &MarkViewed) -> Result<()> {
        self.row(ctx, id, Action::ReadSession).await?;
        let long = mark
            .fingerprint
            .as_ref()
            .is_some_and(|fingerprint| fingerprint.len() > MAX_FINGERPRINT);
        if long || mark.path.to_bytes().is_none() {
            let message = "This is no file of the list of changes.".to_owned();
            return Err(SessionError::Invalid {
                kind: "invalid-path",
                pointer: "/path",
                message,
            });
        }
        let store = &self.shared.needs.store;
        let marked = store.mark_viewed(
            id,
            ctx.user_id,
            &mark.path,
            mark.fingerprint.as_deref(),
            Timestamp::now(),
        );
        marked.await.map_err(internal)
    }

    /// Puts the drafts that leave with a message into its text. They are marked as sent with the
    /// transaction that stores the message.
    pub(super) async fn with_comments(
        &self,
        ctx: &OpContext,
        id: SessionId,
        message: &mut QueuedMessage,
        drafts: Vec<CommentId>,
        key: Option<&Key>,
    ) -> Result<()> {
        if drafts.is_empty() {
            return Ok(());
        }
        if drafts.len() > MAX_MESSAGE_COMMENTS {
            let message = format!("A message takes at most {MAX_MESSAGE_COMMENTS} comments.");
            return Err(SessionError::Invalid {
                kind: "too-many-comments",
                pointer: "/comments",
                message,
            });
        }
        let mut told = Vec::new();
        for draft in &drafts {
            let comment = self.comment(id, *draft).await?;
            if comment.state == CommentState::Sent && !self.is_repeated(key).await? {
                return Err(sent());
            }
            told.push(comment);
        }
        // What was seen on the page is what is said: the lines where they are.
        self.place(ctx, id, &mut told).await;
        message.text = comments::tell(&message.text, &told);
        message.comments = drafts;
        Ok(())
    }

    /// Whether a request was carried out earlier; then it is answered as it was, whatever became of
    /// its comments.
    pub(super) async fn is_repeated(&self, key: Option<&Key>) -> Result<bool> {
        let Some(key) = key else { return Ok(false) };
        let earlier = self.shared.needs.store.earlier(key, Timestamp::now()).await;
        Ok(earlier.map_err(super::of_store)?.is_some())
    }

    async fn comment(&self, id: SessionId, comment: CommentId) -> Result<Comment> {
        let found = self.shared.needs.store.comment(id, comment).await.map_err(internal)?;
        found.ok_or(SessionError::NotFound { what: "comment" })
    }
}

fn sent() -> SessionError {
    SessionError::Conflict {
        kind: "comment-sent",
        message: "The comment was sent already. Write another one.".to_owned(),
    }
}

fn denied_comment(denied: comments::Denied, pointer: &'static str) -> SessionError {
    let kind = match denied {
        comments::Denied::Empty => "comment-empty",
        comments::Denied::TooLong | comments::Denied::QuoteTooLong => "comment-too-long",
        comments::Denied::Place => "comment-place-invalid",
    };
    SessionError::Invalid {
        kind,
        pointer,
        message: denied.to_string(),
    }
}
