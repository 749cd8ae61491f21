-- Brokers that devices cannot reach, as each node reports it. A report that is not repeated is void after minutes.
CREATE TABLE broker_trouble (
    deployment   {key} NOT NULL,
    -- `mqtts` or `wss`.
    listener     {key} NOT NULL,
    node         {key} NOT NULL,
    upstream     TEXT NOT NULL,
    reason       TEXT NOT NULL,
    error        TEXT NOT NULL,
    since        BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    turned_away  BIGINT NOT NULL,
    disconnected BIGINT NOT NULL,
    reported_at  BIGINT NOT NULL,
    PRIMARY KEY (deployment, listener, node)
);
CREATE INDEX broker_trouble_by_node ON broker_trouble (node, reported_at);
