//! Denied access tokens in SQLite: a row each, swept when the token has expired.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};

use super::EmbeddedStore;
use crate::{
    clock::Timestamp,
    store::{DenialStore, StoreError},
};

#[async_trait]
impl DenialStore for EmbeddedStore {
    async fn deny(&self, jti: &str, expires_at: Timestamp) -> Result<(), StoreError> {
        let jti = jti.to_owned();
        self.writer
            .write(move |connection, _| {
                let mut statement =
                    connection.prepare_cached("INSERT INTO denials VALUES (?, ?) ON CONFLICT (jti) DO NOTHING")?;
                statement.execute(params![jti, expires_at.0])?;
                Ok(())
            })
            .await
    }

    async fn is_denied(&self, jti: &str) -> Result<bool, StoreError> {
        self.readers.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM denials WHERE jti = ?")?;
            Ok(statement.query_row([jti], |_| Ok(())).optional()?.is_some())
        })
    }
}
