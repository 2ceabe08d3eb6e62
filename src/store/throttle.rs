//! What may happen to guesses of passwords: counted for each account and each source, before anything is hashed.
//!
//! The rules are [`AccountThrottle`], a pure function of what was counted and of the time. The embedded store calls it;
//! `redis/lua/attempt_login.lua` and `settle.lua` are a port, held equal by a differential test.
//!
//! An account is counted whether it exists or not: the answer says nothing about it. A source that the owner has signed in
//! from has a count of its own, so that nobody else's guesses lock the owner out.
//!
//! Not here: who a source is, see `resource_owner/source.rs`; how counts are kept, see `redis/throttle.rs` and
//! `embedded/throttle.rs`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{OwnerRecord, StoreError};
use crate::{clock::Timestamp, ids::OwnerId};

/// Wrong passwords that one source has before it must wait: from a stranger's, and from one the owner signed in from.
pub const FREE_FAILURES: u32 = 5;
/// See [`FREE_FAILURES`].
pub const FREE_FAILURES_TRUSTED: u32 = 10;
/// The first wait of a source, milliseconds. Each further failure doubles it, up to [`LONGEST_WAIT_MS`].
pub const FIRST_WAIT_MS: i64 = 60_000;
/// The longest wait, milliseconds. Also how long a quiet source is remembered: no lock is permanent.
pub const LONGEST_WAIT_MS: i64 = 900_000;
/// Attempts of all strangers' sources together on one account: so many at once, ...
pub const STRANGERS_BURST: i64 = 20;
/// ... and one more for each so many milliseconds.
pub const STRANGERS_INTERVAL_MS: i64 = 30_000;
/// Attempts of strangers in a row without a success, after which they get one in [`LONGEST_WAIT_MS`]
/// (NIST SP 800-63B §5.2.2).
pub const STRANGERS_STREAK: u32 = 100;
/// Attempts of one source that may be under way at once: correct ones are as good in parallel as one by one.
pub const MAX_IN_FLIGHT: u32 = 20;
/// An attempt that was not settled in so many milliseconds of quiet does not count: its server died, and whoever made it
/// learnt nothing. One that is settled later counts then.
pub const SETTLE_MS: i64 = 10_000;
/// How long an address is trusted after a success from there, milliseconds.
pub const TRUST_MS: i64 = 30 * 24 * 3_600_000;
/// Trusted addresses that one account remembers, and devices.
pub const MAX_TRUSTED: usize = 32;

/// Somebody is about to have a password checked.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The account, which need not exist.
    pub owner: OwnerId,
    /// The address it comes from: a keyed hash of its network, in words of `[0-9A-Za-z_-]`.
    pub address: String,
    /// The device that proved to have signed in before, and the owner's epoch then, modulo 2^32.
    pub device: Option<(String, u32)>,
    /// No effect after this time.
    pub deadline: Timestamp,
}

/// What counting an attempt led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginAdmission {
    /// The password may be checked; the attempt must be settled.
    Admitted {
        /// The owner, if there is one.
        owner: Option<OwnerRecord>,
        /// What to settle.
        ticket: LoginTicket,
    },
    /// Too many guesses; nothing was counted.
    Refused {
        /// When to ask again, milliseconds from now.
        retry_after_ms: i64,
    },
    /// The command reached the store after its deadline; nothing changed.
    TooLate,
}

/// An attempt that was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginTicket {
    /// The source that was counted: `a` and an address, or `d` and a device.
    pub source: String,
    /// Whether the owner has signed in from there.
    pub trusted: bool,
}

/// How a check of a password ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The password was right.
    Succeeded,
    /// It was wrong.
    Failed,
    /// It was not checked: the attempt does not count.
    Withdrawn,
}

/// A place that counts guesses.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait ThrottleStore: Send + Sync + 'static {
    /// Counts an attempt, and reads the owner in the same step.
    async fn attempt_login(&self, attempt: &LoginAttempt) -> Result<LoginAdmission, StoreError>;
    /// Says how an admitted attempt ended.
    async fn settle_login(&self, owner: OwnerId, ticket: &LoginTicket, outcome: LoginOutcome)
    -> Result<(), StoreError>;
}

/// What is counted for one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountThrottle {
    /// When the strangers' bucket is whole again.
    pub(crate) whole_at: i64,
    /// Attempts of strangers since the last success.
    pub(crate) streak: u32,
    /// The last attempt of a stranger.
    pub(crate) last: i64,
    /// The sources.
    pub(crate) sources: BTreeMap<String, SourceThrottle>,
}

/// What is counted for one source of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceThrottle {
    /// Attempts that did not succeed, those under way included.
    pub(crate) count: u32,
    /// Those under way.
    pub(crate) in_flight: u32,
    /// The last attempt.
    pub(crate) last: i64,
    /// Until when the source is trusted; 0 for never.
    pub(crate) trusted_until: i64,
}

