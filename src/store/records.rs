//! The records that the stores keep, and the outcomes of a rotation.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{ClientId, GrantId, OwnerId, Subject, Username},
    scope::Scope,
    store::Origin,
};

/// How long a revoked grant is remembered at least, milliseconds: long enough that a late replay and an
/// operator's question still find the reason.
pub const TOMBSTONE_MS: i64 = 24 * 60 * 60 * 1000;

/// One authorization grant: everything that came of one authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// Alive, or revoked and why.
    pub status: GrantStatus,
    /// SHA-256 of the family secret that every refresh token of this grant carries.
    pub family_hash: [u8; 32],
    /// The generation whose presentation rotates.
    pub generation: u32,
    /// The MAC key of that generation.
    pub key_id: u8,
    /// When that generation became current.
    pub current_since: Timestamp,
    /// When the grant was created.
    pub created_at: Timestamp,
    /// The end of the grant; it never moves.
    pub absolute_expiry: Timestamp,
    /// Life of an unused refresh token, milliseconds.
    pub idle_ms: i64,
    /// How long the previous generation is accepted again, milliseconds.
    pub grace_ms: i64,
    /// The client it was granted to.
    pub client_id: ClientId,
    /// The owner's epoch at creation: a later epoch means that the grant is dead.
    pub owner_epoch: u64,
    /// The client's epoch at creation, likewise.
    pub client_epoch: u64,
    /// The granted scope; refreshing with less does not shrink it (RFC 6749 §6).
    pub scope: Scope,
    /// The resources that access tokens are for.
    pub audience: Vec<String>,
    /// How its refresh tokens travel.
    pub delivery: Delivery,
    /// The latest expiry of any access token of this grant.
    pub access_expires_at: Timestamp,
    /// Whether the current generation was used without rotating ([`RotationPolicy::Keep`]).
    pub used_in_place: bool,
    /// How often a current generation was given out again.
    pub repeats: u32,
    /// Where its current generation was made from: the last accepted use, or the creation.
    pub last_used_from: Origin,
}

impl GrantRecord {
    /// When the current refresh token expires, and the record with it.
    pub fn expires_at(&self) -> Timestamp {
        self.expiry_of(self.current_since)
    }

    /// When a refresh token that became current at `since` expires: idle life, but never past the grant's
    /// end.
    pub fn expiry_of(&self, since: Timestamp) -> Timestamp {
        since.plus(self.idle_ms).min(self.absolute_expiry)
    }

    /// When a grant revoked `at` may be forgotten: not before its last access token has expired.
    pub fn forget_at(&self, at: Timestamp) -> Timestamp {
        at.plus(TOMBSTONE_MS).max(self.access_expires_at)
    }
}

/// Whether a grant is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantStatus {
    /// Its refresh token works.
    Active,
    /// Nothing of it works any more.
    Revoked {
        /// Why.
        reason: RevocationReason,
        /// When.
        at: Timestamp,
        /// Where the request came from that revoked it: for a replay, whoever presented the old token.
        from: Origin,
    },
}

/// Why a grant was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    /// A refresh token was presented after its successor was used, or after the grace.
    Replay,
    /// A genuine token of a generation that the store has not reached: a restored backup.
    FromTheFuture,
    /// The owner was disabled or deleted, changed the password, or logged out everywhere.
    OwnerEpoch,
    /// The client was disabled or deleted.
    ClientEpoch,
    /// The owner had too many grants and this was the oldest.
    Overflow,
    /// An operator revoked it.
    Operator,
    /// The client revoked it (RFC 7009).
    Client,
    /// Its owner revoked it on the account page.
    ResourceOwner,
    /// The authorization code that it came of was presented again (RFC 6749 §4.1.2).
    CodeReplay,
}

impl RevocationReason {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Replay, "replay"),
        (Self::FromTheFuture, "future"),
        (Self::OwnerEpoch, "owner"),
        (Self::ClientEpoch, "client_epoch"),
        (Self::Overflow, "overflow"),
        (Self::Operator, "operator"),
        (Self::Client, "client"),
        (Self::ResourceOwner, "account"),
        (Self::CodeReplay, "code_replay"),
    ];

    /// The word that is stored and logged.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(reason, _)| *reason == self).map_or("", |(_, word)| word)
    }

    /// The reason that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(reason, _)| *reason)
    }
}

/// Whether each use of a refresh token replaces it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RotationPolicy {
    /// Each use gives a new refresh token (RFC 9700 §4.14.2).
    #[default]
    Rotate,
    /// The refresh token stays the same and lives on.
    Keep,
}

/// How the refresh tokens of a grant travel, both ways. It is settled when the grant is made: a script that got hold of
/// one kind of token must not be able to turn it into the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// In the bodies of requests and responses.
    #[default]
    Body,
    /// In a cookie that no script can read.
    Cookie,
}

