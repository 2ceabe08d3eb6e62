//! One Redis server: a connection for each thread, made anew when it breaks, connections of their own
//! for writes that wait for the replicas, and the estimate of this server's clock.
//!
//! Not here: which server a key lives on, see `topology.rs`.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
    cmd,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    batches::Batches,
    client_cache::ClientCache,
    connection::{CLIENTS_CHANNEL, COMMAND},
};
use crate::{
    clock::{Clock, Timestamp},
    lane,
};

/// Batches that may wait to be written: more than the library's 50, because one connection carries all of a thread.
const WRITE_QUEUE: usize = 1024;
/// After so long without a word, a connection is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Writes that wait for the replicas at once, each on a connection of its own.
const DEDICATED: usize = 32;

/// A shared connection, and which one it is of those there were.
pub(super) struct Shared {
    pub(super) connection: MultiplexedConnection,
    pub(super) batches: Batches,
    number: u64,
}

/// A connection that nobody else uses until it is given back.
pub(super) struct Dedicated {
    pub(super) connection: MultiplexedConnection,
    /// How many replicas must confirm a write.
    pub(super) replicas: u64,
    _turn: OwnedSemaphorePermit,
}

/// What the requests of one thread share.
#[derive(Default)]
struct Lane {
    shared: RwLock<Option<Arc<Shared>>>,
    /// Held by the one who connects.
    connecting: tokio::sync::Mutex<()>,
    /// Attempts to connect, and the last that failed: those who waited for it share its outcome.
    attempts: AtomicU64,
    failure: Mutex<Option<RedisError>>,
}

impl Lane {
    fn current(&self) -> Option<Arc<Shared>> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, shared: Option<Arc<Shared>>) {
        *self.shared.write().unwrap_or_else(PoisonError::into_inner) = shared;
    }
}

pub(super) struct Node {
    /// `HOST:PORT`.
    pub(super) address: String,
    client: Client,
    clock: Clock,
    cache: Arc<ClientCache>,
    /// This server's time minus ours, milliseconds.
    ahead_ms: AtomicI64,
    /// One for each thread that serves the public address, and one for all others.
    lanes: Vec<Lane>,
    idle: Mutex<Vec<MultiplexedConnection>>,
    turns: Arc<Semaphore>,
    /// It had replicas at some time, so a write that none of them has can be lost.
    replicated: AtomicBool,
}

