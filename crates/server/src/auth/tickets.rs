//! One-use tickets: for WebSocket upgrades, and for the way from the control plane to a preview.
//!
//! A browser can't give an upgrade a header, and a cookie alone would let any page open one. The
//! page asks for a ticket (a request that another origin can't make), and the upgrade spends it. In the
//! same way the address that opens a preview carries a code. Both live shortly, so they are kept in
//! memory: a restart costs the page one more request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::SecretString;

use super::caller::{Caller, Credential};
use super::secret;

/// The most unspent tickets of a kind; a page needs a handful.
const MAX_TICKETS: usize = 10_000;

/// The unspent tickets of one kind; `P` is what one is for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tickets<P> {
    lifetime: Duration,
    by_hash: Arc<Mutex<HashMap<String, Entry<P>>>>,
}

#[derive(Debug)]
struct Entry<P> {
    caller: Caller,
    purpose: P,
    expires: Instant,
}

impl<P: PartialEq> Tickets<P> {
    /// No tickets. One that is issued waits so long to be spent.
    pub fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            by_hash: Arc::default(),
        }
    }

    /// A ticket for one use. None when there are too many unspent ones.
    pub fn issue(&self, caller: &Caller, purpose: P, at: Instant) -> Option<SecretString> {
        let ticket = secret::generate("");
        let mut by_hash = self.lock();
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
                expires: at + self.lifetime,
            },
        );
        Some(ticket)
    }

    /// Spends a ticket. It is gone afterwards, even when it was for something else.
    pub fn spend(&self, ticket: &str, purpose: &P, at: Instant) -> Option<Caller> {
        let entry = self.lock().remove(&secret::hash(ticket)?)?;
        (entry.expires > at && entry.purpose == *purpose).then_some(entry.caller)
    }

    /// Takes back what a credential was given; without one, everything.
    pub fn revoke(&self, credential: Option<&Credential>) {
        self.lock()
            .retain(|_, entry| credential.is_some_and(|revoked| entry.caller.credential != *revoked));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry<P>>> {
        self.by_hash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mistle_model::{OpContext, Role};
    use mistle_protocol::api::TicketPurpose;
    use mistle_protocol::id::{OrganizationId, RequestId, SessionId, UserId};
    use secrecy::ExposeSecret as _;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(30);

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
        let (tickets, start, caller) = (Tickets::new(LIFETIME), Instant::now(), caller());
        let purpose = TicketPurpose::SessionLive {
            session_id: SessionId::new(),
        };
        let issue = || tickets.issue(&caller, purpose.clone(), start).unwrap();

        let ticket = issue();
        let spent = tickets.spend(ticket.expose_secret(), &purpose, start).unwrap();
        assert_eq!(spent.ctx.user_id, caller.ctx.user_id);
        assert!(
            tickets.spend(ticket.expose_secret(), &purpose, start).is_none(),
            "twice"
        );

        let ticket = issue();
        assert!(
            tickets
                .spend(ticket.expose_secret(), &TicketPurpose::Live, start)
                .is_none(),
            "another purpose"
        );
        assert!(
            tickets.spend(ticket.expose_secret(), &purpose, start).is_none(),
            "a try spends it"
        );

        let ticket = issue();
        let other = TicketPurpose::SessionLive {
            session_id: SessionId::new(),
        };
        assert!(
            tickets.spend(ticket.expose_secret(), &other, start).is_none(),
            "another session"
        );

        assert!(
            tickets
                .spend(issue().expose_secret(), &purpose, start + LIFETIME)
                .is_none(),
            "late"
        );
        assert!(tickets.spend("nonsense", &purpose, start).is_none());
    }

    #[test]
    fn a_revoked_credential_takes_its_tickets_along() {
        let (tickets, start) = (Tickets::new(LIFETIME), Instant::now());
        let (one, mut other) = (caller(), caller());
        other.credential = Credential::WebSession("other".to_owned());
        let taken = tickets.issue(&one, TicketPurpose::Live, start).unwrap();
        let kept = tickets.issue(&other, TicketPurpose::Live, start).unwrap();
        tickets.revoke(Some(&one.credential));
        let spend = |ticket: &SecretString| tickets.spend(ticket.expose_secret(), &TicketPurpose::Live, start);
        assert!(spend(&taken).is_none());
        assert!(spend(&kept).is_some());
    }

    #[test]
    fn unspent_tickets_are_bounded_and_old_ones_make_room() {
        let (tickets, start, caller) = (Tickets::new(LIFETIME), Instant::now(), caller());
        for _ in 0..MAX_TICKETS {
            assert!(tickets.issue(&caller, TicketPurpose::Live, start).is_some());
        }
        assert!(tickets.issue(&caller, TicketPurpose::Live, start).is_none());
        assert!(tickets.issue(&caller, TicketPurpose::Live, start + LIFETIME).is_some());
    }
}
