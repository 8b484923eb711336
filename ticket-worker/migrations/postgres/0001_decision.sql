-- The one row about each saga: what was decided, once, and is repeated for ever. A row whose step is
-- empty is a tombstone: the undo came first, and the step will not start. Nothing here expires.
CREATE TABLE decision (
    saga_id   uuid PRIMARY KEY,
    step_type text,
    step_data json,
    step_at   timestamptz,
    undo_type text,
    undo_data json,
    undo_at   timestamptz,
    CONSTRAINT decision_has_a_reply CHECK (step_type IS NOT NULL OR undo_type IS NOT NULL)
);
