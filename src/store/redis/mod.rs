//! The store in Redis: one script for each verb, all keys of an owner in one slot.
//!
//! Not here: rotation's rules, see `store/decide.rs`; `lua/rotate.lua` is their port.

mod client_cache;
mod connection;
mod fitness;
mod keys;
mod records;
mod scripts;

use std::sync::Arc;

use async_trait::async_trait;
use redis::{Cmd, Value, cmd};

use self::{
    client_cache::ClientCache,
    connection::Connection,
    records::{Fields, Reply, join_audience},
    scripts::Scripts,
};
use super::{
    Changed, Created, GrantCreation, GrantRecord, GrantStatus, MAX_GRANTS_PER_OWNER, NewGrant, OwnerChange,
    OwnerRecord, Presented, RevocationReason, Rotation, RotationPolicy, SealedKey, Store, StoreError, TOMBSTONE_MS,
};
use crate::{
    client::Client,
    clock::{Clock, Timestamp},
    ids::{ClientId, GrantId, OwnerId},
};

/// A [`Store`] in Redis 7 or later, or a server that speaks its protocol and scripts.
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

    /// The oldest live grants beyond the cap; dead ones only leave the index.
    async fn overflow(&self, owner: OwnerId, beyond: usize, oldest: Vec<String>) -> Result<Vec<GrantId>, StoreError> {
        let mut overflow = Vec::new();
        let mut left = beyond;
        for id in oldest.iter().filter_map(|text| GrantId::parse(text)) {
            if left == 0 {
                break;
            }
            left -= 1;
            match self.grant(owner, id).await? {
                Some(GrantRecord { status: GrantStatus::Active, .. }) => overflow.push(id),
                _ => {
                    let mut remove = Cmd::new();
                    remove.arg("ZREM").arg(keys::grants_of(owner)).arg(id.to_string());
                    self.connection.query::<i64>(&remove).await?;
                }
            }
        }
        Ok(overflow)
    }

    async fn write_client(&self, id: &ClientId, expected: &str, version: u64, json: &str) -> Result<bool, StoreError> {
        let written: i64 = self
            .connection
            .run(self.connection.deadline(), |_| {
                let mut call = self.scripts.write_client.key(keys::client(id));
                call.arg(id.as_str()).arg(expected).arg(version).arg(json);
                call
            })
            .await?;
        // Our own copy goes at once, before this call returns.
        self.clients.forget(id.as_str());
        Ok(written == 1)
    }
}

