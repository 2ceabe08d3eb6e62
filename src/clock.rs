//! Reads the wall clock and the system's randomness; nothing else in the crate does.
//!
//! Not here: the time that decides a rotation on Redis. That is the store's own `TIME`, see
//! `store/redis/lua/rotate.lua`.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time `milliseconds` later.
    pub const fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds from `earlier` to this time; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since the Unix epoch: the `NumericDate` of RFC 7519 §2.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole seconds from `now` until this time, never negative: an `expires_in`.
    pub const fn seconds_left(self, now: Self) -> i64 {
        let left = self.since(now);
        if left > 0 { left / 1000 } else { 0 }
    }
}

/// The wall clock, shared by all parts of one server.
///
/// A test moves it forward with [`Clock::advance`]; the offset then reaches the store's scripts too, so
/// that an expiry can be tested without waiting for it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// The current time.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let milliseconds = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        Timestamp(milliseconds).plus(self.offset_ms())
    }

    /// Milliseconds that a test has moved this clock ahead of the system's; 0 in production.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let milliseconds = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.offset_ms.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

/// Bytes that no other call gives, for names in the log: a hash of how many there were, under keys of this process. It costs a
/// tenth of random ones.
pub fn unique_bytes() -> [u8; 16] {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    let number = GIVEN.fetch_add(1, Ordering::Relaxed);
    let [first, second] = KEYS.each_ref().map(|key| u128::from(key.hash_one(number)));
    (first << 64 | second).to_be_bytes()
}

/// Unpredictable bytes for identifiers, secrets and nonces.
///
/// # Panics
/// When the operating system has no randomness to give: nothing safe can be done then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        clippy::disallowed_methods,
        reason = "this is the one place that reads randomness, and a server without any must not go on"
    )]
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
