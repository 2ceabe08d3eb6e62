//! The threads that serve connections are numbered, so that each of them may have things of its own, such as a connection to
//! the store: what no other thread touches needs no waking of other threads.

use std::{
    cell::{Cell, RefCell},
    thread::available_parallelism,
};

use tokio::runtime::Handle;

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(0) };
    static HOME: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// How many threads serve the public address.
pub fn number() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The number of this thread, from 1 on; 0 for all others.
pub fn current() -> usize {
    LANE.get()
}

/// Gives this thread its number, and the runtime of the server.
pub fn enter(lane: usize, home: Handle) {
    LANE.set(lane);
    HOME.set(Some(home));
}

/// The runtime of the server, for work that must not end with this thread.
pub fn home() -> Option<Handle> {
    HOME.with_borrow(Clone::clone).or_else(|| Handle::try_current().ok())
}
