-- Everything but the request log. {key} is text in byte order, {bytes} a byte string, {number} a number that is a
-- primary key, {serial} one that the engine draws. Only these differ between the engines; see src/schema.rs.

CREATE TABLE counter (
    name  {key} PRIMARY KEY,
    value BIGINT NOT NULL
);
-- generation: the newest one drawn. feed_pruned: the newest feed row that is gone. ping: written to see that one can.
INSERT INTO counter (name, value) VALUES ('generation', 0), ('feed_pruned', 0), ('ping', 0);

CREATE TABLE secret (
    name       {key} PRIMARY KEY,
    sealed     {bytes} NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE project (
    id          {key} PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE deployment (
    id           {key} PRIMARY KEY,
    project      {key} NOT NULL REFERENCES project (id),
    name         TEXT NOT NULL,
    upstream     TEXT NOT NULL,
    ws_upstream  TEXT,
    created_at   BIGINT NOT NULL,
    generation   BIGINT NOT NULL,
    tls_state    {key} NOT NULL,
    tls_version  BIGINT,
    tls_deadline BIGINT,
    tls_reason   TEXT
);
CREATE INDEX deployment_by_project ON deployment (project, id);
-- Finds the unsettled and the overdue among many that are running.
CREATE INDEX deployment_by_tls_state ON deployment (tls_state, tls_deadline);

CREATE TABLE host (
    name       {key} PRIMARY KEY,
    -- All but the first label, so that a wildcard finds the names that it covers.
    parent     {key} NOT NULL,
    deployment {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    project    {key} NOT NULL,
    position   BIGINT NOT NULL
);
CREATE INDEX host_by_deployment ON host (deployment, position);
CREATE INDEX host_by_parent ON host (parent);

CREATE TABLE version (
    deployment  {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    version     BIGINT NOT NULL,
    tls_type    {key} NOT NULL,
    chain       {bytes} NOT NULL,
    client_cas  {bytes} NOT NULL,
    trust_scope {bytes} NOT NULL,
    common_name TEXT,
    not_after   BIGINT NOT NULL,
    findings    TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    proven      BIGINT NOT NULL,
    -- Null once erased.
    sealed_key  {bytes},
    PRIMARY KEY (deployment, version)
);

CREATE TABLE node (
    id          {key} PRIMARY KEY,
    started_at  BIGINT NOT NULL,
    lease_until BIGINT NOT NULL
);
CREATE INDEX node_by_lease ON node (lease_until);

-- No foreign keys on purpose: a node that joins writes here for many deployments at once and must neither wait for
-- their changes nor make them wait. What is left of a removed deployment means nothing and is pruned.
CREATE TABLE node_count (
    deployment {key} NOT NULL,
    node       {key} NOT NULL,
    proven     BIGINT NOT NULL,
    reason     TEXT,
    PRIMARY KEY (deployment, node)
);
CREATE INDEX node_count_by_node ON node_count (node);

CREATE TABLE api_key (
    key          {key} PRIMARY KEY,
    name         TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    all_projects BIGINT NOT NULL,
    digest       {bytes} NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE api_key_project (
    key     {key} NOT NULL REFERENCES api_key (key) ON DELETE CASCADE,
    project {key} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    PRIMARY KEY (key, project)
);
CREATE INDEX api_key_project_by_project ON api_key_project (project);

CREATE TABLE feed (
    generation {number} PRIMARY KEY,
    deployment {key} NOT NULL,
    at         BIGINT NOT NULL
);

CREATE TABLE audit (
    number  {serial},
    at      BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
);
