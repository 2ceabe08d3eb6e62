//! A web origin that a client registered: pages from there may call endpoints for it
//! ([RFC 6454](https://www.rfc-editor.org/rfc/rfc6454)).
//!
//! Not here: judging a request by its `Origin` header, see `http/same_site.rs`.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// An origin in the one form that browsers send it: scheme, host, and the port unless it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebOrigin(String);

/// Why an origin can't be registered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebOrigin {
    /// Not as a browser writes it. `null` and wildcards end here too: they would let anybody in.
    #[error(
        "not an origin as browsers send it, such as https://app.example.com: no path, no wildcard, no default port"
    )]
    Form,
    /// A page from plain http is anybody's page.
    #[error("plain http is for localhost, 127.0.0.1 and [::1] only; use https")]
    PlainHttp,
}

impl WebOrigin {
    /// Accepts an origin that can be registered.
    ///
    /// # Errors
    /// [`InvalidWebOrigin`] says what to change.
    pub fn parse(text: &str) -> Result<Self, InvalidWebOrigin> {
        let url = Url::parse(text).map_err(|_| InvalidWebOrigin::Form)?;
        // Origins are compared as bytes, so one that a browser would write in another way could never match.
        if text.contains('*') || url.origin().ascii_serialization() != text {
            return Err(InvalidWebOrigin::Form);
        }
        let loopback = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        match url.scheme() {
            "https" => Ok(Self(text.to_owned())),
            "http" if loopback => Ok(Self(text.to_owned())),
            "http" => Err(InvalidWebOrigin::PlainHttp),
            _ => Err(InvalidWebOrigin::Form),
        }
    }

    /// The origin as registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_as_browsers_send_them_can_be_registered() {
        for good in [
            "https://app.example.com",
            "https://app.example.com:8443",
            "http://localhost:3000",
            "http://127.0.0.1:5173",
            "http://[::1]:3000",
        ] {
            assert_eq!(WebOrigin::parse(good).map(|origin| origin.0), Ok(good.to_owned()));
        }
        for bad in [
            "null",
            "*",
            "",
            "https://*.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://APP.example.com",
            "https://user@app.example.com",
            "https://app.example.com/path",
            "https://app.example.com?x",
            "app.example.com",
            "file:///index.html",
            "data:text/html,x",
            "chrome-extension://abcdefgh",
            "https://app.example.com https://other.example.com",
        ] {
            assert_eq!(WebOrigin::parse(bad), Err(InvalidWebOrigin::Form), "{bad}");
        }
        for plain in ["http://app.example.com", "http://localhost.example.com", "http://10.0.0.1"] {
            assert_eq!(WebOrigin::parse(plain), Err(InvalidWebOrigin::PlainHttp), "{plain}");
        }
    }
}
