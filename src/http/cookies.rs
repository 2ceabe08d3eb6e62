//! Reads and writes cookies strictly: the byte for byte rules of [RFC 6265 §5.2](https://www.rfc-editor.org/rfc/rfc6265),
//! and no more.
//!
//! poem's own jar is not used: it percent-decodes names, so that `__%48ost-x`, which a neighbouring subdomain may set,
//! would pass for `__Host-x`; and one cookie that isn't ASCII hides all others from it.
//!
//! Not here: what the cookies mean, see `browser.rs`.

use poem::http::{HeaderMap, HeaderValue, header};

/// The request has two cookies of one name: somebody planted one, and nobody knows which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// The value of the cookie with exactly this name. A value that isn't base64url was not set by us and counts as none.
///
/// # Errors
/// [`Repeated`]; the answer is 400, and nothing changes.
pub fn read<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Repeated> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    let mut values = pairs.filter_map(|pair| trim(pair).strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Repeated);
    }
    let ours = |value: &&[u8]| value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    Ok(first.filter(ours).and_then(|value| std::str::from_utf8(value).ok()).filter(|value| !value.is_empty()))
}

/// Spaces and tabs only.
fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Which requests from other sites bring the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// None.
    Strict,
    /// Navigations, such as an authorization request.
    Lax,
}

/// A `Set-Cookie` header. The name must begin with `__Host-`: then no other host can set it, and it is ours alone.
/// `max_age` is in seconds; without one it ends with the browser's session, and 0 deletes it.
pub fn set(name: &str, value: &str, same_site: SameSite, max_age: Option<i64>) -> HeaderValue {
    let same_site = match same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
    };
    let max_age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site}{max_age}");
    // Names are constants and values base64url, so this is always a header value.
    let mut header = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

/// Deletes a cookie: the same attributes, and no life left.
pub fn clear(name: &str, same_site: SameSite) -> HeaderValue {
    set(name, "", same_site, Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(lines: &[&[u8]]) -> Result<Option<String>, Repeated> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        read(&headers, "__Host-x").map(|value| value.map(str::to_owned))
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        for line in [
            b"__Host-x=abc".as_slice(),
            b"a=1; __Host-x=abc",
            b"a=1;__Host-x=abc ;\tb=2",
            b"b=\xff\xfe; __Host-x=abc",
            b"b; =; __Host-x=abc",
            b"x=__Host-x=no; __Host-x=abc",
        ] {
            assert_eq!(read_from(&[line]), Ok(Some("abc".into())), "{line:?}");
        }
        assert_eq!(read_from(&[b"a=1", b"__Host-x=abc"]), Ok(Some("abc".into())));
        assert_eq!(read_from(&[]), Ok(None));
    }

    #[test]
    fn a109_names_are_compared_byte_for_byte_and_nothing_is_decoded() {
        for line in [
            b"__%48ost-x=abc".as_slice(),
            b"__host-x=abc",
            b"__Host-x=",
            b"__Host-x=a%62c",
            b"__Host-x=\"abc\"",
            b"__Host-x=a c",
            b"__Host-x=a\xc3\xa9",
            b"__Host-xx=abc",
            b"_Host-x=abc",
            b"__Host-x =abc",
            b"__Host-x= abc",
            b"__HOST-X=abc",
            b"__Host%2Dx=abc",
            b"$Version=1, __Host-x=abc",
            b"\xa0__Host-x=abc",
        ] {
            assert_eq!(read_from(&[line]), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn a109_two_of_one_name_are_refused() {
        assert_eq!(read_from(&[b"__Host-x=abc; __Host-x=abc"]), Err(Repeated));
        assert_eq!(read_from(&[b"__Host-x=abc", b"a=1; __Host-x="]), Err(Repeated));
        assert_eq!(read_from(&[b"__Host-x=\xff; __Host-x=abc"]), Err(Repeated));
        // A planted cookie of another name is not a second one.
        assert_eq!(read_from(&[b"__%48ost-x=no; __Host-x=abc"]), Ok(Some("abc".into())));
    }

    #[test]
    fn a_set_cookie_has_every_attribute() {
        let set = set("__Host-x", "abc", SameSite::Lax, None);
        assert_eq!(set, "__Host-x=abc; Path=/; Secure; HttpOnly; SameSite=Lax");
        assert!(!format!("{set:?}").contains("abc"));
        assert_eq!(
            clear("__Host-x", SameSite::Strict),
            "__Host-x=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"
        );
    }
}
