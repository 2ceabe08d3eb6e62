//! The store in Redis: one script for each verb, all keys of an owner in one slot.
//!
//! Not here: rotation's rules, see `store/decide.rs`; `lua/rotate.lua` is their port.

mod batches;
mod call;
mod client_cache;
mod clients;
mod codes;
mod connection;
mod consents;
mod denials;
mod deployment;
mod devices;
mod fitness;
mod grant_record;
mod grants;
mod keys;
mod node;
mod owners;
mod records;
mod scripts;
mod sessions;
mod signing_keys;
mod slot;
mod throttle;
mod topology;

use std::sync::Arc;

use async_trait::async_trait;
use redis::cmd;
use tokio::task::JoinSet;

use self::{
    client_cache::ClientCache, connection::Connection, deployment::Deployment, fitness::Watch, records::Fields,
    scripts::Scripts,
};
use super::{Changed, Created, StoreError, StoreHealth};
use crate::{
    clock::{Clock, Timestamp},
    telemetry::metrics::StoreMeter,
};

/// A [`Store`](super::Store) in Redis 7 or later, or a server that speaks its protocol and scripts: one server, a master
/// that Sentinels watch, or a cluster.
pub struct RedisStore {
    connection: Connection,
    clients: Arc<ClientCache>,
    scripts: Scripts,
    watch: Arc<Watch>,
}

impl RedisStore {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the URL is none of ours or Redis does not answer.
    pub async fn open(url: &str, clock: Clock) -> Result<Self, StoreError> {
        let deployment = Deployment::parse(url).map_err(StoreError::Unavailable)?;
        let clients = Arc::new(ClientCache::default());
        let connection = Connection::open(deployment, clock, Arc::clone(&clients)).await?;
        let watch = Watch::start(connection.clone());
        Ok(Self { connection, clients, scripts: Scripts::new(), watch })
    }

    /// Whether a store URL is meant for this store, right or wrong.
    pub fn is_meant(url: &str) -> bool {
        Deployment::is_meant(url)
    }

    /// Reads a store URL, without connecting.
    ///
    /// # Errors
    /// What forms there are. It does not repeat the URL, which may hold a password.
    pub fn check_url(url: &str) -> Result<(), String> {
        Deployment::parse(url).map(drop)
    }

    async fn fields(&self, key: String) -> Result<Option<Fields>, StoreError> {
        let fields: Fields = self.connection.query(cmd("HGETALL").arg(key)).await?;
        Ok(if fields.is_empty() { None } else { Some(fields) })
    }

    /// Names of all keys that match, for listings: never on the path of a token request.
    async fn scan(&self, pattern: &str) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        for master in self.connection.masters().await? {
            let mut cursor = 0_u64;
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
                let (next, names): (u64, Vec<String>) =
                    master.ask(&scan).await.map_err(|error| connection::unavailable(&error))?;
                found.extend(names);
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        // SCAN may name a key twice, and so do two servers between which it moves.
        found.sort_unstable();
        found.dedup();
        Ok(found)
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
        if let Some(problem) = self.watch.problem() {
            return Err(StoreError::Unavailable(problem));
        }
        let masters = self.connection.masters().await?;
        let mut pings = JoinSet::new();
        let (all, mut answered, mut failure) = (masters.len(), 0, None);
        for master in masters {
            pings.spawn(async move { master.ask::<String>(&cmd("PING")).await });
        }
        for ping in pings.join_all().await {
            match ping {
                Ok(_) => answered += 1,
                Err(error) => failure = Some(connection::unavailable(&error)),
            }
        }
        match failure {
            // A cluster serves the rest of the owners while it replaces a master, and fails as a whole without most.
            Some(failure) if answered * 2 <= all => Err(failure),
            _ => Ok(()),
        }
    }

    async fn warnings(&self) -> Result<Vec<String>, StoreError> {
        Ok(fitness::examine(&self.connection).await?.problems)
    }

    async fn advice(&self) -> Result<Vec<String>, StoreError> {
        Ok(fitness::examine(&self.connection).await?.advice)
    }

    fn meter(&self) -> &StoreMeter {
        &self.connection.meter
    }

    fn now(&self) -> Timestamp {
        self.connection.now()
    }

    fn deadline(&self) -> Timestamp {
        self.connection.deadline()
    }
}
