CREATE TABLE regist (
    id             TEXT PRIMARY KEY,
    created_at     TEXT NOT NULL,
    updated_at     TEXT NOT NULL,
    deleted_at     TEXT,
    -- The caller's 64-bit numbers; those from 2^63 on show as negative ones.
    user_id        INTEGER NOT NULL,
    user_ticket_id TEXT NOT NULL,
    ticket_id      INTEGER NOT NULL,
    saga_id        TEXT NOT NULL
) WITHOUT ROWID;

-- The business rule: at most one live registration of a user for a ticket on sale.
CREATE UNIQUE INDEX regist_one_live_per_user_and_ticket
    ON regist (user_id, ticket_id) WHERE deleted_at IS NULL;
