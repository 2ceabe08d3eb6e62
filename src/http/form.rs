//! Reads an `application/x-www-form-urlencoded` body strictly
//! ([RFC 6749 §3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.2), Appendix B).
//!
//! Not here: which parameters an endpoint knows, see its own file.

use std::{collections::BTreeMap, time::Duration};

use poem::{Request, RequestBody, http::HeaderMap};
use zeroize::Zeroizing;

use super::body;
use crate::error::InvalidRequest;

/// The parameters of a form. Those without a value are left out (RFC 6749 §3.2).
pub struct Form {
    once: BTreeMap<String, Zeroizing<String>>,
    resources: Vec<String>,
}

/// The one parameter that may be repeated (RFC 8707 §2).
const REPEATABLE: &str = "resource";

impl Form {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// `invalid_request`, with the reason.
    pub async fn read(request: &Request, body: &mut RequestBody) -> Result<Self, InvalidRequest> {
        Self::parse(Self::read_bytes(request, body).await?.as_ref())
    }

    /// Reads the body of a request that carries credentials, within a time. RFC 6749 §2.3.1: credentials MUST NOT be in the
    /// request URI, where logs would keep them.
    ///
    /// # Errors
    /// `invalid_request`, with the reason.
    pub async fn read_with_credentials(
        request: &Request,
        body: &mut RequestBody,
        time: Duration,
    ) -> Result<Self, InvalidRequest> {
        if parameters_in_query(request) {
            return Err(InvalidRequest::Query);
        }
        Self::parse(read_bytes(request, body, time).await?.as_ref())
    }

    /// Reads the body of a request as it is.
    ///
    /// # Errors
    /// `invalid_request`, with the reason.
    pub async fn read_bytes(
        request: &Request,
        body: &mut RequestBody,
    ) -> Result<impl AsRef<[u8]> + use<>, InvalidRequest> {
        read_bytes(request, body, body::time(request)).await
    }

    /// Parses the text of a form.
    ///
    /// # Errors
    /// `invalid_request` for a repeated parameter, broken percent-encoding, or bytes that are not UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        match Self::parse_any(bytes)? {
            (form, repeated) if repeated.is_empty() => Ok(form),
            // RFC 6749 §3.2: parameters MUST NOT be included more than once. Two readers of one request
            // could otherwise see two different ones.
            _ => Err(InvalidRequest::RepeatedParameter),
        }
    }

    /// Parses the text of a form, and names the parameters that are repeated: for an endpoint that has to find out first
    /// whom to tell.
    ///
    /// # Errors
    /// `invalid_request` for broken percent-encoding, or bytes that are not UTF-8.
    pub fn parse_any(bytes: &[u8]) -> Result<(Self, Vec<String>), InvalidRequest> {
        let mut repeated = Vec::new();
        let mut form = Self { once: BTreeMap::new(), resources: Vec::new() };
        for pair in bytes.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|b| *b == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, [].as_slice()),
            };
            let name = decode(name).ok_or(InvalidRequest::Malformed)?;
            let mut value = Zeroizing::new(decode(value).ok_or(InvalidRequest::Malformed)?);
            if name == REPEATABLE {
                form.resources.push(std::mem::take(&mut *value));
                continue;
            }
            if form.once.contains_key(&name) {
                repeated.push(name);
                continue;
            }
            form.once.insert(name, value);
        }
        form.once.retain(|_, value| !value.is_empty());
        form.resources.retain(|value| !value.is_empty());
        Ok((form, repeated))
    }

    /// Whether a parameter is there.
    pub fn has(&self, name: &str) -> bool {
        self.once.contains_key(name)
    }

    /// Takes a parameter out.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.once.remove(name).map(|mut value| std::mem::take(&mut *value))
    }

    /// Takes the `resource` parameters out.
    pub fn take_resources(&mut self) -> Vec<String> {
        std::mem::take(&mut self.resources)
    }
}

async fn read_bytes(
    request: &Request,
    body: &mut RequestBody,
    time: Duration,
) -> Result<impl AsRef<[u8]> + use<>, InvalidRequest> {
    if !is_form(request.headers()) {
        return Err(InvalidRequest::ContentType);
    }
    body::read(body, time).await
}

/// Whether the body is said to be a form.
pub fn is_form(headers: &HeaderMap) -> bool {
    body::is(headers, "application/x-www-form-urlencoded")
}

/// Decodes `+` and percent-escapes; `None` for a broken escape, bytes that are not UTF-8, or a NUL.
pub fn decode(bytes: &[u8]) -> Option<String> {
    // As most names and all tokens are.
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+' | 0)) {
        return str::from_utf8(bytes).ok().map(str::to_owned);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        rest = match first {
            b'%' => {
                let (digits, tail) = tail.split_first_chunk::<2>()?;
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                decoded.push(digit(digits[0])? * 16 + digit(digits[1])?);
                tail
            }
            b'+' => {
                decoded.push(b' ');
                tail
            }
            other => {
                decoded.push(*other);
                tail
            }
        };
    }
    String::from_utf8(decoded).ok().filter(|text| !text.contains('\0'))
}

/// Parameters that must not be in the query string.
const BODY_PARAMETERS: [&str; 19] = [
    "grant_type",
    "client_id",
    "client_secret",
    "username",
    "password",
    "refresh_token",
    "scope",
    "resource",
    "audience",
    "code",
    "code_verifier",
    "client_assertion",
    "client_assertion_type",
    "assertion",
    "device_code",
    "subject_token",
    "actor_token",
    "access_token",
    "token",
];

/// Whether the query string has a parameter that belongs in the body.
fn parameters_in_query(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .any(|name| decode(name.as_bytes()).is_none_or(|name| BODY_PARAMETERS.contains(&name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_left_out() {
        let mut form = Form::parse(b"a=1&b=x+%C3%A9%2B&c=&d&&e=%3D=").unwrap();
        assert_eq!(form.take("a").as_deref(), Some("1"));
        assert_eq!(form.take("b").as_deref(), Some("x é+"));
        assert_eq!(form.take("c"), None);
        assert_eq!(form.take("d"), None);
        assert_eq!(form.take("e").as_deref(), Some("=="));
    }

    #[test]
    fn malformed_forms_are_refused() {
        for bad in [b"a=%".as_slice(), b"a=%4", b"a=%zz", b"a=%+1", b"a=%ff", b"a=\xff", b"a=%00", b"%00=a"] {
            assert_eq!(Form::parse(bad).err(), Some(InvalidRequest::Malformed), "{bad:?}");
        }
        for twice in [b"a=1&a=1".as_slice(), b"a=&a=1", b"a&%61=2"] {
            assert_eq!(Form::parse(twice).err(), Some(InvalidRequest::RepeatedParameter), "{twice:?}");
        }
    }

    #[test]
    fn only_resource_may_be_repeated() {
        let mut form = Form::parse(b"resource=a:1&x=1&%72esource=b%3A2&resource=").unwrap();
        assert_eq!(form.take("resource"), None);
        assert_eq!(form.take_resources(), ["a:1", "b:2"]);
        assert!(form.take_resources().is_empty());
        assert_eq!(Form::parse(b"Resource=1&Resource=1").err(), Some(InvalidRequest::RepeatedParameter));
    }
}
