//! What may happen to a resource owner.
//!
//! Not here: how they are kept, see `redis/owners.rs` and `embedded/owners.rs`.

use async_trait::async_trait;

use super::{Changed, Created, OwnerRecord, StoreError};
use crate::ids::OwnerId;

/// A change of one resource owner: each is one atomic write.
#[derive(Clone, Debug)]
pub enum OwnerChange {
    /// A new password; every older grant dies in the same write.
    SetPassword {
        /// The sealed PHC string.
        sealed: Vec<u8>,
    },
    /// The same password under newer parameters: only if `expected` is still stored, so that a concurrent
    /// password change is not undone.
    Rehash {
        /// What was verified.
        expected: Vec<u8>,
        /// What to store.
        sealed: Vec<u8>,
    },
    /// No more logins; every older grant dies.
    Disable,
    /// Logins again; older grants stay dead.
    Enable,
    /// Every older grant dies.
    LogOut,
}

/// Which owners to list.
#[derive(Clone, Debug)]
pub struct OwnerSearch {
    /// What their usernames begin with; nothing for all.
    pub prefix: String,
    /// Only those whose username comes after this one.
    pub after: String,
    /// At most so many.
    pub limit: usize,
}

impl OwnerSearch {
    /// Whether a username is looked for.
    pub fn fits(&self, username: &str) -> bool {
        username > self.after.as_str() && username.starts_with(&self.prefix)
    }
}

/// A place that keeps resource owners.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait OwnerStore: Send + Sync + 'static {
    /// Stores a new owner.
    async fn create_owner(&self, owner: &OwnerRecord) -> Result<Created, StoreError>;
    /// Reads an owner, at the store, never from a cache.
    async fn owner(&self, id: OwnerId) -> Result<Option<OwnerRecord>, StoreError>;
    /// Changes an owner.
    async fn change_owner(&self, id: OwnerId, change: OwnerChange) -> Result<Changed, StoreError>;
    /// Deletes an owner; their grants are dead at once.
    async fn delete_owner(&self, id: OwnerId) -> Result<Changed, StoreError>;
    /// Lists all owners, sorted by username.
    async fn owners(&self) -> Result<Vec<OwnerRecord>, StoreError>;
    /// Lists some of the owners, sorted by username.
    async fn search_owners(&self, search: &OwnerSearch) -> Result<Vec<OwnerRecord>, StoreError>;
}
