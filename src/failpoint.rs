//! Kills this process at a named step, in the builds of the proof only: without the cargo feature `failpoints`
//! nothing of it is compiled.
//!
//! `FAILPOINT=NAME:N:SEED` lets one pass in N through the step NAME (or through `any` step) be the last thing
//! that this process does. (It is no setting, so it has not their prefix.) The end is an abort: no destructor runs and nothing is flushed, as with `kill -9`.
//!
//! Not here: who sets it, see `tests/faults/`.

/// Passes a step.
#[cfg(not(feature = "failpoints"))]
pub const fn pass(_step: &str) {}

/// Passes a step whose end lies in other hands, such as a command on its way: the process dies a moment later.
#[cfg(not(feature = "failpoints"))]
pub const fn pass_soon(_step: &str) {}

/// Passes a step.
#[cfg(feature = "failpoints")]
pub fn pass(step: &str) {
    if armed::draw(step).is_some() {
        std::process::abort();
    }
}

/// Passes a step whose end lies in other hands, such as a command on its way: the process dies a moment later.
#[cfg(feature = "failpoints")]
pub fn pass_soon(step: &str) {
    if let Some(random) = armed::draw(step) {
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_micros(random % 3_000));
            std::process::abort();
        });
    }
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    struct Failpoint {
        step: String,
        one_in: u64,
        seed: u64,
        passes: AtomicU64,
    }

    static ARMED: LazyLock<Option<Failpoint>> = LazyLock::new(|| {
        let text = std::env::var("FAILPOINT").ok()?;
        let mut parts = text.split(':');
        let step = parts.next()?.to_owned();
        let one_in = parts.next()?.parse().ok().filter(|one_in| *one_in > 0)?;
        let seed = parts.next()?.parse().ok()?;
        Some(Failpoint { step, one_in, seed, passes: AtomicU64::new(0) })
    });

    /// Whether this pass is the last; a random number then.
    pub(super) fn draw(step: &str) -> Option<u64> {
        let armed = ARMED.as_ref().filter(|armed| armed.step == step || armed.step == "any")?;
        let pass = armed.passes.fetch_add(1, Ordering::Relaxed);
        let random = scramble(armed.seed.wrapping_add(pass.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        random.is_multiple_of(armed.one_in).then(|| random / armed.one_in)
    }

    /// The finalizer of splitmix64.
    const fn scramble(mut word: u64) -> u64 {
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
