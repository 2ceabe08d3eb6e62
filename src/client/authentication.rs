//! Authenticates the client of a token request
//! ([RFC 6749 §2.3](https://www.rfc-editor.org/rfc/rfc6749#section-2.3)).
//!
//! Not here: reading credentials from the request, see `http/credentials.rs`.

use std::{ops::Deref, sync::Arc};

use super::{Client, ClientType};
use crate::{
    clock::Timestamp,
    error::{InvalidClient, TokenError},
    ids::ClientId,
    secret::{ClientSecretHash, SecretText},
    store::Store,
};

/// What a request offers to prove who its client is.
#[derive(Debug)]
pub enum Credentials {
    /// An identifier and a secret: `client_secret_basic` or `client_secret_post`.
    Secret {
        /// The identifier, not yet checked.
        client_id: String,
        /// The secret.
        secret: SecretText,
    },
    /// An identifier alone: a public client (`none`).
    Identifier {
        /// The identifier, not yet checked.
        client_id: String,
    },
}

/// A client that proved who it is, or a public client that named itself. Only this module makes one.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient(Arc<Client>);

impl Deref for AuthenticatedClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

/// Checks credentials against the registered client. An unknown client costs the same work as a wrong
/// secret.
///
/// # Errors
/// `invalid_client`, or `temporarily_unavailable` when the store can't answer.
pub async fn authenticate(
    credentials: Credentials,
    store: &dyn Store,
    now: Timestamp,
) -> Result<AuthenticatedClient, TokenError> {
    let (client_id, secret) = match &credentials {
        Credentials::Secret { client_id, secret } => (client_id, Some(secret)),
        Credentials::Identifier { client_id } => (client_id, None),
    };
    let client = match ClientId::parse(client_id) {
        Ok(id) => store.client(&id).await?,
        Err(_) => None,
    };
    let refuse = |reason| Err(TokenError::InvalidClient(reason));
    let Some(client) = client else {
        if let Some(secret) = secret {
            ClientSecretHash::of_nobody().matches(secret);
        }
        return refuse(InvalidClient::Unknown);
    };
    match (client.client_type, secret) {
        (ClientType::Confidential, Some(secret)) => {
            let live = |expires_at: Option<Timestamp>| expires_at.is_none_or(|end| now < end);
            // Every registered secret is compared, so that the time says nothing about which one matched.
            let matched =
                client.secrets.iter().filter(|known| known.hash.matches(secret) && live(known.expires_at)).count();
            if matched == 0 {
                return refuse(InvalidClient::WrongSecret);
            }
        }
        (ClientType::Public, None) => {}
        // The registered method, exactly: a secret that nobody checks is not authentication.
        (ClientType::Confidential, None) | (ClientType::Public, Some(_)) => {
            return refuse(InvalidClient::WrongMethod);
        }
    }
    if client.disabled {
        return refuse(InvalidClient::Disabled);
    }
    Ok(AuthenticatedClient(client))
}
