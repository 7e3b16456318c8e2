-- Comments on a session's changes. The state and the message stand beside the document, because
-- they change with the message that a comment leaves with.
CREATE TABLE comments (
    id         text NOT NULL PRIMARY KEY,
    session_id text NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    state      text NOT NULL,
    message_id text,
    document   text NOT NULL
);
CREATE INDEX comments_of_session ON comments (session_id, id);

-- Which content of a file somebody has viewed.
CREATE TABLE viewed_files (
    session_id  text   NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    user_id     text   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    path        text   NOT NULL,
    fingerprint text   NOT NULL,
    viewed_at   bigint NOT NULL,
    PRIMARY KEY (session_id, user_id, path)
);