fn parse_client(json: &str) -> Result<Arc<Client>, StoreError> {
    serde_json::from_str(json).map(Arc::new).map_err(|error| StoreError::Corrupt(format!("client: {error}")))
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
impl Store for RedisStore {
    async fn create_grant(&self, grant: &NewGrant) -> Result<GrantCreation, StoreError> {
        let values: Vec<Value> = self
            .connection
            .run(grant.deadline, |deadline| {
                let mut call = self.scripts.create_grant.key(keys::grant(grant.owner, grant.id));
                call.key(keys::owner(grant.owner)).key(keys::grants_of(grant.owner));
                call.arg(deadline.0).arg(self.connection.clock_offset_ms());
                call.arg(grant.id.to_string()).arg(grant.owner_epoch);
                call.arg(grant.family_hash.as_slice()).arg(grant.key_id);
                call.arg(grant.client_id.as_str()).arg(grant.client_epoch);
                call.arg(grant.scope.as_str()).arg(join_audience(&grant.audience));
                call.arg(grant.idle_ms).arg(grant.absolute_ms).arg(grant.grace_ms);
                call.arg(grant.access_token_lifetime_ms).arg(MAX_GRANTS_PER_OWNER);
                call
            })
            .await?;
        let mut reply = Reply::parse(values)?;
        let now = reply.now;
        match reply.code.as_str() {
            "OK" => {
                let beyond: usize = reply.number()?;
                let overflow = self.overflow(grant.owner, beyond, reply.texts()?).await?;
                Ok(GrantCreation::Stored { now, overflow })
            }
            "OW" => Ok(GrantCreation::OwnerChanged),
            "TL" => {
                self.connection.observe_time(now.0);
                Ok(GrantCreation::TooLate { now })
            }
            code => Err(StoreError::Corrupt(format!("redis: unknown code {code}"))),
        }
    }

    async fn rotate(&self, presented: &Presented) -> Result<Rotation, StoreError> {
        let values: Vec<Value> = self
            .connection
            .run(presented.deadline, |deadline| {
                let mut call = self.scripts.rotate.key(keys::grant(presented.owner, presented.grant));
                call.key(keys::owner(presented.owner));
                call.arg(presented.family_hash.as_slice()).arg(presented.generation);
                call.arg(presented.client_id.as_str()).arg(presented.client_epoch);
                call.arg(deadline.0).arg(presented.access_token_lifetime_ms).arg(presented.new_key_id);
                call.arg(match presented.rotation {
                    RotationPolicy::Rotate => "rotate",
                    RotationPolicy::Keep => "keep",
                });
                call.arg(presented.requested_scope.as_ref().map_or("", |scope| scope.as_str()));
                call.arg(TOMBSTONE_MS).arg(self.connection.clock_offset_ms());
                call
            })
            .await?;
        let reply = Reply::parse(values)?;
        self.connection.observe_time(reply.now.0);
        reply.rotation(presented.generation, presented.requested_scope.as_ref())
    }

    async fn revoke_grant(&self, owner: OwnerId, id: GrantId, reason: RevocationReason) -> Result<Changed, StoreError> {
        self.connection
            .run(self.connection.deadline(), |_| {
                let mut call = self.scripts.revoke_grant.key(keys::grant(owner, id));
                call.key(keys::grants_of(owner)).arg(id.to_string()).arg(reason.as_str());
                call.arg(TOMBSTONE_MS).arg(self.connection.clock_offset_ms());
                call
            })
            .await
            .map(changed)
    }

    async fn grant(&self, owner: OwnerId, id: GrantId) -> Result<Option<GrantRecord>, StoreError> {
        self.fields(keys::grant(owner, id)).await?.as_ref().map(records::grant).transpose()
    }

    async fn grants_of(&self, owner: OwnerId) -> Result<Vec<GrantId>, StoreError> {
        let ids: Vec<String> = self.connection.query(cmd("ZRANGE").arg(keys::grants_of(owner)).arg(0).arg(-1)).await?;
        Ok(ids.iter().filter_map(|id| GrantId::parse(id)).collect())
    }

    async fn create_owner(&self, owner: &OwnerRecord) -> Result<Created, StoreError> {
        let stored: i64 = self
            .connection
            .run(self.connection.deadline(), |_| {
                let mut call = self.scripts.create_owner.key(keys::owner(owner.id()));
                call.arg(records::owner_fields(owner));
                call
            })
            .await?;
        Ok(created(stored == 1))
    }

    async fn owner(&self, id: OwnerId) -> Result<Option<OwnerRecord>, StoreError> {
        self.fields(keys::owner(id)).await?.as_ref().map(records::owner).transpose()
    }

    async fn change_owner(&self, id: OwnerId, change: OwnerChange) -> Result<Changed, StoreError> {
        let (word, sealed, expected): (_, &[u8], &[u8]) = match &change {
            OwnerChange::SetPassword { sealed } => ("password", sealed, &[]),
            OwnerChange::Rehash { expected, sealed } => ("rehash", sealed, expected),
            OwnerChange::Disable => ("disable", &[], &[]),
            OwnerChange::Enable => ("enable", &[], &[]),
            OwnerChange::LogOut => ("logout", &[], &[]),
        };
        self.connection
            .run(self.connection.deadline(), |_| {
                let mut call = self.scripts.change_owner.key(keys::owner(id));
                call.arg(word).arg(sealed).arg(expected);
                call
            })
            .await
            .map(changed)
    }

    async fn delete_owner(&self, id: OwnerId) -> Result<Changed, StoreError> {
        self.connection.query(cmd("DEL").arg(keys::owner(id))).await.map(changed)
    }

    async fn owners(&self) -> Result<Vec<OwnerRecord>, StoreError> {
        let mut owners = Vec::new();
        for key in self.scan(keys::OWNERS).await? {
            owners.extend(self.fields(key).await?.as_ref().map(records::owner).transpose()?);
        }
        owners.sort_by(|a, b| a.username.as_str().cmp(b.username.as_str()));
        Ok(owners)
    }

    async fn create_client(&self, client: &Client) -> Result<Created, StoreError> {
        self.write_client(&client.id, "", client.version, &to_json(client)?).await.map(created)
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        if let Some(client) = self.clients.get(id) {
            return Ok(Some(client));
        }
        let mark = self.clients.mark();
        let json: Option<String> = self.connection.query(cmd("HGET").arg(keys::client(id)).arg("j")).await?;
        let client = json.as_deref().map(parse_client).transpose()?;
        if let Some(client) = &client {
            self.clients.keep(mark, client);
        }
        Ok(client)
    }

    async fn replace_client(&self, client: &Client) -> Result<Changed, StoreError> {
        let expected = client.version.saturating_sub(1).to_string();
        let done = self.write_client(&client.id, &expected, client.version, &to_json(client)?).await?;
        Ok(changed(i64::from(done)))
    }

    async fn delete_client(&self, id: &ClientId) -> Result<Changed, StoreError> {
        self.write_client(id, "*", 0, "").await.map(|done| changed(i64::from(done)))
    }

    async fn clients(&self) -> Result<Vec<Arc<Client>>, StoreError> {
        let mut clients = Vec::new();
        for key in self.scan(keys::CLIENTS).await? {
            let json: Option<String> = self.connection.query(cmd("HGET").arg(key).arg("j")).await?;
            clients.extend(json.as_deref().map(parse_client).transpose()?);
        }
        clients.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(clients)
    }

    async fn add_signing_key(&self, key: &SealedKey) -> Result<Created, StoreError> {
        let mut add = cmd("HSETNX");
        add.arg(keys::SIGNING_KEYS).arg(key.slot).arg(to_json(key)?);
        self.connection.query(&add).await.map(created)
    }

    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        let stored: Vec<String> = self.connection.query(cmd("HVALS").arg(keys::SIGNING_KEYS)).await?;
        let mut keys = stored
            .iter()
            .map(|json| serde_json::from_str(json))
            .collect::<Result<Vec<SealedKey>, _>>()
            .map_err(|error| StoreError::Corrupt(format!("signing key: {error}")))?;
        keys.sort_by_key(|key| key.slot);
        Ok(keys)
    }

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
