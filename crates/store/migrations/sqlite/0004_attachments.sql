-- Files that people give to agents. The bytes are in the blob store, under the same id. One that no
-- message carries is its maker's alone, and is cleaned up when it has been free for long.
CREATE TABLE attachments (
    id              text   NOT NULL PRIMARY KEY,
    organization_id text   NOT NULL,
    created_by      text   NOT NULL,
    name            text   NOT NULL,
    media_type      text   NOT NULL,
    size            bigint NOT NULL,
    created_at      bigint NOT NULL,
    -- Since when no message carries it.
    free_since      bigint NOT NULL,
    -- Null together. No foreign key: a row outlives its session until its bytes are gone.
    session_id      text,
    message_id      text
);
CREATE INDEX attachments_free ON attachments (created_by, organization_id) WHERE message_id IS NULL;
CREATE INDEX attachments_of_message ON attachments (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX attachments_of_session ON attachments (session_id) WHERE session_id IS NOT NULL;
