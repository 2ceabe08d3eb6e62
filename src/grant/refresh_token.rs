//! The refresh token grant ([RFC 6749 §6](https://www.rfc-editor.org/rfc/rfc6749#section-6)).
//!
//! Not here: rotation, see `store/decide.rs`.

use super::{ValidGrant, access::RequestedAccess, require};
use crate::{
    client::{GrantType, authentication::AuthenticatedClient},
    error::{InvalidGrant, TokenError},
    secret::SecretText,
    token::Issuer,
};

/// The MAC is checked before any I/O; everything else in the store's one call.
pub(super) fn validate(
    refresh_token: &SecretText,
    mut access: RequestedAccess,
    client: AuthenticatedClient,
    issuer: &Issuer,
) -> Result<ValidGrant, TokenError> {
    require(GrantType::RefreshToken, &client)?;
    let token = issuer.decode_refresh_token(refresh_token).ok_or(TokenError::InvalidGrant(InvalidGrant::NotOurs))?;
    // A resource that the client has lost, or never had. Whether the grant is for it is the store's to say, in the call
    // that rotates: a token must not be used up by a request that is refused.
    if !access.resources.is_empty() {
        access.resources = access.audience(&client, issuer)?;
    }
    Ok(ValidGrant::RefreshToken { client, token, access })
}
