-- How long a session that was prepared before anyone asked for it waits for that; null for all others.
-- It is in no list: session_index gets it when it is adopted.
ALTER TABLE sessions ADD COLUMN warm_until bigint;
CREATE INDEX sessions_warm ON sessions (created_by) WHERE warm_until IS NOT NULL;