impl AccountThrottle {
    /// Counts an attempt from `source`, or says how many milliseconds it must wait.
    ///
    /// # Errors
    /// The wait.
    pub fn attempt(&mut self, source: &str, by_device: bool, now: Timestamp) -> Result<LoginTicket, i64> {
        let now = now.0;
        self.sources.retain(|_, source| now < source.trusted_until || now - source.last < LONGEST_WAIT_MS);
        let mut counted = self.sources.get(source).cloned().unwrap_or_default();
        if now - counted.last >= SETTLE_MS {
            counted.count = counted.count.saturating_sub(counted.in_flight);
            counted.in_flight = 0;
        }
        if now - counted.last >= LONGEST_WAIT_MS {
            counted.count = 0;
        }
        if counted.in_flight >= MAX_IN_FLIGHT {
            return Err(1_000);
        }
        let trusted = by_device || now < counted.trusted_until;
        let free = if trusted { FREE_FAILURES_TRUSTED } else { FREE_FAILURES };
        let failed = counted.count.saturating_sub(counted.in_flight);
        if failed >= free {
            let wait = FIRST_WAIT_MS << (failed - free).min(10);
            let until = counted.last + wait.min(LONGEST_WAIT_MS);
            if now < until {
                return Err(until - now);
            }
        }
        if !trusted {
            if self.streak >= STRANGERS_STREAK && now < self.last + LONGEST_WAIT_MS {
                return Err(self.last + LONGEST_WAIT_MS - now);
            }
            let earliest = self.whole_at - (STRANGERS_BURST - 1) * STRANGERS_INTERVAL_MS;
            if now < earliest {
                return Err(earliest - now);
            }
            self.whole_at = self.whole_at.max(now) + STRANGERS_INTERVAL_MS;
            self.streak += 1;
            self.last = now;
        }
        if by_device {
            self.make_room_for_a_device(source);
        }
        counted.count += 1;
        counted.in_flight += 1;
        counted.last = now;
        self.sources.insert(source.to_owned(), counted);
        Ok(LoginTicket { source: source.to_owned(), trusted })
    }

    /// Forgets the device that was quiet for longest, when there are too many: each sign-in makes another one.
    fn make_room_for_a_device(&mut self, new: &str) {
        let devices = self.sources.iter().filter(|(name, _)| name.starts_with('d') && name.as_str() != new);
        if devices.clone().count() >= MAX_TRUSTED {
            let oldest = devices.min_by_key(|(name, source)| (source.last, (*name).clone()));
            let oldest = oldest.map(|(name, _)| name.clone()).unwrap_or_default();
            self.sources.remove(&oldest);
        }
    }

    /// Takes the outcome of an admitted attempt into account.
    pub fn settle(&mut self, ticket: &LoginTicket, outcome: LoginOutcome, now: Timestamp) {
        let now = now.0;
        let mut counted = self.sources.get(&ticket.source).cloned().unwrap_or_default();
        let late = counted.in_flight == 0;
        counted.in_flight = counted.in_flight.saturating_sub(1);
        if outcome != LoginOutcome::Failed && !ticket.trusted {
            self.whole_at -= STRANGERS_INTERVAL_MS;
        }
        match outcome {
            LoginOutcome::Failed => counted.count += u32::from(late),
            LoginOutcome::Withdrawn => {
                counted.count = counted.count.saturating_sub(u32::from(!late));
                if !ticket.trusted {
                    self.streak = self.streak.saturating_sub(1);
                }
            }
            LoginOutcome::Succeeded => {
                // Others under way may still fail.
                counted.count = counted.in_flight;
                self.streak = 0;
                if ticket.source.starts_with('a') {
                    counted.trusted_until = now + TRUST_MS;
                }
            }
        }
        // What says nothing is not kept.
        if counted.count == 0 && counted.in_flight == 0 && counted.trusted_until == 0 {
            self.sources.remove(&ticket.source);
        } else {
            self.sources.insert(ticket.source.clone(), counted);
        }
        let trusted = self.sources.iter().filter(|(_, source)| source.trusted_until > 0);
        if trusted.clone().count() > MAX_TRUSTED {
            // The name decides between equals, so that every store forgets the same one.
            let oldest = trusted.min_by_key(|(name, source)| (source.trusted_until, (*name).clone()));
            let oldest = oldest.map(|(name, _)| name.clone()).unwrap_or_default();
            self.sources.remove(&oldest);
        }
    }

