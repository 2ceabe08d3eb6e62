//! The errors of the authorization endpoint that travel by redirect: the RFC's code outside, our reason inside
//! ([RFC 6749 §4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)).
//!
//! Not here: errors that must not redirect, see `PageError` in `error.rs`.

use crate::error::{InvalidScope, InvalidTarget, TokenError};

/// Why an authorization request was refused. The client's page gets code and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationError {
    /// `invalid_request`.
    InvalidRequest(Problem),
    /// `unauthorized_client`.
    UnauthorizedClient,
    /// `access_denied`: the resource owner said no.
    AccessDenied,
    /// `unsupported_response_type`.
    UnsupportedResponseType,
    /// `invalid_scope`.
    InvalidScope(InvalidScope),
    /// `invalid_target` (RFC 8707 §2).
    InvalidTarget(InvalidTarget),
    /// `login_required`: `prompt=none`, and nobody is signed in.
    LoginRequired,
    /// `consent_required`: `prompt=none`, and nobody has consented.
    ConsentRequired,
    /// `request_not_supported`: no request objects (RFC 9101).
    RequestNotSupported,
    /// `request_uri_not_supported`: none by reference either; nothing is ever fetched.
    RequestUriNotSupported,
    /// `temporarily_unavailable`.
    TemporarilyUnavailable,
}

/// What is wrong with the form of an authorization request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// RFC 6749 §3.1.
    #[error("a parameter is repeated")]
    Repeated,
    /// RFC 6749 §3.1.1.
    #[error("a required parameter is missing: response_type")]
    NoResponseType,
    /// RFC 9700 §2.1.1: PKCE is required.
    #[error("a required parameter is missing: code_challenge (PKCE, RFC 7636)")]
    NoChallenge,
    /// RFC 7636 §4.2.
    #[error("code_challenge is the SHA-256 of the code_verifier: 43 characters of base64url")]
    Challenge,
    /// RFC 7636 §4.3.
    #[error("code_challenge_method must be S256")]
    ChallengeMethod,
    /// Only `query`.
    #[error("response_mode must be query")]
    ResponseMode,
    /// `none` stands alone.
    #[error("prompt is none, or a list of login, consent and select_account")]
    Prompt,
    /// Seconds.
    #[error("max_age is a number of seconds")]
    MaxAge,
}

impl AuthorizationError {
    /// The `error` code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InvalidTarget(_) => "invalid_target",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The `error_description`.
    pub fn description(self) -> String {
        match self {
            Self::InvalidRequest(problem) => problem.to_string(),
            Self::UnauthorizedClient => "this client is not registered for the authorization code grant".into(),
            Self::AccessDenied => "the resource owner denied the request".into(),
            Self::UnsupportedResponseType => "response_type must be code".into(),
            Self::InvalidScope(reason) => reason.to_string(),
            Self::InvalidTarget(reason) => reason.to_string(),
            Self::LoginRequired => "nobody is signed in, and prompt=none forbids to ask".into(),
            Self::ConsentRequired => "nobody has consented, and prompt=none forbids to ask".into(),
            Self::RequestNotSupported => "this server takes no request objects".into(),
            Self::RequestUriNotSupported => "this server takes no request objects by reference".into(),
            Self::TemporarilyUnavailable => "the server cannot answer right now; try again".into(),
        }
    }
}

impl From<Problem> for AuthorizationError {
    fn from(problem: Problem) -> Self {
        Self::InvalidRequest(problem)
    }
}

impl From<TokenError> for AuthorizationError {
    /// What the rules that both endpoints share can say.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::InvalidTarget(reason) => Self::InvalidTarget(reason),
            TokenError::InvalidScope(reason) => Self::InvalidScope(reason),
            _ => Self::TemporarilyUnavailable,
        }
    }
}
