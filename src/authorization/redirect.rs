//! The way back to the client: a redirection URI that has been verified, and what is sent to it.
//!
//! Only [`Redirect::verify`] makes one, so whatever redirects has checked
//! ([RFC 6749 §4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)).

use std::fmt::Write as _;

use url::{Host, Url};

use crate::client::Client;

/// A verified redirection URI, and the `state` to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    uri: String,
    state: Option<String>,
}

impl Redirect {
    /// The redirection URI that a request names, if the client has registered it; or the only one that it has, when the
    /// request names none.
    ///
    /// Compared as strings (RFC 9700 §2.1): nothing is parsed or normalised, so nothing can be parsed in two ways. Only the
    /// port of a loopback address may differ (RFC 8252 §7.3).
    pub fn verify(client: &Client, requested: Option<&str>, state: Option<&str>) -> Option<Self> {
        let uri = match (requested, client.redirect_uris.as_slice()) {
            (Some(requested), registered) => {
                registered.iter().find(|uri| matches(uri.as_str(), requested)).map(|_| requested)?
            }
            (None, [only]) => only.as_str(),
            (None, _) => return None,
        };
        Some(Self { uri: uri.to_owned(), state: state.map(str::to_owned) })
    }

    /// The URI.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The address that answers an authorization request: the URI, the given parameters, `state` and `iss` (RFC 9207).
    pub fn answer(&self, parameters: &[(&str, &str)], issuer: &str) -> String {
        let mut location = self.uri.clone();
        let mut separator = if location.contains('?') { '&' } else { '?' };
        let state = self.state.as_deref().map(|state| ("state", state));
        for (name, value) in parameters.iter().copied().chain(state).chain([("iss", issuer)]) {
            location.push(separator);
            location.push_str(name);
            location.push('=');
            for byte in value.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        location.push(char::from(byte))
                    }
                    // A String takes everything.
                    other => drop(write!(location, "%{other:02X}")),
                }
            }
            separator = '&';
        }
        location
    }

    /// The CSP source that lets a form end there. CSP has no form for an IPv6 address.
    pub fn source(&self) -> Option<String> {
        let url = Url::parse(&self.uri).ok()?;
        Some(match url.host() {
            Some(Host::Ipv6(_)) | None => format!("{}:", url.scheme()),
            Some(_) if matches!(url.scheme(), "http" | "https") => url.origin().ascii_serialization(),
            Some(_) => format!("{}:", url.scheme()),
        })
    }

    /// Where it leads, for people: the host, or the scheme of an app on the device.
    pub fn place(&self) -> String {
        let url = Url::parse(&self.uri).ok();
        let host = url.as_ref().and_then(Url::host_str).filter(|host| !host.is_empty());
        host.or(url.as_ref().map(Url::scheme)).unwrap_or_default().to_owned()
    }
}

/// exactly the same string, or loopback addresses that differ in their port.
fn matches(registered: &str, requested: &str) -> bool {
    if registered == requested {
        return true;
    }
    ["http://127.0.0.1", "http://[::1]"].iter().any(|host| {
        let (registered, requested) = (registered.strip_prefix(host), requested.strip_prefix(host));
        registered.is_some_and(|registered| {
            // None is what has no port that can be: two of those have nothing in common.
            let registered = without_port(registered);
            registered.is_some() && requested.is_some_and(|requested| without_port(requested) == registered)
        })
    })
}

