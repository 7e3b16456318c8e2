//! Comments on a session's changes, and what people have viewed of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use mistle_model::authorization::Action;
use mistle_model::{OpContext, comments};
use mistle_protocol::changes::{
    ChangesLine, Comment, CommentAnchor, CommentPatch, CommentState, FileStatus, MAX_COMMENTS, MAX_MESSAGE_COMMENTS,
    MarkViewed, NewComment, Placement, RepoPath, Scope, Side, Viewed,
};
use mistle_protocol::id::{CommentId, SessionId};
use mistle_protocol::session::QueuedMessage;
use mistle_store::comments::Added;
use mistle_store::idempotency::Key;
use tokio::sync::Mutex;

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

/// What comments that are looked for together have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct File {
    folder: Option<String>,
    path: RepoPath,
    old_path: Option<RepoPath>,
    side: Side,
    /// The scope that they were written in.
    scope: Scope,
}

impl Sessions {
    /// The session's comments, oldest first, with their places in the tree as it is while the
    /// session runs: in the scope that is asked for, otherwise each in its own.
    pub async fn comments(&self, ctx: &OpContext, id: SessionId, scope: Option<Scope>) -> Result<Vec<Comment>> {
        self.row(ctx, id, Action::ReadSession).await?;
        let mut all = self.shared.needs.store.comments(id).await.map_err(internal)?;
        self.place(ctx, id, scope, &mut all).await;
        Ok(all)
    }

    /// Finds the lines of comments in the files as they are. Without a sandbox nobody looks.
    async fn place(&self, ctx: &OpContext, id: SessionId, shown: Option<Scope>, all: &mut [Comment]) {
        if all.is_empty() || self.tree(ctx, id).await.is_err() {
            return;
        }
        let mut files: HashMap<File, Vec<usize>> = HashMap::new();
        for (number, Comment { anchor, .. }) in all.iter().enumerate() {
            let file = File {
                folder: anchor.workspace.clone(),
                path: anchor.path.clone(),
                old_path: anchor.old_path.clone(),
                side: anchor.side,
                scope: anchor.scope,
            };
            files.entry(file).or_default().push(number);
        }
        let places = Places {
            sessions: self,
            ctx,
            id,
            moves: Mutex::default(),
        };
        let (places, known) = (&places, &*all);
        let looked = futures::stream::iter(files)
            .map(|(file, numbers)| async move {
                let anchors: Vec<_> = numbers.iter().map(|number| &known[*number].anchor).collect();
                let found = places.find(&file, shown.unwrap_or(file.scope), &anchors).await;
                (numbers, found)
            })
            .buffer_unordered(FILES_AT_ONCE)
            .collect::<Vec<_>>();
        let looked = tokio::time::timeout(PLACES_WITHIN, looked).await.unwrap_or_default();
        for (numbers, found) in looked {
            for (number, placement) in numbers.into_iter().zip(found.into_iter().flatten()) {
                all[number].placement = Some(placement);
            }
        }
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
        self.place(ctx, id, None, &mut told).await;
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

/// Looks for the lines of comments in a session's tree.
struct Places<'a> {
    sessions: &'a Sessions,
    ctx: &'a OpContext,
    id: SessionId,
    /// The moved files of a folder in a scope, which are asked for when a file is not where it was.
    moves: Mutex<HashMap<Compared, Arc<Moves>>>,
}

/// A folder, and what it is compared with.
type Compared = (Option<String>, Scope);

/// Files that are not where they are in the base.
#[derive(Default)]
struct Moves {
    /// From where to where.
    renamed: Vec<(RepoPath, RepoPath)>,
    deleted: Vec<RepoPath>,
}

impl Places<'_> {
    /// Where the lines of some comments on a file are.
    async fn find(&self, file: &File, shown: Scope, anchors: &[&CommentAnchor]) -> Result<Vec<Placement>> {
        let here = self.content(file, &file.path, Side::New, shown).await?;
        let moved = match here {
            Some(_) => None,
            None => self.moved(file, shown).await?.filter(|path| *path != file.path),
        };
        let path = moved.as_ref().unwrap_or(&file.path);
        let content = match (file.side, &moved) {
            (Side::New, None) => here,
            (Side::New, Some(path)) => self.content(file, path, Side::New, shown).await?,
            (Side::Old, _) => self.before(file, path, shown).await?,
        };
        let mut found = relocated(anchors, content.as_deref(), moved.as_ref());
        if file.side == Side::Old && shown != file.scope && found.contains(&Placement::Outdated) {
            let own = self.before(file, path, file.scope).await?;
            let own = relocated(anchors, own.as_deref(), moved.as_ref());
            for (placement, own) in found.iter_mut().zip(own) {
                if *placement == Placement::Outdated {
                    *placement = of_scope(own, file.scope);
                }
            }
        }
        Ok(found)
    }

