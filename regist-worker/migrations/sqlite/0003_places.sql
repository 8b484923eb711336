-- A deleted ticket leaves a tombstone: nobody is ever registered with it again. It is the ticket's last
-- registration, or, where there was none, a row with no user (0) that was never live.
ALTER TABLE regist ADD COLUMN is_tombstone INTEGER NOT NULL DEFAULT 0;

-- A ticket has one place: for one live registration, or for its tombstone. Whichever of the two comes
-- second in a race violates this.
CREATE UNIQUE INDEX regist_one_place_per_ticket
    ON regist (user_ticket_id) WHERE deleted_at IS NULL OR is_tombstone;
