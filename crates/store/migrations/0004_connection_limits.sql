-- How many devices each node lets in; 0 is no limit. A node of the release before leaves it out, and lets all in.
ALTER TABLE deployment ADD COLUMN connections_max BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN connection_rate_max BIGINT NOT NULL DEFAULT 0;
