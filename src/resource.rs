//! The resources that a token is for: `resource`, and `audience` beside it
//! ([RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2)).
//!
//! Not here: which resources a client may name, see `grant/access.rs`; those of a grant, see `store/decide.rs`.

use url::Url;

use crate::error::InvalidTarget;

/// Accepts text that can name a resource: an absolute URI without a fragment, and without a space, which separates
/// resources in the stores.
///
/// It stays as it was written: resources are compared as strings.
///
/// # Errors
/// `invalid_target`.
pub fn parse(text: &str) -> Result<String, InvalidTarget> {
    let absolute = Url::parse(text).is_ok() && text.bytes().all(|b| (0x21..=0x7e).contains(&b));
    if absolute && !text.contains('#') { Ok(text.to_owned()) } else { Err(InvalidTarget::Malformed) }
}

/// What is left of `granted` when a request names resources: those alone. Naming none asks for all.
///
/// # Errors
/// `invalid_target` when the request names one that was not granted.
pub fn narrow(granted: &[String], requested: &[String]) -> Result<Vec<String>, InvalidTarget> {
    if !requested.iter().all(|resource| granted.contains(resource)) {
        return Err(InvalidTarget::BeyondGrant);
    }
    let asked = |resource: &&String| requested.is_empty() || requested.contains(*resource);
    Ok(granted.iter().filter(asked).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_an_absolute_uri_without_a_fragment() {
        for good in
            ["https://api.example", "https://api.example/v1?tenant=1", "urn:example:api", "http://127.0.0.1:8080"]
        {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "/api",
            "api.example",
            "//api.example",
            "https://a.example#x",
            "https://a.example#",
            "https://a b",
            " https://a",
            "https://ä",
        ] {
            assert_eq!(parse(bad), Err(InvalidTarget::Malformed), "{bad}");
        }
    }

    #[test]
    fn naming_resources_narrows_and_never_widens() {
        let granted = ["a:1", "b:2", "c:3"].map(str::to_owned);
        assert_eq!(narrow(&granted, &[]).as_deref(), Ok(granted.as_slice()));
        assert_eq!(narrow(&granted, &["c:3".into(), "a:1".into(), "a:1".into()]), Ok(vec!["a:1".into(), "c:3".into()]));
        assert_eq!(narrow(&granted, &["a:1".into(), "d:4".into()]), Err(InvalidTarget::BeyondGrant));
        assert_eq!(narrow(&[], &["a:1".into()]), Err(InvalidTarget::BeyondGrant));
    }
}
