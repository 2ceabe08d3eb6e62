//! The tables of the embedded store, and how a row becomes a record.
//!
//! A function here is one read or one writing statement. A statement that fails changes nothing, so a
//! job that fails leaves nothing behind in the transaction that it shares with others.
//!
//! Not here: when a transaction begins and ends, see `writer.rs`.

use rusqlite::{Connection, ErrorCode, Row, named_params, params};
use serde::{Deserialize as _, de::IntoDeserializer as _};

use crate::{
    client::Client,
    clock::Timestamp,
    ids::{ClientId, GrantId, OwnerId, Subject, Username},
    scope::Scope,
    store::{
        GrantRecord, GrantStatus, MAX_GRANTS_PER_OWNER, OwnerChange, OwnerRecord, OwnerStatus, RevocationReason,
        SealedKey, StoreError, decide::Delta,
    },
};

/// Counts up with every change of the tables; a file with a higher number is not touched.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// Times are milliseconds since the Unix epoch. `grants.expires_at` is when the row may go: the expiry of
/// the refresh token, or for a revoked grant the end of its remembrance.
pub(super) const SCHEMA: &str = "
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
";

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

fn corrupt(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}

/// An epoch or a version as SQLite keeps it.
fn to_integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(corrupt)
}

fn to_number(integer: i64) -> Result<u64, StoreError> {
    u64::try_from(integer).map_err(corrupt)
}

fn time(row: &Row<'_>, column: &str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp(row.get(column)?))
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

pub(super) fn load_grant(
    connection: &Connection,
    owner: OwnerId,
    id: GrantId,
) -> Result<Option<GrantRecord>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM grants WHERE owner = ? AND id = ?")?;
    let mut rows = statement.query(params![owner.0, id.0])?;
    rows.next()?.map(grant_of_row).transpose()
}

