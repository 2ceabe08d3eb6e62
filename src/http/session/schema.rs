//! What the OpenAPI document says about cookie mode: forms and answers.
//!
//! Not here: what the answers are made of, see `mod.rs`.

use poem_openapi::Object;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    error::{ForeignPage, InvalidClient, InvalidGrant, InvalidRequest, InvalidScope, InvalidTarget, TokenError},
    http::{
        contract::{ErrorExample, HeaderExample, NO_STORE, Operation, RequestExample, Success, browser_errors},
        error_response::ErrorRenderer,
    },
};

/// The parameters of a login in cookie mode.
#[derive(Debug, Object)]
pub(super) struct SessionRequest {
    /// The client's identifier. It must be registered for cookie mode.
    client_id: String,
    /// `password` or `authorization_code`. Left out: the one that the other parameters are for.
    grant_type: Option<String>,
    /// The resource owner's name.
    username: Option<String>,
    /// The resource owner's password, at most 256 characters.
    #[oai(validator(max_length = 256))]
    password: Option<String>,
    /// `authorization_code`: the code.
    code: Option<String>,
    /// `authorization_code`: the redirection URI of the authorization request, when it had one.
    redirect_uri: Option<String>,
    /// `authorization_code`: the PKCE verifier.
    code_verifier: Option<String>,
    /// Scope tokens separated by spaces. Left out: everything the client may have.
    scope: Option<String>,
    /// The resources that the access token is for (RFC 8707). Left out: every resource of the client.
    resource: Option<Vec<String>>,
}

/// The parameters of a refresh in cookie mode; the refresh token is in the cookie.
#[derive(Debug, Object)]
pub(super) struct SessionRefresh {
    /// The client's identifier.
    client_id: String,
    /// Scope tokens separated by spaces. Left out: everything that was granted.
    scope: Option<String>,
    /// The resources that the access token is for (RFC 8707). Left out: every resource of the grant.
    resource: Option<Vec<String>>,
}

/// The answer of cookie mode: a token response whose refresh token is in a cookie instead.
#[derive(Debug, Serialize, Object)]
pub(super) struct SessionResponse {
    /// A JWT as RFC 9068 profiles it. Keep it in memory only.
    pub(super) access_token: String,
    /// Always `Bearer`.
    pub(super) token_type: String,
    /// Seconds until the access token expires.
    pub(super) expires_in: i64,
    /// What the access token is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    /// Seconds until the cookie expires unless it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session_expires_in: Option<i64>,
}

/// What the document says about them.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        id: "createSession",
        see: SEE,
        requests: &[RequestExample {
            name: "password",
            summary: "Log in with a password",
            form: &[("client_id", "demo-public"), ("username", "demo"), ("password", "demo-password")],
        }],
        fields: &[
            ("client_id", "demo-public"),
            ("grant_type", "password"),
            ("username", "demo"),
            ("password", "demo-password"),
            ("scope", ""),
            ("resource", ""),
        ],
        success: STARTED,
        errors: |renderer| {
            let more = [
                TokenError::InvalidGrant(InvalidGrant::Password),
                TokenError::UnsupportedGrantType,
                TokenError::TooManyAttempts(60),
            ];
            issuing_errors(renderer, more)
        },
        notes: NOTES,
    },
    Operation {
        id: "refreshSession",
        see: SEE,
        requests: &[RequestExample {
            name: "refresh",
            summary: "Refresh; the browser sends the cookie",
            form: &[("client_id", "demo-public")],
        }],
        fields: &[("client_id", "demo-public"), ("scope", ""), ("resource", "")],
        success: STARTED,
        errors: |renderer| issuing_errors(renderer, [TokenError::InvalidGrant(InvalidGrant::NotOurs)]),
        notes: NOTES,
    },
    Operation {
        id: "endSession",
        see: SEE,
        requests: &[],
        fields: &[],
        success: Success {
            status: 204,
            description: "The grant is revoked and the cookie deleted, if there was one.",
            headers: &[
                NO_STORE,
                HeaderExample {
                    name: "Set-Cookie",
                    description: "Deletes the cookie.",
                    example: "__Host-rt-f62af5c7=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0",
                    required: true,
                },
            ],
            examples: Vec::new,
        },
        errors: |renderer| {
            let errors = [
                InvalidRequest::Missing("client_id").into(),
                TokenError::InvalidClient(InvalidClient::Unknown),
                ForeignPage::RequestedBy.into(),
            ];
            browser_errors(renderer, &errors)
        },
        notes: NOTES,
    },
];

const SEE: (&str, &str) = (
    "OAuth 2.0 for Browser-Based Applications",
    "https://datatracker.ietf.org/doc/draft-ietf-oauth-browser-based-apps/",
);

const NOTES: &[(u16, &str)] = &[
    (400, "The cookie stays as it is."),
    (403, "The request did not come from a page of this client; see the rules of cookie mode."),
    (503, "The cookie is still good."),
];

const STARTED: Success = Success {
    status: 200,
    description: "An access token, and the refresh token in a cookie.",
    headers: &[
        NO_STORE,
        HeaderExample {
            name: "Set-Cookie",
            description: "The refresh token. No script can read it.",
            example: "__Host-rt-f62af5c7=rt_AeU...; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=1209600",
            required: false,
        },
    ],
    examples: || vec![("session", example())],
};

fn example() -> Value {
    json!({
        "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLiJ9.e30.c2ln",
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "read write",
        "session_expires_in": 1_209_600,
    })
}

/// The errors of the two operations that send tokens.
fn issuing_errors(renderer: &ErrorRenderer, more: impl IntoIterator<Item = TokenError>) -> Vec<ErrorExample> {
    let mut errors = vec![
        InvalidRequest::Missing("client_id").into(),
        TokenError::InvalidClient(InvalidClient::Unknown),
        TokenError::NoCookieMode,
        TokenError::InvalidScope(InvalidScope::BeyondClient),
        TokenError::InvalidTarget(InvalidTarget::BeyondClient),
        ForeignPage::RequestedBy.into(),
    ];
    errors.extend(more);
    browser_errors(renderer, &errors)
}
