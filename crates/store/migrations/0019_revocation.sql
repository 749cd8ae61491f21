-- What a deployment refuses beside what its client CAs refuse, and how its sessions end. A node of the release before
-- knows none of it.
-- Of the revocations and CRLs, see model/revocation_mark.rs; null: there is none.
ALTER TABLE deployment ADD COLUMN revocation_mark {bytes};
-- In seconds; 0: without end.
ALTER TABLE deployment ADD COLUMN max_session_age BIGINT NOT NULL DEFAULT 0;
-- How many sessions each node ends in a second, of those that the newest change ends; 0: at once.
ALTER TABLE deployment ADD COLUMN close_rate BIGINT NOT NULL DEFAULT 0;
