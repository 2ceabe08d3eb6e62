//! Serves the pages for client developers: Swagger UI at `/docs`, an explanation of each error code at `/docs/errors`.
//!
//! The error codes are those of [RFC 6749 §4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1) and
//! [§5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2), of
//! [RFC 8628 §3.5](https://www.rfc-editor.org/rfc/rfc8628#section-3.5) and of
//! [RFC 6750 §3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1).
//!
//! Not here: the document that Swagger UI shows (it reads `/openapi.json`); the error responses, see
//! `error_response.rs`; what the pages say, see `pages/`.

use std::sync::{Arc, LazyLock};

use askama::Template;
use poem::{
    EndpointExt, Response, Route, RouteMethod,
    endpoint::{BoxEndpoint, DynEndpoint, make, make_sync},
    get,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
            X_FRAME_OPTIONS,
        },
    },
};
use poem_openapi::OpenApiService;

use super::asset::{Asset, CSS, JAVASCRIPT};

/// Only our own origin, and nothing inline. Swagger UI sets its few inline styles through the CSSOM, which `style-src`
/// doesn't govern, so it runs without `'unsafe-inline'`; its icons are `data:` images.
const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const HTML: &str = "text/html; charset=utf-8";

/// Adds `/docs` and everything under it to the public routes.
///
/// `document` is the OpenAPI document, for its title. With `demo` the page shows the demo records and
/// fills in the demo client.
///
/// They are made when somebody looks: a server that only answers programs has no use for the megabytes of Swagger UI.
#[must_use]
pub fn mount(routes: Route, document: &serde_json::Value, demo: bool) -> Route {
    let title = document.pointer("/info/title").and_then(serde_json::Value::as_str).unwrap_or("Regrant").to_owned();
    let make_pages: Box<dyn FnOnce() -> BoxEndpoint<'static> + Send> = Box::new(move || pages(&title, demo).boxed());
    let pages = Arc::new(LazyLock::new(make_pages));
    routes.nest_no_strip(
        "/docs",
        make(move |request| {
            let pages = Arc::clone(&pages);
            async move { DynEndpoint::call(&***pages, request).await }
        }),
    )
}

fn pages(title: &str, demo: bool) -> Route {
    let swagger = &*SWAGGER_UI;
    let swagger_js = Asset::new(JAVASCRIPT, swagger.script.as_bytes());
    let swagger_css = Asset::new(CSS, swagger.style.as_bytes());
    let init_js = Asset::new(JAVASCRIPT, include_bytes!("pages/docs.js").as_slice());
    let session_js = Asset::new(JAVASCRIPT, include_bytes!("pages/docs-session.js").as_slice());
    let style_css = Asset::new(CSS, include_bytes!("pages/docs.css").as_slice());
    let redirect_js = Asset::new(JAVASCRIPT, include_bytes!("pages/oauth2-redirect.js").as_slice());

    let docs = DocsPage {
        title,
        demo,
        swagger_js: &swagger_js.version,
        swagger_css: &swagger_css.version,
        init_js: &init_js.version,
        session_js: &session_js.version,
        style_css: &style_css.version,
    };
    let index = ErrorIndexPage { title, style_css: &style_css.version };
    let not_found = NotFoundPage { title, style_css: &style_css.version };
    let redirect = include_str!("pages/oauth2-redirect.html").to_owned();

    let routes = Route::new()
        .at("/docs", page(StatusCode::OK, docs.render()))
        .at("/docs/", page(StatusCode::OK, docs.render()))
        .at("/docs/oauth2-redirect.html", page(StatusCode::OK, Ok(redirect)))
        .at("/docs/errors", page(StatusCode::OK, index.render()))
        // Not `*path`, which in poem also matches the empty rest and so takes `/docs/`.
        .at("/docs/<.+>", page(StatusCode::NOT_FOUND, not_found.render()));
    let routes = ErrorCode::ALL.into_iter().fold(routes, |routes, code| {
        let explained = ErrorCodePage { title, style_css: &style_css.version, code };
        let path = format!("/docs/errors/{}", code.name());
        routes.at(path, page(StatusCode::OK, explained.render()))
    });
    routes
        .at("/docs/swagger-ui.js", swagger_js.serve())
        .at("/docs/swagger-ui.css", swagger_css.serve())
        .at("/docs/init.js", init_js.serve())
        .at("/docs/session.js", session_js.serve())
        .at("/docs/style.css", style_css.serve())
        .at("/docs/oauth2-redirect.js", redirect_js.serve())
}

