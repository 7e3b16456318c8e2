-- Columns are text, bigint, double or blob only: the same SQL then works on both databases.
-- Flags are 0 and 1, times are microseconds since 1970, ids and JSON are text.

CREATE TABLE meta (
    name  text NOT NULL PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE sessions (
    id              text   NOT NULL PRIMARY KEY,
    organization_id text   NOT NULL,
    created_by      text   NOT NULL,
    -- Grows with every change; a writer that did not see the last one is refused.
    revision        bigint NOT NULL,
    state           text   NOT NULL,
    -- The last journal entry of the sandbox that is in session_events.
    journal_seq     bigint NOT NULL,
    -- Journal entries up to here belong to earlier runs of the sandbox; null until the daemon called.
    boot_floor      bigint,
    ready           bigint NOT NULL,
    -- Whether the sandbox's disk was created: from then on it is never replaced.
    has_disk        bigint NOT NULL,
    recorded_bytes  bigint NOT NULL,
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL,
    -- The session as the API shows it, and the profile that it was started from.
    document        text   NOT NULL,
    profile         text   NOT NULL
);
CREATE INDEX sessions_of_organization ON sessions (organization_id, id);
CREATE INDEX sessions_in_state ON sessions (state);

CREATE TABLE messages (
    id         text   NOT NULL PRIMARY KEY,
    session_id text   NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    position   bigint NOT NULL,
    state      text   NOT NULL,
    document   text   NOT NULL
);
CREATE INDEX messages_of_session ON messages (session_id, state, position);

CREATE TABLE session_events (
    session_id  text   NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    seq         bigint NOT NULL,
    journal_seq bigint,
    -- Which item a delta belongs to; null for everything else.
    delta_of    text,
    at          bigint NOT NULL,
    body        text   NOT NULL,
    PRIMARY KEY (session_id, seq)
);
CREATE UNIQUE INDEX session_events_ingested_once ON session_events (session_id, journal_seq);
CREATE INDEX session_events_deltas ON session_events (session_id, delta_of) WHERE delta_of IS NOT NULL;

CREATE TABLE idempotency_keys (
    organization_id text   NOT NULL,
    operation       text   NOT NULL,
    name            text   NOT NULL,
    fingerprint     text   NOT NULL,
    resource        text   NOT NULL,
    created_at      bigint NOT NULL,
    PRIMARY KEY (organization_id, operation, name)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE egress_records (
    id         text   NOT NULL PRIMARY KEY,
    session_id text   NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    at         bigint NOT NULL,
    document   text   NOT NULL
);
CREATE INDEX egress_records_of_session ON egress_records (session_id, id);
