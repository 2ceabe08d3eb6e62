//! The resource owner password credentials grant
//! ([RFC 6749 §4.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.3)).
//!
//! [RFC 9700 §2.4](https://www.rfc-editor.org/rfc/rfc9700#section-2.4) forbids it for new designs, so a client
//! must be registered for it.

use super::{ValidGrant, access::RequestedAccess, require};
use crate::{
    App,
    client::{GrantType, authentication::AuthenticatedClient},
    error::{InvalidGrant, TokenError},
    resource_owner::{AuthenticationError, PoolError},
    secret::SecretText,
};

/// The client's rights first: nothing is hashed for a client that may not ask.
pub(super) async fn validate(
    username: &str,
    password: &SecretText,
    access: &RequestedAccess,
    client: AuthenticatedClient,
    app: &App,
) -> Result<ValidGrant, TokenError> {
    require(GrantType::Password, &client)?;
    let access = access.grant(&client, &app.issuer)?;
    let owner =
        app.passwords.authenticate(app.store.as_ref(), username, password).await.map_err(|error| match error {
            AuthenticationError::Refused => TokenError::InvalidGrant(InvalidGrant::Password),
            AuthenticationError::Store(error) => error.into(),
            AuthenticationError::Pool(full @ PoolError::Full) => TokenError::TemporarilyUnavailable(full.to_string()),
            AuthenticationError::Pool(error) => TokenError::ServerError(error.to_string()),
        })?;
    Ok(ValidGrant::Password { client, owner, access })
}
