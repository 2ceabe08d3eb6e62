//! Proof Key for Code Exchange, S256 only ([RFC 7636](https://www.rfc-editor.org/rfc/rfc7636)).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::secret::{SecretText, sha256};

/// A code challenge: SHA-256 of the code verifier (RFC 7636 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeChallenge(pub [u8; 32]);

impl CodeChallenge {
    /// Reads the `code_challenge` parameter: exactly 43 characters of base64url. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The challenge that belongs to a verifier; `None` when the text can't be a verifier: 43 to 128 unreserved
    /// characters (RFC 7636 §4.1).
    pub fn of_verifier(verifier: &SecretText) -> Option<Self> {
        let text = verifier.expose().as_bytes();
        let unreserved = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        ((43..=128).contains(&text.len()) && text.iter().all(unreserved)).then(|| Self(sha256(text)))
    }

    /// The text of the parameter.
    pub fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b() {
        let verifier = SecretText::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
        let challenge = CodeChallenge::of_verifier(&verifier).unwrap();
        assert_eq!(challenge.to_text(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(CodeChallenge::parse(&challenge.to_text()), Some(challenge));
    }

    #[test]
    fn a46_a_challenge_is_43_characters_of_base64url() {
        let good = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        for bad in ["", "x", &good[..42], &format!("{good}A"), &format!("{good}="), &good.replace('-', "+")] {
            assert_eq!(CodeChallenge::parse(bad), None, "{bad}");
        }
        // The last character has two bits that mean nothing and must be zero.
        assert_eq!(CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN"), None);
    }

    #[test]
    fn a64_a_verifier_is_43_to_128_unreserved_characters() {
        let verifier = |text: String| CodeChallenge::of_verifier(&SecretText::new(text));
        assert!(verifier("a".repeat(43)).is_some());
        assert!(verifier("-._~".repeat(32)).is_some());
        for bad in ["a".repeat(42), "a".repeat(129), format!("{}+", "a".repeat(42)), format!("{}ä", "a".repeat(42))] {
            assert!(verifier(bad.clone()).is_none(), "{bad}");
        }
    }
}
