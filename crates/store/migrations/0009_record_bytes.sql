-- The largest TLS record that devices are sent, in bytes of plaintext; 16384 is the largest of TLS. A node of the release
-- before leaves it out, and sends records as large as TLS allows.
ALTER TABLE deployment ADD COLUMN record_bytes BIGINT NOT NULL DEFAULT 16384;
