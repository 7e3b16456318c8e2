//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use mistle_protocol::api::TicketPurpose;
use mistle_store::Store;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::attachments::Attachments;
use crate::auth::caller::{Cookie, Credential};
use crate::auth::login::LoginLimit;
use crate::auth::origin::Origins;
use crate::auth::tickets::Tickets;
use crate::config::Config;
use crate::gateway::preview::Previews;
use crate::sessions::Sessions;

/// Revocations that a slow WebSocket may fall behind; one that misses some ends, to be safe.
const MAX_REVOCATIONS: usize = 64;
/// How long a ticket for a WebSocket waits to be spent.
const TICKET: Duration = Duration::from_secs(30);

/// Everything that a handler may need. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// Sessions.
    pub sessions: Sessions,
    /// Files that go with messages.
    pub attachments: Attachments,
    /// The address for browsers.
    pub public_url: Url,
    /// The origins that are ours.
    pub origins: Arc<Origins>,
    /// How the cookie is called.
    pub cookie: Cookie,
    /// Web pages of sandboxes.
    pub previews: Previews,
    /// Unspent tickets.
    pub tickets: Tickets<TicketPurpose>,
    /// Wrong login codes.
    pub login_limit: LoginLimit,
    /// Credentials that were revoked, for the streams that they opened.
    pub revoked: broadcast::Sender<Credential>,
    /// Numbers.
    pub metrics: PrometheusHandle,
    /// Cancelled when the server ends.
    pub shutdown: CancellationToken,
    /// WebSockets, which outlive their connections' tasks.
    pub streams: TaskTracker,
}

impl App {
    /// What handlers share, for a server that is bound.
    pub fn new(
        config: Arc<Config>,
        store: Store,
        sessions: Sessions,
        public_url: Url,
        origins: Origins,
        previews: Previews,
    ) -> Self {
        Self {
            cookie: Cookie::new(public_url.scheme() == "https"),
            origins: Arc::new(origins),
            previews,
            tickets: Tickets::new(TICKET),
            login_limit: LoginLimit::default(),
            revoked: broadcast::channel(MAX_REVOCATIONS).0,
            metrics: crate::metrics::recorder(),
            shutdown: CancellationToken::new(),
            streams: TaskTracker::new(),
            config,
            store,
            attachments: sessions.attachments(),
            sessions,
            public_url,
        }
    }

    /// Ends what hangs on a credential that is good no more: tickets first, so that none is spent
    /// on a stream that does not hear of it.
    pub fn revoke(&self, credential: &Credential) {
        self.tickets.revoke(Some(credential));
        // No stream is open: nobody to tell.
        let _ = self.revoked.send(credential.clone());
    }
}
