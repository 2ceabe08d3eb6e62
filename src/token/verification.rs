//! Verifies access tokens as a resource server must
//! ([RFC 9068 §4](https://www.rfc-editor.org/rfc/rfc9068#section-4),
//! [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725)).
//!
//! Not here: whether the grant behind a token still lives, see `introspection.rs`.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::keys::SigningKeys;
use crate::{
    clock::Timestamp,
    ids::{ClientId, GrantId, Subject},
    scope::Scope,
};

/// The longest text that is looked at, bytes: ours are far shorter.
const LONGEST: usize = 8 * 1024;

/// The header of our access tokens, and nothing else: with `jwk`, `jku`, `x5u` or `crit` it is not ours
/// (RFC 8725 §3.10, RFC 7515 §4.1.11).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    #[serde(borrow)]
    typ: Cow<'a, str>,
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
}

/// What an access token of this server says. Its signature is right and it has not expired.
#[derive(Clone, Debug, Deserialize)]
pub struct AccessToken {
    /// Who issued it: this server.
    pub iss: String,
    /// Whom it speaks for.
    pub sub: Subject,
    /// The resources it is for.
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// When it expires, seconds since the epoch.
    pub exp: i64,
    /// When it was issued, seconds since the epoch.
    pub iat: i64,
    /// Its identifier.
    pub jti: String,
    /// The client.
    pub client_id: ClientId,
    /// The scope.
    #[serde(default)]
    pub scope: Scope,
    /// The grant it came of, if one did.
    pub gid: Option<String>,
}

impl AccessToken {
    /// The grant it came of, if one did.
    pub fn grant(&self) -> Option<GrantId> {
        self.gid.as_deref().and_then(GrantId::parse)
    }

    /// When it expires.
    pub const fn expires_at(&self) -> Timestamp {
        Timestamp(self.exp.saturating_mul(1000))
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

/// Why a text is no access token of this server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOurs {
    /// It names a key that this node doesn't know: another node may.
    UnknownKey,
    /// Everything else.
    Invalid,
}

/// Reads an access token that `issuer` signed with one of `keys` and that lives at `now`.
///
/// # Errors
/// [`NotOurs`]; the client sees that it is not active.
pub fn verify(text: &str, keys: &SigningKeys, issuer: &str, now: Timestamp) -> Result<AccessToken, NotOurs> {
    let invalid = NotOurs::Invalid;
    if text.len() > LONGEST {
        return Err(invalid);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(invalid)?;
    let (head, claims) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(invalid)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid);
    let head = decode(head)?;
    let head: Head<'_> = serde_json::from_slice(&head).map_err(|_| invalid)?;
    // RFC 8725 §3.11: no other kind of JWT under these keys may be taken for an access token.
    if head.typ != "at+jwt" {
        return Err(invalid);
    }
    // RFC 8725 §3.1: the key says which algorithm it is for, and the token doesn't. So neither `none` nor an HMAC under
    // a public key gets anywhere.
    let verified = keys.verify((&head.kid, &head.alg), signed, &decode(signature)?, now);
    if !verified.ok_or(NotOurs::UnknownKey)? {
        return Err(invalid);
    }
    let token: AccessToken = serde_json::from_slice(&decode(claims)?).map_err(|_| invalid)?;
    // By the store's clock, and without leeway.
    if token.iss == issuer && now < token.expires_at() { Ok(token) } else { Err(invalid) }
}
