//! What the OpenAPI document says about the token endpoint: its form, its answer, its errors.
//!
//! Not here: what the answer is made of, see `token.rs`.

use poem_openapi::{Enum, Object};
use serde_json::json;

use crate::{
    error::{DeviceRefusal, InvalidClient, InvalidGrant, InvalidRequest, InvalidScope, InvalidTarget, TokenError},
    http::contract::{NO_STORE, Operation, RequestExample, Success, token_errors},
};

/// The values of `grant_type` that this server answers.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename_all = "snake_case")]
enum GrantTypeParameter {
    Password,
    RefreshToken,
    ClientCredentials,
    AuthorizationCode,
    #[oai(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
}

/// The parameters of a token request. Which are required depends on `grant_type`.
#[derive(Debug, Object)]
#[oai(rename = "TokenRequest")]
pub(super) struct TokenForm {
    grant_type: GrantTypeParameter,
    /// The client's identifier. Leave it out when the Authorization header carries it.
    client_id: Option<String>,
    /// The secret of a confidential client that does not use the Authorization header.
    #[oai(validator(max_length = 1024))]
    client_secret: Option<String>,
    /// `password`: the resource owner's name.
    username: Option<String>,
    /// `password`: the resource owner's password, at most 256 characters.
    password: Option<String>,
    /// `refresh_token`: the refresh token that was received last.
    refresh_token: Option<String>,
    /// `authorization_code`: the code of the authorization response.
    code: Option<String>,
    /// `authorization_code`: exactly the `redirect_uri` of the authorization request.
    redirect_uri: Option<String>,
    /// `authorization_code`: the secret whose SHA-256 was the `code_challenge` (RFC 7636).
    #[oai(validator(max_length = 128))]
    code_verifier: Option<String>,
    /// `urn:ietf:params:oauth:grant-type:device_code`: the code that the device got.
    device_code: Option<String>,
    /// Scope tokens separated by spaces. Left out: everything the client may have, or everything that was
    /// granted.
    scope: Option<String>,
    /// The resources that the access token is for, absolute URIs (RFC 8707). Left out: every resource of the client, or
    /// of the grant.
    resource: Option<Vec<String>>,
    /// The same for a resource that has a name rather than a URI.
    audience: Option<String>,
}

/// The answer to a token request (RFC 6749 section 5.1).
#[derive(Debug, Object)]
pub(super) struct TokenResponse {
    /// A JWT as RFC 9068 profiles it.
    access_token: String,
    /// Always `Bearer`.
    token_type: String,
    /// Seconds until the access token expires.
    expires_in: i64,
    /// What the access token is good for.
    scope: Option<String>,
    /// Use it once: every answer brings the next one. After a lost answer, send the same one again.
    refresh_token: Option<String>,
    /// Seconds until the refresh token expires unless it is used.
    refresh_token_expires_in: Option<i64>,
}

/// What the document says about it.
pub const OPERATIONS: &[Operation] = &[Operation {
    id: "issueToken",
    see: ("RFC 6749 section 3.2: token endpoint", "https://www.rfc-editor.org/rfc/rfc6749#section-3.2"),
    requests: &[
        RequestExample {
            name: "refresh_token",
            summary: "Refresh (RFC 6749 section 6)",
            form: &[
                ("grant_type", "refresh_token"),
                ("refresh_token", "rt_AeU..."),
                ("client_id", "demo"),
                ("client_secret", "demo-secret"),
            ],
        },
        RequestExample {
            name: "authorization_code",
            summary: "Authorization code with PKCE (RFC 6749 section 4.1, RFC 7636)",
            form: &[
                ("grant_type", "authorization_code"),
                ("code", "ac_AeU..."),
                ("redirect_uri", "http://127.0.0.1:51234/callback"),
                ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
                ("client_id", "demo-public"),
            ],
        },
        RequestExample {
            name: "device_code",
            summary: "A device that waits for a person (RFC 8628 section 3.4)",
            form: &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("device_code", "dc_AQA..."),
                ("client_id", "demo"),
                ("client_secret", "demo-secret"),
            ],
        },
        RequestExample {
            name: "client_credentials",
            summary: "A client that acts for itself (RFC 6749 section 4.4)",
            form: &[
                ("grant_type", "client_credentials"),
                ("scope", "read"),
                ("client_id", "demo"),
                ("client_secret", "demo-secret"),
            ],
        },
        RequestExample {
            name: "password",
            summary: "Password (RFC 6749 section 4.3)",
            form: &[
                ("grant_type", "password"),
                ("username", "demo"),
                ("password", "demo-password"),
                ("scope", "read write"),
                ("client_id", "demo"),
                ("client_secret", "demo-secret"),
            ],
        },
    ],
    fields: &[
        ("client_id", "demo"),
        ("client_secret", "demo-secret"),
        ("username", "demo"),
        ("password", "demo-password"),
        ("refresh_token", ""),
        ("code", ""),
        ("redirect_uri", ""),
        ("code_verifier", ""),
        ("device_code", ""),
        ("scope", "read write"),
        ("resource", ""),
        ("audience", ""),
    ],
    success: Success {
        status: 200,
        description: "Tokens.",
        headers: &[NO_STORE],
        examples: || {
            let with_refresh_token = json!({
                "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLiJ9.e30.c2ln",
                "token_type": "Bearer",
                "expires_in": 600,
                "scope": "read write",
                "refresh_token": "rt_AeU...",
                "refresh_token_expires_in": 1_209_600,
            });
            vec![("tokens", with_refresh_token)]
        },
    },
    errors: |renderer| {
        let errors = [
            InvalidRequest::RepeatedParameter.into(),
            InvalidRequest::Missing("grant_type").into(),
            TokenError::InvalidGrant(InvalidGrant::Password),
            TokenError::InvalidGrant(InvalidGrant::NotOurs),
            TokenError::InvalidGrant(InvalidGrant::NotOurCode),
            TokenError::UnauthorizedClient,
            TokenError::UnsupportedGrantType,
            TokenError::InvalidScope(InvalidScope::BeyondGrant),
            TokenError::InvalidTarget(InvalidTarget::BeyondClient),
            TokenError::InvalidGrant(InvalidGrant::DeviceCode(DeviceRefusal::NotOurs)),
            TokenError::AuthorizationPending,
            TokenError::SlowDown,
            TokenError::ExpiredToken,
            TokenError::DeviceDenied,
            TokenError::InvalidClient(InvalidClient::WrongSecret),
            TokenError::TooManyAttempts(60),
        ];
        token_errors(renderer, &errors)
    },
    notes: &[
        (400, "While a device waits, `authorization_pending` and `slow_down` mean: ask again later."),
        (429, "Too many wrong passwords for this account, or from this address. Refreshing goes on."),
        (503, "A refresh token that was sent is still good."),
    ],
}];
