//! Clients in Redis: a hash each, with copies in every node.
//!
//! Not here: when a copy is forgotten, see `client_cache.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use redis::cmd;

use super::{RedisStore, changed, created, keys, to_json};
use crate::{
    client::Client,
    ids::ClientId,
    store::{Changed, ClientStore, Created, StoreError},
};

impl RedisStore {
    async fn read_client(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        let mark = self.clients.mark();
        let json: Option<String> = self.connection.query(cmd("HGET").arg(keys::client(id)).arg("j")).await?;
        let client = json.as_deref().map(parse_client).transpose()?;
        if let Some(client) = &client {
            self.clients.keep(mark, client);
        }
        Ok(client)
    }

    /// Creates (`expected` is empty), replaces or deletes (`json` is empty) a client. All but a creation may end access,
    /// which no failover may give back.
    async fn write_client(&self, id: &ClientId, expected: &str, version: u64, json: &str) -> Result<bool, StoreError> {
        let key = keys::client(id);
        let prepare = |_| {
            let mut call = self.scripts.write_client.on([&key]);
            call.arg(id.as_str()).arg(expected).arg(version).arg(json);
            call
        };
        let written: Result<i64, StoreError> = if expected.is_empty() {
            self.connection.run(&key, self.connection.deadline(), prepare).await
        } else {
            self.connection.run_durably(&key, prepare).await
        };
        // Our own copy goes at once, before this call returns, also when the replicas don't have the change yet.
        self.clients.forget(id.as_str());
        Ok(written? == 1)
    }
}

fn parse_client(json: &str) -> Result<Arc<Client>, StoreError> {
    serde_json::from_str(json).map(Arc::new).map_err(|error| StoreError::Corrupt(format!("client: {error}")))
}

#[async_trait]
impl ClientStore for RedisStore {
    async fn create_client(&self, client: &Client) -> Result<Created, StoreError> {
        self.write_client(&client.id, "", client.version, &to_json(client)?).await.map(created)
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        match self.clients.get(id) {
            Some(client) => Ok(Some(client)),
            // In a box: the way there is hardly ever taken, and every request would carry the room for it.
            None => Box::pin(self.read_client(id)).await,
        }
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
}
