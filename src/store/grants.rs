//! What may happen to a grant.
//!
//! Not here: how they are kept, see `redis/grants.rs` and `embedded/grants.rs`.

use async_trait::async_trait;

use super::{
    Changed, Delivery, GrantRecord, LoginTicket, Origin, OwnerStanding, Presented, RevocationReason, Rotation,
    StoreError,
};
use crate::{
    clock::Timestamp,
    ids::{ClientId, GrantId, OwnerId},
    scope::Scope,
};

/// What creating a grant led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantCreation {
    /// It is stored and indexed, and the owner's oldest grants beyond [`MAX_GRANTS_PER_OWNER`] are revoked.
    Stored {
        /// The creation time by the store's clock.
        now: Timestamp,
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
    pub scope: Scope,
    /// The resources that access tokens are for (RFC 8707).
    pub audience: Vec<String>,
    /// How its refresh tokens travel.
    pub delivery: Delivery,
    /// Life of an unused refresh token, milliseconds.
    pub idle_ms: i64,
    /// Life of the grant, milliseconds.
    pub absolute_ms: i64,
    /// How long the previous refresh token is accepted again, milliseconds.
    pub grace_ms: i64,
    /// Life of the first access token, milliseconds.
    pub access_token_lifetime_ms: i64,
    /// Where it was asked for.
    pub from: Origin,
    /// The attempt to log in that it comes of, which succeeded. Settled in the same step, whether or not the owner has
    /// changed.
    pub settles: Option<LoginTicket>,
    /// No effect after this time.
    pub deadline: Timestamp,
}

/// Grants of one owner beyond which the oldest are revoked.
pub const MAX_GRANTS_PER_OWNER: usize = 100;

/// A place that keeps grants.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait GrantStore: Send + Sync + 'static {
    /// Stores and indexes a new grant, if the owner is unchanged.
    async fn create_grant(&self, grant: &NewGrant) -> Result<GrantCreation, StoreError>;
    /// Presents a refresh token: the rotation of `decide.rs`.
    async fn rotate(&self, presented: &Presented) -> Result<Rotation, StoreError>;
    /// Revokes a grant, whatever its state. Revoking twice keeps the first reason and origin.
    async fn revoke_grant(
        &self,
        owner: OwnerId,
        id: GrantId,
        reason: RevocationReason,
        from: &Origin,
    ) -> Result<Changed, StoreError>;
    /// Revokes all living grants of an owner, and says how many. Called again, it makes sure of those that a call
    /// before has revoked.
    async fn revoke_grants(&self, owner: OwnerId, reason: RevocationReason, from: &Origin)
    -> Result<usize, StoreError>;
    /// Reads one grant, revoked ones included.
    async fn grant(&self, owner: OwnerId, id: GrantId) -> Result<Option<GrantRecord>, StoreError>;
    /// Reads one grant, and how its owner stands.
    async fn standing(
        &self,
        owner: OwnerId,
        id: GrantId,
    ) -> Result<Option<(GrantRecord, Option<OwnerStanding>)>, StoreError>;
    /// Lists the ids of an owner's grants; some may have expired already.
    async fn grants_of(&self, owner: OwnerId) -> Result<Vec<GrantId>, StoreError>;
}
