//! Reads client credentials from a request
//! ([RFC 6749 §2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)).
//!
//! Not here: checking them, see `client/authentication.rs`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use poem::http::{HeaderMap, header};

use super::form::{Form, decode};
use crate::{
    client::authentication::Credentials,
    error::{InvalidClient, InvalidRequest, TokenError},
    secret::SecretText,
};

/// Takes the credentials out of the header or the form; exactly one way may be used.
///
/// # Errors
/// `invalid_request` for two ways at once, `invalid_client` for none or for a header that can't be read.
pub fn read(headers: &HeaderMap, form: &mut Form) -> Result<Credentials, TokenError> {
    let in_body = (form.take("client_id"), form.take("client_secret").map(SecretText::new));
    let mut in_header = headers.get_all(header::AUTHORIZATION).iter();
    let Some(authorization) = in_header.next() else {
        return match in_body {
            (Some(client_id), Some(secret)) => Ok(Credentials::Secret { client_id, secret }),
            (Some(client_id), None) => Ok(Credentials::Identifier { client_id }),
            (None, Some(_)) => Err(InvalidRequest::Missing("client_id").into()),
            (None, None) => Err(TokenError::InvalidClient(InvalidClient::Missing)),
        };
    };
    // RFC 6749 §2.3: the client MUST NOT use more than one authentication method in each request.
    if in_header.next().is_some() || in_body.1.is_some() {
        return Err(InvalidRequest::TwoAuthentications.into());
    }
    let (client_id, secret) =
        parse_basic(authorization.as_bytes()).ok_or(TokenError::InvalidClient(InvalidClient::MalformedBasic))?;
    match in_body.0 {
        Some(other) if other != client_id => Err(InvalidRequest::ClientIdMismatch.into()),
        // RFC 6749 §2.3.1: an empty secret is the same as none, so this is a public client naming itself.
        _ if secret.expose().is_empty() => Ok(Credentials::Identifier { client_id }),
        _ => Ok(Credentials::Secret { client_id, secret }),
    }
}

/// `Basic base64(form-encoded id ":" form-encoded secret)`; the first colon splits.
fn parse_basic(header: &[u8]) -> Option<(String, SecretText)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    let client_id = decode(&decoded[..colon])?;
    let secret = decode(&decoded[colon + 1..])?;
    Some((client_id, SecretText::new(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(credentials: &str) -> Option<(String, String)> {
        let header = format!("bAsIc {}", STANDARD.encode(credentials));
        parse_basic(header.as_bytes()).map(|(id, secret)| (id, secret.expose().to_owned()))
    }

    #[test]
    fn a22_both_halves_are_form_decoded_and_the_first_colon_splits() {
        assert_eq!(basic("a%3Ab:c%2Bd"), Some(("a:b".into(), "c+d".into())));
        assert_eq!(basic("id:with:colons"), Some(("id".into(), "with:colons".into())));
        assert_eq!(basic("id:a+b"), Some(("id".into(), "a b".into())));
        assert_eq!(basic("id:"), Some(("id".into(), String::new())));
        assert_eq!(basic("no colon"), None);
        assert_eq!(basic("id:%zz"), None);
        assert!(parse_basic(b"Basic !!!").is_none());
        assert!(parse_basic(b"Bearer abc").is_none());
        assert!(parse_basic(b"Basic").is_none());
    }
}
