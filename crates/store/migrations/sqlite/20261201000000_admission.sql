-- Who was invited to become a worker, and who became one.
PRAGMA user_version = 3;

CREATE TABLE invitation (
    invitation_id TEXT PRIMARY KEY NOT NULL,
    key TEXT NOT NULL,
    worker_id TEXT,
    uses_max BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE credential (
    key TEXT PRIMARY KEY NOT NULL,
    worker_id TEXT NOT NULL,
    invitation_id TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    revoked_at BIGINT
);
-- A name belongs to one machine.
CREATE UNIQUE INDEX credential_in_force ON credential (worker_id) WHERE revoked_at IS NULL;
