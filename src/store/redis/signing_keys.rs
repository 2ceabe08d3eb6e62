//! Sealed signing keys in Redis: one hash, a field for each slot.

use async_trait::async_trait;
use redis::cmd;

use super::{RedisStore, changed, created, keys, to_json};
use crate::store::{Changed, Created, SealedKey, SigningKeyStore, StoreError};

#[async_trait]
impl SigningKeyStore for RedisStore {
    async fn add_signing_key(&self, key: &SealedKey) -> Result<Created, StoreError> {
        let json = to_json(key)?;
        let added: i64 = self
            .connection
            .run_durably(keys::SIGNING_KEYS, |_| {
                let mut call = self.scripts.add_signing_key.on([keys::SIGNING_KEYS]);
                call.arg(key.slot).arg(&json);
                call
            })
            .await?;
        Ok(created(added == 1))
    }

    async fn remove_signing_key(&self, slot: u32) -> Result<Changed, StoreError> {
        let prepare = |_| {
            let mut call = self.scripts.remove_signing_key.on([keys::SIGNING_KEYS]);
            call.arg(slot);
            call
        };
        self.connection.run_durably(keys::SIGNING_KEYS, prepare).await.map(changed)
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
