-- Ways to reach a person outside the studio, and what became of each message on them.

CREATE TABLE notification_routes (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    shown TEXT NOT NULL DEFAULT '',
    ciphertext TEXT NOT NULL,
    key_id TEXT NOT NULL,
    events TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(events)),
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX notification_routes_of_person ON notification_routes (user_id, created_at);

-- A row is made when a dispatcher takes a message (or a person asks for a test). `sending` is written before anything is
-- sent; what stays in it until the lease ends is `unknown` for ever.
CREATE TABLE notification_deliveries (
    notification_id TEXT NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
    route_id TEXT NOT NULL REFERENCES notification_routes (id) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sending', 'sent', 'failed', 'unknown')),
    tries INTEGER NOT NULL DEFAULT 0,
    claim_id TEXT,
    error TEXT NOT NULL DEFAULT '',
    not_before TEXT,
    lease_until TEXT,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (notification_id, route_id)
) STRICT;
CREATE INDEX notification_deliveries_of_route ON notification_deliveries (route_id, updated_at);
CREATE INDEX notification_deliveries_open ON notification_deliveries (state) WHERE state IN ('waiting', 'sending');
CREATE UNIQUE INDEX notification_deliveries_claims ON notification_deliveries (claim_id) WHERE claim_id IS NOT NULL;
