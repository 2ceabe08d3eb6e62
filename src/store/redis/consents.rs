//! Consents in Redis: a hash for each owner, a field for each client.

use std::collections::BTreeMap;

use async_trait::async_trait;
use redis::cmd;

use super::{RedisStore, changed, keys};
use crate::{
    clock::Timestamp,
    ids::{ClientId, OwnerId},
    scope::Scope,
    store::{Changed, Consent, ConsentStore, MAX_CONSENTS_PER_OWNER, NewConsent, StoreError},
};

#[async_trait]
impl ConsentStore for RedisStore {
    async fn remember_consent(&self, consent: &NewConsent) -> Result<Changed, StoreError> {
        self.connection
            .run(&keys::consents_of(consent.owner), self.connection.deadline(), |_| {
                let mut call =
                    self.scripts.remember_consent.on([&keys::consents_of(consent.owner), &keys::owner(consent.owner)]);
                call.arg(self.connection.clock_offset_ms());
                call.arg(consent.owner_epoch).arg(consent.client_id.as_str()).arg(consent.client_epoch);
                call.arg(consent.scope.as_str()).arg(MAX_CONSENTS_PER_OWNER);
                call.arg(consent.given_at.map(|time| time.0.to_string()).unwrap_or_default());
                call
            })
            .await
            .map(changed)
    }

    async fn consent(&self, owner: OwnerId, client: &ClientId) -> Result<Option<Consent>, StoreError> {
        let stored: Option<String> =
            self.connection.query(cmd("HGET").arg(keys::consents_of(owner)).arg(client.as_str())).await?;
        stored.map(|value| read(client.clone(), &value)).transpose()
    }

    async fn consents_of(&self, owner: OwnerId) -> Result<Vec<Consent>, StoreError> {
        let stored: BTreeMap<String, String> =
            self.connection.query(cmd("HGETALL").arg(keys::consents_of(owner))).await?;
        stored.iter().map(|(client, value)| read(ClientId::parse(client).map_err(|_| corrupt())?, value)).collect()
    }

    async fn forget_consent(&self, owner: OwnerId, client: &ClientId) -> Result<Changed, StoreError> {
        self.forget(owner, client.as_str()).await.map(changed)
    }

    async fn forget_consents(&self, owner: OwnerId) -> Result<usize, StoreError> {
        Ok(usize::try_from(self.forget(owner, "").await?).unwrap_or_default())
    }
}

impl RedisStore {
    /// Forgets the consent of one client, or of all for an empty text.
    async fn forget(&self, owner: OwnerId, client: &str) -> Result<i64, StoreError> {
        let key = keys::consents_of(owner);
        self.connection
            .run_durably(&key, |_| {
                let mut call = self.scripts.forget_consents.on([&key]);
                call.arg(client);
                call
            })
            .await
    }
}

/// Reads what `remember_consent.lua` wrote.
fn read(client_id: ClientId, value: &str) -> Result<Consent, StoreError> {
    let mut parts = value.splitn(3, ' ');
    let mut number = || parts.next().and_then(|text| text.parse::<i64>().ok()).ok_or_else(corrupt);
    let (client_epoch, given_at) = (number()?, number()?);
    let scope = Scope::parse(parts.next().unwrap_or_default()).map_err(|_| corrupt())?;
    let client_epoch = u64::try_from(client_epoch).map_err(|_| corrupt())?;
    Ok(Consent { client_id, client_epoch, scope, given_at: Timestamp(given_at) })
}

fn corrupt() -> StoreError {
    StoreError::Corrupt("redis: unreadable consent".to_owned())
}
