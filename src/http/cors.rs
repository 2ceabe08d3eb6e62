//! Lets pages of every origin call the endpoints that read no cookie
//! ([CORS](https://fetch.spec.whatwg.org/#http-cors-protocol)).
//!
//! Browser apps are public clients: they discover the server, redeem codes, refresh and revoke from origins of their own.
//! Nothing that a browser adds by itself counts at these endpoints, so `*` gives nothing away. The authorization
//! endpoint, pages, `/account` and `/admin` are never shared (RFC 9700 §2.6).
//!
//! Not here: `/session`, which reads a cookie, see `same_site.rs`.

use poem::{
    Request, Response,
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

/// What a request to an open endpoint is answered with beside its answer.
#[derive(Clone, Copy, Debug)]
pub struct Sharing {
    method: &'static str,
    preflight: bool,
}

impl Sharing {
    /// For a request to an open endpoint.
    pub fn of(request: &Request) -> Option<Self> {
        let (method, asks) = (open_method(request.uri().path())?, request.headers());
        let preflight = *request.method() == Method::OPTIONS
            && asks.contains_key(header::ORIGIN)
            && asks.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Some(Self { method, preflight })
    }

    /// The answer to a preflight, which no endpoint gives.
    pub fn preflight(self) -> Option<Response> {
        self.preflight.then(|| Response::builder().status(StatusCode::NO_CONTENT).finish())
    }

    /// Lets pages of every origin read the answer, errors too.
    pub fn open(self, response: &mut Response) {
        let mut say = |name, value| drop(response.headers_mut().insert(name, HeaderValue::from_static(value)));
        say(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        if self.preflight {
            say(header::ACCESS_CONTROL_ALLOW_METHODS, self.method);
            say(header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type");
            say(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
        } else {
            say(header::ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After, WWW-Authenticate, X-Request-Id");
        }
    }
}
