-- The process of a node, for those who look: which it is, and when it was last heard of. Nobody is counted by it.
CREATE TABLE node_process (
    node       {key} PRIMARY KEY,
    role       TEXT NOT NULL,
    version    TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    heard_at   BIGINT NOT NULL
);
