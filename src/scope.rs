//! The scope of RFC 6749 §3.3: a set of scope tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A set of scope tokens, kept in one string: sorted, without repetitions, separated by single spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

/// Says what a scope must look like; the client sees `invalid_scope`.
#[derive(Debug, thiserror::Error)]
#[error("a scope is a list of printable ASCII words, without quotes and backslashes, separated by single spaces")]
pub struct InvalidScope;

/// The longest scope, bytes: half of the longest token that is read.
const LONGEST: usize = 4 * 1024;

impl Scope {
    /// Parses the `scope` parameter. The empty text is the empty set.
    ///
    /// # Errors
    /// [`InvalidScope`] for characters that RFC 6749 §3.3 forbids, and for more than 4 KiB.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > LONGEST {
            return Err(InvalidScope);
        }
        // RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
        let allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if !text.split(' ').all(|t| !t.is_empty() && t.bytes().all(allowed)) {
            return Err(InvalidScope);
        }
        // As the store gives it back.
        if text.split(' ').is_sorted_by(|a, b| a < b) {
            return Ok(Self(text.to_owned()));
        }
        let mut tokens: Vec<&str> = text.split(' ').collect();
        tokens.sort_unstable();
        tokens.dedup();
        Ok(Self(tokens.join(" ")))
    }

    /// The scope tokens, sorted.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|token| !token.is_empty())
    }

    /// Whether every scope token of this scope is in `other` too.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self == other || self.tokens().all(|token| other.tokens().any(|known| known == token))
    }

    /// The scope tokens that are in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let both: Vec<&str> = self.tokens().filter(|token| other.tokens().any(|t| t == *token)).collect();
        Self(both.join(" "))
    }

    /// The tokens separated by spaces, as the wire wants them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no scope token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_set() {
        let scope = Scope::parse("write read write").unwrap();
        assert_eq!(scope.as_str(), "read write");
        assert!(Scope::parse("read").unwrap().is_subset_of(&scope));
        assert!(Scope::default().is_subset_of(&scope));
        assert!(!Scope::parse("read admin").unwrap().is_subset_of(&scope));
        assert!(!Scope::parse("rea").unwrap().is_subset_of(&scope));
        assert_eq!(scope.intersection(&Scope::parse("admin write").unwrap()).as_str(), "write");
    }

    #[test]
    fn characters_outside_the_grammar_are_refused() {
        for wrong in [" ", "a  b", "a\"b", "a\\b", "a\tb", "é", " a", "a "] {
            assert!(Scope::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
