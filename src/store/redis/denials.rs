//! Denied access tokens in Redis: a key each, which expires with the token.

use async_trait::async_trait;
use redis::cmd;

use super::{RedisStore, keys};
use crate::{
    clock::Timestamp,
    store::{DenialStore, StoreError},
};

#[async_trait]
impl DenialStore for RedisStore {
    async fn deny(&self, jti: &str, expires_at: Timestamp) -> Result<(), StoreError> {
        let key = keys::denial(jti);
        let prepare = |_| {
            let mut call = self.scripts.deny.on([&key]);
            call.arg(expires_at.0.saturating_sub(self.connection.clock_offset_ms()));
            call
        };
        self.connection.run_durably::<i64>(&key, prepare).await.map(drop)
    }

    async fn is_denied(&self, jti: &str) -> Result<bool, StoreError> {
        let known: i64 = self.connection.query(cmd("EXISTS").arg(keys::denial(jti))).await?;
        Ok(known == 1)
    }
}
