-- How often an operator put the event back; each time its attempts start afresh.
ALTER TABLE queued ADD COLUMN requeued INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead_letter ADD COLUMN requeued INTEGER NOT NULL DEFAULT 0;

CREATE INDEX dead_letter_of_queue ON dead_letter (queue, id);

-- What operators did, an entry of JSON for each message. Append only.
CREATE TABLE operation (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    entry TEXT NOT NULL
) STRICT;

CREATE TRIGGER operation_is_not_changed BEFORE UPDATE ON operation
BEGIN SELECT RAISE(ABORT, 'the record of operations is append only'); END;

CREATE TRIGGER operation_is_not_deleted BEFORE DELETE ON operation
BEGIN SELECT RAISE(ABORT, 'the record of operations is append only'); END;
