-- Alerts about changes that were stopped, too. Their kind is stoppedChange; item has the fingerprint of the leaf that
-- was not accepted, rule the deployment, and begins_at and ends_at are 0. A node of the release before cannot read them.
-- detail: what the alert says of the change: JSON, that the store does not read. Empty for what ends.
ALTER TABLE alert ADD COLUMN detail TEXT NOT NULL DEFAULT '';
CREATE INDEX alert_by_stopped_deployment ON alert (rule) WHERE kind = 'stoppedChange';
