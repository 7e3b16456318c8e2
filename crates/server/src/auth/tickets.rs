//! One-use tickets for WebSocket upgrades.
//!
//! A browser can't give an upgrade a header, and a cookie alone would let any page open one. The
//! page asks for a ticket (a request that another origin can't make), and the upgrade spends it.
//! Tickets live 30 seconds, so they are kept in memory: a restart costs the page one more request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mistle_protocol::api::TicketPurpose;
use secrecy::{ExposeSecret, SecretString};

use super::caller::Caller;
use super::secret;

/// How long a ticket waits to be spent.
const LIFETIME: Duration = Duration::from_secs(30);
/// The most unspent tickets; a page needs a handful.
const MAX_TICKETS: usize = 10_000;

/// The unspent tickets. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tickets {
    by_hash: Arc<Mutex<HashMap<String, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    caller: Caller,
    purpose: TicketPurpose,
    expires: Instant,
}

impl Tickets {
    /// A ticket for one upgrade. None when there are too many unspent ones.
    pub fn issue(&self, caller: &Caller, purpose: TicketPurpose, at: Instant) -> Option<SecretString> {
        let ticket = secret::generate("");
        let mut by_hash = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        if by_hash.len() >= MAX_TICKETS {
            by_hash.retain(|_, entry| entry.expires > at);
        }
        if by_hash.len() >= MAX_TICKETS {
            return None;
        }
        by_hash.insert(
            secret::hash_of(&ticket),
            Entry {
                caller: caller.clone(),
                purpose,
                expires: at + LIFETIME,
            },
        );
        Some(ticket)
    }

    /// Spends a ticket. It is gone afterwards, even when it was for something else.
    pub fn spend(&self, ticket: &SecretString, purpose: &TicketPurpose, at: Instant) -> Option<Caller> {
        let hash = secret::hash(ticket.expose_secret())?;
        let entry = self
            .by_hash
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&hash)?;
        (entry.expires > at && entry.purpose == *purpose).then_some(entry.caller)
    }
}

#[cfg(test)]
mod tests {
    use mistle_model::{OpContext, Role};
    use mistle_protocol::id::{OrganizationId, RequestId, SessionId, UserId};

    use super::super::caller::Credential;
    use super::*;

    fn caller() -> Caller {
        Caller {
            ctx: OpContext {
                user_id: UserId::new(),
                organization_id: OrganizationId::new(),
                role: Role::Owner,
                request_id: RequestId::new(),
            },
            credential: Credential::WebSession("hash".to_owned()),
        }
    }

    #[test]
    fn a_ticket_opens_its_purpose_once_and_in_time() {
        let (tickets, start, caller) = (Tickets::default(), Instant::now(), caller());
        let purpose = TicketPurpose::SessionLive {
            session_id: SessionId::new(),
        };
        let issue = || tickets.issue(&caller, purpose.clone(), start).unwrap();

        let ticket = issue();
        let spent = tickets.spend(&ticket, &purpose, start).unwrap();
        assert_eq!(spent.ctx.user_id, caller.ctx.user_id);
        assert!(tickets.spend(&ticket, &purpose, start).is_none(), "twice");

        let ticket = issue();
        assert!(
            tickets.spend(&ticket, &TicketPurpose::Live, start).is_none(),
            "another purpose"
        );
        assert!(tickets.spend(&ticket, &purpose, start).is_none(), "a try spends it");

        let ticket = issue();
        let other = TicketPurpose::SessionLive {
            session_id: SessionId::new(),
        };
        assert!(tickets.spend(&ticket, &other, start).is_none(), "another session");

        assert!(tickets.spend(&issue(), &purpose, start + LIFETIME).is_none(), "late");
        assert!(tickets.spend(&"nonsense".into(), &purpose, start).is_none());
    }

    #[test]
    fn unspent_tickets_are_bounded_and_old_ones_make_room() {
        let (tickets, start, caller) = (Tickets::default(), Instant::now(), caller());
        for _ in 0..MAX_TICKETS {
            assert!(tickets.issue(&caller, TicketPurpose::Live, start).is_some());
        }
        assert!(tickets.issue(&caller, TicketPurpose::Live, start).is_none());
        assert!(tickets.issue(&caller, TicketPurpose::Live, start + LIFETIME).is_some());
    }
}
