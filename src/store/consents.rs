//! What may happen to a consent: the scope that a resource owner has allowed a client for good.
//!
//! Not here: when a page asks for one, see `authorization.rs`; how they are kept, see `redis/consents.rs` and
//! `embedded/consents.rs`.

use async_trait::async_trait;

use super::{Changed, StoreError};
use crate::{
    clock::Timestamp,
    ids::{ClientId, OwnerId},
    scope::Scope,
};

/// The most clients whose consents are remembered for one owner.
pub const MAX_CONSENTS_PER_OWNER: usize = 200;

/// A remembered consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The client that may.
    pub client_id: ClientId,
    /// The client's epoch at that time: a client that was replaced must ask again.
    pub client_epoch: u64,
    /// What it may.
    pub scope: Scope,
    /// When that was last said.
    pub given_at: Timestamp,
}

/// A consent about to be remembered.
#[derive(Clone, Debug)]
pub struct NewConsent {
    /// The resource owner.
    pub owner: OwnerId,
    /// Their epoch when they gave it.
    pub owner_epoch: u64,
    /// The client.
    pub client_id: ClientId,
    /// Its epoch now.
    pub client_epoch: u64,
    /// What it may; added to what was allowed before.
    pub scope: Scope,
    /// When that was said, for one that comes from another store; now for others.
    pub given_at: Option<Timestamp>,
}

/// A place that keeps consents, as long as their owner is there.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait ConsentStore: Send + Sync + 'static {
    /// Remembers a consent, unless the owner has changed or has [`MAX_CONSENTS_PER_OWNER`] already.
    async fn remember_consent(&self, consent: &NewConsent) -> Result<Changed, StoreError>;
    /// Finds what an owner allowed a client.
    async fn consent(&self, owner: OwnerId, client: &ClientId) -> Result<Option<Consent>, StoreError>;
    /// Lists an owner's consents, by client.
    async fn consents_of(&self, owner: OwnerId) -> Result<Vec<Consent>, StoreError>;
    /// Forgets a consent: the client must ask again. Its grants are another matter.
    async fn forget_consent(&self, owner: OwnerId, client: &ClientId) -> Result<Changed, StoreError>;
    /// Forgets all consents of an owner, and says how many.
    async fn forget_consents(&self, owner: OwnerId) -> Result<usize, StoreError>;
}
