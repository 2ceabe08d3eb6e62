//! Where a guess of a password comes from, as far as it is counted.
//!
//! Not here: the limits, see `store/throttle.rs`; which proxies are believed, see `http/request_context.rs`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AuthenticatedOwner;
use crate::{
    clock::{Timestamp, random_bytes},
    ids::OwnerId,
    secret::{SecretText, ServerSecret},
    token::envelope::{Envelope, EnvelopeKeys, EnvelopeSecret, Kind},
};

const DEVICE: Kind = Kind { prefix: "td_", domain: b"td1", purpose: b"trusted devices" };

/// Checks of one account from one source that this node makes at once; more wait here. Well below the store's bound on
/// what may be under way, so that correct logins in parallel on a few nodes are not refused.
const AT_ONCE: usize = 8;
/// How many checks of one account and source may wait for their turn.
const MAX_WAITING: usize = 512;

/// Wrong passwords from one network, for whatever accounts, in [`NETWORK_WINDOW_MS`].
pub(super) const NETWORK_FAILURES: u32 = 30;
/// See [`NETWORK_FAILURES`], milliseconds.
pub(super) const NETWORK_WINDOW_MS: i64 = 600_000;
/// Networks that one node remembers as shut out.
const MAX_SHUT_OUT: usize = 10_000;

/// Where a guess comes from.
#[derive(Debug, Default)]
pub struct LoginSource {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The cookie of a device, as presented.
    pub device: Option<SecretText>,
    /// A confidential client, which logs many people in from one address: only their accounts are counted.
    pub speaks_for_many: bool,
}

impl LoginSource {
    /// Whom an address stands for: a network of 256, or a household of 2^64 (RFC 6177).
    pub(super) fn network(&self) -> String {
        match self.address.map(|address| address.to_canonical()) {
            None => "unknown".to_owned(),
            Some(IpAddr::V4(address)) => format!("{:?}", &address.octets()[..3]),
            Some(IpAddr::V6(address)) => format!("{:x?}", &address.segments()[..4]),
        }
    }
}

/// The keys that turn sources into what is counted.
pub(super) struct Sources {
    devices: EnvelopeKeys,
    buckets: hmac::Key,
    crowds: Mutex<HashMap<(OwnerId, String), Arc<Semaphore>>>,
    shut_out: Mutex<HashMap<String, Timestamp>>,
}

impl Sources {
    pub(super) fn new(secret: &ServerSecret) -> Self {
        Self {
            devices: EnvelopeKeys::new(DEVICE, secret),
            buckets: secret.mac_key(b"guesses of passwords"),
            crowds: Mutex::default(),
            shut_out: Mutex::default(),
        }
    }

    /// The text for the cookie of a device that somebody has just signed in on. It says so until the owner's epoch counts
    /// up: a new password, or log out everywhere.
    pub(super) fn remember(&self, owner: &AuthenticatedOwner) -> SecretText {
        let envelope = Envelope {
            owner: owner.id(),
            record: random_bytes(),
            counter: low_half(owner.epoch()),
            secret: EnvelopeSecret::random(),
        };
        self.devices.seal(&envelope, self.devices.current_id())
    }

    /// The device that a cookie names, and the epoch it is good for, when it is this owner's.
    pub(super) fn device(&self, source: &LoginSource, owner: OwnerId) -> Option<(String, u32)> {
        let envelope = self.devices.open(source.device.as_ref()?.expose()).filter(|known| known.owner == owner)?;
        Some((URL_SAFE_NO_PAD.encode(envelope.record), envelope.counter))
    }

    /// A keyed hash, so that the store holds no addresses of people.
    pub(super) fn bucket(&self, what: &str) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&hmac::sign(&self.buckets, what.as_bytes()).as_ref()[..16]);
        short
    }

    /// The name of the network's count.
    pub(super) fn address(&self, source: &LoginSource) -> String {
        URL_SAFE_NO_PAD.encode(self.bucket(&format!("address {}", source.network())))
    }

    /// Waits for a turn. Whoever comes after many others of the same account and source learns from their failures before
    /// anything of its own is counted; the owner on their own device waits for nobody else.
    pub(super) async fn turn(&self, owner: OwnerId, source: String) -> Option<OwnedSemaphorePermit> {
        let crowd = {
            let mut crowds = self.crowds.lock().unwrap_or_else(PoisonError::into_inner);
            // One that nobody holds or waits for is worth nothing.
            if crowds.len() >= 1024 {
                crowds.retain(|_, crowd| Arc::strong_count(crowd) > 1);
            }
            Arc::clone(crowds.entry((owner, source)).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
        };
        // Those who hang up go on waiting here, so that their guesses count: they must not pile up.
        if Arc::strong_count(&crowd) > MAX_WAITING {
            return None;
        }
        crowd.acquire_owned().await.ok()
    }

    /// How long a network is shut out, milliseconds.
    pub(super) fn wait(&self, source: &LoginSource, now: Timestamp) -> Option<i64> {
        let shut_out = self.shut_out.lock().unwrap_or_else(PoisonError::into_inner);
        shut_out.get(&source.network()).map(|until| until.since(now)).filter(|left| *left > 0)
    }

    /// Shuts a network out until its window ends. The count is in the store; each node remembers what it heard.
    pub(super) fn shut_out(&self, source: &LoginSource, now: Timestamp) {
        let until = Timestamp((now.0.div_euclid(NETWORK_WINDOW_MS) + 1) * NETWORK_WINDOW_MS);
        let mut shut_out = self.shut_out.lock().unwrap_or_else(PoisonError::into_inner);
        if shut_out.len() >= MAX_SHUT_OUT {
            shut_out.retain(|_, until| now < *until);
        }
        if shut_out.len() < MAX_SHUT_OUT {
            shut_out.insert(source.network(), until);
        }
    }
}

/// As much of an epoch as a cookie carries.
fn low_half(epoch: u64) -> u32 {
    u32::try_from(epoch % (1 << 32)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_one_source() {
        let of = |text: &str| LoginSource { address: Some(text.parse().unwrap()), ..Default::default() }.network();
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.7"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::2"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }
}
