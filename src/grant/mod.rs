//! Validates a token request: one file for each grant type.
//!
//! Not here: reading the form, see `http/token.rs`; issuing, see `token/mod.rs`.

mod client_credentials;
mod password;
mod refresh_token;

use crate::{
    App,
    client::{GrantType, authentication::AuthenticatedClient},
    error::{InvalidScope, TokenError},
    resource_owner::AuthenticatedOwner,
    scope::Scope,
    secret::SecretText,
    token::refresh_token::RefreshToken,
};

/// A token request: the form with everything in place that its grant type REQUIRES.
#[derive(Debug)]
pub enum TokenRequest {
    /// RFC 6749 §4.3.2.
    Password {
        /// The resource owner's name.
        username: String,
        /// Their password.
        password: SecretText,
        /// The `scope` parameter.
        scope: Option<Scope>,
    },
    /// RFC 6749 §4.4.2.
    ClientCredentials {
        /// The `scope` parameter.
        scope: Option<Scope>,
    },
    /// RFC 6749 §6.
    RefreshToken {
        /// The token.
        refresh_token: SecretText,
        /// The `scope` parameter.
        scope: Option<Scope>,
    },
}

/// A grant that may be issued on. For a refresh token the store has the last word, in the call that
/// rotates.
#[derive(Debug)]
pub enum ValidGrant {
    /// The owner proved who they are.
    Password {
        /// The client.
        client: AuthenticatedClient,
        /// The owner.
        owner: AuthenticatedOwner,
        /// What is granted.
        scope: Scope,
    },
    /// The client acts for itself.
    ClientCredentials {
        /// The client.
        client: AuthenticatedClient,
        /// What is granted.
        scope: Scope,
    },
    /// The token is one of ours.
    RefreshToken {
        /// The client.
        client: AuthenticatedClient,
        /// The token.
        token: RefreshToken,
        /// What is asked for, when it is said.
        scope: Option<Scope>,
    },
}

/// Checks what the grant type asks for, in its own file.
///
/// # Errors
/// `unauthorized_client`, `invalid_scope`, `invalid_grant`, and 503 when a store or pool can't answer.
pub async fn validate(request: TokenRequest, client: AuthenticatedClient, app: &App) -> Result<ValidGrant, TokenError> {
    match request {
        TokenRequest::Password { username, password, scope } => {
            password::validate(&username, &password, scope, client, app).await
        }
        TokenRequest::ClientCredentials { scope } => client_credentials::validate(scope, client),
        TokenRequest::RefreshToken { refresh_token, scope } => {
            refresh_token::validate(&refresh_token, scope, client, &app.issuer)
        }
    }
}

/// RFC 6749 §5.2 `unauthorized_client`: known grant, but not for this client.
fn require(grant_type: GrantType, client: &AuthenticatedClient) -> Result<(), TokenError> {
    if client.may_use(grant_type) { Ok(()) } else { Err(TokenError::UnauthorizedClient) }
}

/// The scope of a new grant: what was asked for, or all that the client is registered for
/// (RFC 6749 §3.3).
fn grantable(requested: Option<Scope>, client: &AuthenticatedClient) -> Result<Scope, TokenError> {
    match requested {
        None => Ok(client.scope.clone()),
        Some(scope) if scope.is_subset_of(&client.scope) => Ok(scope),
        Some(_) => Err(TokenError::InvalidScope(InvalidScope::BeyondClient)),
    }
}
