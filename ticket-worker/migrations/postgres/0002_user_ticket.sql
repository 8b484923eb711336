CREATE TABLE user_ticket (
    id         uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    -- The caller's 64-bit numbers; those from 2^63 on show as negative ones.
    user_id    bigint NOT NULL,
    ticket_id  bigint NOT NULL,
    saga_id    uuid NOT NULL
);
