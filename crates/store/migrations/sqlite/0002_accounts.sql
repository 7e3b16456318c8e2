-- Who may use the server. Secrets are kept as SHA-256 hashes, in hexadecimal, and never themselves.

CREATE TABLE organizations (
    id         text   NOT NULL PRIMARY KEY,
    name       text   NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE users (
    id         text   NOT NULL PRIMARY KEY,
    name       text   NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE memberships (
    organization_id text   NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user_id         text   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role            text   NOT NULL,
    created_at      bigint NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);

CREATE TABLE login_codes (
    hash            text   NOT NULL PRIMARY KEY,
    organization_id text   NOT NULL,
    user_id         text   NOT NULL,
    created_at      bigint NOT NULL,
    expires_at      bigint NOT NULL,
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships (organization_id, user_id) ON DELETE CASCADE
);

CREATE TABLE web_sessions (
    hash            text   NOT NULL PRIMARY KEY,
    organization_id text   NOT NULL,
    user_id         text   NOT NULL,
    created_at      bigint NOT NULL,
    expires_at      bigint NOT NULL,
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships (organization_id, user_id) ON DELETE CASCADE
);

CREATE TABLE tokens (
    id              text   NOT NULL PRIMARY KEY,
    hash            text   NOT NULL UNIQUE,
    organization_id text   NOT NULL,
    user_id         text   NOT NULL,
    name            text   NOT NULL,
    created_at      bigint NOT NULL,
    last_used_at    bigint,
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships (organization_id, user_id) ON DELETE CASCADE
);
CREATE INDEX tokens_of_member ON tokens (organization_id, user_id, id);
