-- The command that started the saga, as JSON, while nothing has answered it: so that it can be
-- published again.
ALTER TABLE saga ADD COLUMN unanswered text;
