//! The errors of the endpoints: the RFC's code outside, our reason inside.
//!
//! The variant is the code of [RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2), so there
//! is nothing to map. Each reason has one fixed text for the client; the log reads the cause.
//!
//! Not here: the HTTP response, see `http/error_response.rs`.

use crate::{
    administration,
    ids::ClientId,
    resource_owner::AuthenticationError,
    store::{CodeRefusal, Refusal, RevocationReason, StoreError},
};

/// Why a token request was refused.
#[derive(Debug)]
pub enum TokenError {
    /// `invalid_request`, 400.
    InvalidRequest(InvalidRequest),
    /// `invalid_client`, 401.
    InvalidClient(InvalidClient),
    /// `invalid_grant`, 400.
    InvalidGrant(InvalidGrant),
    /// `unauthorized_client`, 400.
    UnauthorizedClient,
    /// `unauthorized_client`, 400: the client is not registered for cookie mode.
    NoCookieMode,
    /// `access_denied`, 403: a request of cookie mode from somewhere else than a page of its client.
    ForeignPage(ForeignPage),
    /// `unsupported_grant_type`, 400.
    UnsupportedGrantType,
    /// `invalid_scope`, 400.
    InvalidScope(InvalidScope),
    /// `invalid_target`, 400 (RFC 8707 §2).
    InvalidTarget(InvalidTarget),
    /// `authorization_pending`, 400 (RFC 8628 §3.5).
    AuthorizationPending,
    /// `slow_down`, 400 (RFC 8628 §3.5).
    SlowDown,
    /// `expired_token`, 400 (RFC 8628 §3.5).
    ExpiredToken,
    /// `access_denied`, 400 (RFC 8628 §3.5): the person said no.
    DeviceDenied,
    /// `temporarily_unavailable`, 429: too many wrong passwords. The seconds to wait.
    TooManyAttempts(i64),
    /// `temporarily_unavailable`, 503.
    TemporarilyUnavailable(String),
    /// `server_error`, 500.
    ServerError(String),
}

/// What is wrong with the form of a request. The client reads the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// Not `application/x-www-form-urlencoded`.
    #[error("the Content-Type must be application/x-www-form-urlencoded")]
    ContentType,
    /// Over 16 KiB; answered with 413.
    #[error("the request body is larger than 16 KiB")]
    BodyTooLarge,
    /// The body ended early or stalled.
    #[error("the request body could not be read")]
    BodyUnreadable,
    /// A parameter of the path or the query is not of its type, or is REQUIRED and not there.
    #[error("a parameter is missing or malformed: {0}")]
    Parameter(&'static str),
    /// Broken percent-encoding, not UTF-8, or a NUL.
    #[error("the request body is not well-formed: check percent-encoding and UTF-8")]
    Malformed,
    /// RFC 6749 §3.2.
    #[error("a parameter is repeated")]
    RepeatedParameter,
    /// RFC 6749 §2.3.1, RFC 9700 §4.3.2.
    #[error("parameters of this endpoint belong in the request body, not in the query string")]
    Query,
    /// RFC 6749 §2.3.
    #[error("the client authenticated in two ways; use the Authorization header or client_secret, not both")]
    TwoAuthentications,
    /// The two client identifiers differ.
    #[error("client_id differs from the client in the Authorization header")]
    ClientIdMismatch,
    /// A REQUIRED parameter is not there.
    #[error("a required parameter is missing: {0}")]
    Missing(&'static str),
    /// Two cookies of one name.
    #[error("the cookie is there twice; delete the cookies of this site")]
    RepeatedCookie,
    /// A refresh token in a form of cookie mode.
    #[error("in cookie mode the refresh token is in its cookie only; leave out refresh_token")]
    TokenOutsideCookie,
    /// RFC 7636 §4.1.
    #[error("a code_verifier is 43 to 128 unreserved characters")]
    CodeVerifier,
    /// Wrong method; answered with 405.
    #[error("this endpoint does not answer this method")]
    Method,
}

/// Why a request of cookie mode is not from a page of its client. The client reads the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignPage {
    /// A link, an image or an address bar.
    #[error("cookie mode is POST, and DELETE to log out")]
    Method,
    /// Something that a form of another site can send.
    #[error("in cookie mode the Content-Type must be application/x-www-form-urlencoded")]
    ContentType,
    /// The header that only a script of an allowed origin can send.
    #[error("in cookie mode the header X-Requested-By: oauth is required")]
    RequestedBy,
    /// `Sec-Fetch-Site` says so.
    #[error("cookie mode answers pages of the same site only")]
    CrossSite,
    /// No Origin, or one that is not registered.
    #[error("the origin of this page is not registered for this client")]
    Origin,
}