/// What follows the port, and whether there was something that looked like one and wasn't.
fn without_port(rest: &str) -> Option<&str> {
    let Some(after) = rest.strip_prefix(':') else { return Some(rest) };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let (port, path) = after.split_at_checked(digits)?;
    port.parse::<u16>().ok().filter(|port| *port != 0).map(|_| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a35_only_the_port_of_a_loopback_address_may_differ() {
        for (registered, requested) in [
            ("https://app.example/cb", "https://app.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51234/cb"),
            ("http://127.0.0.1:8080/cb", "http://127.0.0.1:51234/cb"),
            ("http://127.0.0.1:8080/cb", "http://127.0.0.1/cb"),
            ("http://[::1]/cb?x=1", "http://[::1]:9/cb?x=1"),
            ("com.example.app:/cb", "com.example.app:/cb"),
        ] {
            assert!(matches(registered, requested), "{registered} {requested}");
        }
    }

    #[test]
    fn a36_everything_else_that_differs_is_another_uri() {
        const REGISTERED: &str = "https://app.example/cb";
        for requested in [
            "https://app.example/c",
            "https://app.example/cb/",
            "https://app.example/cb/x",
            "https://app.example/../cb",
            "https://app.example/x/../cb",
            "https://app.example/x/..;/cb",
            "https://app.example/%63b",
            "https://app.example/cb%2e",
            "https://app.example/cb%252f",
            "https://APP.example/cb",
            "HTTPS://app.example/cb",
            "https://app.example/CB",
            "https://app.example:443/cb",
            "https://user@app.example/cb",
            "https://app.example@evil.test/cb",
            "https:\\\\app.example\\cb",
            "https://app.example/cb\t",
            "https://app.example./cb",
            "https://аpp.example/cb",
            "https://app.example/cb?x=1",
            "https://app.example/cb#x",
            "https://app.example/cb?",
            "http://app.example/cb",
            " https://app.example/cb",
            "",
        ] {
            assert!(!matches(REGISTERED, requested), "{requested}");
        }
        const LOOPBACK: &str = "http://127.0.0.1/cb";
        for requested in [
            "http://127.0.0.1.evil.test/cb",
            "http://127.0.0.1:80@evil.test/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:80:80/cb",
            "http://127.0.0.1:+80/cb",
            "http://127.0.0.1:80/cb/",
            "http://127.0.0.1:80\\cb",
            "https://127.0.0.1:80/cb",
            "http://localhost:80/cb",
            "http://[::1]:80/cb",
            "http://127.0.0.2/cb",
            "http://127.1/cb",
            "http://2130706433/cb",
            "http://127.0.0.1:80evil/cb",
        ] {
            assert!(!matches(LOOPBACK, requested), "{requested}");
        }
        // Two texts without a possible port have nothing in common.
        assert!(!matches("http://127.0.0.1:0/cb", "http://127.0.0.1:x@evil.test/cb"));
        // Nor a port of any other host.
        assert!(!matches("https://app.example/cb", "https://app.example:8443/cb"));
    }

    #[test]
    fn an_answer_is_appended_and_escaped() {
        let to = |uri: &str, state: Option<&str>| Redirect { uri: uri.into(), state: state.map(str::to_owned) };
        assert_eq!(
            to("https://a.example/cb?t=1", Some("a b+c&d=é\"<")).answer(&[("code", "x_y")], "https://i.example"),
            "https://a.example/cb?t=1&code=x_y&state=a%20b%2Bc%26d%3D%C3%A9%22%3C&iss=https%3A%2F%2Fi.example"
        );
        assert_eq!(to("com.example:/cb", None).answer(&[], "i"), "com.example:/cb?iss=i");
    }

    #[test]
    fn a_form_may_end_where_the_answer_goes() {
        for (uri, source, place) in [
            ("https://app.example/cb", "https://app.example", "app.example"),
            ("http://127.0.0.1:51234/cb", "http://127.0.0.1:51234", "127.0.0.1"),
            ("http://[::1]:9/cb", "http:", "[::1]"),
            ("com.example.app:/cb", "com.example.app:", "com.example.app"),
            ("com.example.app://cb", "com.example.app:", "cb"),
        ] {
            let redirect = Redirect { uri: uri.into(), state: None };
            assert_eq!((redirect.source().as_deref(), redirect.place().as_str()), (Some(source), place));
        }
    }
}
