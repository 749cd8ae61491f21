-- Every change of the master key, the newest with the highest number; see src/rekey/mod.rs. A node of the release before
-- reads none of this: it reports no keys, and a rekey waits for it.
CREATE TABLE rekey (
    number      {number} PRIMARY KEY,
    -- Ids of master keys.
    from_key    {key} NOT NULL,
    to_key      {key} NOT NULL UNIQUE,
    -- By which nodes know this store: its first check value, sealed, in hexadecimal digits.
    identity    TEXT NOT NULL,
    switched_at BIGINT NOT NULL,
    -- When no record was sealed under from_key any more; and when no node's replica had one.
    resealed_at BIGINT,
    finished_at BIGINT
);

-- The ids of the master keys that the process holds, and of the one that its replica is sealed under (null: no replica).
ALTER TABLE node_process ADD COLUMN master_keys TEXT;
ALTER TABLE node_process ADD COLUMN replica_key TEXT;
-- heard_at of the report with these keys. A node of the release before leaves it, and both then differ.
ALTER TABLE node_process ADD COLUMN keys_heard_at BIGINT;