fn grant_of_row(row: &Row<'_>) -> Result<GrantRecord, StoreError> {
    let status = match row.get::<_, Option<String>>("revoked_reason")? {
        None => GrantStatus::Active,
        Some(word) => GrantStatus::Revoked {
            reason: RevocationReason::parse(&word).ok_or_else(|| corrupt("an unknown reason of a revocation"))?,
            at: time(row, "revoked_at")?,
        },
    };
    Ok(GrantRecord {
        status,
        family_hash: row.get("family_hash")?,
        generation: row.get("generation")?,
        key_id: row.get("key_id")?,
        current_since: time(row, "current_since")?,
        created_at: time(row, "created_at")?,
        absolute_expiry: time(row, "absolute_expiry")?,
        idle_ms: row.get("idle_ms")?,
        grace_ms: row.get("grace_ms")?,
        client_id: ClientId::parse(row.get_ref("client_id")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        owner_epoch: to_number(row.get("owner_epoch")?)?,
        client_epoch: to_number(row.get("client_epoch")?)?,
        scope: Scope::parse(row.get_ref("scope")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        audience: serde_json::from_str(row.get_ref("audience")?.as_str().map_err(corrupt)?).map_err(corrupt)?,
        access_expires_at: time(row, "access_expires_at")?,
        used_in_place: row.get("used_in_place")?,
        repeats: row.get("repeats")?,
    })
}

/// Stores a new, active grant.
pub(super) fn insert_grant(
    connection: &Connection,
    owner: OwnerId,
    id: GrantId,
    record: &GrantRecord,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO grants VALUES (:owner, :id, NULL, NULL, :family_hash, :generation, :key_id, :current_since,
             :created_at, :absolute_expiry, :idle_ms, :grace_ms, :client_id, :owner_epoch, :client_epoch, :scope,
             :audience, :access_expires_at, :used_in_place, :repeats, :expires_at)",
        )?
        .execute(named_params! {
            ":owner": owner.0,
            ":id": id.0,
            ":family_hash": record.family_hash,
            ":generation": record.generation,
            ":key_id": record.key_id,
            ":current_since": record.current_since.0,
            ":created_at": record.created_at.0,
            ":absolute_expiry": record.absolute_expiry.0,
            ":idle_ms": record.idle_ms,
            ":grace_ms": record.grace_ms,
            ":client_id": record.client_id.as_str(),
            ":owner_epoch": to_integer(record.owner_epoch)?,
            ":client_epoch": to_integer(record.client_epoch)?,
            ":scope": record.scope.as_str(),
            ":audience": serde_json::to_string(&record.audience).map_err(corrupt)?,
            ":access_expires_at": record.access_expires_at.0,
            ":used_in_place": record.used_in_place,
            ":repeats": record.repeats,
            ":expires_at": record.expires_at().0,
        })?;
    Ok(())
}

/// Stores what a decision changes.
pub(super) fn apply(connection: &Connection, owner: OwnerId, id: GrantId, delta: &Delta) -> Result<(), StoreError> {
    match delta {
        Delta::Unchanged => 0,
        Delta::CountRepeat => connection
            .prepare_cached("UPDATE grants SET repeats = min(repeats + 1, 4294967295) WHERE owner = ? AND id = ?")?
            .execute(params![owner.0, id.0])?,
        Delta::Advance { generation, key_id, current_since, access_expires_at, used_in_place, expires_at } => {
            connection
                .prepare_cached(
                    "UPDATE grants SET generation = ?3, key_id = ?4, current_since = ?5, access_expires_at = ?6,
                 used_in_place = ?7, expires_at = ?8 WHERE owner = ?1 AND id = ?2",
                )?
                .execute(params![
                    owner.0,
                    id.0,
                    generation,
                    key_id,
                    current_since.0,
                    access_expires_at.0,
                    used_in_place,
                    expires_at.0
                ])?
        }
        Delta::Revoke { reason, at, forget_at } => connection
            .prepare_cached(
                "UPDATE grants SET revoked_reason = ?3, revoked_at = ?4, expires_at = ?5 WHERE owner = ?1 AND id = ?2",
            )?
            .execute(params![owner.0, id.0, reason.as_str(), at.0, forget_at.0])?,
    };
    Ok(())
}

/// The owner's oldest living grants that must go when `newest` is there too.
pub(super) fn overflow(
    connection: &Connection,
    owner: OwnerId,
    newest: GrantId,
    now: Timestamp,
) -> Result<Vec<GrantId>, StoreError> {
    let others = MAX_GRANTS_PER_OWNER.saturating_sub(1);
    let mut statement = connection.prepare_cached(
        "SELECT id FROM grants WHERE owner = ?1 AND id <> ?2 AND revoked_at IS NULL AND expires_at > ?3
         ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?4",
    )?;
    let ids =
        statement.query_map(params![owner.0, newest.0, now.0, i64::try_from(others).map_err(corrupt)?], grant_id)?;
    Ok(ids.collect::<Result<_, _>>()?)
}

fn grant_id(row: &Row<'_>) -> rusqlite::Result<GrantId> {
    Ok(GrantId(row.get("id")?))
}

pub(super) fn grants_of(connection: &Connection, owner: OwnerId) -> Result<Vec<GrantId>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id FROM grants WHERE owner = ? ORDER BY created_at, id")?;
    let ids = statement.query_map([owner.0], grant_id)?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Deletes at most `limit` grants that expired before `before`, and says how many.
pub(super) fn forget_grants(connection: &Connection, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM grants WHERE (owner, id) IN
         (SELECT owner, id FROM grants WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
    )?;
    Ok(statement.execute(params![before.0, i64::try_from(limit).map_err(corrupt)?])?)
}

pub(super) fn load_owner(connection: &Connection, id: OwnerId) -> Result<Option<OwnerRecord>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM owners WHERE id = ?")?;
    let mut rows = statement.query([id.0])?;
    rows.next()?.map(owner_of_row).transpose()
}

pub(super) fn owners(connection: &Connection) -> Result<Vec<OwnerRecord>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM owners ORDER BY username")?;
    statement.query_and_then([], owner_of_row)?.collect()
}

fn owner_of_row(row: &Row<'_>) -> Result<OwnerRecord, StoreError> {
    // Read back as it was stored: normalising anew could change the name, and with it the address.
    let username: String = row.get("username")?;
    let username =
        Username::deserialize(username.into_deserializer()).map_err(|error: serde::de::value::Error| corrupt(error))?;
    Ok(OwnerRecord {
        username,
        subject: Subject(row.get("subject")?),
        status: if row.get("disabled")? { OwnerStatus::Disabled } else { OwnerStatus::Active },
        epoch: to_number(row.get("epoch")?)?,
        sealed_password: row.get("sealed_password")?,
        created_at: time(row, "created_at")?,
        demo: row.get("demo")?,
    })
}

