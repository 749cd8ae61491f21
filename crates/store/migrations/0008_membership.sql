-- Which history a feed row belongs to: after a fail-over that lost the newest rows, the same numbers are drawn again with
-- other nonces. 0 in rows of a release before, and in those of a node of that release.
ALTER TABLE feed ADD COLUMN nonce BIGINT NOT NULL DEFAULT 0;
-- Which process of a node the row belongs to, and since which join: reports and renewals of another one are void.
ALTER TABLE node ADD COLUMN session BIGINT NOT NULL DEFAULT 0;
