//! Threads that serve connections, each with a runtime of its own. All that a request does happens on the thread of its
//! connection: with one runtime for all, threads would wake each other for each step and pass requests around.
//!
//! Not here: what a connection does, see `connections.rs`.

use std::{
    convert::Infallible,
    future::Future,
    io,
    ops::RangeInclusive,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle},
    sync::oneshot,
    task::spawn_blocking,
    time::timeout,
};

use crate::lane;

/// Connections that a thread goes on with at once. What they ask of the store is on its way before the next ones are read: with
/// all that are ready, the thread and the store would wait for each other by turns.
const READY: usize = 8;
/// How long the threads may take to end: each drops what it still has to do.
const END: Duration = Duration::from_secs(2);

/// The threads. They end with it, and what they still do ends with them.
pub(super) struct Workers {
    threads: Vec<Worker>,
    turn: usize,
}

struct Worker {
    runtime: Handle,
    /// Dropped to end the thread.
    alive: oneshot::Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts one thread for each of these lanes.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub(super) fn start(lanes: RangeInclusive<usize>) -> io::Result<Self> {
        let threads = lanes.map(start).collect::<io::Result<_>>()?;
        Ok(Self { threads, turn: 0 })
    }

    /// Serves a connection on the thread whose turn it is.
    pub(super) fn serve<F>(&mut self, stream: TcpStream, serve: impl FnOnce(TcpStream) -> F) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.turn = (self.turn + 1) % self.threads.len().max(1);
        let Some(worker) = self.threads.get(self.turn) else { return Ok(()) };
        // Its events go to the thread that serves it.
        let stream = stream.into_std()?;
        let stream = {
            let _entered = worker.runtime.enter();
            TcpStream::from_std(stream)?
        };
        worker.runtime.spawn(serve(stream));
        Ok(())
    }

    /// Ends the threads, and waits until they have.
    pub(super) async fn end(self) {
        let (alive, threads): (Vec<_>, Vec<_>) =
            self.threads.into_iter().map(|worker| (worker.alive, worker.thread)).unzip();
        drop(alive);
        // What panicked has been reported.
        let ended = spawn_blocking(|| threads.into_iter().for_each(|thread| drop(thread.join())));
        if timeout(END, ended).await.is_err() {
            tracing::warn!("threads that serve connections did not end in {END:?}");
        }
    }
}

fn start(number: usize) -> io::Result<Worker> {
    let runtime = Builder::new_current_thread().enable_all().max_io_events_per_tick(READY).build()?;
    let (alive, ended) = oneshot::channel::<Infallible>();
    let handle = runtime.handle().clone();
    let home = Handle::current();
    let thread = thread::Builder::new().name(format!("serve {number}")).spawn(move || {
        lane::enter(number, home);
        // It ends with an error, when the other half is dropped.
        drop(runtime.block_on(ended));
    })?;
    Ok(Worker { runtime: handle, alive, thread })
}
