-- Everything that ends: the certificates of a deployment's newest upload, API keys, certificates of APIs.
CREATE TABLE ending (
    number    {serial},
    -- The deployment, the API key or the node.
    owner     {key} NOT NULL,
    kind      {key} NOT NULL,
    -- A certificate's fingerprint, or the API key.
    item      {key} NOT NULL,
    -- Empty: the operator's.
    project   {key} NOT NULL,
    subject   TEXT NOT NULL,
    begins_at BIGINT NOT NULL,
    ends_at   BIGINT NOT NULL,
    -- When the next rule applies; null after the last one.
    due_at    BIGINT,
    UNIQUE (owner, kind, item)
);
CREATE INDEX ending_by_end ON ending (ends_at, number);
CREATE INDEX ending_by_project ON ending (project, ends_at, number);
CREATE INDEX ending_by_due ON ending (due_at, number) WHERE due_at IS NOT NULL;
CREATE INDEX ending_by_item ON ending (item, number);
-- The newest upload whose certificates are listed. A node of the release before leaves it as it is; what differs is
-- found by the index, as are all deployments after this migration.
ALTER TABLE deployment ADD COLUMN ending_version BIGINT;
CREATE INDEX deployment_unlisted ON deployment (id) WHERE coalesce(ending_version, -1) <> coalesce(tls_version, -1);

-- A rule that applied to a certificate or key: once for each in a project.
CREATE TABLE alert (
    id           {key} PRIMARY KEY,
    project      {key} NOT NULL,
    kind         {key} NOT NULL,
    item         {key} NOT NULL,
    rule         {key} NOT NULL,
    subject      TEXT NOT NULL,
    begins_at    BIGINT NOT NULL,
    ends_at      BIGINT NOT NULL,
    -- The first owners, as JSON, and how many there are.
    owners       TEXT NOT NULL,
    owner_count  BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    -- By how many milliseconds the clock had jumped just before.
    clock_jump   BIGINT NOT NULL,
    -- When the last owner replaced it.
    withdrawn_at BIGINT,
    UNIQUE (project, kind, item, rule)
);
CREATE INDEX alert_by_time ON alert (at, id);
CREATE INDEX alert_by_project ON alert (project, at, id);

CREATE TABLE alert_channel (
    id         {key} PRIMARY KEY,
    -- Null: the operator's, for all projects.
    project    {key} REFERENCES project (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    -- Its receiver: a URL may hold a secret, too.
    sealed     {bytes} NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX alert_channel_by_project ON alert_channel (project);

CREATE TABLE alert_delivery (
    alert    {key} NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
    channel  {key} NOT NULL REFERENCES alert_channel (id) ON DELETE CASCADE,
    state    {key} NOT NULL,
    attempts BIGINT NOT NULL,
    -- Of the next attempt; the last one's when there is none.
    next_at  BIGINT NOT NULL,
    failure  TEXT,
    PRIMARY KEY (alert, channel)
);
CREATE INDEX alert_delivery_due ON alert_delivery (state, next_at);
CREATE INDEX alert_delivery_by_channel ON alert_delivery (channel);

-- Null: it does not end. A node of the release before accepts the key after its end.
ALTER TABLE api_key ADD COLUMN expires_at BIGINT;

-- clock: the newest time that was seen. expiry_rules: those that due_at was computed with.
INSERT INTO counter (name, value) VALUES ('clock', 0), ('expiry_rules', 0);
