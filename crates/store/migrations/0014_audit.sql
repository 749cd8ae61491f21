-- Rows of the audit form a chain: each has a MAC over its columns and the MAC of the one before. Rows of a node of the
-- release before have neither position nor MAC.
ALTER TABLE audit ADD COLUMN project {key};
ALTER TABLE audit ADD COLUMN deployment {key};
-- The client's.
ALTER TABLE audit ADD COLUMN address TEXT;
ALTER TABLE audit ADD COLUMN request TEXT;
-- Null: done; else the error code of the refusal.
ALTER TABLE audit ADD COLUMN refusal TEXT;
ALTER TABLE audit ADD COLUMN fingerprint_before TEXT;
ALTER TABLE audit ADD COLUMN fingerprint_after TEXT;
-- In the chain, from 1 and without gaps; `number` is the order of the list, and has gaps on PostgreSQL.
ALTER TABLE audit ADD COLUMN position BIGINT;
-- The id of the master key that the MAC's key is derived from.
ALTER TABLE audit ADD COLUMN master_key {bytes};
ALTER TABLE audit ADD COLUMN mac {bytes};
CREATE UNIQUE INDEX audit_by_position ON audit (position) WHERE position IS NOT NULL;

-- head: the newest row of the chain; locked by each transaction that appends.
-- checkpoint: the newest pruned row, which verification starts after; authenticated by a MAC of its own.
CREATE TABLE audit_mark (
    name       {key} PRIMARY KEY,
    position   BIGINT NOT NULL,
    -- Null: no row yet.
    row_mac    {bytes},
    number     BIGINT,
    at         BIGINT,
    master_key {bytes},
    mac        {bytes}
);
INSERT INTO audit_mark (name, position) VALUES ('head', 0);
