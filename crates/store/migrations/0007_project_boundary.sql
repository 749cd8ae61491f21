-- What an admin gives a project: where its deployments may relay to, and the names that it alone may claim. A node of the release
-- before ignores both, for its own requests and its devices. Null: no restriction.
ALTER TABLE project ADD COLUMN upstream_allow TEXT;
CREATE TABLE host_suffix (
    suffix   {key} PRIMARY KEY,
    -- All but the first label, so that a wildcard finds the suffixes that it covers.
    parent   {key} NOT NULL,
    project  {key} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    position BIGINT NOT NULL
);
CREATE INDEX host_suffix_by_project ON host_suffix (project, position);
CREATE INDEX host_suffix_by_parent ON host_suffix (parent);
-- Drawn at random with every change of the above, so that a node sees that there was one.
INSERT INTO counter (name, value) VALUES ('boundary', 0);

-- Who uses which upstream address, normalised. A node of the release before writes none: deployment.claimed says for which
-- upstreams a deployment has its rows here, and what differs is looked through.
CREATE TABLE upstream_claim (
    address    {key} NOT NULL,
    project    {key} NOT NULL,
    deployment {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    PRIMARY KEY (address, project, deployment)
);
CREATE INDEX upstream_claim_by_deployment ON upstream_claim (deployment);
ALTER TABLE deployment ADD COLUMN claimed TEXT;
CREATE INDEX deployment_unclaimed ON deployment (id)
    WHERE coalesce(claimed, '') <> upstream || ' ' || coalesce(ws_upstream, '');
