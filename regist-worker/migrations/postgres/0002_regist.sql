CREATE TABLE regist (
    id             uuid PRIMARY KEY,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    deleted_at     timestamptz,
    -- The caller's 64-bit numbers; those from 2^63 on show as negative ones.
    user_id        bigint NOT NULL,
    user_ticket_id uuid NOT NULL,
    ticket_id      bigint NOT NULL,
    saga_id        uuid NOT NULL
);

-- The business rule: at most one live registration of a user for a ticket on sale.
CREATE UNIQUE INDEX regist_one_live_per_user_and_ticket
    ON regist (user_id, ticket_id) WHERE deleted_at IS NULL;
