//! Access tokens that were revoked although no grant stands behind them.
//!
//! Not here: how they are kept, see `redis/denials.rs` and `embedded/denials.rs`.

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;

/// A place that keeps denied access tokens, each until it expires.
///
/// Every method is one atomic step. Errors are [`StoreError`]s.
#[async_trait]
pub trait DenialStore: Send + Sync + 'static {
    /// Denies the access token with this `jti` until it expires; twice is once.
    async fn deny(&self, jti: &str, expires_at: Timestamp) -> Result<(), StoreError>;
    /// Whether an access token is denied.
    async fn is_denied(&self, jti: &str) -> Result<bool, StoreError>;
}
