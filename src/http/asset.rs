//! Serves what pages load: style sheets, scripts, pictures; each known by the hash of its content.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
};

use poem::{
    Request, Response, RouteMethod,
    endpoint::make_sync,
    get,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
};

pub(super) const CSS: &str = "text/css; charset=utf-8";
pub(super) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const SVG: &str = "image/svg+xml";
pub(super) const PNG: &str = "image/png";

/// A script, style sheet or picture, known to the pages by the hash of its content.
pub(super) struct Asset {
    content_type: &'static str,
    content: Cow<'static, [u8]>,
    /// Names this very content.
    pub(super) version: String,
}

impl Asset {
    pub(super) fn new(content_type: &'static str, content: impl Into<Cow<'static, [u8]>>) -> Self {
        let content = content.into();
        // The hash names a version; nothing secret or hostile goes in, so SipHash with its fixed key will do.
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Self { content_type, content, version: format!("{:016x}", hasher.finish()) }
    }

    pub(super) fn serve(self) -> RouteMethod {
        get(make_sync(move |request| self.respond(&request)))
    }

    fn respond(&self, request: &Request) -> Response {
        let etag = format!("\"{}\"", self.version);
        // Only an address that names this very content may be kept for good: after an upgrade the page names another.
        let named = request.uri().query().and_then(|q| q.strip_prefix("v="));
        let caching =
            if named == Some(self.version.as_str()) { "public, max-age=31536000, immutable" } else { "no-cache" };
        let presented = request.header(IF_NONE_MATCH);
        let (status, content) = if presented.is_some_and(|tags| tags.contains(&etag)) {
            (StatusCode::NOT_MODIFIED, Cow::Borrowed([].as_slice()))
        } else {
            (StatusCode::OK, self.content.clone())
        };
        let response = Response::builder()
            .status(status)
            .header(CONTENT_TYPE, self.content_type)
            .header(CACHE_CONTROL, caching)
            .header(ETAG, etag)
            .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
            .header(REFERRER_POLICY, "no-referrer");
        // A picture that somebody opens on its own is a document: it may not run scripts on our origin.
        let response = if self.content_type == SVG {
            response.header(CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox")
        } else {
            response
        };
        response.body(content.into_owned())
    }
}
