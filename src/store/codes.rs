//! What may happen to an authorization code.
//!
//! Not here: the code's text and its MAC, see `token/authorization_code.rs`; the rules of redemption, see `redeem.rs`; how
//! codes are kept, see `redis/codes.rs` and `embedded/codes.rs`.

use async_trait::async_trait;

use super::{Delivery, LiveGrant, Origin, RevocationReason, StoreError};
use crate::{
    clock::Timestamp,
    ids::{ClientId, GrantId, OwnerId},
    pkce::CodeChallenge,
    scope::Scope,
};

/// A code about to be issued: the grant that it may become.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// The grant that it will become. Chosen by the caller, so that a repeated command stores nothing twice.
    pub grant: GrantId,
    /// The resource owner.
    pub owner: OwnerId,
    /// The owner's epoch when they consented.
    pub owner_epoch: u64,
    /// The client.
    pub client_id: ClientId,
    /// The client's epoch now.
    pub client_epoch: u64,
    /// The granted scope.
    pub scope: Scope,
    /// The resources that access tokens will be for.
    pub audience: Vec<String>,
    /// SHA-256 of the secret in the code.
    pub code_hash: [u8; 32],
    /// What the verifier must hash to.
    pub challenge: CodeChallenge,
    /// SHA-256 of the `redirect_uri` parameter, or of nothing when there was none.
    pub redirect_uri_hash: [u8; 32],
    /// How long it may be redeemed, milliseconds.
    pub lifetime_ms: i64,
    /// No effect after this time.
    pub deadline: Timestamp,
}

/// What issuing a code led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeCreation {
    /// It is stored.
    Stored,
    /// The owner was disabled, deleted, or changed since they signed in; nothing changed.
    OwnerChanged,
    /// The command reached the store after its deadline; nothing changed.
    TooLate {
        /// The store's time.
        now: Timestamp,
    },
}

/// A stored code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRecord {
    /// SHA-256 of the secret in the code.
    pub code_hash: [u8; 32],
    /// What the verifier must hash to.
    pub challenge: CodeChallenge,
    /// SHA-256 of the `redirect_uri` parameter.
    pub redirect_uri_hash: [u8; 32],
    /// The client it was issued to.
    pub client_id: ClientId,
    /// That client's epoch then.
    pub client_epoch: u64,
    /// The owner's epoch then.
    pub owner_epoch: u64,
    /// The granted scope.
    pub scope: Scope,
    /// The resources that access tokens will be for.
    pub audience: Vec<String>,
    /// The end of its life.
    pub expires_at: Timestamp,
}

/// A code as presented: genuine by its MAC, otherwise unchecked; and what the grant will be if it is good.
#[derive(Clone, Debug)]
pub struct PresentedCode {
    /// The owner that the code names.
    pub owner: OwnerId,
    /// The grant that the code names.
    pub grant: GrantId,
    /// SHA-256 of the secret in the code.
    pub code_hash: [u8; 32],
    /// The authenticated client.
    pub client_id: ClientId,
    /// That client's epoch now.
    pub client_epoch: u64,
    /// SHA-256 of the `redirect_uri` parameter, or of nothing when there is none.
    pub redirect_uri_hash: [u8; 32],
    /// What the `code_verifier` hashes to; all zero when there is none.
    pub challenge: CodeChallenge,
    /// Names the HTTP request: the same command of the same request, sent again, is no replay.
    pub request_id: [u8; 16],
    /// SHA-256 of the family secret of the grant.
    pub family_hash: [u8; 32],
    /// MAC key of generation 1.
    pub key_id: u8,
    /// How the refresh tokens will travel.
    pub delivery: Delivery,
    /// Life of an unused refresh token, milliseconds.
    pub idle_ms: i64,
    /// Life of the grant, milliseconds.
    pub absolute_ms: i64,
    /// How long the previous refresh token is accepted again, milliseconds.
    pub grace_ms: i64,
    /// Life of the first access token, milliseconds.
    pub access_token_lifetime_ms: i64,
    /// Where the request came from.
    pub from: Origin,
    /// No effect after this time.
    pub deadline: Timestamp,
}

/// What redeeming a code led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redemption {
    /// The code became this grant, and the owner's oldest grants beyond the cap are revoked.
    Redeemed(LiveGrant),
    /// It was redeemed before: the grant that it became is revoked, in the same call (RFC 6749 §4.1.2).
    Replayed,
    /// Not good, for a reason that only the log sees.
    Refused(CodeRefusal),
    /// The command reached the store after its deadline; nothing changed.
    TooLate {
        /// The store's time.
        now: Timestamp,
    },
}

/// Why a code was refused. The client sees `invalid_grant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeRefusal {
    /// There is no such code: expired, burned, or lost.
    Unknown,
    /// The code exists and has another secret.
    WrongSecret,
    /// It was issued to another client; it stays good.
    WrongClient {
        /// The client it was issued to.
        issued_to: ClientId,
    },
    /// The grant that it became is revoked.
    Revoked(RevocationReason),
    /// It has expired.
    Expired,
    /// The owner was disabled, deleted, or changed meanwhile; the code is gone.
    OwnerChanged,
    /// The client was replaced meanwhile; the code is gone.
    ClientChanged,
    /// Another `redirect_uri` than in the authorization request; the code is gone.
    RedirectUri,
    /// A wrong `code_verifier`, or none; the code is gone.
    Challenge,
}

/// A place that keeps authorization codes until they become grants.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait CodeStore: Send + Sync + 'static {
    /// Stores a code, if the owner is unchanged.
    async fn create_code(&self, code: &NewCode) -> Result<CodeCreation, StoreError>;
    /// Presents a code: the rules of `redeem.rs`.
    async fn redeem(&self, presented: &PresentedCode) -> Result<Redemption, StoreError>;
}
