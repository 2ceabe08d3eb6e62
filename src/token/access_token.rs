//! The access token: a JWT as [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068) profiles it.
//!
//! Not here: the keys, see `token/keys.rs`; the `jti`, see `token/token_id.rs`; when one is issued, see `token/mod.rs`.

use serde::{Serialize, Serializer};

use crate::{
    clock::Timestamp,
    ids::{ClientId, Subject},
    scope::Scope,
};

/// The claims of RFC 9068 §2.2, and the grant's id for introspection.
#[derive(Debug, Serialize)]
pub struct Claims<'a> {
    /// Who issued it.
    pub iss: &'a str,
    /// The resource owner, or `client:` and the client's identifier where the client acts for itself.
    pub sub: &'a Subject,
    /// The resources it is for; never empty. One is written as a string (RFC 7519 §4.1.3).
    #[serde(serialize_with = "one_or_many")]
    pub aud: &'a [String],
    /// Expiry, seconds since the epoch.
    pub exp: i64,
    /// Issue time, seconds since the epoch.
    pub iat: i64,
    /// Its identifier.
    pub jti: String,
    /// The client.
    pub client_id: &'a ClientId,
    /// The scope, absent when empty.
    #[serde(skip_serializing_if = "Scope::is_empty")]
    pub scope: &'a Scope,
    /// The grant it came of; a client that acts for itself has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<String>,
}

fn one_or_many<S: Serializer>(audience: &&[String], serializer: S) -> Result<S::Ok, S::Error> {
    match audience {
        [one] => serializer.serialize_str(one),
        many => many.serialize(serializer),
    }
}

/// When an access token issued for a generation ends: it never outlives its grant.
pub fn expiry(issued_at: Timestamp, lifetime_ms: i64, absolute_expiry: Timestamp) -> Timestamp {
    issued_at.plus(lifetime_ms).min(absolute_expiry)
}
