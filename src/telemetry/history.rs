//! The last hours of this node, minute by minute: what the plots of the administration page are drawn from. They are the
//! counts of `/metrics`, kept in memory and bounded; a restart forgets them.
//!
//! Not here: what is counted, see `metrics.rs`; the drawing, see `http/admin_page/plot.rs`.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::clock::Timestamp;

/// Minutes that are kept: six hours.
pub const MINUTES: usize = 360;
const MINUTE_MS: i64 = 60_000;

/// Counts since the start. Each is an exact sum of series of `/metrics`.
#[derive(Debug, Default)]
pub struct Totals {
    granted: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    replays: AtomicU64,
}

impl Totals {
    /// Counts a token request by the word for its outcome.
    pub fn token_request(&self, outcome: &str) {
        let count = match outcome {
            "granted" | "rotated" | "repeated" | "repaired" => &self.granted,
            "temporarily_unavailable" | "server_error" => &self.unavailable,
            // A device that waits is neither.
            "authorization_pending" | "slow_down" => return,
            _ => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts something that was used twice.
    pub fn replay(&self) {
        self.replays.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            granted: read(&self.granted),
            refused: read(&self.refused),
            unavailable: read(&self.unavailable),
            replays: read(&self.replays),
        }
    }
}

/// Token requests by how they ended, and replays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens were issued.
    pub granted: u64,
    /// The client or the person was refused.
    pub refused: u64,
    /// The server could not answer.
    pub unavailable: u64,
    /// A refresh token, a code or a device code was used twice, and its grant ended.
    pub replays: u64,
}

impl Counts {
    const fn since(self, earlier: Self) -> Self {
        Self {
            granted: self.granted.saturating_sub(earlier.granted),
            refused: self.refused.saturating_sub(earlier.refused),
            unavailable: self.unavailable.saturating_sub(earlier.unavailable),
            replays: self.replays.saturating_sub(earlier.replays),
        }
    }
}

/// What happened in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Which one: minutes since the epoch.
    pub number: i64,
    /// What was counted.
    pub counts: Counts,
    /// The most passwords that waited at once, of those looked at each second.
    pub longest_queue: u64,
}

#[derive(Debug, Default)]
struct State {
    past: VecDeque<Minute>,
    /// The minute that goes on, and the counts when it began.
    current: Option<(Minute, Counts)>,
}

/// The last [`MINUTES`].
#[derive(Debug, Default)]
pub struct History {
    /// What is counted all the time.
    pub totals: Totals,
    state: Mutex<State>,
}

impl History {
    /// Looks at the counts and at how many passwords wait now: what was counted since the look before belongs to the minute
    /// that went on. To be called each second.
    pub fn look(&self, now: Timestamp, queue: usize) {
        let number = now.0.div_euclid(MINUTE_MS);
        let counts = self.totals.read();
        let mut state = self.lock();
        let (mut minute, began) =
            state.current.take().unwrap_or((Minute { number, ..Minute::default() }, Counts::default()));
        // Only forwards: a clock that was set back goes on counting into the same minute.
        let (minute, began) = if number > minute.number {
            minute.counts = counts.since(began);
            state.past.push_back(minute);
            while state.past.len() > MINUTES {
                state.past.pop_front();
            }
            (Minute { number, ..Minute::default() }, counts)
        } else {
            (minute, began)
        };
        let longest_queue = minute.longest_queue.max(u64::try_from(queue).unwrap_or(u64::MAX));
        state.current = Some((Minute { longest_queue, ..minute }, began));
    }

    /// The minutes, oldest first; the last one still goes on.
    pub fn minutes(&self) -> Vec<Minute> {
        let state = self.lock();
        let current = state.current.map(|(minute, began)| Minute { counts: self.totals.read().since(began), ..minute });
        state.past.iter().copied().chain(current).collect()
    }

    /// No code panics while it holds this lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_what_was_counted_in_it() {
        let history = History::default();
        history.totals.token_request("granted");
        history.look(Timestamp(60_000), 3);
        for outcome in ["rotated", "invalid_grant", "throttled", "server_error", "slow_down"] {
            history.totals.token_request(outcome);
        }
        history.totals.replay();
        assert!(History::default().minutes().is_empty());
        history.look(Timestamp(119_999), 1);
        history.look(Timestamp(120_000), 9);
        history.totals.token_request("repeated");
        // The clock goes back: the same minute goes on.
        history.look(Timestamp(0), 0);
        // Nobody looked for two minutes.
        history.look(Timestamp(300_000), 0);
        let counts = Counts { granted: 2, refused: 2, unavailable: 1, replays: 1 };
        let second = Counts { granted: 1, ..Counts::default() };
        history.totals.replay();
        let going_on = Counts { replays: 1, ..Counts::default() };
        let minutes = [
            Minute { number: 1, counts, longest_queue: 3 },
            Minute { number: 2, counts: second, longest_queue: 9 },
            Minute { number: 5, counts: going_on, longest_queue: 0 },
        ];
        assert_eq!(history.minutes(), minutes);
    }

    #[test]
    fn old_minutes_are_forgotten() {
        let history = History::default();
        for minute in 0..=1000 {
            history.look(Timestamp(minute * 60_000), 0);
        }
        let minutes = history.minutes();
        assert_eq!((minutes.len(), minutes[0].number, minutes[360].number), (361, 640, 1000));
    }
}
