//! Decides what a presented device code leads to, as a pure function.
//!
//! The embedded store calls it; `store/redis/lua/poll_device.lua` is a port of it, and a differential test keeps the two
//! equal. [RFC 8628 §3.4](https://www.rfc-editor.org/rfc/rfc8628#section-3.4) and
//! [§3.5](https://www.rfc-editor.org/rfc/rfc8628#section-3.5).

use super::{
    ApprovedDevice, CLAIM_GRACE_MS, DeviceDecision, DevicePoll, DeviceRecord, POLL_LEEWAY_MS, PresentedDevice,
    SLOW_DOWN_MS,
};
use crate::clock::Timestamp;

/// A device authorization, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedDevice {
    /// What the page shows.
    pub record: DeviceRecord,
    /// SHA-256 of the secret in the device code.
    pub secret_hash: [u8; 32],
    /// How long to wait between two polls by now, milliseconds.
    pub interval_ms: i64,
    /// When the next poll is not too early.
    pub next_poll_at: Timestamp,
    /// What a person decided.
    pub decision: Option<DeviceDecision>,
    /// When the tokens were claimed.
    pub claimed_at: Option<Timestamp>,
}

/// What a poll changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceDelta {
    /// Nothing.
    Unchanged,
    /// The tokens are claimed now.
    Claim,
    /// The next poll is not before this interval is over, from now on.
    Wait {
        /// The interval, milliseconds.
        interval_ms: i64,
    },
}

/// The rules of a poll. Their order is the policy.
pub fn poll(device: Option<&StartedDevice>, presented: &PresentedDevice, now: Timestamp) -> (DevicePoll, DeviceDelta) {
    let unchanged = |poll| (poll, DeviceDelta::Unchanged);
    if now > presented.deadline {
        return unchanged(DevicePoll::TooLate);
    }
    // The MAC proves that we issued it, so it is long over.
    let Some(device) = device else { return unchanged(DevicePoll::Expired) };
    // The code of an older authorization that happened to have the same user code.
    if device.secret_hash != presented.secret_hash {
        return unchanged(DevicePoll::Foreign);
    }
    // Before anything changes: another client with a copy of the code must not use it up.
    if device.record.client_id != presented.client_id {
        return unchanged(DevicePoll::WrongClient { issued_to: device.record.client_id.clone() });
    }
    let approved = |owner, owner_epoch, repeated| {
        DevicePoll::Approved(ApprovedDevice {
            owner,
            owner_epoch,
            client_epoch: device.record.client_epoch,
            scope: device.record.scope.clone(),
            audience: device.record.audience.clone(),
            repeated,
        })
    };
    match (device.decision, device.claimed_at) {
        // Its answer may have been lost.
        (Some(DeviceDecision::Approve { owner, owner_epoch }), Some(at)) if now.since(at) < CLAIM_GRACE_MS => {
            unchanged(approved(owner, owner_epoch, true))
        }
        (Some(DeviceDecision::Approve { owner, .. }), Some(_)) => unchanged(DevicePoll::Used { owner }),
        _ if now >= device.record.expires_at => unchanged(DevicePoll::Expired),
        (Some(DeviceDecision::Deny), _) => unchanged(DevicePoll::Denied),
        (Some(DeviceDecision::Approve { owner, owner_epoch }), None) => {
            (approved(owner, owner_epoch, false), DeviceDelta::Claim)
        }
        // RFC 8628 §3.5: the longer interval is for all later polls too.
        (None, _) if now.plus(POLL_LEEWAY_MS) < device.next_poll_at => {
            (DevicePoll::SlowDown, DeviceDelta::Wait { interval_ms: device.interval_ms.saturating_add(SLOW_DOWN_MS) })
        }
        (None, _) => (DevicePoll::Pending, DeviceDelta::Wait { interval_ms: device.interval_ms }),
    }
}
