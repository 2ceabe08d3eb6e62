//! Clients in SQLite: a row each, the record as JSON.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{
    EmbeddedStore, changed, created,
    schema::{corrupt, to_integer},
};
use crate::{
    client::Client,
    ids::ClientId,
    store::{Changed, ClientStore, Created, StoreError},
};

#[async_trait]
impl ClientStore for EmbeddedStore {
    async fn create_client(&self, client: &Client) -> Result<Created, StoreError> {
        let client = client.clone();
        self.writer.write(move |connection, _| insert_client(connection, &client).map(created)).await
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        Ok(self.readers.read(|connection| load_client(connection, id))?.map(Arc::new))
    }

    async fn replace_client(&self, client: &Client) -> Result<Changed, StoreError> {
        let client = client.clone();
        self.writer.write(move |connection, _| update_client(connection, &client).map(changed)).await
    }

    async fn delete_client(&self, id: &ClientId) -> Result<Changed, StoreError> {
        let id = id.clone();
        self.writer.write(move |connection, _| remove_client(connection, &id).map(changed)).await
    }

    async fn clients(&self) -> Result<Vec<Arc<Client>>, StoreError> {
        Ok(self.scan(load_clients).await?.into_iter().map(Arc::new).collect())
    }
}

fn load_client(connection: &Connection, id: &ClientId) -> Result<Option<Client>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT record FROM clients WHERE id = ?")?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(client_of_row).transpose()
}

fn load_clients(connection: &Connection) -> Result<Vec<Client>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT record FROM clients ORDER BY id")?;
    statement.query_and_then([], client_of_row)?.collect()
}

fn client_of_row(row: &Row<'_>) -> Result<Client, StoreError> {
    serde_json::from_str(row.get_ref("record")?.as_str().map_err(corrupt)?).map_err(corrupt)
}

/// Stores a client unless there is one, and says how many rows that made.
fn insert_client(connection: &Connection, client: &Client) -> Result<usize, StoreError> {
    let record = serde_json::to_string(client).map_err(corrupt)?;
    let mut statement =
        connection.prepare_cached("INSERT INTO clients VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING")?;
    Ok(statement.execute(params![client.id.as_str(), to_integer(client.version)?, record])?)
}

/// Replaces the client of the version before, and says how many there were.
fn update_client(connection: &Connection, client: &Client) -> Result<usize, StoreError> {
    let record = serde_json::to_string(client).map_err(corrupt)?;
    let mut statement =
        connection.prepare_cached("UPDATE clients SET version = ?2, record = ?3 WHERE id = ?1 AND version = ?2 - 1")?;
    Ok(statement.execute(params![client.id.as_str(), to_integer(client.version)?, record])?)
}

fn remove_client(connection: &Connection, id: &ClientId) -> Result<usize, StoreError> {
    Ok(connection.prepare_cached("DELETE FROM clients WHERE id = ?")?.execute([id.as_str()])?)
}
