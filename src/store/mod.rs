//! What every store does: one atomic verb for each thing that may happen to a grant, an owner or a client.
//!
//! Each subject has a file here with its verbs, and one in each of the two stores, `redis/` and `embedded/`. The records
//! are in `records.rs`, rotation's rules in `decide.rs`. One contract suite in `tests/it/store_contract.rs` runs against
//! both stores.
//!
//! Not here: which HTTP answer an outcome leads to, see `grant/` and `error.rs`.

mod clients;
mod codes;
mod consents;
pub mod decide;
mod denials;
mod devices;
pub mod embedded;
mod grants;
mod origin;
mod owners;
pub mod poll;
mod records;
pub mod redeem;
pub mod redis;
mod sessions;
mod signing_keys;
pub mod throttle;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::{
    clients::ClientStore,
    codes::{CodeCreation, CodeRecord, CodeRefusal, CodeStore, NewCode, PresentedCode, Redemption},
    consents::{Consent, ConsentStore, MAX_CONSENTS_PER_OWNER, NewConsent},
    denials::DenialStore,
    devices::{
        ApprovedDevice, CLAIM_GRACE_MS, DEVICE_REMEMBRANCE_MS, DeviceDecided, DeviceDecision, DevicePoll, DeviceRecord,
        DeviceStart, DeviceStore, NewDevice, POLL_LEEWAY_MS, PresentedDevice, SLOW_DOWN_MS,
    },
    grants::{GrantCreation, GrantStore, MAX_GRANTS_PER_OWNER, NewGrant},
    origin::Origin,
    owners::{OwnerChange, OwnerSearch, OwnerStore},
    records::{
        Delivery, GrantRecord, GrantStatus, LiveGrant, OwnerRecord, OwnerStanding, OwnerStatus, Presented, Refusal,
        RevocationReason, Rotation, RotationPolicy, SealedKey, TOMBSTONE_MS,
    },
    sessions::{
        LiveSession, MAX_SESSIONS_PER_OWNER, NewSession, SESSION_TOUCH_MS, SessionBeginning, SessionRecord,
        SessionStore,
    },
    signing_keys::SigningKeyStore,
    throttle::{AccountThrottle, LoginAdmission, LoginAttempt, LoginOutcome, LoginTicket, ThrottleStore},
};
use crate::{
    clock::{Clock, Timestamp},
    telemetry::metrics::StoreMeter,
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

/// What changing something led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The change is stored.
    Stored,
    /// There is nothing of that name, or the condition of the change does not hold any more.
    NotFound,
}

/// A place that keeps everything: all subjects in one, so that a server carries one pointer.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
pub trait Store:
    GrantStore
    + OwnerStore
    + ClientStore
    + SigningKeyStore
    + SessionStore
    + ConsentStore
    + CodeStore
    + DenialStore
    + DeviceStore
    + ThrottleStore
    + StoreHealth
{
}

impl<T> Store for T where
    T: GrantStore
        + OwnerStore
        + ClientStore
        + SigningKeyStore
        + SessionStore
        + ConsentStore
        + CodeStore
        + DenialStore
        + DeviceStore
        + ThrottleStore
        + StoreHealth
{
}

/// Whether a store can serve, and the time it decides by.
#[async_trait]
pub trait StoreHealth: Send + Sync + 'static {
    /// Answers when the store can serve requests.
    async fn ping(&self) -> Result<(), StoreError>;
    /// What an operator must change: empty when the store is fit for production.
    async fn warnings(&self) -> Result<Vec<String>, StoreError>;
    /// What an operator should know or had better change.
    async fn advice(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    /// How long it takes, and how often it fails.
    fn meter(&self) -> &StoreMeter;
    /// The time that the store decides by, as far as this node knows.
    fn now(&self) -> Timestamp;
    /// When a command sent now must have been carried out, or never.
    fn deadline(&self) -> Timestamp;
}

/// Opens the store that a URL names: `sqlite:PATH`, `redis://…`, `redis+sentinel://…`, `redis+cluster://…`, and the same
/// with `rediss`.
///
/// # Errors
/// A text for the operator: a URL of no known form, or why the store does not open.
pub async fn open(url: &str, clock: Clock) -> Result<Arc<dyn Store>, String> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let store = embedded::EmbeddedStore::open(path.as_ref(), clock).map_err(|error| error.to_string())?;
        return Ok(Arc::new(store));
    }
    if redis::RedisStore::is_meant(url) {
        let store = redis::RedisStore::open(url, clock).await.map_err(|error| error.to_string())?;
        return Ok(Arc::new(store));
    }
    // The URL itself stays untold: it may hold a password.
    Err("the store must be sqlite:PATH, redis://HOST:PORT, redis+sentinel://HOST:PORT,…/MASTER or redis+cluster://HOST:PORT,… (rediss for TLS)".into())
}
