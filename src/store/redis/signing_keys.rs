//! Sealed signing keys in Redis: one hash, a field for each slot.

use async_trait::async_trait;
use redis::cmd;

use super::{RedisStore, created, keys, to_json};
use crate::store::{Created, SealedKey, SigningKeyStore, StoreError};

#[async_trait]
impl SigningKeyStore for RedisStore {
    async fn add_signing_key(&self, key: &SealedKey) -> Result<Created, StoreError> {
        let mut add = cmd("HSETNX");
        add.arg(keys::SIGNING_KEYS).arg(key.slot).arg(to_json(key)?);
        self.connection.query(&add).await.map(created)
    }

    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        let stored: Vec<String> = self.connection.query(cmd("HVALS").arg(keys::SIGNING_KEYS)).await?;
        let mut keys = stored
            .iter()
            .map(|json| serde_json::from_str(json))
            .collect::<Result<Vec<SealedKey>, _>>()
            .map_err(|error| StoreError::Corrupt(format!("signing key: {error}")))?;
        keys.sort_by_key(|key| key.slot);
        Ok(keys)
    }
}