/// A refresh token as presented: genuine by its MAC, otherwise unchecked.
#[derive(Clone, Debug)]
pub struct Presented {
    /// The owner and the grant that the token names.
    pub owner: OwnerId,
    /// The grant that the token names.
    pub grant: GrantId,
    /// The generation that the token names.
    pub generation: u32,
    /// SHA-256 of the family secret in the token.
    pub family_hash: [u8; 32],
    /// The authenticated client.
    pub client_id: ClientId,
    /// That client's epoch now.
    pub client_epoch: u64,
    /// How it was presented.
    pub delivery: Delivery,
    /// The `scope` parameter, when there is one.
    pub requested_scope: Option<Scope>,
    /// The resources that the access token shall be for; none means all of the grant's.
    pub requested_audience: Vec<String>,
    /// The client's policy.
    pub rotation: RotationPolicy,
    /// The MAC key that a new generation is made with.
    pub new_key_id: u8,
    /// Life of the access token that will be issued, milliseconds.
    pub access_token_lifetime_ms: i64,
    /// Where it came from.
    pub from: Origin,
    /// No effect after this time.
    pub deadline: Timestamp,
}

/// What a rotation led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// First use: a new generation is current (or, under `keep`, the same lives on).
    Rotated(LiveGrant),
    /// The client never saw our answer and asks again: the same generation once more.
    Repeated(LiveGrant),
    /// The store had lost our last write in a failover; it has caught up.
    Repaired(LiveGrant),
    /// Stolen or copied: the grant is revoked, in the same call.
    Replayed {
        /// [`RevocationReason::Replay`] or [`RevocationReason::FromTheFuture`].
        reason: RevocationReason,
        /// The generation presented.
        presented: u32,
        /// The generation that was current.
        current: u32,
    },
    /// Not good, for a reason that only the log sees.
    Refused(Refusal),
    /// The command reached the store after its deadline and changed nothing.
    TooLate {
        /// The store's time.
        now: Timestamp,
    },
}

/// Why a refresh token was refused. The client sees `invalid_grant`, but `invalid_scope` for [`Refusal::Scope`] and
/// `invalid_target` for [`Refusal::Audience`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such grant: expired long ago, or lost.
    Unknown,
    /// The grant exists and the token is not of its family.
    WrongFamily,
    /// The token belongs to another client.
    WrongClient {
        /// The client it was issued to.
        issued_to: ClientId,
    },
    /// The token was presented in a body and belongs in a cookie, or the other way round.
    WrongDelivery,
    /// The grant is revoked.
    Revoked(RevocationReason),
    /// The token has expired.
    Expired,
    /// The requested scope goes beyond the grant.
    Scope,
    /// A requested resource is not one of the grant's.
    Audience,
}

/// A grant whose refresh token was accepted: what the answer is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveGrant {
    /// The store's time.
    pub now: Timestamp,
    /// The owner's subject.
    pub subject: Subject,
    /// The scope of the new access token.
    pub scope: Scope,
    /// The resources that the access token is for.
    pub audience: Vec<String>,
    /// The generation to answer with.
    pub generation: u32,
    /// Its MAC key.
    pub key_id: u8,
    /// When it became current: the issue time of the access token, also of a repeated one.
    pub current_since: Timestamp,
    /// When the refresh token expires.
    pub expires_at: Timestamp,
    /// When the grant ends.
    pub absolute_expiry: Timestamp,
}

/// A resource owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecord {
    /// The normalised name they sign in with; the record's address is its hash.
    pub username: Username,
    /// The `sub` of their tokens.
    pub subject: Subject,
    /// Whether they may sign in.
    pub status: OwnerStatus,
    /// Counts up when every older grant must die. Starts at a random number, so that a recreated owner
    /// revives nothing.
    pub epoch: u64,
    /// The sealed PHC string of the password.
    pub sealed_password: Vec<u8>,
    /// When the record was created.
    pub created_at: Timestamp,
    /// A record of `regrant dev`, which `serve` refuses.
    pub demo: bool,
}

impl OwnerRecord {
    /// The record's address.
    pub fn id(&self) -> OwnerId {
        OwnerId::of(&self.username)
    }
}

/// What a grant needs to know of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerStanding {
    /// Whether they may sign in.
    pub status: OwnerStatus,
    /// A grant of another epoch is dead.
    pub epoch: u64,
    /// The `sub` of their tokens.
    pub subject: Subject,
}

impl From<OwnerRecord> for OwnerStanding {
    fn from(owner: OwnerRecord) -> Self {
        Self { status: owner.status, epoch: owner.epoch, subject: owner.subject }
    }
}

/// Whether a resource owner may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerStatus {
    /// They may.
    Active,
    /// They may not, and their grants are dead.
    Disabled,
}

/// A signing key, sealed under the server's secret: the store can't read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    /// Its number: 1 for the first. Adding a key claims the number, so two nodes can't both add one.
    pub slot: u32,
    /// The algorithm, as JOSE names it.
    pub algorithm: String,
    /// The sealed PKCS#8 document.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs; it is published before that.
    #[serde(default)]
    pub active_from: Timestamp,
}
