//! The tables of the embedded store, and what every row has in common.
//!
//! In the files of the subjects a function that takes a connection is one read or one writing statement. A statement that
//! fails changes nothing, so a job that fails leaves nothing behind in the transaction that it shares with others.
//!
//! Not here: when a transaction begins and ends, see `writer.rs`.

use rusqlite::{Connection, ErrorCode, Row};

use crate::{clock::Timestamp, store::StoreError};

/// The steps from an empty file to today's tables. A file's `user_version` is the number of steps it has seen; an entry
/// that was released is never edited, only followed by another.
///
/// Times are milliseconds since the Unix epoch. `grants.expires_at` is when the row may go: the expiry of the refresh
/// token, or for a revoked grant the end of its remembrance.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE owners (
        id BLOB NOT NULL PRIMARY KEY,
        username TEXT NOT NULL,
        subject TEXT NOT NULL,
        disabled INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        sealed_password BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        demo INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE grants (
        owner BLOB NOT NULL,
        id BLOB NOT NULL,
        revoked_reason TEXT,
        revoked_at INTEGER,
        family_hash BLOB NOT NULL,
        generation INTEGER NOT NULL,
        key_id INTEGER NOT NULL,
        current_since INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        absolute_expiry INTEGER NOT NULL,
        idle_ms INTEGER NOT NULL,
        grace_ms INTEGER NOT NULL,
        client_id TEXT NOT NULL,
        owner_epoch INTEGER NOT NULL,
        client_epoch INTEGER NOT NULL,
        scope TEXT NOT NULL,
        audience TEXT NOT NULL,
        access_expires_at INTEGER NOT NULL,
        used_in_place INTEGER NOT NULL,
        repeats INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (owner, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX grants_by_expiry ON grants (expires_at);
    CREATE TABLE clients (
        id TEXT NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL,
        record TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE signing_keys (
        slot INTEGER NOT NULL PRIMARY KEY,
        algorithm TEXT NOT NULL,
        sealed BLOB NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE probe (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
        written_at INTEGER NOT NULL
    ) STRICT;
",
    "ALTER TABLE grants ADD COLUMN cookie_mode INTEGER NOT NULL DEFAULT 0;",
    // The trigger's 50 is MAX_SESSIONS_PER_OWNER.
    "
    CREATE TABLE sessions (
        owner BLOB NOT NULL,
        id BLOB NOT NULL,
        secret_hash BLOB NOT NULL,
        owner_epoch INTEGER NOT NULL,
        signed_in_at INTEGER NOT NULL,
        last_used_at INTEGER NOT NULL,
        absolute_expiry INTEGER NOT NULL,
        idle_ms INTEGER NOT NULL,
        address TEXT NOT NULL,
        agent TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (owner, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sessions_by_expiry ON sessions (expires_at);
    CREATE TRIGGER oldest_sessions_end AFTER INSERT ON sessions BEGIN
        DELETE FROM sessions WHERE owner = NEW.owner AND id IN
        (SELECT id FROM sessions WHERE owner = NEW.owner AND id <> NEW.id
         ORDER BY signed_in_at DESC LIMIT -1 OFFSET 49);
    END;
    CREATE TABLE consents (
        owner BLOB NOT NULL,
        client_id TEXT NOT NULL,
        client_epoch INTEGER NOT NULL,
        scope TEXT NOT NULL,
        given_at INTEGER NOT NULL,
        PRIMARY KEY (owner, client_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER owners_take_all_with_them AFTER DELETE ON owners BEGIN
        DELETE FROM sessions WHERE owner = OLD.id;
        DELETE FROM consents WHERE owner = OLD.id;
    END;
",
    "
    ALTER TABLE grants ADD COLUMN used_from_address TEXT NOT NULL DEFAULT '';
    ALTER TABLE grants ADD COLUMN used_from_agent TEXT NOT NULL DEFAULT '';
    ALTER TABLE grants ADD COLUMN revoked_from_address TEXT NOT NULL DEFAULT '';
    ALTER TABLE grants ADD COLUMN revoked_from_agent TEXT NOT NULL DEFAULT '';
",
    "
    CREATE TABLE denials (
        jti TEXT NOT NULL PRIMARY KEY,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX denials_by_expiry ON denials (expires_at);
    ",
    // A code that has become a grant is gone in the same statement.
    "
    CREATE TABLE codes (
        owner BLOB NOT NULL,
        grant_id BLOB NOT NULL,
        code_hash BLOB NOT NULL,
        challenge BLOB NOT NULL,
        redirect_uri_hash BLOB NOT NULL,
        client_id TEXT NOT NULL,
        client_epoch INTEGER NOT NULL,
        owner_epoch INTEGER NOT NULL,
        scope TEXT NOT NULL,
        audience TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (owner, grant_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX codes_by_expiry ON codes (expires_at);
    ALTER TABLE grants ADD COLUMN code_hash BLOB;
    ALTER TABLE grants ADD COLUMN redeemed_by BLOB;
    CREATE TRIGGER a_code_becomes_a_grant AFTER INSERT ON grants BEGIN
        DELETE FROM codes WHERE owner = NEW.owner AND grant_id = NEW.id;
    END;
",
    "
    CREATE TABLE devices (
        id BLOB NOT NULL PRIMARY KEY,
        secret_hash BLOB NOT NULL,
        client_id TEXT NOT NULL,
        client_epoch INTEGER NOT NULL,
        scope TEXT NOT NULL,
        audience TEXT NOT NULL,
        address TEXT NOT NULL,
        agent TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        codes_expire_at INTEGER NOT NULL,
        interval_ms INTEGER NOT NULL,
        next_poll_at INTEGER NOT NULL,
        approved INTEGER,
        owner BLOB,
        owner_epoch INTEGER,
        claimed_at INTEGER,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX devices_by_expiry ON devices (expires_at);
    CREATE TABLE attempts (
        bucket BLOB NOT NULL,
        stretch INTEGER NOT NULL,
        number INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (bucket, stretch)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX attempts_by_expiry ON attempts (expires_at);
",
    "
    CREATE TABLE throttles (
        owner BLOB NOT NULL PRIMARY KEY,
        record TEXT NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX throttles_by_expiry ON throttles (expires_at);
",
    "ALTER TABLE signing_keys ADD COLUMN active_from INTEGER NOT NULL DEFAULT 0;",
];

impl From<rusqlite::Error> for StoreError {
    /// A row that doesn't fit is one job's misfortune; anything else concerns the whole file.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as Sqlite;
        match error {
            Sqlite::FromSqlConversionFailure(..)
            | Sqlite::IntegralValueOutOfRange(..)
            | Sqlite::InvalidColumnType(..)
            | Sqlite::Utf8Error(..) => Self::Corrupt(error.to_string()),
            _ if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

pub(super) fn corrupt(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}

/// An epoch or a version as SQLite keeps it.
pub(super) fn to_integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(corrupt)
}

pub(super) fn to_number(integer: i64) -> Result<u64, StoreError> {
    u64::try_from(integer).map_err(corrupt)
}

pub(super) fn time(row: &Row<'_>, column: &str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp(row.get(column)?))
}

/// Deletes what has expired, a table a line: at most `?2` rows that expired before `?1`.
const SWEEPS: &[&str] = &[
    "DELETE FROM grants WHERE (owner, id) IN
     (SELECT owner, id FROM grants WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
    "DELETE FROM sessions WHERE (owner, id) IN
     (SELECT owner, id FROM sessions WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
    "DELETE FROM denials WHERE jti IN
     (SELECT jti FROM denials WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
    "DELETE FROM codes WHERE (owner, grant_id) IN
     (SELECT owner, grant_id FROM codes WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
    "DELETE FROM devices WHERE id IN
     (SELECT id FROM devices WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
    "DELETE FROM attempts WHERE (bucket, stretch) IN
     (SELECT bucket, stretch FROM attempts WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
    "DELETE FROM throttles WHERE owner IN
     (SELECT owner FROM throttles WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
];

/// Deletes at most `limit` rows of each table that expired before `before`, and says the most that a table lost.
pub(super) fn forget_expired(connection: &Connection, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let limit = i64::try_from(limit).map_err(corrupt)?;
    let mut most = 0;
    for sweep in SWEEPS {
        most = most.max(connection.prepare_cached(sweep)?.execute([before.0, limit])?);
    }
    Ok(most)
}

/// Writes a row that means nothing: it shows whether the file takes writes.
pub(super) fn probe(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO probe VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET written_at = ?1")?
        .execute([now.0])?;
    Ok(())
}

/// Reads something, to show that the file can be read.
pub(super) fn read_something(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.prepare_cached("SELECT count(*) FROM probe")?.query_row([], |_| Ok(()))?)
}