/// The two parts of Swagger UI, as poem-openapi carries them.
struct SwaggerUi {
    style: &'static str,
    script: &'static str,
}

/// Cut out of poem-openapi's own page, so that no copy of Swagger UI lives in this tree and `cargo update` updates it. The
/// page itself is of no use: it has inline scripts, asks for no PKCE, and loses its redirection URI after a deep link.
static SWAGGER_UI: LazyLock<SwaggerUi> = LazyLock::new(|| {
    static PAGE: LazyLock<String> = LazyLock::new(|| OpenApiService::new((), "", "").swagger_ui_html());
    // A part that isn't found would be empty; the unit test below keeps that from being built.
    let (style, rest) = cut(&PAGE, r#"<style charset="UTF-8">"#, "</style>").unwrap_or_default();
    let (script, _) = cut(rest, r#"<script charset="UTF-8">"#, "</script>").unwrap_or_default();
    SwaggerUi { style, script }
});

/// What lies between the first `open` and the `close` after it, and what follows.
fn cut<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str)> {
    let (_, inside) = text.split_once(open)?;
    inside.split_once(close)
}

/// An endpoint that always answers with the same page.
fn page(status: StatusCode, rendered: askama::Result<String>) -> RouteMethod {
    let (status, html) = match rendered {
        Ok(html) => (status, html),
        // A template fails only when its writer does, and a String doesn't.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    };
    get(make_sync(move |_| {
        Response::builder()
            .status(status)
            .header(CONTENT_TYPE, HTML)
            .header(CACHE_CONTROL, "no-cache")
            .header(CONTENT_SECURITY_POLICY, CONTENT_SECURITY)
            .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
            .header(X_FRAME_OPTIONS, "DENY")
            .header(REFERRER_POLICY, "no-referrer")
            .body(html.clone())
    }))
}

#[derive(Template)]
#[template(path = "docs.html")]
struct DocsPage<'a> {
    title: &'a str,
    demo: bool,
    swagger_js: &'a str,
    swagger_css: &'a str,
    init_js: &'a str,
    session_js: &'a str,
    style_css: &'a str,
}

#[derive(Template)]
#[template(path = "error_index.html")]
struct ErrorIndexPage<'a> {
    title: &'a str,
    style_css: &'a str,
}

#[derive(Template)]
#[template(path = "docs_not_found.html")]
struct NotFoundPage<'a> {
    title: &'a str,
    style_css: &'a str,
}

#[derive(Template)]
#[template(path = "error_code.html")]
struct ErrorCodePage<'a> {
    title: &'a str,
    style_css: &'a str,
    code: ErrorCode,
}

/// An error code that has a page. The page's text is a `match` in `error_code.html`, so a code without one doesn't compile.
#[derive(Clone, Copy)]
enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    TemporarilyUnavailable,
    ServerError,
    AccessDenied,
    UnsupportedResponseType,
    AuthorizationPending,
    SlowDown,
    ExpiredToken,
    InvalidToken,
    InsufficientScope,
}

