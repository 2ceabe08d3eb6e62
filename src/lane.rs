//! The threads that serve connections are numbered, so that each of them may have things of its own, such as a connection to
//! the store: what no other thread touches needs no waking of other threads.

use std::{cell::Cell, thread::available_parallelism};

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(0) };
}

/// How many threads serve connections.
pub fn number() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The number of this thread, from 1 on; 0 for all that serve no connections.
pub fn current() -> usize {
    LANE.get()
}

/// Gives this thread its number.
pub fn enter(lane: usize) {
    LANE.set(lane);
}
