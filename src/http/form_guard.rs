//! Keeps forms from being sent by other sites: cross-site request forgery
//! ([RFC 6749 §10.12](https://www.rfc-editor.org/rfc/rfc6749#section-10.12)).
//!
//! Each form carries a token, a MAC over what only this browser has: the id of its browser session, or before that the
//! value of its visit cookie. The cookies are `SameSite`, and where the browser says where a request came from, it is
//! asked as well.
//!
//! Not here: the requests of scripts in cookie mode, which have rules of their own.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::http::{HeaderMap, header};

/// The token of the forms for a browser. `binding` is a secret or an unguessable id that this browser alone has.
pub fn token(key: &hmac::Key, binding: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(key, binding))
}

/// Whether a form carries the token of this browser, compared in constant time.
pub fn verify(key: &hmac::Key, binding: &[u8], presented: &str) -> bool {
    URL_SAFE_NO_PAD.decode(presented).is_ok_and(|tag| hmac::verify(key, binding, &tag).is_ok())
}

/// Whether the browser says that a form came from another site. `issuer` is this server's origin.
///
/// `Sec-Fetch-Site` decides where it is sent. Older browsers send `Origin` only, and from a page with
/// `Referrer-Policy: no-referrer` that is `null`, which says nothing.
pub fn is_cross_site(headers: &HeaderMap, issuer: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin";
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    origins.any(|origin| origin != "null" && origin != issuer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_browser() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let token = token(&key, b"one browser");
        assert!(verify(&key, b"one browser", &token));
        assert!(!verify(&key, b"another browser", &token));
        assert!(!verify(&hmac::Key::new(hmac::HMAC_SHA256, b"other"), b"one browser", &token));
        for bad in ["", "AAAA", "!", &token[..42], &format!("{token}=")] {
            assert!(!verify(&key, b"one browser", bad), "{bad}");
        }
    }

    #[test]
    fn a_form_from_elsewhere_is_seen() {
        const ISSUER: &str = "https://login.example.com";
        let cross = |pairs: &[(&'static str, &'static str)]| {
            is_cross_site(&pairs.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect(), ISSUER)
        };
        assert!(!cross(&[]));
        assert!(!cross(&[("origin", ISSUER)]));
        assert!(!cross(&[("origin", "null")]));
        assert!(!cross(&[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        assert!(cross(&[("origin", "https://evil.example")]));
        assert!(cross(&[("origin", "https://login.example.com.evil.example")]));
        assert!(cross(&[("origin", ISSUER), ("origin", "https://evil.example")]));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(cross(&[("origin", ISSUER), ("sec-fetch-site", site)]), "{site}");
        }
    }
}
