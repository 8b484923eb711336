CREATE TABLE user_ticket (
    id         TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    deleted_at TEXT,
    -- The caller's 64-bit numbers; those from 2^63 on show as negative ones.
    user_id    INTEGER NOT NULL,
    ticket_id  INTEGER NOT NULL,
    saga_id    TEXT NOT NULL
) WITHOUT ROWID;
