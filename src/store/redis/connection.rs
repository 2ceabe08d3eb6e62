//! Commands on their way: to the server that has their key, within a deadline, again where that is harmless; and writes
//! that are answered only when the replicas have them.
//!
//! Not here: which server has a key, see `topology.rs`; the scripts, see `scripts.rs`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use redis::{Arg, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, cmd};
use tokio::time::Instant;

use super::{
    call::{Call, Line},
    client_cache::ClientCache,
    deployment::Deployment,
    node::{Dedicated, Node},
    scripts::ScriptCall,
    slot,
    topology::Topology,
};
use crate::{
    clock::{Clock, Timestamp},
    failpoint,
    store::StoreError,
};

/// How long one command may take, milliseconds. It is also the command's deadline: when we give up on it,
/// the store will not carry it out any more.
pub(super) const COMMAND_MS: u64 = 500;
/// The same as a duration; it limits a connection's making as well.
pub(super) const COMMAND: Duration = Duration::from_millis(COMMAND_MS);
/// Before a server is asked again that could not answer yet. What waits, and all that happens seldom, is in boxes below:
/// every request would carry the room for it.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a server is asked again that is loading, demoted or cut off: nothing to wait for long.
const RETRIES: u32 = 2;
/// Redirections that one command follows.
const HOPS: u32 = 8;
/// How long the replicas may take to confirm a write, milliseconds.
const REPLICAS_MS: u64 = 250;

/// The channel on which nodes tell each other that a client changed.
pub(super) const CLIENTS_CHANNEL: &str = "as:clients";

/// The way to a Redis deployment of any shape.
#[derive(Clone)]
pub(super) struct Connection {
    topology: Arc<Topology>,
    clock: Clock,
    /// Store time minus our time, milliseconds, by the last server that told it. Deadlines go by each server's own.
    store_ahead_ms: Arc<AtomicI64>,
    pub(super) meter: crate::telemetry::metrics::StoreMeter,
}

/// Why a command was not answered, and what follows.
enum Trouble {
    /// It was not carried out: no server that could was reached in time.
    Unsent(String),
    /// It may have been carried out, but will not be any more.
    Unknown(String),
    /// It was refused, or nothing more can be done in time.
    Refused(String),
}

impl Connection {
    pub(super) async fn open(
        deployment: Deployment,
        clock: Clock,
        cache: Arc<ClientCache>,
    ) -> Result<Self, StoreError> {
        // The first rediss:// connection would panic without a provider; a second call changes nothing.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let topology = Topology::new(deployment, clock.clone(), cache).map_err(StoreError::Unavailable)?;
        let connection =
            Self { topology: Arc::new(topology), clock, store_ahead_ms: Arc::default(), meter: Default::default() };
        for master in connection.masters().await? {
            // Connecting tells the time.
            master.shared().await.map_err(|error| unavailable(&error))?;
            connection.store_ahead_ms.store(master.now().since(connection.clock.now()), Ordering::Relaxed);
        }
        Ok(connection)
    }

