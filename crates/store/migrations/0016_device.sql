-- Devices with a client certificate whose broker answered them, and what all devices of a deployment offered and asked
-- for. Nodes write it in batches; see src/device_batch.rs. Names and addresses are personal data.
CREATE TABLE device (
    deployment    {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    id            {bytes} NOT NULL,
    name          TEXT NOT NULL,
    issuer        TEXT NOT NULL,
    serial        TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    -- Null: the deployment has too many.
    path          {bytes},
    client_ca     TEXT NOT NULL,
    not_before    BIGINT NOT NULL,
    not_after     BIGINT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at  BIGINT NOT NULL,
    host          TEXT,
    tls_version   TEXT NOT NULL,
    -- Null after a week.
    address       TEXT,
    PRIMARY KEY (deployment, id)
);
-- To count the devices of a path, and to list those lately seen.
CREATE INDEX device_by_path ON device (deployment, path, last_seen_at, not_after, not_before);
CREATE INDEX device_by_last_seen ON device (last_seen_at);
CREATE INDEX device_with_address ON device (last_seen_at) WHERE address IS NOT NULL;

-- How devices' certificates lead to a client CA.
CREATE TABLE issuer_path (
    deployment          {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    path                {bytes} NOT NULL,
    client_ca           TEXT NOT NULL,
    -- A device's certificate and the intermediates that it sent.
    example             {bytes} NOT NULL,
    -- Of the device's certificate: it goes with the device.
    example_fingerprint TEXT NOT NULL,
    example_not_after   BIGINT NOT NULL,
    PRIMARY KEY (deployment, path)
);

CREATE TABLE device_total (
    deployment    {key} PRIMARY KEY REFERENCES deployment (id) ON DELETE CASCADE,
    -- Rows of device.
    known         BIGINT NOT NULL,
    -- Sightings that were not recorded, and the last time.
    unrecorded    BIGINT NOT NULL,
    unrecorded_at BIGINT NOT NULL
);

CREATE TABLE offer_day (
    deployment {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    day        BIGINT NOT NULL,
    -- A digest of the content.
    offer      {bytes} NOT NULL,
    -- As JSON.
    content    TEXT NOT NULL,
    sessions   BIGINT NOT NULL,
    networks   BIGINT NOT NULL,
    weight     BIGINT NOT NULL,
    largest    BIGINT NOT NULL,
    hours      BIGINT NOT NULL,
    PRIMARY KEY (deployment, day, offer)
);
CREATE INDEX offer_day_by_day ON offer_day (day);

CREATE TABLE host_use (
    deployment   {key} NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    host         {key} NOT NULL,
    last_seen_at BIGINT NOT NULL,
    PRIMARY KEY (deployment, host)
);
CREATE INDEX host_use_by_last_seen ON host_use (last_seen_at);
