//! Sealed signing keys in SQLite: a row for each slot.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{EmbeddedStore, changed, created, schema::time};
use crate::store::{Changed, Created, SealedKey, SigningKeyStore, StoreError};

#[async_trait]
impl SigningKeyStore for EmbeddedStore {
    async fn add_signing_key(&self, key: &SealedKey) -> Result<Created, StoreError> {
        let key = key.clone();
        self.writer.write(move |connection, _| insert_signing_key(connection, &key).map(created)).await
    }

    async fn remove_signing_key(&self, slot: u32) -> Result<Changed, StoreError> {
        self.writer
            .write(move |connection, _| {
                let mut statement = connection.prepare_cached("DELETE FROM signing_keys WHERE slot = ?")?;
                Ok(changed(statement.execute([slot])?))
            })
            .await
    }

    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        self.scan(load_signing_keys).await
    }
}

/// Stores a signing key unless its slot is taken, and says how many rows that made.
fn insert_signing_key(connection: &Connection, key: &SealedKey) -> Result<usize, StoreError> {
    let mut statement =
        connection.prepare_cached("INSERT INTO signing_keys VALUES (?, ?, ?, ?, ?) ON CONFLICT (slot) DO NOTHING")?;
    Ok(statement.execute(params![key.slot, key.algorithm, key.sealed, key.created_at.0, key.active_from.0])?)
}

fn load_signing_keys(connection: &Connection) -> Result<Vec<SealedKey>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM signing_keys ORDER BY slot")?;
    let keys = statement.query_and_then([], |row| {
        Ok(SealedKey {
            slot: row.get("slot")?,
            algorithm: row.get("algorithm")?,
            sealed: row.get("sealed")?,
            created_at: time(row, "created_at")?,
            active_from: time(row, "active_from")?,
        })
    })?;
    keys.collect()
}
