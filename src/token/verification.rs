//! Verifies access tokens as a resource server must
//! ([RFC 9068 §4](https://www.rfc-editor.org/rfc/rfc9068#section-4),
//! [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725)).
//!
//! Not here: whether the grant behind a token still lives, see `introspection.rs`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Validation;
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
struct Head {
    typ: String,
    alg: String,
    kid: String,
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

/// Whether a text names a key that is not among `keys`: another node may know it.
pub fn names_unknown_key(text: &str, keys: &SigningKeys, now: Timestamp) -> bool {
    let head = text.split_once('.').filter(|_| text.len() <= LONGEST).map(|(head, _)| head);
    let read = head.and_then(|head| serde_json::from_slice::<Head>(&URL_SAFE_NO_PAD.decode(head).ok()?).ok());
    read.is_some_and(|head| keys.verifying(&head.kid, now).is_none())
}

/// Reads an access token that `issuer` signed with one of `keys` and that lives at `now`; `None` for everything else.
pub fn verify(text: &str, keys: &SigningKeys, issuer: &str, now: Timestamp) -> Option<AccessToken> {
    if text.len() > LONGEST {
        return None;
    }
    let mut parts = text.splitn(4, '.');
    let (head, _, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let head: Head = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
    // RFC 8725 §3.11: no other kind of JWT under these keys may be taken for an access token.
    if head.typ != "at+jwt" {
        return None;
    }
    // RFC 8725 §3.1: the key says which algorithm it is for, and the token doesn't. So neither `none` nor an HMAC under
    // a public key gets anywhere.
    let (algorithm, key) = keys.verifying(&head.kid, now)?;
    if head.alg != algorithm.as_str() {
        return None;
    }
    let mut validation = Validation::new(super::key_material::jose(algorithm));
    validation.required_spec_claims.clear();
    // Checked below, by the store's clock and without leeway.
    validation.validate_exp = false;
    validation.validate_aud = false;
    let token = jsonwebtoken::decode::<AccessToken>(text, &key, &validation).ok()?.claims;
    (token.iss == issuer && now < token.expires_at()).then_some(token)
}
