-- What is asked: JSON, that the store does not read. Empty: the failed handshakes, as releases before ask.
ALTER TABLE node_question ADD COLUMN request TEXT NOT NULL DEFAULT '';
