//! The client credentials grant ([RFC 6749 §4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)): a client acts for
//! itself.
//!
//! Nothing is stored: there is no resource owner, no grant and no refresh token (§4.4.3), so a login elsewhere and a store
//! that takes no writes are no concern of it.
//!
//! Not here: the token's subject, see `Subject::of_client` in `ids.rs`.

use super::{ValidGrant, access::RequestedAccess, require};
use crate::{
    client::{ClientType, GrantType, authentication::AuthenticatedClient},
    error::TokenError,
    token::Issuer,
};

/// The client's credentials are the grant, and they have been checked.
pub(super) fn validate(
    access: &RequestedAccess,
    client: AuthenticatedClient,
    issuer: &Issuer,
) -> Result<ValidGrant, TokenError> {
    require(GrantType::ClientCredentials, &client)?;
    // RFC 6749 §4.4: confidential clients only. Registration says so too; a record that was changed by hand must not.
    if client.client_type != ClientType::Confidential {
        return Err(TokenError::UnauthorizedClient);
    }
    let access = access.grant(&client, issuer)?;
    Ok(ValidGrant::ClientCredentials { client, access })
}
