//! Resource owners in Redis: a hash each.

use async_trait::async_trait;
use redis::cmd;

use super::{RedisStore, changed, created, keys, records};
use crate::{
    ids::OwnerId,
    store::{Changed, Created, OwnerChange, OwnerRecord, OwnerStore, StoreError},
};

#[async_trait]
impl OwnerStore for RedisStore {
    async fn create_owner(&self, owner: &OwnerRecord) -> Result<Created, StoreError> {
        let stored: i64 = self
            .connection
            .run(self.connection.deadline(), |_| {
                let mut call = self.scripts.create_owner.key(keys::owner(owner.id()));
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
        self.connection
            .run(self.connection.deadline(), |_| {
                let mut call = self.scripts.change_owner.key(keys::owner(id));
                call.arg(word).arg(sealed).arg(expected);
                call
            })
            .await
            .map(changed)
    }

    async fn delete_owner(&self, id: OwnerId) -> Result<Changed, StoreError> {
        // One command, so that a new owner of the same name never meets the old one's consents and sessions. Grants stay
        // and are dead: their epoch is nobody's.
        let mut delete = cmd("DEL");
        delete.arg(keys::owner(id)).arg(keys::consents_of(id)).arg(keys::sessions_of(id));
        let deleted: i64 = self.connection.query(&delete).await?;
        Ok(changed(deleted.min(1)))
    }

    async fn owners(&self) -> Result<Vec<OwnerRecord>, StoreError> {
        let mut owners = Vec::new();
        for key in self.scan(keys::OWNERS).await? {
            owners.extend(self.fields(key).await?.as_ref().map(records::owner).transpose()?);
        }
        owners.sort_by(|a, b| a.username.as_str().cmp(b.username.as_str()));
        Ok(owners)
    }
}
