//! Resource owners in SQLite: a row each.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize as _, de::IntoDeserializer as _};

use super::{
    EmbeddedStore, changed, created,
    schema::{corrupt, time, to_integer, to_number},
};
use crate::{
    ids::{OwnerId, Subject, Username},
    store::{Changed, Created, OwnerChange, OwnerRecord, OwnerSearch, OwnerStatus, OwnerStore, StoreError},
};

#[async_trait]
impl OwnerStore for EmbeddedStore {
    async fn create_owner(&self, owner: &OwnerRecord) -> Result<Created, StoreError> {
        let owner = owner.clone();
        self.writer.write(move |connection, _| insert_owner(connection, &owner).map(created)).await
    }

    async fn owner(&self, id: OwnerId) -> Result<Option<OwnerRecord>, StoreError> {
        self.readers.read(|connection| load_owner(connection, id))
    }

    async fn change_owner(&self, id: OwnerId, change: OwnerChange) -> Result<Changed, StoreError> {
        self.writer.write(move |connection, _| update_owner(connection, id, &change).map(changed)).await
    }

    async fn delete_owner(&self, id: OwnerId) -> Result<Changed, StoreError> {
        self.writer.write(move |connection, _| remove_owner(connection, id).map(changed)).await
    }

    async fn owners(&self) -> Result<Vec<OwnerRecord>, StoreError> {
        self.scan(load_owners).await
    }

    async fn search_owners(&self, search: &OwnerSearch) -> Result<Vec<OwnerRecord>, StoreError> {
        let search = search.clone();
        self.scan(move |connection| find_owners(connection, &search)).await
    }
}

pub(super) fn load_owner(connection: &Connection, id: OwnerId) -> Result<Option<OwnerRecord>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM owners WHERE id = ?")?;
    let mut rows = statement.query([id.0])?;
    rows.next()?.map(owner_of_row).transpose()
}

fn load_owners(connection: &Connection) -> Result<Vec<OwnerRecord>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM owners ORDER BY username")?;
    statement.query_and_then([], owner_of_row)?.collect()
}

/// SQLite compares text byte by byte, as Rust does.
fn find_owners(connection: &Connection, search: &OwnerSearch) -> Result<Vec<OwnerRecord>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM owners WHERE username > ?1 AND substr(username, 1, length(?2)) = ?2 ORDER BY username LIMIT ?3",
    )?;
    let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
    statement.query_and_then(params![search.after, search.prefix, limit], owner_of_row)?.collect()
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
fn insert_owner(connection: &Connection, owner: &OwnerRecord) -> Result<usize, StoreError> {
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
fn update_owner(connection: &Connection, id: OwnerId, change: &OwnerChange) -> Result<usize, StoreError> {
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

fn remove_owner(connection: &Connection, id: OwnerId) -> Result<usize, StoreError> {
    Ok(connection.prepare_cached("DELETE FROM owners WHERE id = ?")?.execute([id.0])?)
}
