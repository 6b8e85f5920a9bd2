-- Which request a command came of, so that its repetition has the effect of one.
PRAGMA user_version = 4;

ALTER TABLE command ADD COLUMN request TEXT;

CREATE INDEX command_request ON command (request) WHERE request IS NOT NULL;
