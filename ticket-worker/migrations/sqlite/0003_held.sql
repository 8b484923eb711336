-- A ticket may be held by the saga that registers its user with it, and may be changed. Until now every
-- ticket was bought for a registration.
ALTER TABLE user_ticket ADD COLUMN held_by TEXT;
ALTER TABLE user_ticket ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
UPDATE user_ticket SET held_by = saga_id;

-- What lists are filtered by, newest first.
CREATE INDEX user_ticket_of_user ON user_ticket (user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX user_ticket_of_ticket ON user_ticket (ticket_id, created_at, id) WHERE deleted_at IS NULL;
