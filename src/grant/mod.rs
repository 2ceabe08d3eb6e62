//! Validates a token request: one file for each grant type.
//!
//! Not here: reading the form, see `http/token.rs`; issuing, see `token/mod.rs`.

pub mod access;
mod authorization_code;
mod client_credentials;
pub mod device_code;
mod password;
mod refresh_token;

use self::access::{GrantedAccess, RequestedAccess};
use crate::{
    App,
    client::{GrantType, authentication::AuthenticatedClient},
    error::TokenError,
    ids::Subject,
    pkce::CodeChallenge,
    resource_owner::{LoginSource, SignIn},
    secret::SecretText,
    store::{ApprovedDevice, Origin},
    token::{authorization_code::AuthorizationCode, device_code::DeviceCode, refresh_token::RefreshToken},
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
        /// What it asks access to.
        access: RequestedAccess,
    },
    /// RFC 6749 §4.1.3.
    AuthorizationCode {
        /// The `code` parameter.
        code: SecretText,
        /// The `redirect_uri` parameter, when there is one.
        redirect_uri: Option<String>,
        /// What the `code_verifier` parameter (RFC 7636 §4.5) hashes to, when there is one.
        challenge: Option<CodeChallenge>,
    },
    /// RFC 6749 §4.4.2.
    ClientCredentials {
        /// What it asks access to.
        access: RequestedAccess,
    },
    /// RFC 8628 §3.4.
    DeviceCode {
        /// The device code.
        device_code: SecretText,
        /// What it asks access to: only the resources count, the scope was asked for at the start.
        access: RequestedAccess,
    },
    /// RFC 6749 §6.
    RefreshToken {
        /// The token.
        refresh_token: SecretText,
        /// What it asks access to.
        access: RequestedAccess,
    },
}

impl TokenRequest {
    /// The grant type in one word, for the metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::AuthorizationCode { .. } => "authorization_code",
            Self::ClientCredentials { .. } => "client_credentials",
            Self::DeviceCode { .. } => "device_code",
            Self::RefreshToken { .. } => "refresh_token",
        }
    }
}

/// A grant that may be issued on. For a refresh token the store has the last word, in the call that
/// rotates.
#[derive(Debug)]
pub enum ValidGrant {
    /// The owner proved who they are.
    Password {
        /// The client.
        client: AuthenticatedClient,
        /// The owner, and the attempt that the grant settles.
        sign_in: SignIn,
        /// What is granted.
        access: GrantedAccess,
    },
    /// The code is one of ours.
    AuthorizationCode {
        /// The client.
        client: AuthenticatedClient,
        /// The code.
        code: AuthorizationCode,
        /// SHA-256 of the `redirect_uri` parameter, or of nothing.
        redirect_uri_hash: [u8; 32],
        /// What the verifier hashes to.
        challenge: CodeChallenge,
    },
    /// The client acts for itself.
    ClientCredentials {
        /// The client.
        client: AuthenticatedClient,
        /// What is granted.
        access: GrantedAccess,
    },
    /// A person allowed the device.
    DeviceCode {
        /// The client.
        client: AuthenticatedClient,
        /// The code that claimed it.
        code: DeviceCode,
        /// What was allowed, and by whom.
        device: ApprovedDevice,
        /// The `sub` of that owner.
        subject: Subject,
        /// The resources that the access token shall be for; none means all that were allowed.
        resources: Vec<String>,
    },
    /// The token is one of ours.
    RefreshToken {
        /// The client.
        client: AuthenticatedClient,
        /// The token.
        token: RefreshToken,
        /// What is asked for.
        access: RequestedAccess,
    },
}

/// Checks what the grant type asks for, in its own file. `from` is where the request came from, `source` the same for
/// guesses.
///
/// # Errors
/// `unauthorized_client`, `invalid_scope`, `invalid_target`, `invalid_grant`, those of RFC 8628 §3.5, and 503 when a store or
/// pool can't answer.
pub async fn validate(
    request: TokenRequest,
    client: AuthenticatedClient,
    from: &Origin,
    source: LoginSource,
    app: &App,
) -> Result<ValidGrant, TokenError> {
    // What waits for more than a refresh does is in boxes.
    match request {
        TokenRequest::Password { username, password, access } => {
            Box::pin(password::validate(&username, &password, &access, client, source, app)).await
        }
        TokenRequest::AuthorizationCode { code, redirect_uri, challenge } => {
            authorization_code::validate(&code, redirect_uri.as_deref(), challenge, client, &app.issuer)
        }
        TokenRequest::ClientCredentials { access } => client_credentials::validate(&access, client, &app.issuer),
        TokenRequest::DeviceCode { device_code, access } => {
            Box::pin(device_code::validate(&device_code, &access, client, from, app)).await
        }
        TokenRequest::RefreshToken { refresh_token, access } => {
            refresh_token::validate(&refresh_token, access, client, &app.issuer)
        }
    }
}

/// RFC 6749 §5.2 `unauthorized_client`: known grant, but not for this client.
fn require(grant_type: GrantType, client: &AuthenticatedClient) -> Result<(), TokenError> {
    if client.may_use(grant_type) { Ok(()) } else { Err(TokenError::UnauthorizedClient) }
}
