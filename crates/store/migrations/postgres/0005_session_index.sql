-- What lists of sessions are searched and filtered by. Apart from the sessions, because a search
-- reads every row and a session's documents are a hundred times as long.
CREATE TABLE session_index (
    session_id      text   NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    organization_id text   NOT NULL,
    state           text   NOT NULL,
    activity        text   NOT NULL,
    -- When a session in the trash is destroyed; 0 for one that is not in it.
    purge_at        bigint NOT NULL,
    profile         text   NOT NULL,
    -- Sources, each between line breaks.
    repositories    text   NOT NULL,
    -- In lower case, because the two databases disagree on what that is: title, sources, id.
    about           text   NOT NULL,
    -- The beginning of the first message, in lower case.
    task            text   NOT NULL
);
CREATE INDEX session_index_of_organization ON session_index (organization_id, session_id);
CREATE INDEX session_index_trash ON session_index (purge_at) WHERE purge_at > 0;
