//! Accepts connections, serves them, and ends those that are held for nothing.
//!
//! The accept loop is our own, because poem's sets no timer: half a request header would stay open for ever there.
//! It only accepts: a TLS handshake is its connection's own business, so that one that hangs holds nobody up.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use poem::{
    Addr, Endpoint, Request, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::{
    activity::{Activity, Overdue, Watched},
    tls::Tls,
    workers::Workers,
};
use crate::{App, config::Limits};

const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 32 * 1024;
const MAX_STREAMS: u32 = 64;
/// Streams that a client may take back before they were looked at; beyond it the connection ends (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 20;
/// Streams that we may have to reset because of what the client sent; beyond it the connection ends (CVE-2025-8671).
const MAX_FAULTY_STREAMS: usize = 64;
/// What HTTP/2 may buffer for one stream and one connection: bodies have at most 16 KiB.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// An HTTP/2 client that doesn't answer a ping for 20 seconds is gone.
const PING: Duration = Duration::from_secs(30);
/// How long requests in flight may take to finish after a shutdown began.
const DRAIN: Duration = Duration::from_secs(10);
/// Pause after the system refused to accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One address and what answers there.
pub(super) struct Door<E> {
    pub(super) endpoint: E,
    pub(super) app: Arc<App>,
    pub(super) limits: Limits,
    pub(super) tls: Option<Arc<Tls>>,
}

/// Accepts connections until told to stop, then drains them.
pub(super) async fn accept(
    listener: TcpListener,
    door: Door<impl Endpoint<Output = Response> + 'static>,
    mut workers: Workers,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let local = listener.local_addr()?;
    let connections = door.limits.connections;
    let permits = Arc::new(Semaphore::new(connections));
    let (door, builder) = (Arc::new(door), Arc::new(builder()));
    loop {
        let accepted = async {
            // A closed semaphore would be our own doing; there is no code that closes it.
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            // It changes once, or its sender is gone: stop in both cases.
            _ = stopped.changed() => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let open = door.app.metrics.connection();
        let ends = Ends { local, peer };
        let (door, builder, stopped) = (Arc::clone(&door), Arc::clone(&builder), stopped.clone());
        let handed_over = workers.serve(stream, |stream| async move {
            door.serve(stream, ends, &builder, stopped).await;
            drop((open, permit));
        });
        if let Err(error) = handed_over {
            tracing::debug!(%error, %peer, "a connection ended before it was served");
        }
    }
    drop(listener);
    // All permits are back when all connections have ended.
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    if timeout(DRAIN, permits.acquire_many(all)).await.is_err() {
        tracing::warn!("some requests did not finish in {DRAIN:?}");
    }
    workers.end().await;
    Ok(())
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The time of a header is measured here, see `Activity`: hyper would count the pause between two requests to it.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_FAULTY_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING);
    builder
}

/// The addresses of a connection's ends.
#[derive(Clone, Copy, Debug)]
struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
}

impl<E: Endpoint<Output = Response> + 'static> Door<E> {
    async fn serve(
        self: &Arc<Self>,
        stream: TcpStream,
        ends: Ends,
        builder: &Builder<TokioExecutor>,
        mut stopped: watch::Receiver<bool>,
    ) {
        // Small answers must not wait for more to send.
        drop(stream.set_nodelay(true));
        let Some(tls) = self.tls.clone() else {
            return self.converse(stream, Scheme::HTTP, ends, builder, stopped).await;
        };
        let limit = Duration::from_secs(self.limits.handshake_seconds.into());
        let shaken = tokio::select! {
            _ = stopped.changed() => return,
            shaken = timeout(limit, tls.accept(stream)) => shaken,
        };
        let metrics = &self.app.metrics;
        match shaken {
            Ok(Ok(stream)) => {
                metrics.tls_handshake("succeeded");
                // In a box: a connection without TLS would carry the room for it.
                Box::pin(self.converse(stream, Scheme::HTTPS, ends, builder, stopped)).await;
            }
            Ok(Err(error)) => {
                metrics.tls_handshake("failed");
                tracing::debug!(%error, peer = %ends.peer, "no TLS");
            }
            Err(_) => metrics.tls_handshake("timed_out"),
        }
    }

    /// Answers requests until the client leaves, has nothing to ask for too long, or the server stops.
    async fn converse<S>(
        self: &Arc<Self>,
        stream: S,
        scheme: Scheme,
        Ends { local, peer }: Ends,
        builder: &Builder<TokioExecutor>,
        mut stopped: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new();
        let (door, seen) = (Arc::clone(self), activity.clone());
        let (local, remote) = (LocalAddr(Addr::SocketAddr(local)), RemoteAddr(Addr::SocketAddr(peer)));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (door, answering) = (Arc::clone(&door), seen.answering(request.version()));
            let request = Request::from((request, local.clone(), remote.clone(), scheme.clone()));
            async move {
                let response = match door.endpoint.call(request).await {
                    Ok(response) => response,
                    Err(error) => error.into_response(),
                };
                drop(answering);
                Ok::<_, std::convert::Infallible>(hyper::Response::from(response))
            }
        });
        let watched = Watched { stream, activity: activity.clone() };
        let mut connection = pin!(builder.serve_connection(TokioIo::new(watched), service));
        let [header, idle] =
            [self.limits.header_seconds, self.limits.idle_seconds].map(|seconds| Duration::from_secs(seconds.into()));
        let mut alarm = pin!(sleep(header));
        let mut leaving = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, %peer, "connection ended");
                    }
                    return;
                }
                _ = stopped.changed(), if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                    alarm.as_mut().reset(tokio::time::Instant::now() + DRAIN);
                }
                () = alarm.as_mut() => {
                    let now = tokio::time::Instant::now();
                    match activity.overdue_at(header, idle) {
                        _ if leaving => return,
                        None => alarm.as_mut().reset(now + header),
                        Some((at, _)) if at > now => alarm.as_mut().reset(at),
                        Some((_, Overdue::Header)) => {
                            self.app.metrics.header_timeout();
                            return;
                        }
                        Some((_, Overdue::Idle)) => {
                            leaving = true;
                            connection.as_mut().graceful_shutdown();
                            // A client that takes no answer doesn't leave by itself.
                            alarm.as_mut().reset(now + header);
                        }
                    }
                }
            }
        }
    }
}
