//! Domain values, pure state machines and authorization. No I/O.
//!
//! | module | what it holds |
//! |---|---|
//! | [`session`] | the machine that says where a session's sandbox is and what is done about it |
//! | [`queue`] | the messages that wait for the runtime, and which one goes next |
//! | [`summary`] | how a runtime's events change what a session looks like |
//! | [`conversations`] | a session's conversations as it shows them |
//! | [`comments`] | where the lines of a comment went, and how a runtime is told |
//! | [`authorization`] | who may do what; the only place that decides it |

pub mod authorization;
pub mod comments;
pub mod conversations;
pub mod queue;
pub mod session;
pub mod summary;

use mistle_protocol::id::{OrganizationId, RequestId, UserId};

/// Who is asking. The first argument of every domain and store call.
#[derive(Clone, Debug)]
pub struct OpContext {
    /// The user.
    pub user_id: UserId,
    /// The user's organization.
    pub organization_id: OrganizationId,
    /// The user's role in it.
    pub role: Role,
    /// The request, as the log names it.
    pub request_id: RequestId,
}

/// What a user may do in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Works with sessions.
    Member,
    /// Also manages profiles and connections.
    Admin,
    /// Also manages members.
    Owner,
}

impl Role {
    /// For a person.
    pub fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}
