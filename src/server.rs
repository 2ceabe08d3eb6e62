//! Runs a server: assembles it, opens its doors, drains it.
//!
//! Not here: what a connection may cost, see `server/connections.rs`; TLS, see `server/tls.rs`.

mod activity;
mod connections;
pub mod tls;
mod workers;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};

use self::{
    connections::{Door, accept},
    tls::Tls,
    workers::Workers,
};
use crate::{
    App,
    config::{Config, Limits},
    http, lane,
};

/// How often the signing keys are looked at; much less than they are published ahead.
const KEY_MAINTENANCE: Duration = Duration::from_secs(30);
/// How often the counts of the last minutes are looked at: a queue of passwords lasts for about as long.
const HISTORY_LOOK: Duration = Duration::from_secs(1);
/// Connections of the management address: probes and one or two that read the metrics.
const MANAGEMENT_CONNECTIONS: usize = 64;
/// Fewer would serve nobody.
const LEAST_CONNECTIONS: usize = 16;
/// Connections that may wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const CONNECTING: u32 = 4096;
/// Files that are open besides connections of the public address: the store, the management address, the log.
const OTHER_FILES: u64 = 512;

/// The sockets that a server answers on.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub public: TcpListener,
    /// For health and metrics; never TLS.
    pub management: Option<TcpListener>,
}

/// Listens on an address, with room for many who connect at once: the standard library's queue holds 128, and whoever finds
/// it full waits for a second.
///
/// # Errors
/// When the address is taken or is not ours.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server need not wait until the connections of the one before are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(CONNECTING)
}

/// Serves until `shutdown` completes, then finishes the requests in flight.
///
/// # Errors
/// When a listener has no local address, the deployer's logo can't be used, or the certificate can't.
pub async fn run(
    app: Arc<App>,
    config: &Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let tls = Tls::load(&config.tls, app.store.now()).map_err(io::Error::other)?.map(Arc::new);
    let mut background = vec![tokio::spawn(maintain_keys(Arc::clone(&app), stopped.clone()))];
    background.extend(tls.clone().map(|tls| tokio::spawn(tls.follow(Arc::clone(&app), stopped.clone()))));
    background.push(tokio::spawn(keep_history(Arc::clone(&app))));
    let endpoint = http::public(&app, config).map_err(io::Error::other)?;
    let limits = config.limits.clone();
    let public = Door { endpoint, app: Arc::clone(&app), limits: limits.clone(), tls };
    let workers = Workers::start(1..=lane::number())?;
    let public = tokio::spawn(accept(listeners.public, public, workers, stopped.clone()));
    let limits = Limits { connections: MANAGEMENT_CONNECTIONS, ..limits };
    let traces = app.traces.clone();
    let management = Door { endpoint: http::management(&app), app, limits, tls: None };
    let management = match listeners.management {
        Some(listener) => Some(tokio::spawn(accept(listener, management, Workers::start(0..=0)?, stopped))),
        None => None,
    };
    shutdown.await;
    tracing::info!("shutting down: finishing the requests in flight");
    stop.send_replace(true);
    for task in background {
        task.abort();
    }
    for served in std::iter::once(public).chain(management) {
        served.await.map_err(io::Error::other)??;
    }
    if let Some(traces) = traces {
        traces.flush().await;
    }
    Ok(())
}

/// Lets this process open as many files as the system allows it. Returns how many of the `connections` that leaves room for.
pub fn raise_file_limit(connections: usize) -> usize {
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            return connections;
        }
    };
    let room = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(LEAST_CONNECTIONS);
    if room < connections {
        tracing::warn!(
            files,
            "limits.connections is cut to {room}: raise the limit of open files (LimitNOFILE, ulimit -Hn)"
        );
    }
    connections.min(room)
}

/// Looks at what was counted, each second. It ends with the server.
async fn keep_history(app: Arc<App>) {
    let mut clock = tokio::time::interval(HISTORY_LOOK);
    loop {
        clock.tick().await;
        app.metrics.history.look(app.store.now(), app.passwords.queue().0);
    }
}

/// Keeps the signing keys up to date. While the store can't answer, those that are known stay in use.
async fn maintain_keys(app: Arc<App>, mut stopped: watch::Receiver<bool>) {
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
