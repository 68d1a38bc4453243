CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per application, and one named * for what concerns all. `base` is the commit of every accepted resource whose
-- row names none, so that converging to a new commit rewrites one row instead of all.
CREATE TABLE app (
    no   INTEGER PRIMARY KEY,
    name TEXT    NOT NULL UNIQUE,
    seq  INTEGER NOT NULL,
    base TEXT,
    json TEXT    NOT NULL
) STRICT;

-- `at` is the wall clock in milliseconds since the epoch, here and below. With a row number of its own every row is appended
-- at the end, whichever application it is of: a commit then writes half as many pages as with (app, seq) as the key.
CREATE TABLE journal (
    no   INTEGER PRIMARY KEY,
    app  INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    kind TEXT    NOT NULL,
    json TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_seq ON journal (app, seq);

-- `desired` is null where nothing is accepted; the other columns up to `trouble` then mean nothing.
CREATE TABLE resource (
    app      INTEGER NOT NULL,
    id       TEXT    NOT NULL,
    desired  BLOB,
    live     BLOB,
    rev      TEXT,
    origin   TEXT,
    created  TEXT,
    rank     INTEGER,
    identity TEXT,
    vitals   INTEGER,
    grouped  TEXT,
    flags    INTEGER,
    essence  BLOB,
    stem     TEXT,
    trouble  TEXT,
    PRIMARY KEY (app, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollout_op (
    app     INTEGER NOT NULL,
    purpose INTEGER NOT NULL,
    idx     INTEGER NOT NULL,
    state   INTEGER NOT NULL,
    json    TEXT    NOT NULL,
    PRIMARY KEY (app, purpose, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE report (
    app  TEXT    NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL,
    json TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
    no INTEGER PRIMARY KEY,
    id TEXT    NOT NULL UNIQUE,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    revision   INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    key        TEXT    NOT NULL UNIQUE,
    json       TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    next       INTEGER NOT NULL,
    last_error TEXT
) STRICT;
CREATE INDEX outbox_next ON outbox (next);

-- What was last delivered under a key, and where it is, so that it can be updated in place.
CREATE TABLE delivered (
    key  TEXT    NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL,
    json TEXT    NOT NULL,
    ref  TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX delivered_at ON delivered (at);
