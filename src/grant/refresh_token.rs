//! The refresh token grant ([RFC 6749 §6](https://www.rfc-editor.org/rfc/rfc6749#section-6)).
//!
//! Not here: rotation, see `store/decide.rs`.

use super::{ValidGrant, require};
use crate::{
    client::{GrantType, authentication::AuthenticatedClient},
    error::{InvalidGrant, TokenError},
    scope::Scope,
    secret::SecretText,
    token::Issuer,
};

/// The MAC is checked before any I/O; everything else in the store's one call.
pub(super) fn validate(
    refresh_token: &SecretText,
    scope: Option<Scope>,
    client: AuthenticatedClient,
    issuer: &Issuer,
) -> Result<ValidGrant, TokenError> {
    require(GrantType::RefreshToken, &client)?;
    let token = issuer.decode_refresh_token(refresh_token).ok_or(TokenError::InvalidGrant(InvalidGrant::NotOurs))?;
    Ok(ValidGrant::RefreshToken { client, token, scope })
}
