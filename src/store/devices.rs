//! What may happen to a device authorization: a login on a device that waits for a person in front of another one
//! ([RFC 8628](https://www.rfc-editor.org/rfc/rfc8628)).
//!
//! A record has one address, which both codes lead to: the device code carries it, and the user code's keyed hash is it.
//! So each verb touches one key, and neither code can be read out of a store.
//!
//! Not here: the texts of the codes, see `token/device_code.rs`; how records are kept, see `redis/devices.rs` and
//! `embedded/devices.rs`.

use async_trait::async_trait;

use super::{Origin, StoreError};
use crate::{
    clock::Timestamp,
    ids::{ClientId, DeviceId, OwnerId},
    scope::Scope,
};

/// What a device must wait longer after each poll that came too early, milliseconds (RFC 8628 §3.5).
pub const SLOW_DOWN_MS: i64 = 5_000;

/// How much a poll may come early, milliseconds: one that travelled faster than the one before is not too early.
pub const POLL_LEEWAY_MS: i64 = 500;

/// How long the poll that got the tokens gets them again, milliseconds: its answer may have been lost.
pub const CLAIM_GRACE_MS: i64 = 60_000;

/// How long a record outlives its codes, milliseconds: a late poll is then told what became of it.
pub const DEVICE_REMEMBRANCE_MS: i64 = 300_000;

/// A device authorization about to start. The store adds its own time to the lifetime.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Its address: a keyed hash of the user code.
    pub id: DeviceId,
    /// SHA-256 of the secret in the device code.
    pub secret_hash: [u8; 32],
    /// The client on the device.
    pub client_id: ClientId,
    /// The client's epoch when it was authenticated.
    pub client_epoch: u64,
    /// What it asks for.
    pub scope: Scope,
    /// The resources that it asks for.
    pub audience: Vec<String>,
    /// Where the request came from, for the person who decides.
    pub origin: Origin,
    /// Life of both codes, milliseconds.
    pub lifetime_ms: i64,
    /// How long to wait between two polls at first, milliseconds.
    pub interval_ms: i64,
    /// No effect after this time.
    pub deadline: Timestamp,
}

/// What starting led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceStart {
    /// It is stored.
    Stored,
    /// Another one has this user code; nothing changed.
    Taken,
    /// The command reached the store after its deadline; nothing changed.
    TooLate,
}

/// A device authorization, for the page where a person decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// The client on the device.
    pub client_id: ClientId,
    /// The client's epoch at the start.
    pub client_epoch: u64,
    /// What it asks for.
    pub scope: Scope,
    /// The resources that it asks for.
    pub audience: Vec<String>,
    /// Where the request came from.
    pub origin: Origin,
    /// Whether somebody has decided.
    pub decided: bool,
    /// When it started.
    pub started_at: Timestamp,
    /// When both codes expire.
    pub expires_at: Timestamp,
}

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceDecision {
    /// The device may act for this owner.
    Approve {
        /// The owner.
        owner: OwnerId,
        /// Their epoch when they decided: a grant is made only while it is the same.
        owner_epoch: u64,
    },
    /// It may not.
    Deny,
}

/// What deciding led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceDecided {
    /// The decision is stored; the same one again changes nothing.
    Stored,
    /// Another decision was there before.
    Already,
    /// There is no such authorization any more.
    Gone,
    /// The command reached the store after its deadline; nothing changed.
    TooLate,
}

/// A device code as presented: genuine by its MAC, otherwise unchecked.
#[derive(Clone, Debug)]
pub struct PresentedDevice {
    /// The record that the code names.
    pub id: DeviceId,
    /// SHA-256 of the secret in the code.
    pub secret_hash: [u8; 32],
    /// The authenticated client.
    pub client_id: ClientId,
    /// No effect after this time.
    pub deadline: Timestamp,
}

/// What a poll led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DevicePoll {
    /// Nobody has decided yet.
    Pending,
    /// Nobody has decided yet, and the device asks too often: it must wait [`SLOW_DOWN_MS`] longer from now on.
    SlowDown,
    /// A person said no.
    Denied,
    /// The code ran out, or is remembered no more.
    Expired,
    /// A person said yes. This poll claims the tokens, or repeats the one that did within [`CLAIM_GRACE_MS`].
    Approved(ApprovedDevice),
    /// The tokens were claimed before.
    Used {
        /// Whose grant came of it.
        owner: OwnerId,
    },
    /// The record exists and the code is not its own.
    Foreign,
    /// The code belongs to another client.
    WrongClient {
        /// The client it was issued to.
        issued_to: ClientId,
    },
    /// The command reached the store after its deadline and changed nothing.
    TooLate,
}

/// What a person allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovedDevice {
    /// The owner who said yes.
    pub owner: OwnerId,
    /// Their epoch when they did.
    pub owner_epoch: u64,
    /// The client's epoch at the start.
    pub client_epoch: u64,
    /// What was allowed.
    pub scope: Scope,
    /// The resources that were allowed.
    pub audience: Vec<String>,
    /// Whether the tokens were claimed before.
    pub repeated: bool,
}

/// A place that keeps device authorizations until their codes expire, and counts guesses of user codes.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait DeviceStore: Send + Sync + 'static {
    /// Stores a new authorization, unless there is one at its address.
    async fn start_device(&self, device: &NewDevice) -> Result<DeviceStart, StoreError>;
    /// Finds one that has not expired.
    async fn device(&self, id: DeviceId) -> Result<Option<DeviceRecord>, StoreError>;
    /// Stores what a person decided; the first decision stays.
    async fn decide_device(
        &self,
        id: DeviceId,
        decision: DeviceDecision,
        deadline: Timestamp,
    ) -> Result<DeviceDecided, StoreError>;
    /// Presents a device code, and claims what it leads to.
    async fn poll_device(&self, presented: &PresentedDevice) -> Result<DevicePoll, StoreError>;
    /// Counts an attempt, and says how many there were in this stretch of `window_ms`. The bucket is a keyed hash of who
    /// tries.
    async fn count_attempt(&self, bucket: [u8; 16], window_ms: i64) -> Result<u32, StoreError>;
}
