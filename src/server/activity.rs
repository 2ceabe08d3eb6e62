//! What a connection is doing, to find out who holds one for nothing: those who begin a request and never finish it, and
//! those who are done and don't leave.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use poem::http::Version;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// The state of one connection.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Requests that are being answered.
    answering: usize,
    /// When the last of them was answered, or the connection made.
    since: Instant,
    /// When the first byte of the next request arrived.
    begun: Option<Instant>,
    /// Whether there was a request at all.
    served: bool,
    /// HTTP/2, where bytes also come between requests.
    multiplexed: bool,
}

/// How a connection that is held for nothing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The client began something and doesn't finish it.
    Header,
    /// Nothing was asked for a long time.
    Idle,
}

impl Activity {
    pub(super) fn new() -> Self {
        let since = Instant::now();
        Self(Arc::new(Mutex::new(State { answering: 0, since, begun: None, served: false, multiplexed: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is there with its whole header, and is being answered until the guard goes: also when the client takes it
    /// back, which drops the answering.
    pub(super) fn answering(&self, version: Version) -> Answering {
        let mut state = self.state();
        state.answering += 1;
        state.begun = None;
        state.served = true;
        state.multiplexed = version == Version::HTTP_2;
        Answering(self.clone())
    }

    /// When this connection will have been held for nothing, and why; nothing while a request is being answered.
    pub(super) fn overdue_at(&self, header: Duration, idle: Duration) -> Option<(Instant, Overdue)> {
        let state = self.state();
        match (state.answering, state.begun, state.served) {
            (0, Some(begun), _) => Some((begun + header, Overdue::Header)),
            (0, None, false) => Some((state.since + header, Overdue::Header)),
            (0, None, true) => Some((state.since + idle, Overdue::Idle)),
            _ => None,
        }
    }

    fn bytes_arrived(&self) {
        let mut state = self.state();
        if state.answering == 0 && !state.multiplexed && state.begun.is_none() {
            state.begun = Some(if state.served { Instant::now() } else { state.since });
        }
    }
}

/// A request that is being answered.
pub(super) struct Answering(Activity);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.answering -= 1;
        state.since = Instant::now();
    }
}

/// A connection whose incoming bytes are noticed.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Activity,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.bytes_arrived();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
