//! The name that people know a client by: what the consent page asks about.

use serde::{Deserialize, Serialize};

/// A client's name: 1 to 80 characters that show as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientName(String);

/// Says what a name must look like.
#[derive(Debug, thiserror::Error)]
#[error("a name is 1 to 80 characters, without control characters and changes of writing direction")]
pub struct InvalidClientName;

impl ClientName {
    /// Accepts text that can be a name.
    ///
    /// # Errors
    /// [`InvalidClientName`].
    pub fn parse(text: &str) -> Result<Self, InvalidClientName> {
        let text = text.trim();
        // Characters that reorder or hide others could make a name say something else.
        let hides = |c: char| {
            c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        };
        let fits = (1..=80).contains(&text.chars().count()) && !text.chars().any(hides);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidClientName) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClientName {
    type Error = InvalidClientName;

    fn try_from(text: String) -> Result<Self, InvalidClientName> {
        Self::parse(&text)
    }
}

impl From<ClientName> for String {
    fn from(name: ClientName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_as_it_is() {
        assert_eq!(ClientName::parse(" Zoë's Photos ").unwrap().as_str(), "Zoë's Photos");
        for bad in ["", " ", &"a".repeat(81), "a\nb", "abc\u{202e}txt", "a\u{200b}b"] {
            assert!(ClientName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
