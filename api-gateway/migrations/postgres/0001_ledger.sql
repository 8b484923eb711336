-- One row per saga, written whole by the projector.
--
-- No secondary index: every index on a column that changes would make each update write a new
-- version of every index entry. The free space lets an update stay on its page.
CREATE TABLE saga (
    saga_id uuid NOT NULL PRIMARY KEY,
    user_ticket_id uuid,
    regist_id uuid,
    user_id bigint,          -- unsigned: above 2^63-1 shows as negative
    ticket_id bigint,        -- likewise
    started_at timestamptz,
    ended_at timestamptz,
    waits_since timestamptz,
    saga text NOT NULL,      -- the kind
    status text NOT NULL,
    waits_for text,          -- the queue of the step that has not answered yet
    reason text,             -- why a step was refused
    timeline text NOT NULL   -- JSON: [[type, source, microseconds, place of its cause, id], ...]
) WITH (fillfactor = 80);

-- How far the journal is projected, and which replica projects.
CREATE TABLE ledger_cursor (
    id smallint NOT NULL PRIMARY KEY CHECK (id = 1),
    position bigint,         -- null: nothing yet
    owner text NOT NULL,
    lease_until timestamptz NOT NULL
);
INSERT INTO ledger_cursor VALUES (1, NULL, '', 'epoch');
