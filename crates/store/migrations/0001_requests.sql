-- The request log. On SQLite a file of its own, so that counting a read neither costs nor waits for an fsync.

CREATE TABLE request_scope (
    scope   {key} PRIMARY KEY,
    -- The sequence number of the next admitted request.
    next    BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);

CREATE TABLE request (
    scope {key} NOT NULL REFERENCES request_scope (scope) ON DELETE CASCADE,
    at    BIGINT NOT NULL,
    seq   BIGINT NOT NULL,
    -- Within a scope, at never falls as seq grows: the first row of a window says how many follow it.
    PRIMARY KEY (scope, at, seq)
);
