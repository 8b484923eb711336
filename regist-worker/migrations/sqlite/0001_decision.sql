-- The one row about each saga: what was decided, once, and is repeated for ever. A row whose step is
-- empty is a tombstone: the undo came first, and the step will not start. Nothing here expires.
CREATE TABLE decision (
    saga_id   TEXT PRIMARY KEY,
    step_type TEXT,
    step_data TEXT,
    step_at   TEXT,
    undo_type TEXT,
    undo_data TEXT,
    undo_at   TEXT,
    CONSTRAINT decision_has_a_reply CHECK (step_type IS NOT NULL OR undo_type IS NOT NULL)
) WITHOUT ROWID;
