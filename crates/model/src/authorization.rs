//! Who may do what.
//!
//! What belongs to another organization does not exist for the actor: a caller answers
//! [`Denied::Invisible`] as "not found", so that ids can't be probed.

use mistle_protocol::id::{OrganizationId, UserId};

use crate::{OpContext, Role};

/// Something that an actor wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create a session in the actor's own organization.
    CreateSession,
    /// Read a session, its record, its queue and its egress.
    ReadSession,
    /// Work with a session: messages, approvals, terminals, commands, start and stop.
    UseSession,
    /// Delete a session with its disk.
    DeleteSession,
    /// Create, list and revoke the actor's own bearer tokens.
    ManageOwnTokens,
    /// Read what profiles are offered.
    ReadProfiles,
}

/// Whose the thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Its organization.
    pub organization_id: OrganizationId,
    /// Who created it.
    pub created_by: UserId,
}

/// Why an actor may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It belongs to another organization; answered as if it did not exist.
    #[error("not found")]
    Invisible,
    /// The role does not suffice.
    #[error("this needs the role {0:?}")]
    Role(Role),
}

/// Whether the actor may do it to a thing.
pub fn authorize(ctx: &OpContext, action: Action, thing: Ownership) -> Result<(), Denied> {
    if ctx.organization_id != thing.organization_id {
        return Err(Denied::Invisible);
    }
    match action {
        // Members share the sessions of their organization: a link to one opens for all of them.
        Action::CreateSession | Action::ReadSession | Action::UseSession | Action::ReadProfiles => Ok(()),
        // What can't be undone is left to who made it and to those who manage.
        Action::DeleteSession | Action::ManageOwnTokens if ctx.user_id == thing.created_by => Ok(()),
        Action::DeleteSession if ctx.role >= Role::Admin => Ok(()),
        Action::DeleteSession => Err(Denied::Role(Role::Admin)),
        Action::ManageOwnTokens => Err(Denied::Invisible),
    }
}

#[cfg(test)]
mod tests {
    use mistle_protocol::id::RequestId;

    use super::*;

    fn actor(organization_id: OrganizationId, role: Role) -> OpContext {
        OpContext {
            user_id: UserId::new(),
            organization_id,
            role,
            request_id: RequestId::new(),
        }
    }

    #[test]
    fn another_organization_sees_nothing() {
        let thing = Ownership {
            organization_id: OrganizationId::new(),
            created_by: UserId::new(),
        };
        for action in [
            Action::ReadSession,
            Action::UseSession,
            Action::DeleteSession,
            Action::ManageOwnTokens,
        ] {
            let owner_elsewhere = actor(OrganizationId::new(), Role::Owner);
            assert_eq!(authorize(&owner_elsewhere, action, thing), Err(Denied::Invisible));
        }
    }

    #[test]
    fn deleting_is_for_the_maker_and_for_admins() {
        let organization_id = OrganizationId::new();
        let maker = actor(organization_id, Role::Member);
        let thing = Ownership {
            organization_id,
            created_by: maker.user_id,
        };
        assert_eq!(authorize(&maker, Action::DeleteSession, thing), Ok(()));
        assert_eq!(
            authorize(&actor(organization_id, Role::Admin), Action::DeleteSession, thing),
            Ok(())
        );
        let colleague = actor(organization_id, Role::Member);
        assert_eq!(
            authorize(&colleague, Action::DeleteSession, thing),
            Err(Denied::Role(Role::Admin))
        );
        assert_eq!(authorize(&colleague, Action::UseSession, thing), Ok(()));
    }
}