    /// The path that the list has for a file that is not at its own any more; none when it has none.
    async fn moved(&self, file: &File, shown: Scope) -> Result<Option<RepoPath>> {
        // A file that the base does not have is seen to move by the turn that moves it.
        let asked = [
            (shown, Some(&file.path)),
            (Scope::Branch, Some(&file.path)),
            (Scope::LastTurn, Some(&file.path)),
            (shown, file.old_path.as_ref()),
        ];
        for (scope, old) in asked {
            let Some(wanted) = old else { continue };
            let moves = self.moves(file, scope).await?;
            if let Some((_, new)) = moves.renamed.iter().find(|(old, _)| old == wanted) {
                return Ok(Some(new.clone()));
            }
        }
        let moves = self.moves(file, shown).await?;
        let mut known = file.old_path.iter().chain([&file.path]);
        Ok(known.find(|path| moves.deleted.contains(path)).cloned())
    }

    /// The content that a file has in the base of a scope; `path` is the one that it has in the tree.
    async fn before(&self, file: &File, path: &RepoPath, scope: Scope) -> Result<Option<Vec<u8>>> {
        for known in file.old_path.iter().chain([&file.path]) {
            let content = self.content(file, known, Side::Old, scope).await?;
            if content.is_some() {
                return Ok(content);
            }
        }
        let moves = self.moves(file, scope).await?;
        match moves.renamed.iter().find(|(_, new)| new == path) {
            Some((old, _)) => self.content(file, old, Side::Old, scope).await,
            None => Ok(None),
        }
    }

    async fn moves(&self, file: &File, scope: Scope) -> Result<Arc<Moves>> {
        // One list at a time: it is git's work in the sandbox, and others may want the same one.
        let mut known = self.moves.lock().await;
        let key = (file.folder.clone(), scope);
        if let Some(moves) = known.get(&key) {
            return Ok(moves.clone());
        }
        let mut lines = self.sessions.changes(self.ctx, self.id, &asked(file, scope)).await?;
        let mut moves = Moves::default();
        while let Some(line) = lines.next().await {
            let ChangesLine::Files { files } = line else { continue };
            for file in files {
                match (file.status, file.old_path) {
                    (FileStatus::Renamed, Some(old)) => moves.renamed.push((old, file.path)),
                    (FileStatus::Deleted, _) => moves.deleted.push(file.path),
                    _ => {}
                }
            }
        }
        let moves = Arc::new(moves);
        known.insert(key, moves.clone());
        Ok(moves)
    }

    /// A file's beginning; none when it is not there.
    async fn content(&self, file: &File, path: &RepoPath, side: Side, scope: Scope) -> Result<Option<Vec<u8>>> {
        let asked = AskedFile {
            changes: asked(file, scope),
            path: path.clone(),
            old_path: None,
            context: None,
            full: false,
        };
        let mut bytes = match self.sessions.blob(self.ctx, self.id, &asked, side).await {
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
}

fn asked(file: &File, scope: Scope) -> AskedChanges {
    AskedChanges {
        cwd: file.folder.clone(),
        scope,
        ..AskedChanges::default()
    }
}

/// The places of comments in a content, which is none when the file is gone.
fn relocated(anchors: &[&CommentAnchor], content: Option<&[u8]>, moved: Option<&RepoPath>) -> Vec<Placement> {
    let text = content.map(String::from_utf8_lossy);
    let lines: Vec<&str> = text
        .as_deref()
        .map(|text| text.split('\n').collect())
        .unwrap_or_default();
    let place = |anchor: &&CommentAnchor| match comments::relocate(anchor, &lines) {
        Placement::Located {
            start_line, end_line, ..
        } => Placement::Located {
            start_line,
            end_line,
            path: moved.cloned(),
        },
        gone => gone,
    };
    anchors.iter().map(place).collect()
}

/// A place that was found in the base of another scope than the one that is shown.
fn of_scope(placement: Placement, scope: Scope) -> Placement {
    match placement {
        Placement::Located {
            start_line,
            end_line,
            path,
        } => Placement::OtherScope {
            scope,
            start_line,
            end_line,
            path,
        },
        gone => gone,
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
