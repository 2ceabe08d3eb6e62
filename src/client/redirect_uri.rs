//! A registered redirection URI: parsed strictly once, at registration (RFC 9700 §2.1, RFC 8252 §7).
//!
//! Not here: comparing a request's `redirect_uri` with it, see `authorization.rs`.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A redirection URI that a client registered, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(String);

/// Why a URI can't be registered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedirectUri {
    /// Not an absolute URI, or not in its normal form.
    #[error("not an absolute URI in its normal form (lower-case host, no \"..\", nothing to escape)")]
    Form,
    /// A wildcard would let anybody in.
    #[error("wildcards are not allowed: register each URI")]
    Wildcard,
    /// RFC 6749 §3.1.2.
    #[error("a redirection URI has no fragment")]
    Fragment,
    /// A name or password before the host.
    #[error("a redirection URI names no user")]
    UserInfo,
    /// Plain http reaches only the own machine safely.
    #[error("plain http is for http://127.0.0.1 and http://[::1] only; use https")]
    PlainHttp,
    /// A scheme that a browser executes or opens locally, or one that nobody owns.
    #[error(
        "this scheme is not allowed: use https, http on 127.0.0.1 or [::1], or a private scheme with a dot such as com.example.app"
    )]
    Scheme,
    /// A parameter that the response will carry.
    #[error("the query must not contain code, state, iss, error or response_type")]
    ReservedParameter,
}

impl RedirectUri {
    /// Accepts a URI that can be registered.
    ///
    /// # Errors
    /// [`InvalidRedirectUri`] says what to change.
    pub fn parse(text: &str) -> Result<Self, InvalidRedirectUri> {
        // RFC 3986 §2: a URI has visible ASCII characters only, and not these. What a parser lets pass in a private scheme would
        // go into a header as it is.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte)) {
            return Err(InvalidRedirectUri::Form);
        }
        if text.contains('*') {
            return Err(InvalidRedirectUri::Wildcard);
        }
        if text.contains('#') {
            return Err(InvalidRedirectUri::Fragment);
        }
        let url = Url::parse(text).map_err(|_| InvalidRedirectUri::Form)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidRedirectUri::UserInfo);
        }
        // What the parser lets pass in a host, such as a semicolon, would have a meaning in a Content-Security-Policy.
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if matches!(url.host(), Some(Host::Domain(name)) if !name.bytes().all(of_a_name)) {
            return Err(InvalidRedirectUri::Form);
        }
        match url.scheme() {
            "https" => {}
            "http" => match url.host() {
                Some(Host::Ipv4(ip)) if ip.octets() == [127, 0, 0, 1] => {}
                Some(Host::Ipv6(ip)) if ip.is_loopback() => {}
                _ => return Err(InvalidRedirectUri::PlainHttp),
            },
            // RFC 8252 §7.1: a private scheme is a domain name in reverse. That shuts out javascript:,
            // data:, file: and the like.
            private if private.contains('.') => {}
            _ => return Err(InvalidRedirectUri::Scheme),
        }
        // URIs are compared as strings, so one that a browser would rewrite could never match.
        let bare = text.strip_suffix('/').unwrap_or(text);
        if url.as_str() != text && url.as_str().strip_suffix('/') != Some(bare) {
            return Err(InvalidRedirectUri::Form);
        }
        let reserved = ["code", "state", "iss", "error", "response_type"];
        if url.query_pairs().any(|(name, _)| reserved.contains(&name.as_ref())) {
            return Err(InvalidRedirectUri::ReservedParameter);
        }
        Ok(Self(text.to_owned()))
    }

    /// The URI as registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirection_uris_that_clients_register() {
        for good in [
            "https://client.example/cb",
            "https://client.example",
            "https://client.example/cb?tenant=1",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:8080/callback",
            "http://[::1]/callback",
            "com.example.app:/callback",
        ] {
            assert_eq!(RedirectUri::parse(good).map(|uri| uri.0), Ok(good.to_owned()));
        }
    }

    #[test]
    fn a37_to_a40_redirection_uris_that_nobody_may_register() {
        use InvalidRedirectUri as Why;
        for (bad, why) in [
            ("http://localhost.evil.test/cb", Why::PlainHttp),
            ("http://127.0.0.1.evil.test/cb", Why::PlainHttp),
            ("http://client.example/cb", Why::PlainHttp),
            ("javascript:alert(1)", Why::Scheme),
            ("JaVaScript:alert(1)", Why::Scheme),
            ("data:text/html,x", Why::Scheme),
            ("vbscript:x", Why::Scheme),
            ("file:///etc/passwd", Why::Scheme),
            ("https://client.example/cb?code=1", Why::ReservedParameter),
            ("https://client.example/cb?a=1&iss=x", Why::ReservedParameter),
            ("https://*.client.example/cb", Why::Wildcard),
            ("https://client.example/*", Why::Wildcard),
            ("https://client.example/cb#x", Why::Fragment),
            ("https://user@client.example/cb", Why::UserInfo),
            ("https://CLIENT.example/cb", Why::Form),
            ("https://client.example/a/../cb", Why::Form),
            ("/cb", Why::Form),
            ("com.example.app:a b", Why::Form),
            ("https://client.example;script-src/cb", Why::Form),
            ("com.example.app:a\\b", Why::Form),
            ("https://client.example/\u{e4}", Why::Form),
        ] {
            assert_eq!(RedirectUri::parse(bad), Err(why), "{bad}");
        }
    }
}
