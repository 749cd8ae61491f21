-- What a deployment's broker is told of its devices. A node of the release before leaves it out, and tells nothing.
ALTER TABLE deployment ADD COLUMN proxy_protocol TEXT NOT NULL DEFAULT 'none';
ALTER TABLE deployment ADD COLUMN proxy_identity TEXT NOT NULL DEFAULT 'cn';
