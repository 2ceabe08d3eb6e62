//! Runs a server: assembles it, accepts connections, drains them.
//!
//! The accept loop is our own, because poem's sets no timer: half a request header would stay open for
//! ever there.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use poem::{
    Addr, Endpoint, Request, Response,
    endpoint::BoxEndpoint,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{App, config::Config, http};

/// Connections served at once; more wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 16_384;
/// How long a client may take to send a request's header, and how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 32 * 1024;
const MAX_STREAMS: u32 = 64;
/// How long requests in flight may take to finish after a shutdown began.
const DRAIN: Duration = Duration::from_secs(10);
/// How often the signing keys are looked at; much less than they are published ahead.
const KEY_MAINTENANCE: Duration = Duration::from_secs(30);
/// Pause after the system refused to accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The sockets that a server answers on.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub public: TcpListener,
    /// For health and metrics.
    pub management: Option<TcpListener>,
}

/// Serves until `shutdown` completes, then finishes the requests in flight.
///
/// # Errors
/// When a listener has no local address, or the deployer's logo can't be used.
pub async fn run(
    app: Arc<App>,
    config: &Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let endpoint = http::public(&app, config).map_err(io::Error::other)?;
    let public = tokio::spawn(accept(listeners.public, endpoint, Arc::clone(&app), stopped.clone()));
    let management = listeners
        .management
        .map(|listener| tokio::spawn(accept(listener, http::management(&app), Arc::clone(&app), stopped)));
    let maintenance = tokio::spawn(maintain_keys(app, stop.subscribe()));
    shutdown.await;
    tracing::info!("shutting down: finishing the requests in flight");
    stop.send_replace(true);
    maintenance.abort();
    for served in std::iter::once(public).chain(management) {
        served.await.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Keeps the signing keys up to date. While the store can't answer, those that are known stay in use.
async fn maintain_keys(app: Arc<App>, mut stopped: tokio::sync::watch::Receiver<bool>) {
    let mut clock = tokio::time::interval(KEY_MAINTENANCE);
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = clock.tick() => {}
        }
        if let Err(error) = app.issuer.signing().maintain(app.store.as_ref()).await {
            tracing::warn!(%error, "the signing keys could not be looked at");
        }
    }
}

/// Accepts connections until told to stop, then drains them.
async fn accept(
    listener: TcpListener,
    endpoint: BoxEndpoint<'static, Response>,
    app: Arc<App>,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> io::Result<()> {
    let local = listener.local_addr()?;
    let endpoint = Arc::new(endpoint);
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let builder = connection_builder();
    let graceful = GracefulShutdown::new();
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
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = graceful.watch(serve(&builder, stream, local, peer, Arc::clone(&endpoint)));
        let open = app.metrics.connection();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "connection ended");
            }
            drop((open, permit));
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in {DRAIN:?}");
    }
    Ok(())
}

fn connection_builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(HEADER_TIMEOUT);
    builder
}

/// One connection, over which the endpoint answers.
fn serve(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>> + Send + 'static
{
    // Small answers must not wait for more to send.
    drop(stream.set_nodelay(true));
    let (local, remote) = (LocalAddr(Addr::SocketAddr(local)), RemoteAddr(Addr::SocketAddr(peer)));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let endpoint = Arc::clone(&endpoint);
        let request = Request::from((request, local.clone(), remote.clone(), Scheme::HTTP));
        async move {
            let response = match endpoint.call(request).await {
                Ok(response) => response,
                Err(error) => error.into_response(),
            };
            Ok::<_, std::convert::Infallible>(hyper::Response::from(response))
        }
    });
    builder.serve_connection(TokioIo::new(stream), service).into_owned()
}
