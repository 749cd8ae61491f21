-- What is asked: JSON, that the store does not read. Empty: the failed handshakes, as releases before ask.
ALTER TABLE node_question ADD COLUMN request TEXT NOT NULL DEFAULT '';
-- 1: a change waits for its answers, which come first.
ALTER TABLE node_question ADD COLUMN urgency BIGINT NOT NULL DEFAULT 0;
