//! What may happen to a browser session: a resource owner who is signed in at this server itself.
//!
//! Not here: the cookie that names one, see `resource_owner/browser_session.rs`; how they are kept, see
//! `redis/sessions.rs` and `embedded/sessions.rs`.

use async_trait::async_trait;

use super::{Changed, Origin, StoreError};
use crate::{
    clock::Timestamp,
    ids::{OwnerId, SessionId, Subject, Username},
};

/// Browser sessions of one owner beyond which the oldest end.
pub const MAX_SESSIONS_PER_OWNER: usize = 50;

/// A use of a session is written down only when the last one is older than this, milliseconds: a page view costs no write.
pub const SESSION_TOUCH_MS: i64 = 60_000;

/// A browser session about to begin. The store adds its own time to the lifetimes.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Chosen by the caller, so that a repeated command begins nothing twice.
    pub id: SessionId,
    /// The resource owner.
    pub owner: OwnerId,
    /// The owner's epoch when they were authenticated.
    pub owner_epoch: u64,
    /// SHA-256 of the secret in the cookie.
    pub secret_hash: [u8; 32],
    /// Life of an unused session, milliseconds.
    pub idle_ms: i64,
    /// Life of the session, milliseconds.
    pub absolute_ms: i64,
    /// Where the sign-in came from.
    pub origin: Origin,
    /// No effect after this time.
    pub deadline: Timestamp,
}

/// What beginning a session led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionBeginning {
    /// It is stored and indexed.
    Stored,
    /// The owner was disabled, deleted, or changed since they were authenticated; nothing changed.
    OwnerChanged,
    /// The command reached the store after its deadline; nothing changed.
    TooLate {
        /// The store's time.
        now: Timestamp,
    },
}

/// A session whose cookie was right, and whose owner is the one who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// The store's time.
    pub now: Timestamp,
    /// When the owner signed in.
    pub signed_in_at: Timestamp,
    /// The owner's epoch.
    pub owner_epoch: u64,
    /// The owner's subject.
    pub subject: Subject,
    /// The owner's name.
    pub username: Username,
}

/// A session, for its owner to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its identifier.
    pub id: SessionId,
    /// When the owner signed in.
    pub signed_in_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Timestamp,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
    /// Where the sign-in came from.
    pub origin: Origin,
}

/// A place that keeps browser sessions. A session ends by itself when its owner's epoch counts up: a new password, log out
/// everywhere, disabling, deletion.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Stores and indexes a new session, if the owner is unchanged. Beyond [`MAX_SESSIONS_PER_OWNER`] the oldest ends.
    async fn begin_session(&self, session: &NewSession) -> Result<SessionBeginning, StoreError>;
    /// Finds a session by what its cookie says, and notes the use; `None` when it has ended.
    async fn use_session(
        &self,
        owner: OwnerId,
        id: SessionId,
        secret_hash: [u8; 32],
    ) -> Result<Option<LiveSession>, StoreError>;
    /// Ends one session.
    async fn end_session(&self, owner: OwnerId, id: SessionId) -> Result<Changed, StoreError>;
    /// Ends all sessions of an owner but one, and says how many.
    async fn end_other_sessions(&self, owner: OwnerId, kept: SessionId) -> Result<usize, StoreError>;
    /// Lists the live sessions of an owner, newest first.
    async fn sessions_of(&self, owner: OwnerId) -> Result<Vec<SessionRecord>, StoreError>;
}