impl Node {
    pub(super) fn new(info: ConnectionInfo, clock: Clock, cache: Arc<ClientCache>) -> RedisResult<Self> {
        Ok(Self {
            address: info.addr().to_string(),
            client: Client::open(info.set_tcp_settings(tcp_settings()))?,
            clock,
            cache,
            ahead_ms: AtomicI64::new(0),
            lanes: (0..=lane::number()).map(|_| Lane::default()).collect(),
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(DEDICATED)),
            replicated: AtomicBool::new(false),
        })
    }

    /// This server's time as far as we know: never ahead of it by more than the clocks drift between two answers.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now().plus(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Learns the time from an answer, and how far it is ahead of ours.
    pub(super) fn learn(&self, server_now_ms: i64) -> i64 {
        let ahead = Timestamp(server_now_ms).since(self.clock.now());
        self.ahead_ms.store(ahead, Ordering::Relaxed);
        ahead
    }

    /// The connection that all requests of a thread share.
    pub(super) async fn shared(&self) -> RedisResult<Arc<Shared>> {
        match self.lane().current() {
            Some(shared) => Ok(shared),
            None => Box::pin(self.made_anew()).await,
        }
    }

    async fn made_anew(&self) -> RedisResult<Arc<Shared>> {
        let lane = self.lane();
        let seen = lane.attempts.load(Ordering::Acquire);
        let _turn = lane.connecting.lock().await;
        if let Some(shared) = lane.current() {
            return Ok(shared);
        }
        if lane.attempts.load(Ordering::Acquire) != seen {
            // It was tried while we waited: nobody waits for more than two attempts.
            if let Some(error) = lane.failure.lock().unwrap_or_else(PoisonError::into_inner).clone() {
                return Err(error);
            }
        }
        let connected = self.connect().await;
        let number = lane.attempts.fetch_add(1, Ordering::AcqRel);
        *lane.failure.lock().unwrap_or_else(PoisonError::into_inner) = connected.as_ref().err().cloned();
        let connection = connected?;
        let shared = Arc::new(Shared { batches: Batches::on(connection.clone()), connection, number });
        lane.set(Some(Arc::clone(&shared)));
        Ok(shared)
    }

    fn lane(&self) -> &Lane {
        &self.lanes[lane::current() % self.lanes.len()]
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let cache = Arc::clone(&self.cache);
        let config = configuration(COMMAND).set_push_sender(move |push: redis::PushInfo| {
            cache.observe(&push);
            Ok::<(), redis::aio::SendError>(())
        });
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(CLIENTS_CHANNEL).await?;
        // Changes made while nobody listened.
        self.cache.forget_all();
        let time: (i64, i64) = cmd("TIME").query_async(&mut connection).await?;
        self.learn_time(time);
        Ok(connection)
    }

    /// Asks for the time; says how far it is ahead of ours.
    pub(super) async fn ask_time(&self) -> RedisResult<i64> {
        self.ask(&cmd("TIME")).await.map(|time| self.learn_time(time))
    }

    fn learn_time(&self, (seconds, micros): (i64, i64)) -> i64 {
        self.learn(seconds * 1000 + micros / 1000 + self.clock.offset_ms())
    }

    /// Gives up this thread's connection, which broke or does not answer; the next request makes another one.
    pub(super) fn suspect(&self, suspect: &Shared) {
        let lane = self.lane();
        if lane.current().is_some_and(|current| current.number == suspect.number) {
            lane.set(None);
            self.cache.forget_all();
        }
    }

    /// Gives up every connection: this server is not the master it was.
    pub(super) fn abandon(&self) {
        self.lanes.iter().for_each(|lane| lane.set(None));
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.cache.forget_all();
    }

    /// A connection of one's own to a master, and how many replicas it has.
    ///
    /// `floor` is the number of replicas without which nothing is safe in this deployment.
    pub(super) async fn dedicated(&self, floor: u64) -> Result<Dedicated, String> {
        let turn = tokio::time::timeout(COMMAND, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| "too many revocations wait for the replicas")?
            .map_err(|error| error.to_string())?;
        let (connection, replication) =
            self.confirmed_master().await.map_err(|error| format!("{}: {error}", self.address))?;
        if replication.role != "master" {
            self.abandon();
            return Err(format!("{} is a replica now", self.address));
        }
        if replication.meant || replication.connected > 0 {
            self.replicated.store(true, Ordering::Relaxed);
        }
        let floor = floor.max(u64::from(self.replicated.load(Ordering::Relaxed)));
        Ok(Dedicated { connection, replicas: replication.connected.max(floor), _turn: turn })
    }

    /// An idle connection that still answers, or a new one.
    async fn confirmed_master(&self) -> RedisResult<(MultiplexedConnection, Replication)> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut connection) = idle {
            if let Ok(replication) = Replication::ask(&mut connection).await {
                return Ok((connection, replication));
            }
            // The others are as old.
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let config = configuration(COMMAND);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let replication = Replication::ask(&mut connection).await?;
        Ok((connection, replication))
    }

    /// Takes a connection back on which everything was answered.
    pub(super) fn give_back(&self, dedicated: Dedicated) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(dedicated.connection);
    }

    /// Runs a command that belongs to this server rather than to a key.
    pub(super) async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> RedisResult<T> {
        let shared = self.shared().await?;
        let answer = command.query_async(&mut shared.connection.clone()).await;
        if answer.as_ref().is_err_and(|error: &RedisError| error.is_io_error()) {
            self.suspect(&shared);
        }
        answer
    }
}

/// A small batch does not wait until the one before is acknowledged, and a connection on which nothing happens is still found
/// broken: something between may have forgotten it.
fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive)
}

fn configuration(response: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(COMMAND))
        .set_response_timeout(Some(response))
        .set_pipeline_buffer_size(WRITE_QUEUE)
}

/// What a server says about its replicas.
struct Replication {
    role: String,
    connected: u64,
    /// It is set up to have some: `min-replicas-to-write` is in force.
    meant: bool,
}

impl Replication {
    async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let text: String = cmd("INFO").arg("replication").query_async(connection).await?;
        let field = |name: &str| {
            text.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
        };
        Ok(Self {
            role: field("role").unwrap_or_default(),
            connected: field("connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0),
            meant: field("min_slaves_good_slaves").is_some(),
        })
    }
}

/// Sends `ASKING` before each command, in the same write: a slot is being moved, and its new place answers only so.
pub(super) struct Asking<'a>(pub(super) &'a mut MultiplexedConnection);

impl redis::aio::ConnectionLike for Asking<'_> {
    fn req_packed_command<'a>(&'a mut self, command: &'a redis::Cmd) -> redis::RedisFuture<'a, Value> {
        Box::pin(async move {
            let (answer,): (Value,) =
                redis::pipe().cmd("ASKING").ignore().add_command(command.clone()).query_async(self.0).await?;
            Ok(answer)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> redis::RedisFuture<'a, Vec<Value>> {
        self.0.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}
