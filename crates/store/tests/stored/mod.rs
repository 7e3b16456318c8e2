//! A session, for tests of what belongs to one.

use mistle_protocol::id::{OrganizationId, SessionId, UserId};
use mistle_protocol::session::Session;
use mistle_store::Store;
use mistle_store::sessions::{Change, SessionRow};

/// A session of an organization of its own, stored.
pub(crate) async fn session(store: &Store) -> SessionRow {
    let session: Session = serde_json::from_value(serde_json::json!({
        "id": SessionId::new(), "title": "t", "state": "running", "state_since": "2026-01-01T00:00:00Z",
        "activity": "idle", "trouble": null, "profile": { "name": "p", "version": 1 }, "provider_label": "Demo",
        "scripted": true, "runtime": "codex", "repository": null, "cwd": "/workspace", "conversation_id": null,
        "turn_id": null, "model": null, "effort": null, "models": [], "usage": null, "approvals": [], "queued": 0,
        "last_seq": 0, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }))
    .unwrap();
    let row = SessionRow {
        session,
        organization_id: OrganizationId::new(),
        created_by: UserId::new(),
        profile: serde_json::from_value(serde_json::json!({ "name": "p", "version": 1, "provider": "demo" })).unwrap(),
        revision: 1,
        journal_seq: 0,
        boot_floor: None,
        ready: false,
        has_disk: false,
        recorded_bytes: 0,
        warm_until: None,
    };
    let change = Change {
        row: &row,
        events: &[],
        messages: &[],
    };
    let _ = store.create_session(&change, None).await.unwrap();
    row
}