impl ErrorCode {
    const ALL: [Self; 16] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::TemporarilyUnavailable,
        Self::ServerError,
        Self::AccessDenied,
        Self::UnsupportedResponseType,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::ExpiredToken,
        Self::InvalidToken,
        Self::InsufficientScope,
    ];

    /// The code, as it is sent.
    fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// The meaning in one line.
    fn summary(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is malformed.",
            Self::InvalidClient => "The client could not be authenticated.",
            Self::InvalidGrant => "The credentials, code or refresh token are not valid.",
            Self::UnauthorizedClient => "The client may not use this kind of grant.",
            Self::UnsupportedGrantType => "The server does not know this kind of grant.",
            Self::InvalidScope => "The requested scope can't be granted.",
            Self::InvalidTarget => "The requested resource is not one the client or the grant may have.",
            Self::TemporarilyUnavailable => "The server can't answer now. Try again shortly.",
            Self::ServerError => "The server failed in a way it did not expect.",
            Self::AccessDenied => "The resource owner or the server said no.",
            Self::UnsupportedResponseType => "The server only issues authorization codes.",
            Self::AuthorizationPending => "The person has not decided yet. Keep polling.",
            Self::SlowDown => "The device polls too often.",
            Self::ExpiredToken => "The device code has expired.",
            Self::InvalidToken => "The access token is missing, malformed, expired or revoked.",
            Self::InsufficientScope => "The access token does not reach that far.",
        }
    }

    /// How the code reaches the client.
    fn delivery(self) -> &'static str {
        match self {
            Self::InvalidRequest => {
                "400 (405 for a wrong method, 413 for too large a body); at the authorization endpoint, in the redirect"
            }
            Self::InvalidClient => "401, with WWW-Authenticate; in cookie mode, 400",
            Self::TemporarilyUnavailable => {
                "503, or 429 after too many wrong passwords, with Retry-After; at the authorization endpoint, in the redirect"
            }
            Self::ServerError => "500; at the authorization endpoint, in the redirect",
            Self::UnauthorizedClient | Self::InvalidScope | Self::InvalidTarget => {
                "400; at the authorization endpoint, in the redirect"
            }
            Self::AccessDenied => "In the redirect; in the device flow, 400; in cookie mode, 403",
            Self::UnsupportedResponseType => "In the redirect",
            Self::InvalidToken => "401, with WWW-Authenticate: Bearer",
            Self::InsufficientScope => "403, with WWW-Authenticate: Bearer, which names the scope",
            Self::InvalidGrant
            | Self::UnsupportedGrantType
            | Self::AuthorizationPending
            | Self::SlowDown
            | Self::ExpiredToken => "400",
        }
    }

    /// The RFC that defines the code, and the section.
    fn defined_in(self) -> (u16, &'static str) {
        match self {
            Self::InvalidRequest
            | Self::InvalidClient
            | Self::InvalidGrant
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope => (6749, "5.2"),
            Self::TemporarilyUnavailable | Self::ServerError | Self::AccessDenied | Self::UnsupportedResponseType => {
                (6749, "4.1.2.1")
            }
            Self::InvalidTarget => (8707, "2"),
            Self::AuthorizationPending | Self::SlowDown | Self::ExpiredToken => (8628, "3.5"),
            Self::InvalidToken | Self::InsufficientScope => (6750, "3.1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::{
        Endpoint as _, Request,
        http::{Uri, header::ETAG},
    };

    use super::*;

    async fn answer(path: &str) -> Response {
        let routes = mount(Route::new(), &serde_json::json!({"info": {"title": "A & B"}}), true);
        routes.get_response(Request::builder().uri(path.parse::<Uri>().unwrap()).finish()).await
    }

    #[tokio::test]
    async fn every_page_forbids_inline_code_and_framing() {
        let codes = ErrorCode::ALL.map(|code| format!("/docs/errors/{}", code.name()));
        let pages =
            ["/docs", "/docs/", "/docs/errors", "/docs/oauth2-redirect.html", "/docs/errors/no_such_code", "/docs/a/b"];
        for path in pages.into_iter().chain(codes.iter().map(String::as_str)) {
            let response = answer(path).await;
            let missing = path.ends_with("no_such_code") || path.ends_with("/b");
            assert_eq!(response.status(), if missing { StatusCode::NOT_FOUND } else { StatusCode::OK }, "{path}");
            assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], CONTENT_SECURITY, "{path}");
            assert_eq!(response.headers()[X_FRAME_OPTIONS], "DENY", "{path}");
            let html = response.into_body().into_string().await.unwrap();
            assert!(!html.contains("A & B") && !html.contains("style="), "{path}");
            assert!(html.split("<script").skip(1).all(|script| script.starts_with(" src=\"/docs/")), "{path}");
        }
    }

    #[tokio::test]
    async fn a_named_version_is_kept_and_a_bare_address_is_asked_again() {
        let bare = answer("/docs/init.js").await;
        assert_eq!(bare.headers()[CACHE_CONTROL], "no-cache");
        let version = bare.headers()[ETAG].to_str().unwrap().trim_matches('"').to_owned();
        let named = answer(&format!("/docs/init.js?v={version}")).await;
        assert_eq!(named.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable");
        let other = answer("/docs/init.js?v=0000000000000000").await;
        assert_eq!(other.headers()[CACHE_CONTROL], "no-cache");
    }

    #[test]
    fn both_parts_of_swagger_ui_are_found() {
        let found = &*SWAGGER_UI;
        assert!(found.style.len() > 50_000, "{}", found.style.len());
        assert!(found.style.contains(".swagger-ui"));
        assert!(found.script.len() > 500_000, "{}", found.script.len());
        assert!(found.script.contains("SwaggerUIBundle"));
        assert!(found.script.contains("swaggerUIRedirectOauth2"));
    }
}
