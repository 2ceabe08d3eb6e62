//! Identifiers: parsed once, then carried as types.
//!
//! Not here: secrets, see `secret.rs`.

use std::fmt;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::clock::random_bytes;

/// Sixteen bytes shown as 22 characters of base64url.
macro_rules! binary_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Reads the 22 characters that [`Display`](fmt::Display) writes; `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
                Some(Self(bytes.try_into().ok()?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 22];
                let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(str::from_utf8(&text[..written]).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

binary_id! {
    /// One authorization grant and everything that came of it. An identifier, not a secret: access tokens
    /// carry it as `gid`.
    GrantId
}

binary_id! {
    /// The storage address of a resource owner: a hash of the username.
    ///
    /// Deriving it makes a login one read, and puts everything of one owner under one key and one cluster
    /// slot. It is not the `sub` of tokens: a deleted and recreated owner has the same address and a new
    /// [`Subject`].
    OwnerId
}

binary_id! {
    /// One browser session of a resource owner. An identifier, not a secret.
    SessionId
}

binary_id! {
    /// One device authorization: a keyed hash of its user code. An identifier, not a secret.
    DeviceId
}

impl SessionId {
    /// A new, unpredictable identifier.
    pub fn random() -> Self {
        Self(random_bytes())
    }
}

impl GrantId {
    /// A new, unpredictable identifier. Its text never begins with `-`, so that a command line takes it for no option.
    pub fn random() -> Self {
        const HYPHEN: u8 = 62;
        loop {
            let id: [u8; 16] = random_bytes();
            if id[0] >> 2 != HYPHEN {
                return Self(id);
            }
        }
    }
}

impl OwnerId {
    /// The address of the owner with this username.
    pub fn of(username: &Username) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"regrant owner\0");
        context.update(username.as_str().as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(id)
    }
}

/// The `client_id` of RFC 6749 §2.2: 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// Says what a client identifier must look like.
#[derive(Debug, thiserror::Error)]
#[error("a client_id is 1 to 128 visible ASCII characters")]
pub struct InvalidClientId;

impl ClientId {
    /// Accepts text that can be a client identifier.
    ///
    /// # Errors
    /// [`InvalidClientId`]; on the wire an unparsable client is an unknown one (`invalid_client`).
    pub fn parse(text: &str) -> Result<Self, InvalidClientId> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| (0x21..=0x7e).contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidClientId) }
    }

    /// The identifier as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClientId {
    type Error = InvalidClientId;

    fn try_from(text: String) -> Result<Self, InvalidClientId> {
        Self::parse(&text)
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The `sub` of a resource owner: random, never reassigned (RFC 9068 §2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(pub String);

impl Subject {
    /// A new, unpredictable subject.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(random_bytes::<16>()))
    }

    /// The subject of a client that acts for itself.
    ///
    /// RFC 9068 §5: it must not be mistaken for a resource owner's. No subject of an owner has a colon.
    pub fn of_client(id: &ClientId) -> Self {
        Self(format!("client:{id}"))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A username after PRECIS `UsernameCaseMapped` (RFC 8265 §3.3): compared byte for byte from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Username(String);

/// Says what a username must look like.
#[derive(Debug, thiserror::Error)]
#[error("a username is 1 to 128 characters that RFC 8265 section 3.3 allows")]
pub struct InvalidUsername;

impl Username {
    /// Normalises text as RFC 8265 §3.3 says: case-mapped, width-mapped, NFC.
    ///
    /// # Errors
    /// [`InvalidUsername`]; at the token endpoint that is an unknown user (`invalid_grant`).
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        use precis_profiles::{UsernameCaseMapped, precis_core::profile::PrecisFastInvocation};

        // Bounded before normalising: the work and the key must not grow with what a stranger sends.
        if text.len() > 512 {
            return Err(InvalidUsername);
        }
        let mut name = std::borrow::Cow::Borrowed(text);
        // RFC 8264 §7: applied again until nothing changes. Else "=" and U+0338 would pass and compose into "≠", which is in no
        // username, and the name would be another one when it is written back.
        for _ in 0..4 {
            let next = UsernameCaseMapped::enforce(name.clone()).map_err(|_| InvalidUsername)?;
            if next == name {
                let fits = (1..=128).contains(&name.chars().count());
                return if fits { Ok(Self(name.into_owned())) } else { Err(InvalidUsername) };
            }
            name = next;
        }
        Err(InvalidUsername)
    }

    /// The normalised name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_ids_read_back_what_they_write_and_nothing_else() {
        let id = GrantId::random();
        assert_eq!(GrantId::parse(&id.to_string()), Some(id));
        for wrong in ["", "short", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(GrantId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_grant_looks_like_an_option_of_a_command() {
        assert!((0..2_000).all(|_| !GrantId::random().to_string().starts_with('-')));
    }

    #[test]
    fn usernames_that_look_the_same_are_the_same() {
        let name = Username::parse("Zoë").unwrap();
        assert_eq!(name, Username::parse("ZOE\u{308}").unwrap());
        assert_eq!(OwnerId::of(&name), OwnerId::of(&Username::parse("zoë").unwrap()));
        assert!(Username::parse("").is_err());
        assert!(Username::parse("a b").is_err());
        assert!(Username::parse("a=\u{338}b").is_err(), "composes into a character that no username has");
        assert!(Username::parse("a\u{0}").is_err());
    }
}
