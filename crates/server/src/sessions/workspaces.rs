//! Which of a session's folders is the primary one.

use mistle_protocol::session::{Session, Workspace};

use super::{Result, SessionError};

/// The workspace at a path of the sandbox, which `pointer` leads to in the request.
pub(super) fn find(session: &Session, path: &str, pointer: &'static str) -> Result<Workspace> {
    let wanted = path.trim_end_matches('/');
    let found = session.workspaces.iter().find(|workspace| workspace.path == wanted);
    found.cloned().ok_or_else(|| {
        let offered: Vec<&str> = session
            .workspaces
            .iter()
            .map(|workspace| workspace.path.as_str())
            .collect();
        SessionError::Invalid {
            kind: "workspace-not-found",
            pointer,
            message: format!(
                "The session has no workspace at this path. It has: {}.",
                offered.join(", ")
            ),
        }
    })
}
