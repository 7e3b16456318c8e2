//! A session's terminals as everyone sees them: the list as it changes, and their names.

use http::Method;
use mistle_model::OpContext;
use mistle_protocol::control::{RenameTerminal, TerminalInfo};
use mistle_protocol::id::{SessionId, TerminalId};
use mistle_protocol::session::LiveMessage;

use super::control::ANSWER_WITHIN;
use super::watched::Watchable;
use super::{Result, SessionError, Sessions, of_terminal};

/// The most terminals that are shown: what a daemon has at most.
const MAX_TERMINALS: usize = 32;
/// The longest name, in characters.
const MAX_NAME: usize = 40;

impl Watchable for TerminalInfo {
    const PATH: &'static str = "/terminals/watch";

    fn bounded(mut terminals: Vec<Self>) -> Vec<Self> {
        terminals.truncate(MAX_TERMINALS);
        terminals
    }

    fn message(terminals: Vec<Self>) -> LiveMessage {
        LiveMessage::Terminals { terminals }
    }
}

impl Sessions {
    /// Gives a terminal a name that every page shows; an empty one takes it away.
    pub async fn rename_terminal(
        &self,
        ctx: &OpContext,
        id: SessionId,
        terminal: TerminalId,
        rename: &RenameTerminal,
    ) -> Result<TerminalInfo> {
        if rename.name.chars().count() > MAX_NAME {
            return Err(SessionError::Invalid {
                kind: "name-too-long",
                pointer: "/name",
                message: format!("A terminal's name has at most {MAX_NAME} characters."),
            });
        }
        let (_, control) = self.control(ctx, id).await?;
        let path = format!("/terminals/{terminal}");
        let renamed = control.ask(Method::PATCH, &path, Some(rename), ANSWER_WITHIN).await;
        renamed.map_err(of_terminal)
    }
}
