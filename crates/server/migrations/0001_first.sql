-- What survives kill -9. Times are milliseconds since the Unix epoch, UTC. `owner`, `installation` and `lease_until`
-- are there for several servers on one database; a single server holds the data folder's lock instead of leases.

CREATE TABLE installation (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    -- A known text under the data key: a server with another key stops at start instead of losing builds one by one.
    key_check BLOB NOT NULL
) STRICT;

CREATE TABLE builds (
    id TEXT PRIMARY KEY,
    installation TEXT NOT NULL,
    owner TEXT NOT NULL,
    lease_until INTEGER,
    idempotency_key TEXT NOT NULL,
    -- HMAC of the request: the same key with another request is a mistake.
    request_mac BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    blueprint TEXT NOT NULL,
    context TEXT NOT NULL,
    -- The spec with its credentials, sealed under the data key; erased at the end.
    sealed BLOB,
    first_cause TEXT,
    outcome TEXT,
    -- 1 once everything that the log must hold is in it; a restart looks after the others.
    log_whole INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, idempotency_key)
) STRICT;

CREATE INDEX builds_of_owner ON builds (owner, id);
CREATE INDEX builds_open ON builds (id) WHERE log_whole = 0;

CREATE TABLE tasks (
    build TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    owner TEXT NOT NULL,
    installation TEXT NOT NULL,
    lease_until INTEGER,
    record TEXT NOT NULL,
    PRIMARY KEY (build, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE publishes (
    build TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    target INTEGER NOT NULL,
    destination TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (build, target)
) STRICT, WITHOUT ROWID;

-- Session secrets of agents: only their SHA-256.
CREATE TABLE sessions (
    run TEXT PRIMARY KEY,
    build TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    sha256 BLOB NOT NULL,
    bound_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a build's log must hold besides lines, in order: committed here first, then appended there.
CREATE TABLE frames (
    build TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    frame TEXT NOT NULL,
    PRIMARY KEY (build, place)
) STRICT, WITHOUT ROWID;

-- Containers that must be stopped and removed; they outlive their builds.
CREATE TABLE duties (
    run TEXT PRIMARY KEY,
    installation TEXT NOT NULL,
    lease_until INTEGER,
    platform TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