    /// The store's time as far as we know.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now().plus(self.store_ahead_ms.load(Ordering::Relaxed))
    }

    /// When a command sent now must have been carried out, or never.
    pub(super) fn deadline(&self) -> Timestamp {
        self.now().plus(i64::try_from(COMMAND_MS).unwrap_or(i64::MAX))
    }

    pub(super) fn clock_offset_ms(&self) -> i64 {
        self.clock.offset_ms()
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Every server that takes writes.
    pub(super) async fn masters(&self) -> Result<Vec<Arc<Node>>, StoreError> {
        self.topology.masters().await.map_err(StoreError::Unavailable)
    }

    /// Runs a read, or a write that may be carried out twice and at any time. The first argument is its key.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let key = match command.args_iter().nth(1) {
            Some(Arg::Simple(key)) => key,
            _ => b"",
        };
        let call = Call::Command(command);
        let operation = self.meter.begin();
        parsed(operation.end(self.carry_out(key, self.deadline(), &call, false).await)?.0)
    }

    /// Runs a script that carries a deadline, where `key` lives. `prepare` makes the command for the deadline it is
    /// given.
    ///
    /// No answer leaves here while a command of unknown outcome could still take effect: a client that
    /// retried, succeeded and went on would otherwise meet its own first command again, and look like a
    /// thief.
    pub(super) async fn run<'a, T: FromRedisValue>(
        &self,
        key: &str,
        deadline: Timestamp,
        prepare: impl Fn(Timestamp) -> ScriptCall<'a> + Sync,
    ) -> Result<T, StoreError> {
        let call = Call::Script(&prepare);
        let operation = self.meter.begin();
        parsed(operation.end(self.carry_out(key.as_bytes(), deadline, &call, false).await)?.0)
    }

    /// Runs a script whose effect must never be undone: a revocation, a disabled user, a new password, a signing key.
    /// The answer comes when all connected replicas have it, at least one where the deployment has any, so no failover
    /// brings the old state back. When they don't in time, the change stays where it was made, and the same call may be
    /// repeated.
    ///
    /// The script must write something whenever its answer stands for what is stored, also when it was stored before:
    /// Redis waits for the last write of this connection.
    pub(super) async fn run_durably<'a, T: FromRedisValue>(
        &self,
        key: &str,
        prepare: impl Fn(Timestamp) -> ScriptCall<'a> + Sync,
    ) -> Result<T, StoreError> {
        let call = Call::Script(&prepare);
        let operation = self.meter.begin();
        let (value, (node, line)) =
            operation.end(self.carry_out(key.as_bytes(), self.deadline(), &call, true).await)?;
        if let Line::Dedicated(mut dedicated) = line {
            confirm(&node, &mut dedicated).await?;
            node.give_back(dedicated);
        }
        parsed(value)
    }

    /// Tries twice, each time with a deadline of its own and the whole time for it.
    async fn carry_out(
        &self,
        key: &[u8],
        first_deadline: Timestamp,
        call: &Call<'_, '_>,
        durably: bool,
    ) -> Result<(Value, (Arc<Node>, Line)), StoreError> {
        let slot = slot::of(key);
        let whole = i64::try_from(COMMAND_MS).unwrap_or(i64::MAX);
        let first = first_deadline.since(self.now()).min(whole);
        let failure = match self.attempt(slot, first, call, durably).await {
            Ok(answer) => return Ok(answer),
            Err(Trouble::Refused(text)) => return Err(StoreError::Unavailable(text)),
            Err(Trouble::Unknown(text)) => text,
            Err(Trouble::Unsent(text)) => {
                Box::pin(tokio::time::sleep(PAUSE)).await;
                text
            }
        };
        tracing::debug!(failure, "trying again");
        Box::pin(self.attempt(slot, whole, call, durably)).await.map_err(|trouble| match trouble {
            Trouble::Unsent(text) | Trouble::Unknown(text) | Trouble::Refused(text) => StoreError::Unavailable(text),
        })
    }

    /// Sends a command until it was answered, refused, or its time is up: `time_ms` from now, or before now.
    async fn attempt(
        &self,
        slot: u16,
        time_ms: i64,
        call: &Call<'_, '_>,
        durably: bool,
    ) -> Result<(Value, (Arc<Node>, Line)), Trouble> {
        let began = Instant::now();
        let end = began + Duration::from_millis(u64::try_from(time_ms).unwrap_or(0));
        let (mut hops, mut retries) = (0, 0);
        let mut redirected: Option<(Arc<Node>, bool)> = None;
        loop {
            let (node, asking) = match redirected.take() {
                Some(there) => there,
                None => (self.topology.locate(slot).await.map_err(Trouble::Unsent)?, false),
            };
            let line = match self.line(&node, durably).await {
                Ok(line) => line,
                Err(text) => {
                    // Perhaps another server has taken its place.
                    Box::pin(self.look_within(PAUSE * 5)).await;
                    return Err(Trouble::Unsent(text));
                }
            };
            // By the clock of that server, which need not be that of the others.
            let spent = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
            let deadline = node.now().plus(time_ms.saturating_sub(spent));
            failpoint::pass_soon("request written");
            let error = match call.send(&line, asking, deadline).await {
                Ok(value) => {
                    self.correct_time(&node, &value);
                    return Ok((value, (node, line)));
                }
                Err(error) => error,
            };
            let text = format!("{}: {error}", node.address);
            let ErrorKind::Server(kind) = error.kind() else {
                if error.kind() == ErrorKind::Extension {
                    // OOM, MISCONF, NOREPLICAS, BUSY and the like: the operator's matter.
                    return Err(Trouble::Refused(text));
                }
                if let Line::Shared(shared) = &line {
                    node.suspect(shared);
                }
                // While its time runs, it may still be carried out.
                self.look_soon();
                Box::pin(tokio::time::sleep_until(end)).await;
                return Err(Trouble::Unknown(text));
            };
            match kind {
                ServerErrorKind::Moved | ServerErrorKind::Ask if hops < HOPS => {
                    hops += 1;
                    redirected = self.redirection(&error, &node, kind);
                    if redirected.is_none() {
                        return Err(Trouble::Refused(text));
                    }
                }
                // Half of the keys are here, half there: a matter of milliseconds.
                ServerErrorKind::TryAgain | ServerErrorKind::Moved | ServerErrorKind::Ask => {
                    Box::pin(tokio::time::sleep(PAUSE)).await;
                    hops = 0;
                }
                // Forgotten between its loading and its run.
                ServerErrorKind::NoScript if retries < RETRIES => retries += 1,
                ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                    if retries < RETRIES =>
                {
                    retries += 1;
                    if kind == ServerErrorKind::ReadOnly {
                        node.abandon();
                    }
                    Box::pin(async { tokio::join!(tokio::time::sleep(PAUSE), self.look_within(PAUSE * 5)) }).await;
                }
                _ => return Err(Trouble::Refused(text)),
            }
            if Instant::now() >= end {
                return Err(Trouble::Unsent(text));
            }
        }
    }

    async fn line(&self, node: &Node, durably: bool) -> Result<Line, String> {
        if durably {
            Box::pin(node.dedicated(self.topology.replicas_at_least())).await.map(Line::Dedicated)
        } else {
            node.shared().await.map(Line::Shared).map_err(|error| format!("{}: {error}", node.address))
        }
    }

    /// Where a slot has moved to for good, or for this one command.
    fn redirection(&self, error: &RedisError, by: &Node, kind: ServerErrorKind) -> Option<(Arc<Node>, bool)> {
        let (address, _) = error.redirect_node()?;
        let node = self.topology.named(address, by)?;
        if kind == ServerErrorKind::Moved {
            self.look_soon();
        }
        Some((node, kind == ServerErrorKind::Ask))
    }

    /// Asks who serves what, beside the command that gave rise to it.
    fn look_soon(&self) -> tokio::task::JoinHandle<()> {
        let topology = Arc::clone(&self.topology);
        tokio::spawn(async move {
            if let Err(failure) = topology.look().await {
                tracing::debug!(failure, "the Redis servers could not be asked who serves what");
            }
        })
    }

    /// The same, and waits for the answer, but not for long.
    async fn look_within(&self, time: Duration) {
        drop(tokio::time::timeout(time, self.look_soon()).await);
    }

    /// Asks who serves what, and every master for its time.
    pub(super) async fn refresh(&self) {
        if let Err(failure) = self.topology.look().await {
            tracing::warn!(failure, "the Redis servers could not be asked who serves what");
        }
        for master in self.topology.masters().await.unwrap_or_default() {
            if let Ok(ahead) = master.ask_time().await {
                self.store_ahead_ms.store(ahead, Ordering::Relaxed);
            }
        }
    }

    /// A script that came after its deadline answers its server's time: our estimate was wrong.
    fn correct_time(&self, node: &Node, value: &Value) {
        let Value::Array(values) = value else { return };
        let [Value::BulkString(code), time, ..] = values.as_slice() else { return };
        if code == b"TL"
            && let Ok(now) = i64::from_redis_value_ref(time)
        {
            self.store_ahead_ms.store(node.learn(now), Ordering::Relaxed);
        }
    }
}

/// Waits until the replicas have what this connection wrote.
async fn confirm(node: &Node, dedicated: &mut Dedicated) -> Result<(), StoreError> {
    let needed = dedicated.replicas;
    if needed == 0 {
        return Ok(());
    }
    let wait = cmd("WAIT").arg(needed).arg(REPLICAS_MS).to_owned();
    let confirmed: u64 = wait.query_async(&mut dedicated.connection).await.map_err(|error| unavailable(&error))?;
    if confirmed < needed {
        tracing::warn!(
            server = node.address,
            confirmed,
            needed,
            "a change is not on all replicas, so it was not confirmed"
        );
        return Err(StoreError::Unavailable(format!(
            "{}: the change was made, but only {confirmed} of {needed} replicas have it; repeat it",
            node.address
        )));
    }
    Ok(())
}

fn parsed<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    T::from_redis_value(value).map_err(|error| StoreError::Corrupt(format!("redis: {error}")))
}

/// Everything that Redis refuses is a matter of time or of the operator, never of the client's token.
pub(super) fn unavailable(error: &RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