/// Why client authentication failed. The client reads one text for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidClient {
    /// No credentials and no `client_id`.
    Missing,
    /// The Authorization header can't be read as Basic.
    MalformedBasic,
    /// There is no such client.
    Unknown,
    /// The secret is wrong or has expired.
    WrongSecret,
    /// A public client sent a secret, or a confidential one sent none.
    WrongMethod,
    /// The client is shut out.
    Disabled,
}

/// Why a grant was refused. The client reads one text per grant type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidGrant {
    /// Unknown user, wrong password, or disabled.
    Password,
    /// Not a refresh token of ours.
    NotOurs,
    /// Not an authorization code of ours.
    NotOurCode,
    /// An authorization code that was not accepted.
    Code(CodeRefusal),
    /// An authorization code that was redeemed before: the grant is revoked.
    CodeReplayed,
    /// The client has lost every resource that the grant was for.
    NoResourceLeft,
    /// A device code that was not accepted.
    DeviceCode(DeviceRefusal),
    /// A refresh token that was not accepted.
    RefreshToken(Refusal),
    /// A refresh token that was used before: the grant is revoked.
    Replayed {
        /// Why it counts as replayed.
        reason: RevocationReason,
        /// The generation presented.
        presented: u32,
        /// The generation that was current.
        current: u32,
    },
}

/// Why a device code was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRefusal {
    /// Not a device code of ours.
    NotOurs,
    /// It belongs to another client.
    WrongClient {
        /// The client it was issued to.
        issued_to: ClientId,
    },
    /// Its tokens were claimed before; their grant is revoked now.
    Used,
    /// The owner was disabled, deleted, or changed since they said yes.
    OwnerChanged,
    /// The client was deleted or reset since then.
    ClientChanged,
}

/// Why a scope was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    /// Against the grammar of RFC 6749 §3.3.
    #[error("the scope is malformed: use printable ASCII words separated by single spaces")]
    Malformed,
    /// More than the client is registered for.
    #[error("the scope goes beyond what this client may ask for")]
    BeyondClient,
    /// More than was granted.
    #[error("the scope goes beyond what was granted")]
    BeyondGrant,
}

/// Why a resource was refused (RFC 8707 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Not a URI that can name a resource.
    #[error("a resource is an absolute URI without a fragment")]
    Malformed,
    /// Not one of the client's.
    #[error("the resource is not one that this client may ask for")]
    BeyondClient,
    /// Not one of the grant's.
    #[error("the resource is not one that was granted")]
    BeyondGrant,
}

impl TokenError {
    /// The `error` code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::UnauthorizedClient | Self::NoCookieMode => "unauthorized_client",
            Self::ForeignPage(_) | Self::DeviceDenied => "access_denied",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InvalidTarget(_) => "invalid_target",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::TooManyAttempts(_) | Self::TemporarilyUnavailable(_) => "temporarily_unavailable",
            Self::ServerError(_) => "server_error",
        }
    }

    /// The `error_description`: printable ASCII without quotes and backslashes.
    pub fn description(&self) -> String {
        match self {
            Self::InvalidRequest(reason) => reason.to_string(),
            Self::InvalidClient(_) => "client authentication failed".into(),
            Self::InvalidGrant(InvalidGrant::Password) => "the username or password is wrong".into(),
            Self::InvalidGrant(InvalidGrant::NotOurCode | InvalidGrant::Code(_) | InvalidGrant::CodeReplayed) => {
                "the authorization code is invalid, expired or used, or the redirect_uri or code_verifier is wrong"
                    .into()
            }
            Self::InvalidGrant(InvalidGrant::DeviceCode(_)) => {
                "the device code is invalid, revoked or was used before".into()
            }
            Self::InvalidGrant(_) => "the refresh token is invalid, expired or revoked".into(),
            Self::UnauthorizedClient => "this client is not registered for this grant type".into(),
            Self::NoCookieMode => "this client is not registered for cookie mode".into(),
            Self::ForeignPage(reason) => reason.to_string(),
            Self::UnsupportedGrantType => "this server does not support this grant type".into(),
            Self::InvalidScope(reason) => reason.to_string(),
            Self::InvalidTarget(reason) => reason.to_string(),
            Self::AuthorizationPending => "nobody has decided yet; ask again after the interval".into(),
            Self::SlowDown => "too soon; from now on wait 5 seconds longer than before".into(),
            Self::ExpiredToken => "the device code has expired; start again".into(),
            Self::DeviceDenied => "the person who was asked said no".into(),
            Self::TooManyAttempts(_) => {
                "too many wrong passwords for this account or from this address; wait for the seconds in Retry-After"
                    .into()
            }
            Self::TemporarilyUnavailable(_) => "the server cannot answer right now; send the same request again".into(),
            Self::ServerError(_) => "the server failed; the request id in X-Request-Id names it in the log".into(),
        }
    }
}

