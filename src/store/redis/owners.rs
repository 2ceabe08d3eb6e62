//! Resource owners in Redis: a hash each.

use std::future::ready;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::cmd;

use super::{RedisStore, changed, created, keys, records, records::Reply};
use crate::{
    clock::Timestamp,
    ids::OwnerId,
    store::{Changed, Created, OwnerChange, OwnerRecord, OwnerSearch, OwnerStore, StoreError},
};

/// How many names a search reads at the same time: the connection answers them together.
const READS_AT_ONCE: usize = 64;

#[async_trait]
impl OwnerStore for RedisStore {
    async fn create_owner(&self, owner: &OwnerRecord) -> Result<Created, StoreError> {
        let stored: i64 = self
            .connection
            .run(&keys::owner(owner.id()), self.connection.deadline(), |_| {
                let mut call = self.scripts.create_owner.on([&keys::owner(owner.id())]);
                call.arg(records::owner_fields(owner));
                call
            })
            .await?;
        Ok(created(stored == 1))
    }

    async fn owner(&self, id: OwnerId) -> Result<Option<OwnerRecord>, StoreError> {
        self.fields(keys::owner(id)).await?.as_ref().map(records::owner).transpose()
    }

    async fn change_owner(&self, id: OwnerId, change: OwnerChange) -> Result<Changed, StoreError> {
        let (word, sealed, expected): (_, &[u8], &[u8]) = match &change {
            OwnerChange::SetPassword { sealed } => ("password", sealed, &[]),
            OwnerChange::Rehash { expected, sealed } => ("rehash", sealed, expected),
            OwnerChange::Disable => ("disable", &[], &[]),
            OwnerChange::Enable => ("enable", &[], &[]),
            OwnerChange::LogOut => ("logout", &[], &[]),
        };
        let key = keys::owner(id);
        let prepare = |deadline: Timestamp| {
            let mut call = self.scripts.change_owner.on([&key]);
            call.arg(word).arg(sealed).arg(expected).arg(deadline.0).arg(self.connection.clock_offset_ms());
            call
        };
        // A login does not wait for the replicas.
        let values = if matches!(change, OwnerChange::Rehash { .. }) {
            self.connection.run(&key, self.connection.deadline(), prepare).await?
        } else {
            self.connection.run_durably(&key, prepare).await?
        };
        match Reply::parse(values)?.code.as_str() {
            "OK" => Ok(Changed::Stored),
            "NF" => Ok(Changed::NotFound),
            _ => Err(StoreError::Unavailable("the change came too late, and was not made".into())),
        }
    }

    async fn delete_owner(&self, id: OwnerId) -> Result<Changed, StoreError> {
        // One command, so that a new owner of the same name never meets the old one's consents and sessions. Grants stay
        // and are dead: their epoch is nobody's.
        let key = keys::owner(id);
        let prepare = |_| self.scripts.delete_owner.on([&key, &keys::consents_of(id), &keys::sessions_of(id)]);
        self.connection.run_durably(&key, prepare).await.map(changed)
    }

    async fn owners(&self) -> Result<Vec<OwnerRecord>, StoreError> {
        let mut owners = Vec::new();
        for key in self.scan(keys::OWNERS).await? {
            owners.extend(self.fields(key).await?.as_ref().map(records::owner).transpose()?);
        }
        owners.sort_by(|a, b| a.username.as_str().cmp(b.username.as_str()));
        Ok(owners)
    }

    /// Records are found by the hash of a name, so every name is read; of those that fit, the page's records.
    async fn search_owners(&self, search: &OwnerSearch) -> Result<Vec<OwnerRecord>, StoreError> {
        let name = async |key: String| {
            let name: Option<String> = self.connection.query(cmd("HGET").arg(&key).arg("name")).await?;
            Ok::<_, StoreError>(name.map(|name| (name, key)))
        };
        let keys = self.scan(keys::OWNERS).await?;
        let names = stream::iter(keys).map(name).buffer_unordered(READS_AT_ONCE);
        let fits = names.try_filter_map(|found| ready(Ok(found.filter(|(name, _)| search.fits(name)))));
        let mut found: Vec<(String, String)> = fits.try_collect().await?;
        found.sort_unstable();
        let mut owners = Vec::new();
        for (_, key) in found.into_iter().take(search.limit) {
            owners.extend(self.fields(key).await?.as_ref().map(records::owner).transpose()?);
        }
        Ok(owners)
    }
}
