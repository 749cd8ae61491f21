-- Who uploaded a version or rolled back to it: an API key, which may be revoked since. A node of the release before leaves
-- both null.
ALTER TABLE version ADD COLUMN accepted_by {key};
-- The version that a rollback brought back.
ALTER TABLE version ADD COLUMN restores BIGINT;