impl From<InvalidRequest> for TokenError {
    fn from(reason: InvalidRequest) -> Self {
        Self::InvalidRequest(reason)
    }
}

impl From<ForeignPage> for TokenError {
    fn from(reason: ForeignPage) -> Self {
        Self::ForeignPage(reason)
    }
}

impl From<InvalidTarget> for TokenError {
    fn from(reason: InvalidTarget) -> Self {
        Self::InvalidTarget(reason)
    }
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::TemporarilyUnavailable(cause),
            StoreError::Corrupt(cause) => Self::ServerError(cause),
        }
    }
}

/// Why a person sees an error page. It never redirects: nobody has been found who could be trusted with the browser.
#[derive(Debug)]
pub enum PageError {
    /// There is no such client, or it is shut out; 400.
    UnknownClient,
    /// The redirection URI is not a registered one (RFC 6749 §4.1.2.1); 400.
    RedirectUri,
    /// The request can't be read; 400.
    Malformed,
    /// There is nothing at this address; 404.
    NotFound,
    /// They may not administer this server; 403.
    NotAdministrator,
    /// The form's token is not this browser's: too old, from another site, or cookies are off; 403.
    StaleForm,
    /// Too many wrong passwords; 429. The seconds to wait.
    TooManyAttempts(i64),
    /// A store or a pool can't answer; 503.
    Unavailable(String),
    /// The server failed; 500.
    Failed(String),
}

impl From<AuthenticationError> for PageError {
    /// For a page that has told a refusal itself.
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::Refused => Self::Malformed,
            AuthenticationError::Throttled { retry_after_ms } => Self::TooManyAttempts(seconds(retry_after_ms)),
            AuthenticationError::Store(error) => error.into(),
            AuthenticationError::Pool(error) => Self::Unavailable(error.to_string()),
        }
    }
}

/// Whole seconds to wait, rounded up, for `Retry-After`.
pub fn seconds(milliseconds: i64) -> i64 {
    milliseconds.max(1).saturating_add(999) / 1000
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            StoreError::Corrupt(cause) => Self::Failed(cause),
        }
    }
}

/// Why an operator's request was refused (RFC 6750 §3.1).
#[derive(Debug)]
pub enum AdminError {
    /// No token at all: the challenge names no error; 401.
    NoToken,
    /// Not a token of ours, not alive, or for another resource; 401.
    InvalidToken,
    /// A good token without the scope, or one that a person signed in for; 403.
    InsufficientScope,
    /// The body can't be read; 400, or 413.
    Body(InvalidRequest),
    /// A field or a parameter can't be; 400.
    Invalid {
        /// Its name.
        field: String,
        /// What is wrong: ASCII, without what was sent.
        problem: String,
    },
    /// There is nothing of this name; 404.
    NotFound,
    /// The name is taken; 409.
    Exists,
    /// Somebody else changed it at the same time; 409.
    Changed,
    /// The store can't answer; 503.
    Unavailable(String),
    /// The server failed; 500.
    Failed(String),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        administration::Refusal::from(error).into()
    }
}

impl From<administration::Refusal> for AdminError {
    fn from(refusal: administration::Refusal) -> Self {
        use administration::Refusal;
        match refusal {
            Refusal::Invalid { field, problem } => Self::Invalid { field, problem },
            Refusal::Exists => Self::Exists,
            Refusal::NotFound => Self::NotFound,
            Refusal::Changed => Self::Changed,
            Refusal::Unavailable(cause) => Self::Unavailable(cause),
            Refusal::Failed(cause) => Self::Failed(cause),
        }
    }
}
