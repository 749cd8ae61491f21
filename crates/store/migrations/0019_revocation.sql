-- What a deployment refuses beside what its client CAs refuse, and how its sessions end. A node of the release before
-- knows none of it: it removes a deployment with all that belongs to it here.
-- Of the revocations and CRLs, see model/revocation_mark.rs; null: there is none.
ALTER TABLE deployment ADD COLUMN revocation_mark {bytes};
-- Rows of revocation.
ALTER TABLE deployment ADD COLUMN revocation_count BIGINT NOT NULL DEFAULT 0;
-- To sum them up.
CREATE INDEX deployment_with_revocations ON deployment (revocation_count) WHERE revocation_count > 0;
-- In seconds; 0: without end.
ALTER TABLE deployment ADD COLUMN max_session_age BIGINT NOT NULL DEFAULT 0;
-- How many sessions each node ends in a second, of those that the newest change ends; 0: at once.
ALTER TABLE deployment ADD COLUMN close_rate BIGINT NOT NULL DEFAULT 0;

-- The deny-list. A replica has of a row what certificates are looked up by, and nothing to show.
CREATE TABLE revocation (
    deployment  {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    -- 16 random bytes, part of the mark.
    id          {bytes} NOT NULL,
    -- Of the change that added it.
    generation  BIGINT NOT NULL,
    deny_key    {bytes} NOT NULL,
    -- certificate, serial or name: which of the following there are.
    kind        {key} NOT NULL,
    device      {bytes},
    fingerprint TEXT,
    issuer      TEXT,
    serial      TEXT,
    name        TEXT,
    reason      TEXT NOT NULL,
    revoked_by  {key} NOT NULL,
    revoked_at  BIGINT NOT NULL,
    PRIMARY KEY (deployment, id),
    UNIQUE (deployment, deny_key)
);
CREATE INDEX revocation_by_generation ON revocation (deployment, generation, id);

CREATE TABLE crl (
    deployment   {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    id           {key} NOT NULL,
    -- 16 random bytes, part of the mark: drawn by each change that nodes must read. Null: not fetched yet.
    revision     {bytes},
    -- Of that change.
    generation   BIGINT NOT NULL,
    -- Of the DER, in crl_part.
    bytes        BIGINT NOT NULL,
    -- The SubjectPublicKeyInfo of the CA that signed it, and its name.
    signer       {bytes},
    issuer_name  {bytes},
    issuer       TEXT NOT NULL,
    -- In hexadecimal digits.
    number       TEXT,
    this_update  BIGINT,
    next_update  BIGINT,
    entries      BIGINT NOT NULL,
    stale_policy {key} NOT NULL,
    -- Null: it is uploaded.
    url          TEXT,
    etag         TEXT,
    last_modified TEXT,
    fetched_at   BIGINT,
    next_fetch_at BIGINT,
    -- The last fetch, if it failed: a code, one sentence, and since when all have.
    failure_code TEXT,
    failure      TEXT,
    failing_since BIGINT,
    failures     BIGINT NOT NULL DEFAULT 0,
    put_by       {key} NOT NULL,
    put_at       BIGINT NOT NULL,
    PRIMARY KEY (deployment, id)
);
CREATE INDEX crl_by_next_fetch ON crl (next_fetch_at) WHERE next_fetch_at IS NOT NULL;

-- The DER of a CRL in parts of at most 64 KiB, for rows of other tables have no more.
CREATE TABLE crl_part (
    deployment {key} NOT NULL,
    crl        {key} NOT NULL,
    part       BIGINT NOT NULL,
    der        {bytes} NOT NULL,
    PRIMARY KEY (deployment, crl, part),
    FOREIGN KEY (deployment, crl) REFERENCES crl (deployment, id) ON DELETE CASCADE
);
