-- The generation at which a deployment was created: one that was removed and created again under its id is another one.
-- 0 for those of before. A node of the release before leaves it out, and what it creates is 0, too.
ALTER TABLE deployment ADD COLUMN born BIGINT NOT NULL DEFAULT 0;
