-- Every event ever published, in the order of its publishing. Append only.
CREATE TABLE journal (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    event    TEXT    NOT NULL
) STRICT;

-- What a queue still owes its consumers: a row for each event, deleted when it is settled, so that
-- the cost of a delivery grows neither with the journal nor with what is finished.
CREATE TABLE queued (
    queue           TEXT    NOT NULL,
    -- Where the event is in the journal.
    position        INTEGER NOT NULL,
    -- ready: to be handed out. suspect: the same, but alone, because it came back unsettled again
    -- and again. in_hand: handed out, not settled. waiting: handled again when it is due.
    state           TEXT    NOT NULL DEFAULT 'ready'
                    CHECK (state IN ('ready', 'suspect', 'in_hand', 'waiting')),
    -- How often handling it failed.
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- How often it was handed out since it was last settled.
    deliveries      INTEGER NOT NULL DEFAULT 0,
    -- Times are microseconds since 1970.
    due_at          INTEGER,
    failure         TEXT,
    first_failed_at INTEGER,
    last_failed_at  INTEGER,
    CHECK ((state = 'waiting') = (due_at IS NOT NULL)),
    PRIMARY KEY (queue, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX queued_ready ON queued (queue, position) WHERE state = 'ready';
CREATE INDEX queued_suspect ON queued (queue, position) WHERE state = 'suspect';
CREATE INDEX queued_waiting ON queued (due_at) WHERE state = 'waiting';

-- Events given up on. Complete in itself: it does not need the journal.
CREATE TABLE dead_letter (
    id              INTEGER PRIMARY KEY,
    queue           TEXT    NOT NULL,
    position        INTEGER NOT NULL,
    event           TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    deliveries      INTEGER NOT NULL,
    failure         TEXT    NOT NULL,
    first_failed_at INTEGER NOT NULL,
    last_failed_at  INTEGER NOT NULL
) STRICT;