    /// When nothing of it matters any more.
    pub fn expires_at(&self) -> Timestamp {
        let sources = self.sources.values().map(|source| source.trusted_until.max(source.last + LONGEST_WAIT_MS));
        Timestamp(sources.fold(self.whole_at.max(self.last + LONGEST_WAIT_MS), i64::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(1_800_000_000_000);

    fn guesses(account: &mut AccountThrottle, source: &str, number: usize, now: Timestamp) -> usize {
        let guess = |_: &usize| {
            let admitted = account.attempt(source, false, now);
            admitted.is_ok_and(|ticket| {
                account.settle(&ticket, LoginOutcome::Failed, now);
                true
            })
        };
        (0..number).filter(guess).count()
    }

    #[test]
    fn a_source_waits_twice_as_long_after_each_failure() {
        let mut account = AccountThrottle::default();
        assert_eq!(guesses(&mut account, "a1", 9, T0), 5);
        let mut now = T0;
        for wait in [60_000, 120_000, 240_000, 480_000] {
            assert_eq!(account.attempt("a1", false, now), Err(wait));
            now = now.plus(wait);
            assert_eq!(guesses(&mut account, "a1", 2, now), 1);
        }
        // Then it is forgotten, as it would be without the last guess.
        assert_eq!(account.attempt("a1", false, now), Err(LONGEST_WAIT_MS));
        assert_eq!(guesses(&mut account, "a1", 9, now.plus(LONGEST_WAIT_MS)), 5);
    }

    #[test]
    fn strangers_share_a_bucket_and_the_owner_does_not() {
        let mut account = AccountThrottle::default();
        let home = account.attempt("ahome", false, T0).unwrap();
        account.settle(&home, LoginOutcome::Succeeded, T0);
        let admitted: usize = (0..30).map(|n| guesses(&mut account, &format!("a{n}"), 9, T0)).sum();
        assert_eq!(admitted, 20);
        assert_eq!(account.attempt("a99", false, T0), Err(STRANGERS_INTERVAL_MS));
        assert!(account.attempt("ahome", false, T0).unwrap().trusted);
        assert!(account.attempt("dphone", true, T0).unwrap().trusted);
        assert!(account.attempt("dphone", false, T0).is_err());
    }

    #[test]
    fn a_hundred_failures_in_a_row_leave_one_guess_in_a_quarter_of_an_hour() {
        let mut account = AccountThrottle::default();
        let (mut now, mut admitted) = (T0, 0);
        for n in 0..100 {
            admitted += guesses(&mut account, &format!("a{n}"), 1, now);
            now = now.plus(STRANGERS_INTERVAL_MS);
        }
        assert_eq!(admitted, 100);
        assert_eq!(account.attempt("anew", false, now), Err(LONGEST_WAIT_MS - STRANGERS_INTERVAL_MS));
    }

    #[test]
    fn what_was_never_checked_does_not_count_and_what_was_settled_late_does() {
        let mut account = AccountThrottle::default();
        let dead: Vec<_> = (0..20).map(|_| account.attempt("a1", false, T0).unwrap()).collect();
        assert_eq!(account.attempt("a1", false, T0), Err(1_000));
        let mut late = account.clone();
        // The strangers' bucket is empty; it does not know who died.
        let now = T0.plus(STRANGERS_BURST * STRANGERS_INTERVAL_MS);
        assert_eq!(guesses(&mut account, "a1", 9, now), 5);

        let first = late.attempt("a1", false, now).unwrap();
        for ticket in dead.iter().take(4).chain([&first]) {
            late.settle(ticket, LoginOutcome::Failed, now);
        }
        assert_eq!(late.attempt("a1", false, now), Err(FIRST_WAIT_MS));

        let mut account = AccountThrottle::default();
        for _ in 0..100 {
            let ticket = account.attempt("a1", false, T0).unwrap();
            account.settle(&ticket, LoginOutcome::Withdrawn, T0);
        }
        assert_eq!(guesses(&mut account, "a1", 9, T0), 5);
    }

    #[test]
    fn the_record_of_an_account_stays_small() {
        let mut account = AccountThrottle::default();
        for n in 0..1_000 {
            let now = T0.plus(n);
            let ticket = account.attempt(&format!("a{n}"), false, now).unwrap();
            account.settle(&ticket, LoginOutcome::Succeeded, now);
        }
        assert_eq!(account.sources.len(), MAX_TRUSTED);
        assert_eq!(account.expires_at(), T0.plus(999 + TRUST_MS));
        for n in 0..1_000 {
            let now = T0.plus(1_000 + n);
            let ticket = account.attempt(&format!("d{n}"), true, now).unwrap();
            let outcome = if n % 2 == 0 { LoginOutcome::Succeeded } else { LoginOutcome::Failed };
            account.settle(&ticket, outcome, now);
        }
        assert_eq!(account.sources.len(), 2 * MAX_TRUSTED);
    }
}
