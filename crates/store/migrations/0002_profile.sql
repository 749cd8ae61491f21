-- How strictly uploads are judged. A node of the release before leaves it out, and is answered with the default.
ALTER TABLE deployment ADD COLUMN profile TEXT NOT NULL DEFAULT 'default';
