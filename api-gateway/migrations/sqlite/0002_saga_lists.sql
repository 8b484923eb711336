-- For lists, newest first. Under load a saga is written once, when it has ended, so the index of
-- those without an end stays as small as there are sagas in flight.
CREATE INDEX saga_by_start ON saga (started_at, saga_id);
CREATE INDEX saga_of_user ON saga (user_id, started_at, saga_id);
CREATE INDEX saga_unfinished ON saga (started_at, saga_id) WHERE ended_at IS NULL;
