-- Rows may hold messages up to here: with sagas held back, the position is a page behind it.
ALTER TABLE ledger_cursor ADD COLUMN seen INTEGER;
-- How many wait at a step, and since when. Only what is written before it has ended is in it.
CREATE INDEX saga_waiting ON saga (waits_for, waits_since) WHERE waits_for IS NOT NULL;
