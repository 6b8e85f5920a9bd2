-- Commands of other kinds than feedback, and why one was rejected.
PRAGMA user_version = 2;

ALTER TABLE command ADD COLUMN kind TEXT NOT NULL DEFAULT '{"name":"feedback"}';
ALTER TABLE command ADD COLUMN reason TEXT;
