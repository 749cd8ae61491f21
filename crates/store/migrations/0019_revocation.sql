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
-- How often it was set: tells one rate from the next.
ALTER TABLE deployment ADD COLUMN close_rate_number BIGINT NOT NULL DEFAULT 0;

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
    deployment    {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    id            {key} NOT NULL,
    -- 16 random bytes, part of the mark: drawn by each change that nodes must read. Null: not fetched yet, so there is
    -- nothing up to next_update. A replica has of a row what certificates are verified with, and nothing to show.
    revision      {bytes},
    -- Of that change.
    generation    BIGINT NOT NULL,
    -- Of the DER, which is in crl_part.
    bytes         BIGINT NOT NULL,
    -- SHA-256 of the DER, in lower-case hexadecimal digits.
    fingerprint   {key} NOT NULL,
    -- The SubjectPublicKeyInfo of the CA that signed it.
    signer        {bytes},
    issuer        TEXT NOT NULL,
    number        TEXT,
    entries       BIGINT NOT NULL,
    this_update   BIGINT,
    next_update   BIGINT,
    stale_policy  {key} NOT NULL,
    -- Null: it is uploaded; so are all that follow.
    url           TEXT,
    etag          TEXT,
    last_modified TEXT,
    fetched_at    BIGINT,
    next_fetch_at BIGINT,
    -- Of the last fetch, if it failed: a code, one sentence, how many have in a row, and since when.
    failure_code  TEXT,
    failure       TEXT,
    failures      BIGINT NOT NULL,
    failing_since BIGINT,
    put_by        {key} NOT NULL,
    put_at        BIGINT NOT NULL,
    PRIMARY KEY (deployment, id)
);
CREATE INDEX crl_by_next_fetch ON crl (next_fetch_at) WHERE next_fetch_at IS NOT NULL;

-- The DER of a CRL, in parts of at most 64 KiB: all other rows are as small.
CREATE TABLE crl_part (
    deployment {key} NOT NULL,
    crl        {key} NOT NULL,
    part       BIGINT NOT NULL,
    der        {bytes} NOT NULL,
    PRIMARY KEY (deployment, crl, part),
    FOREIGN KEY (deployment, crl) REFERENCES crl (deployment, id) ON DELETE CASCADE
);
