//! The connection to Redis: time limits, one careful retry, and the estimate of the store's clock.
//!
//! Not here: the scripts, see `store/redis/scripts.rs`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, FromRedisValue, IntoConnectionInfo, ProtocolVersion, RedisError, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::client_cache::ClientCache;
use crate::{
    clock::{Clock, Timestamp},
    store::StoreError,
};

/// How long one command may take, milliseconds. It is also the command's deadline: when we give up on it,
/// the store will not carry it out any more.
pub(super) const COMMAND_MS: u64 = 500;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const RECONNECT_DELAY: Duration = Duration::from_millis(20);

/// The channel on which nodes tell each other that a client changed.
pub(super) const CLIENTS_CHANNEL: &str = "as:clients";

/// One multiplexed connection that heals itself.
#[derive(Clone)]
pub(super) struct Connection {
    manager: ConnectionManager,
    clock: Clock,
    /// Store time minus our time, milliseconds.
    store_ahead_ms: Arc<AtomicI64>,
}

impl Connection {
    pub(super) async fn open(url: &str, clock: Clock, cache: Arc<ClientCache>) -> Result<Self, StoreError> {
        // The first rediss:// connection would panic without a provider; a second call changes nothing.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let info = url.into_connection_info().map_err(|error| unavailable(&error))?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(|error| unavailable(&error))?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(RECONNECT_DELAY)
            .set_response_timeout(Some(Duration::from_millis(COMMAND_MS)))
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_push_sender(move |push: redis::PushInfo| {
                cache.observe(&push);
                Ok::<(), redis::aio::SendError>(())
            })
            .set_automatic_resubscription();
        let mut manager =
            ConnectionManager::new_with_config(client, config).await.map_err(|error| unavailable(&error))?;
        manager.subscribe(CLIENTS_CHANNEL).await.map_err(|error| unavailable(&error))?;
        let connection = Self { manager, clock, store_ahead_ms: Arc::default() };
        let (seconds, micros): (i64, i64) = connection.query(&redis::cmd("TIME")).await?;
        connection.observe_time(seconds * 1000 + micros / 1000 + connection.clock.offset_ms());
        Ok(connection)
    }

    /// The store's time as far as we know: never ahead of it by more than the clocks drift between two
    /// answers.
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

    /// Learns the store's time from an answer.
    pub(super) fn observe_time(&self, store_now_ms: i64) {
        self.store_ahead_ms.store(Timestamp(store_now_ms).since(self.clock.now()), Ordering::Relaxed);
    }

    /// Runs a read, or a write that may be sent twice.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        let mut manager = self.manager.clone();
        match command.query_async(&mut manager).await {
            Err(error) if outcome_is_unknown(&error) => command.query_async(&mut manager).await,
            answered => answered,
        }
        .map_err(|error| unavailable(&error))
    }

    /// Runs a script that carries a deadline. `prepare` makes the command for the deadline it is given.
    ///
    /// No answer leaves here while a command of unknown outcome could still take effect: a client that
    /// retried, succeeded and went on would otherwise meet its own first command again, and look like a
    /// thief.
    pub(super) async fn run<'a, T: FromRedisValue>(
        &self,
        first_deadline: Timestamp,
        prepare: impl Fn(Timestamp) -> ScriptInvocation<'a>,
    ) -> Result<T, StoreError> {
        let mut manager = self.manager.clone();
        let error = match prepare(first_deadline).invoke_async(&mut manager).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if !outcome_is_unknown(&error) {
            return Err(unavailable(&error));
        }
        self.wait_until(first_deadline).await;
        let second_deadline = self.deadline();
        match prepare(second_deadline).invoke_async(&mut manager).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                if outcome_is_unknown(&error) {
                    self.wait_until(second_deadline).await;
                }
                Err(unavailable(&error))
            }
        }
    }

    async fn wait_until(&self, deadline: Timestamp) {
        let left = u64::try_from(deadline.since(self.now())).unwrap_or(0).min(COMMAND_MS);
        tokio::time::sleep(Duration::from_millis(left)).await;
    }
}

/// Whether the command may have reached the store although no answer came back.
fn outcome_is_unknown(error: &RedisError) -> bool {
    (error.is_timeout() || error.is_connection_dropped()) && !error.is_connection_refusal()
}

/// Everything that Redis refuses is a matter of time or of the operator, never of the client's token.
pub(super) fn unavailable(error: &RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
