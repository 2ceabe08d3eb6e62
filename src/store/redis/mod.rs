//! The store in Redis: one script for each verb, all keys of an owner in one slot.
//!
//! Not here: rotation's rules, see `store/decide.rs`; `lua/rotate.lua` is their port.

mod client_cache;
mod clients;
mod connection;
mod consents;
mod fitness;
mod grants;
mod keys;
mod owners;
mod records;
mod scripts;
mod sessions;
mod signing_keys;

use std::sync::Arc;

use async_trait::async_trait;
use redis::cmd;

use self::{client_cache::ClientCache, connection::Connection, records::Fields, scripts::Scripts};
use super::{Changed, Created, StoreError, StoreHealth};
use crate::clock::{Clock, Timestamp};

/// A [`Store`](super::Store) in Redis 7 or later, or a server that speaks its protocol and scripts.
pub struct RedisStore {
    connection: Connection,
    clients: Arc<ClientCache>,
    scripts: Scripts,
}

impl RedisStore {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when Redis does not answer.
    pub async fn open(url: &str, clock: Clock) -> Result<Self, StoreError> {
        let clients = Arc::new(ClientCache::default());
        let connection = Connection::open(url, clock, Arc::clone(&clients)).await?;
        Ok(Self { connection, clients, scripts: Scripts::new() })
    }

    async fn fields(&self, key: String) -> Result<Option<Fields>, StoreError> {
        let fields: Fields = self.connection.query(cmd("HGETALL").arg(key)).await?;
        Ok(if fields.is_empty() { None } else { Some(fields) })
    }

    /// Names of all keys that match, for listings: never on the path of a token request.
    async fn scan(&self, pattern: &str) -> Result<Vec<String>, StoreError> {
        let (mut cursor, mut found) = (0_u64, Vec::new());
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
            let (next, names): (u64, Vec<String>) = self.connection.query(&scan).await?;
            found.extend(names);
            if next == 0 {
                // SCAN may name a key twice.
                found.sort_unstable();
                found.dedup();
                return Ok(found);
            }
            cursor = next;
        }
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

const fn changed(done: i64) -> Changed {
    if done == 1 { Changed::Stored } else { Changed::NotFound }
}

const fn created(done: bool) -> Created {
    if done { Created::Stored } else { Created::Exists }
}

#[async_trait]
impl StoreHealth for RedisStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.connection.query::<String>(&cmd("PING")).await.map(drop)
    }

    async fn warnings(&self) -> Result<Vec<String>, StoreError> {
        fitness::warnings(&self.connection).await
    }

    fn now(&self) -> Timestamp {
        self.connection.now()
    }

    fn deadline(&self) -> Timestamp {
        self.connection.deadline()
    }
}
