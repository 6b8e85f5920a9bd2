-- A restored store continues another history than the one it was copied from. Its log gets a name of
-- its own; the epoch stays what the store, its references and its trailers are known by. NULL where
-- both are the same.
PRAGMA user_version = 5;

ALTER TABLE leader ADD COLUMN log_epoch BIGINT;
