//! What may happen to a signing key.
//!
//! Not here: how they are kept, see `redis/signing_keys.rs` and `embedded/signing_keys.rs`.

use async_trait::async_trait;

use super::{Changed, Created, SealedKey, StoreError};

/// A place that keeps sealed signing keys.
///
/// Every method is one atomic step. Errors are [`StoreError`]s; outcomes are not errors.
#[async_trait]
pub trait SigningKeyStore: Send + Sync + 'static {
    /// Stores a sealed signing key unless its slot is taken.
    async fn add_signing_key(&self, key: &SealedKey) -> Result<Created, StoreError>;
    /// Removes a signing key: what it signed is refused from then on.
    async fn remove_signing_key(&self, slot: u32) -> Result<Changed, StoreError>;
    /// Lists the signing keys by slot, oldest first.
    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError>;
}
