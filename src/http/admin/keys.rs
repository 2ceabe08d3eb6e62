//! `/admin/keys`: looks at the signing keys and replaces them.
//!
//! Not here: what a key does when, see `token/keys.rs`; the keys that verifiers read, see `http/metadata.rs`.

use std::sync::Arc;

use poem::http::StatusCode;
use poem_openapi::{Object, OpenApi};
use serde_json::{Value, json};

use super::{Admitted, lookup, nothing_else, refusals};
use crate::{
    administration::Refusal,
    administration::keys::{self, Listed},
    error::{AdminError, InvalidRequest},
    http::{
        Tag,
        contract::{Answer, Operation},
        json_body::JsonBody,
    },
};

/// A signing key, without the key. Times are seconds since the epoch.
#[derive(Debug, Object)]
struct Key {
    /// The `kid` of what it signs.
    kid: String,
    /// Its algorithm, as JOSE names it.
    algorithm: String,
    /// `next`: published, and signs later. `active`: signs. `retired`: verifies what it signed. `spent`: nothing of it is
    /// alive.
    state: String,
    /// When it was made.
    created_at: i64,
    /// When it begins to sign, or began.
    signs_from: i64,
}

/// The signing keys.
#[derive(Debug, Object)]
struct Keys {
    /// The oldest first.
    keys: Vec<Key>,
}

/// How the signing keys are replaced.
#[derive(Debug, Object)]
struct KeyRotation {
    /// Replaces every key at once, because somebody else has one: access tokens that exist are refused from then on.
    /// Otherwise the next key is published, and signs after 65 minutes.
    compromised: Option<bool>,
}

/// What the document says about them.
pub(super) const OPERATIONS: &[Operation] = &[
    lookup("listKeys", "The keys.", nothing_else),
    lookup("rotateKeys", "The keys as they are now.", |renderer| {
        let invalid = Refusal::invalid("compromised", "must be true or false");
        refusals(renderer, vec![invalid.into(), AdminError::Exists, AdminError::Body(InvalidRequest::BodyTooLarge)])
    }),
];

fn view(listed: &[Listed]) -> Value {
    json!({ "keys": listed.iter().map(keys::describe).collect::<Vec<_>>() })
}

/// The endpoints.
pub struct AdminKeysEndpoint;

#[OpenApi]
impl AdminKeysEndpoint {
    /// List the signing keys
    ///
    /// With what each does now.
    #[oai(path = "/admin/keys", method = "get", operation_id = "listKeys", tag = "Tag::Administration")]
    async fn list(&self, admitted: Admitted) -> Answer<Keys> {
        let look = async |at: &Admitted| {
            let listed = at.app.issuer.signing().list(at.app.store.as_ref()).await.map_err(Refusal::from)?;
            Ok(view(&listed))
        };
        admitted.look(look).await.into()
    }

    /// Replace the signing keys
    ///
    /// As `regrant key rotate` does. When the next key is published already, nothing happens: 409. Other nodes follow
    /// within half a minute.
    #[oai(path = "/admin/keys/rotate", method = "post", operation_id = "rotateKeys", tag = "Tag::Administration")]
    async fn rotate(&self, admitted: Admitted, body: JsonBody<KeyRotation>) -> Answer<Keys> {
        let rotate = move |at: Arc<Admitted>| async move {
            let mut fields = body.fields?;
            let compromised = fields.flag("compromised")?;
            fields.end()?;
            let (signing, store, operator) = (at.app.issuer.signing(), at.app.store.as_ref(), at.operator());
            Ok(view(&match compromised {
                true => keys::replace_compromised(signing, store, &operator).await?,
                false => keys::rotate(signing, store, &operator).await?,
            }))
        };
        admitted.act(StatusCode::OK, rotate).await.into()
    }
}
