//! The authorization code grant ([RFC 6749 §4.1.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3)), with PKCE
//! ([RFC 7636 §4.5](https://www.rfc-editor.org/rfc/rfc7636#section-4.5)).
//!
//! Not here: the authorization endpoint, see `authorization/`; the rules of redemption, see `store/redeem.rs`.

use super::{ValidGrant, require};
use crate::{
    client::{GrantType, authentication::AuthenticatedClient},
    error::{InvalidGrant, TokenError},
    pkce::CodeChallenge,
    secret::{SecretText, sha256},
    token::Issuer,
};

/// The code's MAC is checked before any I/O; everything else in the store's one call.
pub(super) fn validate(
    code: &SecretText,
    redirect_uri: Option<&str>,
    challenge: Option<CodeChallenge>,
    client: AuthenticatedClient,
    issuer: &Issuer,
) -> Result<ValidGrant, TokenError> {
    require(GrantType::AuthorizationCode, &client)?;
    // Every code of ours has a challenge, and none is all zero: no verifier is a wrong one.
    let challenge = challenge.unwrap_or(CodeChallenge([0; 32]));
    let code = issuer.codes().decode(code.expose()).ok_or(TokenError::InvalidGrant(InvalidGrant::NotOurCode))?;
    // A client that sent no redirect_uri to the authorization endpoint sends none here.
    let redirect_uri_hash = sha256(redirect_uri.unwrap_or_default().as_bytes());
    Ok(ValidGrant::AuthorizationCode { client, code, redirect_uri_hash, challenge })
}
