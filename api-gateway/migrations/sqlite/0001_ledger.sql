-- One row per saga, written whole by the projector. Times are microseconds since 1970.
CREATE TABLE saga (
    saga_id TEXT NOT NULL PRIMARY KEY,
    user_ticket_id TEXT,
    regist_id TEXT,
    user_id INTEGER,         -- unsigned: above 2^63-1 shows as negative
    ticket_id INTEGER,       -- likewise
    started_at INTEGER,
    ended_at INTEGER,
    waits_since INTEGER,
    saga TEXT NOT NULL,      -- the kind
    status TEXT NOT NULL,
    waits_for TEXT,          -- the queue of the step that has not answered yet
    reason TEXT,             -- why a step was refused
    timeline TEXT NOT NULL   -- JSON: [[type, source, microseconds, place of its cause, id], ...]
) STRICT, WITHOUT ROWID;

-- How far the journal is projected, and which replica projects.
CREATE TABLE ledger_cursor (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    position INTEGER,        -- null: nothing yet
    owner TEXT NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT;
INSERT INTO ledger_cursor VALUES (1, NULL, '', 0);
