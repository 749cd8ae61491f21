-- What a node wants to know of all nodes, and what they say. Rows live for a second; those that a killed node leaves
-- are pruned.
CREATE TABLE node_question (
    id         BIGINT PRIMARY KEY,
    deployment {key} NOT NULL,
    asked_at   BIGINT NOT NULL
);
CREATE TABLE node_answer (
    question    BIGINT NOT NULL,
    node        {key} NOT NULL,
    body        TEXT NOT NULL,
    answered_at BIGINT NOT NULL,
    PRIMARY KEY (question, node)
);
