//! Lets pages of every origin call the endpoints that read no cookie
//! ([CORS](https://fetch.spec.whatwg.org/#http-cors-protocol)).
//!
//! Browser apps are public clients: they discover the server, redeem codes, refresh and revoke from origins of their own.
//! Nothing that a browser adds by itself counts at these endpoints, so `*` gives nothing away. The authorization
//! endpoint, pages, `/account` and `/admin` are never shared (RFC 9700 §2.6).
//!
//! Not here: `/session`, which reads a cookie, see `same_site.rs`.

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Request, Response,
    http::{HeaderValue, Method, StatusCode, header},
};

/// How long a browser may remember a preflight, seconds.
const PREFLIGHT_MAX_AGE: &str = "7200";

/// The method that pages may use at a path, for those that are open to all.
fn open_method(path: &str) -> Option<&'static str> {
    match path {
        "/oauth2/token" | "/oauth2/revoke" => Some("POST"),
        "/.well-known/oauth-authorization-server" | "/.well-known/jwks.json" => Some("GET"),
        _ => None,
    }
}

/// Answers preflights of the open endpoints, and opens their answers, errors too.
pub async fn share<E: Endpoint>(next: Arc<E>, request: Request) -> poem::Result<Response> {
    let Some(method) = open_method(request.uri().path()) else {
        return Ok(next.call(request).await?.into_response());
    };
    let asks = request.headers();
    let preflight = *request.method() == Method::OPTIONS
        && asks.contains_key(header::ORIGIN)
        && asks.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let (mut response, headers) = if preflight {
        let headers = vec![
            (header::ACCESS_CONTROL_ALLOW_METHODS, method),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type"),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE),
        ];
        (Response::builder().status(StatusCode::NO_CONTENT).finish(), headers)
    } else {
        let headers = vec![(header::ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After, WWW-Authenticate, X-Request-Id")];
        (next.call(request).await?.into_response(), headers)
    };
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
