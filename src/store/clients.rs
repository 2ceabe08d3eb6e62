//! What may happen to a client.
//!
//! Not here: how they are kept, see `redis/clients.rs` and `embedded/clients.rs`.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Changed, Created, StoreError};
use crate::{client::Client, ids::ClientId};

/// A place that keeps clients.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait ClientStore: Send + Sync + 'static {
    /// Stores a new client.
    async fn create_client(&self, client: &Client) -> Result<Created, StoreError>;
    /// Reads a client; a cached copy is as new as the store's.
    async fn client(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError>;
    /// Replaces a client if the stored one still has version `client.version - 1`.
    async fn replace_client(&self, client: &Client) -> Result<Changed, StoreError>;
    /// Deletes a client; its grants are dead at once.
    async fn delete_client(&self, id: &ClientId) -> Result<Changed, StoreError>;
    /// Lists all clients, sorted by id.
    async fn clients(&self) -> Result<Vec<Arc<Client>>, StoreError>;
}
