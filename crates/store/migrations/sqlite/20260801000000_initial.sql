-- Which file this is, and how far its schema has come. Both change with the transaction.
PRAGMA application_id = 0x4b61706c;
PRAGMA user_version = 1;

-- One row: who may write, and how far the log reaches.
CREATE TABLE leader (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    term BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    epoch BIGINT NOT NULL
);

-- The history that everything below could be rebuilt from.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at BIGINT NOT NULL,
    run_id BIGINT,
    task_index BIGINT,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL
);
-- Serves a run's events in order, and a task's without touching the rows of the others.
CREATE INDEX event_by_run ON event (run_id, seq, task_index) WHERE run_id IS NOT NULL;

CREATE TABLE run (
    run_id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    outcome TEXT,
    submitted_at BIGINT NOT NULL,
    finished_at BIGINT,
    record TEXT NOT NULL
);
CREATE INDEX run_open ON run (run_id) WHERE outcome IS NULL;

-- What never changes of a task, apart from what changes often: prompts are long.
CREATE TABLE task_spec (
    run_id BIGINT NOT NULL REFERENCES run (run_id),
    task_index BIGINT NOT NULL,
    key TEXT NOT NULL,
    title TEXT NOT NULL,
    agent TEXT NOT NULL,
    repository TEXT NOT NULL,
    spec TEXT NOT NULL,
    PRIMARY KEY (run_id, task_index)
);

CREATE TABLE task (
    run_id BIGINT NOT NULL,
    task_index BIGINT NOT NULL,
    state TEXT NOT NULL,
    since BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (run_id, task_index),
    FOREIGN KEY (run_id, task_index) REFERENCES task_spec (run_id, task_index)
);

CREATE TABLE attempt (
    run_id BIGINT NOT NULL,
    task_index BIGINT NOT NULL,
    number BIGINT NOT NULL,
    phase TEXT NOT NULL,
    worker TEXT,
    fence BIGINT,
    offered_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    outcome TEXT,
    verdict TEXT,
    summary TEXT,
    input_tokens BIGINT,
    output_tokens BIGINT,
    cost_microusd BIGINT,
    record TEXT NOT NULL,
    PRIMARY KEY (run_id, task_index, number),
    FOREIGN KEY (run_id, task_index) REFERENCES task (run_id, task_index)
);

-- One row for each check of an attempt that has ended.
CREATE TABLE check_result (
    run_id BIGINT NOT NULL,
    task_index BIGINT NOT NULL,
    number BIGINT NOT NULL,
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    verdict TEXT NOT NULL,
    detail TEXT NOT NULL,
    took_ms BIGINT NOT NULL,
    PRIMARY KEY (run_id, task_index, number, position),
    FOREIGN KEY (run_id, task_index, number) REFERENCES attempt (run_id, task_index, number)
);

CREATE TABLE command (
    run_id BIGINT NOT NULL,
    task_index BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    text TEXT NOT NULL,
    at BIGINT NOT NULL,
    state TEXT NOT NULL,
    attempt BIGINT,
    settled_at BIGINT,
    PRIMARY KEY (run_id, task_index, seq),
    FOREIGN KEY (run_id, task_index) REFERENCES task (run_id, task_index)
);

CREATE TABLE worker (
    worker_id TEXT PRIMARY KEY NOT NULL,
    session BIGINT NOT NULL,
    state TEXT NOT NULL,
    since BIGINT NOT NULL,
    reason TEXT,
    registration TEXT NOT NULL
);