/// Stores an owner unless there is one, and says how many rows that made.
pub(super) fn insert_owner(connection: &Connection, owner: &OwnerRecord) -> Result<usize, StoreError> {
    let mut statement =
        connection.prepare_cached("INSERT INTO owners VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING")?;
    Ok(statement.execute(params![
        owner.id().0,
        owner.username.as_str(),
        owner.subject.0,
        owner.status == OwnerStatus::Disabled,
        to_integer(owner.epoch)?,
        owner.sealed_password,
        owner.created_at.0,
        owner.demo
    ])?)
}

/// Changes an owner, and says how many rows had the name and met the condition.
pub(super) fn update_owner(connection: &Connection, id: OwnerId, change: &OwnerChange) -> Result<usize, StoreError> {
    let run = |sql, values: &[&dyn rusqlite::ToSql]| connection.prepare_cached(sql)?.execute(values);
    Ok(match change {
        OwnerChange::SetPassword { sealed } => {
            run("UPDATE owners SET sealed_password = ?2, epoch = epoch + 1 WHERE id = ?1", params![id.0, sealed])
        }
        OwnerChange::Rehash { expected, sealed } => run(
            "UPDATE owners SET sealed_password = ?2 WHERE id = ?1 AND sealed_password = ?3",
            params![id.0, sealed, expected],
        ),
        OwnerChange::Disable => run("UPDATE owners SET disabled = 1, epoch = epoch + 1 WHERE id = ?1", params![id.0]),
        OwnerChange::Enable => run("UPDATE owners SET disabled = 0 WHERE id = ?1", params![id.0]),
        OwnerChange::LogOut => run("UPDATE owners SET epoch = epoch + 1 WHERE id = ?1", params![id.0]),
    }?)
}

pub(super) fn delete_owner(connection: &Connection, id: OwnerId) -> Result<usize, StoreError> {
    Ok(connection.prepare_cached("DELETE FROM owners WHERE id = ?")?.execute([id.0])?)
}

pub(super) fn load_client(connection: &Connection, id: &ClientId) -> Result<Option<Client>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT record FROM clients WHERE id = ?")?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(client_of_row).transpose()
}

pub(super) fn clients(connection: &Connection) -> Result<Vec<Client>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT record FROM clients ORDER BY id")?;
    statement.query_and_then([], client_of_row)?.collect()
}

fn client_of_row(row: &Row<'_>) -> Result<Client, StoreError> {
    serde_json::from_str(row.get_ref("record")?.as_str().map_err(corrupt)?).map_err(corrupt)
}

/// Stores a client unless there is one, and says how many rows that made.
pub(super) fn insert_client(connection: &Connection, client: &Client) -> Result<usize, StoreError> {
    let record = serde_json::to_string(client).map_err(corrupt)?;
    let mut statement =
        connection.prepare_cached("INSERT INTO clients VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING")?;
    Ok(statement.execute(params![client.id.as_str(), to_integer(client.version)?, record])?)
}

/// Replaces the client of the version before, and says how many there were.
pub(super) fn update_client(connection: &Connection, client: &Client) -> Result<usize, StoreError> {
    let record = serde_json::to_string(client).map_err(corrupt)?;
    let mut statement =
        connection.prepare_cached("UPDATE clients SET version = ?2, record = ?3 WHERE id = ?1 AND version = ?2 - 1")?;
    Ok(statement.execute(params![client.id.as_str(), to_integer(client.version)?, record])?)
}

pub(super) fn delete_client(connection: &Connection, id: &ClientId) -> Result<usize, StoreError> {
    Ok(connection.prepare_cached("DELETE FROM clients WHERE id = ?")?.execute([id.as_str()])?)
}

/// Stores a signing key unless its slot is taken, and says how many rows that made.
pub(super) fn insert_signing_key(connection: &Connection, key: &SealedKey) -> Result<usize, StoreError> {
    let mut statement =
        connection.prepare_cached("INSERT INTO signing_keys VALUES (?, ?, ?, ?) ON CONFLICT (slot) DO NOTHING")?;
    Ok(statement.execute(params![key.slot, key.algorithm, key.sealed, key.created_at.0])?)
}

pub(super) fn signing_keys(connection: &Connection) -> Result<Vec<SealedKey>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM signing_keys ORDER BY slot")?;
    let keys = statement.query_and_then([], |row| {
        Ok(SealedKey {
            slot: row.get("slot")?,
            algorithm: row.get("algorithm")?,
            sealed: row.get("sealed")?,
            created_at: time(row, "created_at")?,
        })
    })?;
    keys.collect()
}
