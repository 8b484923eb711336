-- When the bus took the entry, in microseconds since 1970: what retention and a reader from a time go
-- by. Null of what an older build took.
ALTER TABLE journal ADD COLUMN taken_at INTEGER;
