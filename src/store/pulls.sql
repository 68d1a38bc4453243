-- Pull requests that are followed: what was judged of each, and what became of it.
CREATE TABLE pull (
    repo   TEXT    NOT NULL,
    number INTEGER NOT NULL,
    json   TEXT    NOT NULL,
    PRIMARY KEY (repo, number)
) STRICT, WITHOUT ROWID;
