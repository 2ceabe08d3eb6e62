//! What every store does: one atomic verb for each thing that may happen to a grant, an owner or a client.
//!
//! The records are in `records.rs`, rotation's rules in `decide.rs`, the two stores in `redis/` and
//! `embedded/`. One contract suite in `tests/store_contract.rs` runs against both.
//!
//! Not here: which HTTP answer an outcome leads to, see `grant/` and `error.rs`.

pub mod decide;
pub mod embedded;
mod records;
pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::records::{
    GrantRecord, GrantStatus, LiveGrant, OwnerRecord, OwnerStatus, Presented, Refusal, RevocationReason, Rotation,
    RotationPolicy, SealedKey, TOMBSTONE_MS,
};
use crate::{
    client::Client,
    clock::{Clock, Timestamp},
    ids::{ClientId, GrantId, OwnerId},
};

/// Why a store could not answer. The client sees `temporarily_unavailable` (503) or `server_error` (500),
/// never `invalid_grant`: that would make it throw a good token away.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is down, too slow, full, or refuses writes. The outcome of a write is unknown.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A record is there and cannot be read.
    #[error("the store holds a record that cannot be read: {0}")]
    Corrupt(String),
}

/// What creating something led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is stored.
    Stored,
    /// The name is taken; nothing changed.
    Exists,
}

/// What creating a grant led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantCreation {
    /// It is stored and indexed; `now` is the store's time at its creation, and `overflow` the owner's
    /// oldest grants beyond the cap.
    Stored {
        /// The creation time by the store's clock.
        now: Timestamp,
        /// Oldest grants of the owner beyond [`MAX_GRANTS_PER_OWNER`], to be revoked.
        overflow: Vec<GrantId>,
    },
    /// The owner was disabled, deleted, or changed since they were authenticated; nothing changed.
    OwnerChanged,
    /// The command reached the store after its deadline; nothing changed.
    TooLate {
        /// The store's time.
        now: Timestamp,
    },
}

/// A grant about to be created. The store adds its own time to the lifetimes.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Chosen by the caller, so that a repeated command creates nothing twice.
    pub id: GrantId,
    /// The resource owner.
    pub owner: OwnerId,
    /// The owner's epoch when they were authenticated.
    pub owner_epoch: u64,
    /// The client.
    pub client_id: ClientId,
    /// The client's epoch when it was authenticated.
    pub client_epoch: u64,
    /// SHA-256 of the family secret; all zero when no refresh token is issued.
    pub family_hash: [u8; 32],
    /// MAC key of generation 1.
    pub key_id: u8,
    /// The granted scope.
    pub scope: crate::scope::Scope,
    /// The resources that access tokens are for (RFC 8707).
    pub audience: Vec<String>,
    /// Life of an unused refresh token, milliseconds.
    pub idle_ms: i64,
    /// Life of the grant, milliseconds.
    pub absolute_ms: i64,
    /// How long the previous refresh token is accepted again, milliseconds.
    pub grace_ms: i64,
    /// Life of the first access token, milliseconds.
    pub access_token_lifetime_ms: i64,
    /// No effect after this time.
    pub deadline: Timestamp,
}

/// Grants of one owner beyond which the oldest are revoked.
pub const MAX_GRANTS_PER_OWNER: usize = 100;

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

/// What changing something led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The change is stored.
    Stored,
    /// There is nothing of that name, or the condition of the change does not hold any more.
    NotFound,
}

/// A place that keeps grants, owners, clients and signing keys.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Stores and indexes a new grant, if the owner is unchanged.
    async fn create_grant(&self, grant: &NewGrant) -> Result<GrantCreation, StoreError>;
    /// Presents a refresh token: the rotation of `decide.rs`.
    async fn rotate(&self, presented: &Presented) -> Result<Rotation, StoreError>;
    /// Revokes a grant, whatever its state. Revoking twice keeps the first reason.
    async fn revoke_grant(&self, owner: OwnerId, id: GrantId, reason: RevocationReason) -> Result<Changed, StoreError>;
    /// Reads one grant, revoked ones included.
    async fn grant(&self, owner: OwnerId, id: GrantId) -> Result<Option<GrantRecord>, StoreError>;
    /// Lists the ids of an owner's grants; some may have expired already.
    async fn grants_of(&self, owner: OwnerId) -> Result<Vec<GrantId>, StoreError>;

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

    /// Stores a new client.
    async fn create_client(&self, client: &Client) -> Result<Created, StoreError>;
    /// Reads a client; a cached copy is as new as the store's.
    async fn client(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError>;
    /// Replaces a client if the stored one still has version `client.version - 1`.
    async fn replace_client(&self, client: &Client) -> Result<Changed, StoreError>;
    /// Deletes a client; its grants are dead at once.
    async fn delete_client(&self, id: &ClientId) -> Result<Changed, StoreError>;
    /// Lists all clients, sorted by id.
    async fn clients(&self) -> Result<Vec<Arc<Client>>, StoreError>;

    /// Stores a sealed signing key unless its slot is taken.
    async fn add_signing_key(&self, key: &SealedKey) -> Result<Created, StoreError>;
    /// Lists the signing keys by slot, oldest first.
    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError>;

    /// Answers when the store can serve requests.
    async fn ping(&self) -> Result<(), StoreError>;
    /// What an operator should know or must change: empty when the store is fit for production.
    async fn warnings(&self) -> Result<Vec<String>, StoreError>;
    /// The time that the store decides by, as far as this node knows.
    fn now(&self) -> Timestamp;
    /// When a command sent now must have been carried out, or never.
    fn deadline(&self) -> Timestamp;
}

/// Opens the store that a URL names: `sqlite:PATH`, `redis://…`, `rediss://…`.
///
/// # Errors
/// A text for the operator: a URL of no known form, or why the store does not open.
pub async fn open(url: &str, clock: Clock) -> Result<Arc<dyn Store>, String> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let store = embedded::EmbeddedStore::open(path.as_ref(), clock).map_err(|error| error.to_string())?;
        return Ok(Arc::new(store));
    }
    if url.starts_with("redis://") || url.starts_with("rediss://") {
        let store = redis::RedisStore::open(url, clock).await.map_err(|error| error.to_string())?;
        return Ok(Arc::new(store));
    }
    Err(format!("the store {url:?} is neither sqlite:PATH nor redis://HOST:PORT nor rediss://HOST:PORT"))
}
