//! The runtime's own interface, in a terminal of the sandbox, on the live thread of a conversation.

use mistle_model::OpContext;
use mistle_protocol::api::NewTui;
use mistle_protocol::control::{OpenTui, TerminalInfo};
use mistle_protocol::id::{SessionId, TerminalId};

use super::{Result, SessionError, Sessions, check_size};

impl Sessions {
    /// Opens the runtime's own interface, or answers the terminal in which it runs already.
    pub async fn open_tui(&self, ctx: &OpContext, id: SessionId, new: NewTui) -> Result<TerminalInfo> {
        check_size(new.cols, new.rows)?;
        let (row, control) = self.control(ctx, id).await?;
        let conversation_id = match new.conversation_id {
            Some(wanted) => self.known_conversation(id, wanted).await?,
            None => row.session.conversation_id.ok_or_else(|| SessionError::Conflict {
                kind: "no-conversation",
                message: "There is no conversation yet. It begins with the first message.".to_owned(),
            })?,
        };
        let open = OpenTui {
            id: new.id.unwrap_or_else(TerminalId::new),
            cols: new.cols,
            rows: new.rows,
            conversation_id,
        };
        Ok(control.open_tui(&open).await?)
    }
}
