//! Renders errors: the only place that does
//! ([RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)).
//!
//! Not here: which error it is, see `error.rs`.

use askama::Template;
use poem::{
    Response,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::Object;
use serde::Serialize;

use super::{
    openapi::Documented,
    pages::{Frame, Page, Pages, see_other},
    request_context::RequestContext,
    texts::{Language, Trouble},
};
use crate::{
    authorization::{AuthorizationError, Redirect},
    error::{AdminError, InvalidRequest, PageError, TokenError},
};

/// Seconds after which a client may ask again. Longer than a command's deadline, so that the first try has
/// then either happened or never will.
const RETRY_AFTER_SECONDS: &str = "1";

/// The body of every error.
#[derive(Debug, Serialize, Object)]
pub struct OAuthError {
    /// The error code of RFC 6749 section 5.2.
    pub error: String,
    /// What went wrong, for the developer of the client. Don't parse it.
    pub error_description: String,
    /// A page that explains the code and what to do.
    pub error_uri: String,
}

/// Makes error responses for one issuer.
#[derive(Clone, Debug)]
pub struct ErrorRenderer {
    issuer: String,
}

impl ErrorRenderer {
    /// `issuer` is the base of `error_uri`.
    pub fn new(issuer: &str) -> Self {
        Self { issuer: issuer.to_owned() }
    }

    /// The response for a refused token request.
    pub fn token_error(&self, error: &TokenError) -> Response {
        let status = match error {
            TokenError::InvalidRequest(InvalidRequest::BodyTooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            TokenError::InvalidRequest(InvalidRequest::Method) => StatusCode::METHOD_NOT_ALLOWED,
            TokenError::InvalidRequest(_)
            | TokenError::InvalidGrant(_)
            | TokenError::UnauthorizedClient
            | TokenError::NoCookieMode
            | TokenError::UnsupportedGrantType
            | TokenError::InvalidScope(_)
            | TokenError::InvalidTarget(_)
            | TokenError::AuthorizationPending
            | TokenError::SlowDown
            | TokenError::ExpiredToken
            | TokenError::DeviceDenied => StatusCode::BAD_REQUEST,
            TokenError::ForeignPage(_) => StatusCode::FORBIDDEN,
            TokenError::InvalidClient(_) => StatusCode::UNAUTHORIZED,
            TokenError::TooManyAttempts(_) => StatusCode::TOO_MANY_REQUESTS,
            TokenError::TemporarilyUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            TokenError::ServerError(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut response = render(status, &self.token_error_body(error));
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(r#"Basic realm="regrant", charset="UTF-8""#),
            );
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        match error {
            TokenError::TooManyAttempts(seconds) => too_many(response, *seconds),
            _ => response,
        }
    }

    /// The body of that response.
    pub fn token_error_body(&self, error: &TokenError) -> OAuthError {
        let code = error.code();
        self.body(code, error.description(), &format!("/docs/errors/{code}"))
    }

    /// The response for a refused request of an operator (RFC 6750 §3).
    pub fn admin_error(&self, error: &AdminError) -> Response {
        let (status, challenge) = match error {
            AdminError::NoToken => (StatusCode::UNAUTHORIZED, r#"Bearer realm="regrant""#),
            AdminError::InvalidToken => (StatusCode::UNAUTHORIZED, r#"Bearer realm="regrant", error="invalid_token""#),
            AdminError::InsufficientScope => {
                (StatusCode::FORBIDDEN, r#"Bearer realm="regrant", error="insufficient_scope", scope="regrant:admin""#)
            }
            AdminError::Body(InvalidRequest::BodyTooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, ""),
            AdminError::Body(_) | AdminError::Invalid { .. } => (StatusCode::BAD_REQUEST, ""),
            AdminError::NotFound => (StatusCode::NOT_FOUND, ""),
            AdminError::Exists | AdminError::Changed => (StatusCode::CONFLICT, ""),
            AdminError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, ""),
            AdminError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, ""),
        };
        let mut response = render(status, &self.admin_error_body(error));
        let headers = response.headers_mut();
        if !challenge.is_empty() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }

    /// The body of that response.
    pub fn admin_error_body(&self, error: &AdminError) -> OAuthError {
        let said: String;
        let (code, description) = match error {
            AdminError::Body(reason) => {
                said = reason.to_string();
                ("invalid_request", said.as_str())
            }
            AdminError::Invalid { field, problem } => {
                said = sayable(&format!("{field}: {problem}"));
                ("invalid_request", said.as_str())
            }
            AdminError::NoToken => ("invalid_token", "an access token is required"),
            AdminError::InvalidToken => ("invalid_token", "the access token is invalid, expired or revoked"),
            AdminError::InsufficientScope => {
                ("insufficient_scope", "a client's own access token with the scope regrant:admin is required")
            }
            AdminError::NotFound => ("not_found", "there is nothing of this name"),
            AdminError::Exists => ("already_exists", "there is one already, and nothing changed"),
            AdminError::Changed => ("conflict", "somebody else changed it at the same time; send the request again"),
            AdminError::Unavailable(_) => {
                ("temporarily_unavailable", "the server cannot answer right now; send the same request again")
            }
            AdminError::Failed(_) => {
                ("server_error", "the server failed; the request id in X-Request-Id names it in the log")
            }
        };
        let plain = matches!(error, AdminError::NotFound | AdminError::Exists | AdminError::Changed);
        let page = if plain { "/docs".into() } else { format!("/docs/errors/{code}") };
        self.body(code, description.into(), &page)
    }

    /// The response for a request that reached no endpoint: unknown path, wrong method, a panic.
    pub fn outside_endpoints(&self, error: &poem::Error, allow: Option<&Documented>) -> Response {
        match error.status() {
            StatusCode::NOT_FOUND => render(
                StatusCode::NOT_FOUND,
                &self.body("not_found", "there is nothing at this path; see /docs".into(), "/docs"),
            ),
            StatusCode::METHOD_NOT_ALLOWED => {
                let mut response = self.token_error(&InvalidRequest::Method.into());
                if let Some(methods) = allow.and_then(|documented| HeaderValue::from_str(&documented.allow()).ok()) {
                    response.headers_mut().insert(header::ALLOW, methods);
                }
                response
            }
            StatusCode::PAYLOAD_TOO_LARGE => self.token_error(&InvalidRequest::BodyTooLarge.into()),
            status if status.is_client_error() => {
                let parameter = error.downcast_ref::<poem_openapi::error::ParseParamError>();
                let reason = parameter.map_or(InvalidRequest::Malformed, |error| InvalidRequest::Parameter(error.name));
                self.token_error(&reason.into())
            }
            _ => self.token_error(&TokenError::ServerError(error.to_string())),
        }
    }

    /// The same for a request of a browser's script. RFC 6749 §5.2 leaves 401 open where no Authorization header was
    /// sent, and on 401 with Basic a browser would ask the person for a name and a password.
    pub fn browser_error(&self, error: &TokenError) -> Response {
        let mut response = self.token_error(error);
        if response.status() == StatusCode::UNAUTHORIZED {
            response.set_status(StatusCode::BAD_REQUEST);
            response.headers_mut().remove(header::WWW_AUTHENTICATE);
        }
        response
    }

    fn body(&self, code: &str, description: String, page: &str) -> OAuthError {
        OAuthError {
            error: code.to_owned(),
            error_description: description,
            error_uri: format!("{}{page}", self.issuer),
        }
    }
}

/// RFC 6749 §5.2: an `error_description` is printable ASCII without quotes and backslashes.
fn sayable(text: &str) -> String {
    let plain = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(plain).collect()
}

fn render(status: StatusCode, body: &OAuthError) -> Response {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::builder().status(status).content_type("application/json").body(body);
    no_store(&mut response);
    response
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame<'a>,
    trouble: &'static Trouble,
    request_id: &'a str,
}

/// The page that tells a person what went wrong and what to do.
pub fn page_error(error: &PageError, pages: &Pages, context: &RequestContext) -> Response {
    let language = Language::of(&context.headers);
    let frame = pages.frame(language);
    let texts = &frame.texts.error;
    let (status, trouble) = match error {
        PageError::UnknownClient => (StatusCode::BAD_REQUEST, &texts.unknown_client),
        PageError::RedirectUri => (StatusCode::BAD_REQUEST, &texts.redirect_uri),
        PageError::Malformed => (StatusCode::BAD_REQUEST, &texts.malformed),
        PageError::NotFound => (StatusCode::NOT_FOUND, &texts.not_found),
        PageError::NotAdministrator => (StatusCode::FORBIDDEN, &texts.not_administrator),
        PageError::StaleForm => (StatusCode::FORBIDDEN, &texts.stale_form),
        PageError::TooManyAttempts(_) => (StatusCode::TOO_MANY_REQUESTS, &texts.too_many),
        PageError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, &texts.unavailable),
        PageError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, &texts.failed),
    };
    let request_id = context.request_id.as_str();
    if status.is_server_error() {
        tracing::error!(%request_id, ?error, "page failed");
    } else {
        tracing::info!(%request_id, ?error, "page refused");
    }
    let mut response = Page::new(ErrorPage { frame, trouble, request_id }).status(status).respond(language);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    match error {
        PageError::TooManyAttempts(seconds) => too_many(response, *seconds),
        _ => response,
    }
}

/// Makes a response say that there were too many guesses, and how many seconds to wait.
pub fn too_many(mut response: Response, seconds: i64) -> Response {
    response.set_status(StatusCode::TOO_MANY_REQUESTS);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// The redirect that tells a client why its authorization request was refused (RFC 6749 §4.1.2.1).
pub fn authorization_error(redirect: &Redirect, error: AuthorizationError, issuer: &str) -> Response {
    let description = error.description();
    see_other(&redirect.answer(&[("error", error.code()), ("error_description", &description)], issuer))
}

/// RFC 6749 §5.1: neither tokens nor errors are kept by caches.
pub fn no_store(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}
