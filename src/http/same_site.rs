//! Judges whether a request came from a page of its client: the defence of cookies against cross-site requests
//! ([RFC 6749 §10.12](https://www.rfc-editor.org/rfc/rfc6749#section-10.12),
//! [Fetch Metadata](https://www.w3.org/TR/fetch-metadata/)), and CORS for exactly those pages.
//!
//! Each rule alone would do in a browser of today; they are all asked for because browsers differ and proxies drop
//! headers. Nothing here lets anybody in: a request that passes still needs the cookie or a password.
//!
//! Not here: the cookie, see `session.rs` and `cookies.rs`.

use std::sync::{Arc, Mutex, PoisonError};

use poem::{
    FromRequest, Request, RequestBody, Response,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
};

use super::{error_response::ErrorRenderer, form, request_context::RequestContext};
use crate::{
    App,
    client::{Client, WebOrigin},
    clock::Timestamp,
    error::{ForeignPage, TokenError},
    store::{Store, StoreError},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// No form and no image can send it, and a script of another origin only after a preflight.
const REQUESTED_BY: HeaderName = HeaderName::from_static("x-requested-by");
/// How long a browser may remember a preflight, seconds. Every request is judged again all the same.
const PREFLIGHT_MAX_AGE: &str = "600";
/// How long the list of origins for preflights is used, milliseconds: anybody can send preflights, and each must not
/// cost a listing of all clients.
const ORIGINS_FRESH_MS: i64 = 5_000;

/// Where a request came from, as the browser tells it. It has passed every rule that needs no client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallingPage {
    same_origin: bool,
    origin: Option<String>,
}

impl CallingPage {
    fn read(method: &Method, headers: &HeaderMap) -> Result<Self, ForeignPage> {
        if !matches!(*method, Method::POST | Method::DELETE) {
            return Err(ForeignPage::Method);
        }
        if *method == Method::POST && !form::is_form(headers) {
            return Err(ForeignPage::ContentType);
        }
        if only(headers, &REQUESTED_BY)?.is_none_or(|value| value != "oauth") {
            return Err(ForeignPage::RequestedBy);
        }
        Self::locate(headers)
    }

    fn locate(headers: &HeaderMap) -> Result<Self, ForeignPage> {
        let origin = only(headers, &header::ORIGIN)?;
        // A sandboxed frame, a file, a redirect: anybody's.
        if origin == Some("null") {
            return Err(ForeignPage::Origin);
        }
        let same_origin = match only(headers, &SEC_FETCH_SITE)? {
            Some("same-origin") => true,
            Some("same-site") => false,
            Some(_) => return Err(ForeignPage::CrossSite),
            // An old browser, or plain http: then the Origin alone tells.
            None => false,
        };
        if !same_origin && origin.is_none() {
            return Err(ForeignPage::Origin);
        }
        Ok(Self { same_origin, origin: origin.map(str::to_owned) })
    }

    /// Whether the page is ours: it then needs no registration.
    pub fn is_ours(&self, app: &App) -> bool {
        self.same_origin || self.origin.as_deref() == Some(app.issuer.url())
    }

    /// Refuses a page of another origin that the client has not registered.
    ///
    /// # Errors
    /// `access_denied`, 403.
    pub fn belongs_to(&self, client: Option<&Client>, app: &App) -> Result<(), ForeignPage> {
        if self.is_ours(app) || self.registered(client).is_some() { Ok(()) } else { Err(ForeignPage::Origin) }
    }

    fn registered(&self, client: Option<&Client>) -> Option<&str> {
        let origin = self.origin.as_deref()?;
        client?.origins.iter().any(|known| known.as_str() == origin).then_some(origin)
    }

    /// Lets a registered page read the answer.
    pub fn share(&self, client: Option<&Client>, response: &mut Response) {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.registered(client).and_then(|origin| HeaderValue::from_str(origin).ok()) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers
                .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After, X-Request-Id"));
        }
    }
}

impl<'a> FromRequest<'a> for CallingPage {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        // `judge` has put it there; without it nobody has judged the request.
        request.extensions().get().cloned().ok_or_else(|| poem::Error::from_status(StatusCode::FORBIDDEN))
    }
}

/// The value of a header that may occur once; two, or one that is not text, would be read differently elsewhere.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ForeignPage> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ForeignPage::CrossSite),
        (Some(_), Some(_)) => Err(ForeignPage::CrossSite),
    }
}

/// Whether a request is for an endpoint of cookie mode, and is to be judged.
pub fn concerns(request: &Request) -> bool {
    // What neither a link nor a documented request sends: no path answers it, and 405 says which methods there are.
    let judged = [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS];
    matches!(request.uri().path(), "/session" | "/session/refresh") && judged.contains(request.method())
}

/// Judges a request before the endpoints of cookie mode see it: nothing of one that fails is looked at. The answer of one
/// that goes no further.
pub async fn judge(request: &mut Request, app: &App, origins: &Origins) -> Option<Response> {
    if request.method() == Method::OPTIONS {
        return Some(preflight(request, app, origins).await);
    }
    match CallingPage::read(request.method(), request.headers()) {
        Ok(page) => {
            request.extensions_mut().insert(page);
            None
        }
        Err(reason) => {
            let context = RequestContext::of(request);
            let address = context.address.map(tracing::field::display);
            tracing::info!(request_id = %context.request_id, address, ?reason, "session request refused");
            Some(refuse(reason.into(), app))
        }
    }
}

fn refuse(error: TokenError, app: &App) -> Response {
    let mut response = ErrorRenderer::new(app.issuer.url()).token_error(&error);
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

/// Answers a preflight. It doesn't say for which client the page is, so any that registered the origin counts; the
/// request itself is judged by its own client.
async fn preflight(request: &Request, app: &App, origins: &Origins) -> Response {
    let page = match CallingPage::locate(request.headers()) {
        Ok(page) => page,
        Err(reason) => return refuse(reason.into(), app),
    };
    let known = match &page.origin {
        Some(origin) => origins.know(origin, app.store.as_ref()).await,
        None => Ok(false),
    };
    let origin = match (known, page.origin.as_deref().map(HeaderValue::from_str)) {
        (Ok(true), Some(Ok(origin))) => origin,
        (Err(error), _) => return refuse(error.into(), app),
        _ => return refuse(ForeignPage::Origin.into(), app),
    };
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)
        .header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, "POST, DELETE")
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, X-Requested-By")
        .header(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE)
        .header(header::VARY, "Origin")
        .finish()
}

/// The origins of all clients in cookie mode, for preflights.
#[derive(Default)]
pub struct Origins(Mutex<Option<(Timestamp, Arc<Vec<WebOrigin>>)>>);

impl Origins {
    async fn know(&self, origin: &str, store: &dyn Store) -> Result<bool, StoreError> {
        let now = store.now();
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let origins = match kept.filter(|(read_at, _)| (0..ORIGINS_FRESH_MS).contains(&now.since(*read_at))) {
            Some((_, origins)) => origins,
            None => {
                let clients = store.clients().await?;
                let cookie_mode = clients.iter().filter(|client| client.cookie_mode && !client.disabled);
                let origins = Arc::new(cookie_mode.flat_map(|client| client.origins.clone()).collect::<Vec<_>>());
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&origins)));
                origins
            }
        };
        Ok(origins.iter().any(|known| known.as_str() == origin))
    }
}
