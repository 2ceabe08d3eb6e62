//! Replaces the signing keys.
//!
//! Not here: what a key does when, see `token/keys.rs`.

use serde_json::{Value, json};

use super::{Operator, Refusal, Subject};
use crate::{
    store::{Created, SealedKey, Store},
    token::keys::{KeyState, SigningKeys},
};

/// A key, its identifier, and what it does now.
pub type Listed = (SealedKey, String, KeyState);

/// Publishes the next key; it signs when every verifier can have it.
///
/// # Errors
/// [`Refusal::Exists`] when there is a next one already.
pub async fn rotate(keys: &SigningKeys, store: &dyn Store, by: &Operator) -> Result<Vec<Listed>, Refusal> {
    if keys.rotate(store).await? == Created::Exists {
        return Err(Refusal::Exists);
    }
    by.note("next signing key published", &Subject::Keys);
    Ok(keys.list(store).await?)
}

/// Replaces every key at once: access tokens that exist are refused.
///
/// # Errors
/// [`Refusal`].
pub async fn replace_compromised(keys: &SigningKeys, store: &dyn Store, by: &Operator) -> Result<Vec<Listed>, Refusal> {
    keys.replace_compromised(store).await?;
    by.note("compromised signing keys replaced", &Subject::Keys);
    Ok(keys.list(store).await?)
}

/// A key without the key.
pub fn describe((key, id, state): &Listed) -> Value {
    json!({
        "kid": id,
        "algorithm": key.algorithm,
        "state": state.as_str(),
        "created_at": key.created_at.seconds(),
        "signs_from": key.active_from.max(key.created_at).seconds(),
    })
}
