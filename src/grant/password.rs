//! The resource owner password credentials grant
//! ([RFC 6749 §4.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.3)).
//!
//! [RFC 9700 §2.4](https://www.rfc-editor.org/rfc/rfc9700#section-2.4) forbids it for new designs, so a client
//! must be registered for it.

use super::{ValidGrant, access::RequestedAccess, require};
use crate::{
    App,
    client::{ClientType, GrantType, authentication::AuthenticatedClient},
    error::{InvalidGrant, TokenError, seconds},
    resource_owner::{AuthenticationError, LoginSource, PoolError},
    secret::SecretText,
};

/// The client's rights first: nothing is hashed for a client that may not ask.
pub(super) async fn validate(
    username: &str,
    password: &SecretText,
    access: &RequestedAccess,
    client: AuthenticatedClient,
    mut from: LoginSource,
    app: &App,
) -> Result<ValidGrant, TokenError> {
    require(GrantType::Password, &client)?;
    let access = access.grant(&client, &app.issuer)?;
    // A backend logs all its users in from its own address: one of them must not shut the others out.
    from.speaks_for_many = client.client_type == ClientType::Confidential;
    let checked = app.passwords.sign_in(app.store.as_ref(), username, password, &from).await;
    let sign_in = checked.map_err(|error| match error {
        AuthenticationError::Refused => TokenError::InvalidGrant(InvalidGrant::Password),
        AuthenticationError::Throttled { retry_after_ms } => TokenError::TooManyAttempts(seconds(retry_after_ms)),
        AuthenticationError::Store(error) => error.into(),
        AuthenticationError::Pool(full @ PoolError::Full) => TokenError::TemporarilyUnavailable(full.to_string()),
        AuthenticationError::Pool(error) => TokenError::ServerError(error.to_string()),
    })?;
    Ok(ValidGrant::Password { client, sign_in, access })
}
