//! Domain values, pure state machines and authorization. No I/O.

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
