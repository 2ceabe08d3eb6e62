//! The refresh token's text: what it carries and the MAC that makes it ours.
//!
//! Not here: what a presented token leads to, see `store/decide.rs`.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    clock::random_bytes,
    ids::{GrantId, OwnerId},
    secret::{SecretText, ServerSecret, sha256},
};

const PREFIX: &str = "rt_";
const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;
/// version 1, key id 1, owner 16, grant 16, generation 4, family secret 24
const BODY_BYTES: usize = 62;
const TOKEN_BYTES: usize = BODY_BYTES + MAC_BYTES;
/// Exactly this many base64url characters follow the prefix.
const TOKEN_CHARACTERS: usize = TOKEN_BYTES * 4 / 3;

/// The secret part of every refresh token of one grant: 192 random bits. The store knows only its hash.
#[derive(Clone)]
pub struct FamilySecret(Zeroizing<[u8; 24]>);

impl FamilySecret {
    /// A new secret.
    pub fn random() -> Self {
        Self(Zeroizing::new(random_bytes()))
    }

    /// What the store keeps.
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_ref())
    }
}

impl fmt::Debug for FamilySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FamilySecret(redacted)")
    }
}

/// A refresh token whose MAC is right: this deployment issued it, for this grant and generation.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// The owner whose grant it is.
    pub owner: OwnerId,
    /// The grant.
    pub grant: GrantId,
    /// Counts up with each rotation; the first is 1.
    pub generation: u32,
    /// The grant's secret.
    pub family_secret: FamilySecret,
}

/// The MAC keys of refresh tokens: the current one mints, older ones still verify.
pub struct RefreshTokenKeys {
    current: (u8, hmac::Key),
    older: Vec<(u8, hmac::Key)>,
}

impl RefreshTokenKeys {
    /// Derives the keys.
    pub fn new(current: &ServerSecret, older: &[ServerSecret]) -> Self {
        let derive = |secret: &ServerSecret| (secret.key_id(), secret.mac_key(b"refresh tokens"));
        Self { current: derive(current), older: older.iter().map(derive).collect() }
    }

    /// The key that mints new generations.
    pub const fn current_id(&self) -> u8 {
        self.current.0
    }

    fn key(&self, id: u8) -> Option<&hmac::Key> {
        std::iter::once(&self.current).chain(&self.older).find(|(known, _)| *known == id).map(|(_, key)| key)
    }

    /// The token's text. The same token and key give the same text on every node, so a retry is answered
    /// with what the lost response said.
    ///
    /// A key id that is not known any more means the current key: both texts would be accepted, because the
    /// store decides by the generation.
    pub fn encode(&self, token: &RefreshToken, key_id: u8) -> SecretText {
        let (key_id, key) = match self.key(key_id) {
            Some(key) => (key_id, key),
            None => (self.current.0, &self.current.1),
        };
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        bytes[0] = VERSION;
        bytes[1] = key_id;
        bytes[2..18].copy_from_slice(&token.owner.0);
        bytes[18..34].copy_from_slice(&token.grant.0);
        bytes[34..38].copy_from_slice(&token.generation.to_be_bytes());
        bytes[38..62].copy_from_slice(token.family_secret.0.as_ref());
        let tag = mac(key, &bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&tag.as_ref()[..MAC_BYTES]);

        let mut text = String::with_capacity(PREFIX.len() + TOKEN_CHARACTERS);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes.as_ref(), &mut text);
        SecretText::new(text)
    }

    /// Reads a token that we issued; `None` for everything else. No store is asked, so garbage costs no
    /// I/O and nobody can touch a grant by guessing its id.
    pub fn decode(&self, text: &str) -> Option<RefreshToken> {
        let encoded = text.strip_prefix(PREFIX).filter(|encoded| encoded.len() == TOKEN_CHARACTERS)?;
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, bytes.as_mut()).ok()?;
        if length != TOKEN_BYTES || bytes[0] != VERSION {
            return None;
        }
        let (body, tag) = bytes.split_at(BODY_BYTES);
        let expected = mac(self.key(body[1])?, body);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..MAC_BYTES], tag).ok()?;

        let part = |range: std::ops::Range<usize>| body.get(range);
        Some(RefreshToken {
            owner: OwnerId(part(2..18)?.try_into().ok()?),
            grant: GrantId(part(18..34)?.try_into().ok()?),
            generation: u32::from_be_bytes(part(34..38)?.try_into().ok()?),
            family_secret: FamilySecret(Zeroizing::new(part(38..62)?.try_into().ok()?)),
        })
    }
}

fn mac(key: &hmac::Key, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(b"rt1");
    context.update(body);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> RefreshToken {
        RefreshToken {
            owner: OwnerId(random_bytes()),
            grant: GrantId::random(),
            generation: 7,
            family_secret: FamilySecret::random(),
        }
    }

    #[test]
    fn the_same_token_is_the_same_text_on_every_node() {
        let secret = ServerSecret::generate();
        let (node_a, node_b) = (RefreshTokenKeys::new(&secret, &[]), RefreshTokenKeys::new(&secret, &[]));
        let token = token();
        let text = node_a.encode(&token, secret.key_id());
        assert_eq!(text.expose(), node_b.encode(&token, secret.key_id()).expose());
        let read = node_b.decode(text.expose()).unwrap();
        assert_eq!((read.owner, read.grant, read.generation), (token.owner, token.grant, 7));
        assert_eq!(read.family_secret.hash(), token.family_secret.hash());
    }

    #[test]
    fn a_token_changed_in_any_character_is_refused() {
        let secret = ServerSecret::generate();
        let keys = RefreshTokenKeys::new(&secret, &[]);
        let text = keys.encode(&token(), secret.key_id());
        for i in 0..text.expose().len() {
            let mut changed = text.expose().as_bytes().to_vec();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            assert!(keys.decode(std::str::from_utf8(&changed).unwrap()).is_none(), "character {i}");
        }
        assert!(keys.decode(&format!("{}=", text.expose())).is_none());
        assert!(keys.decode(&format!(" {}", text.expose())).is_none());
        assert!(keys.decode("").is_none());
    }

    #[test]
    fn tokens_of_an_older_secret_verify_while_it_is_kept() {
        let (old, new) = (ServerSecret::generate(), ServerSecret::generate());
        let text = RefreshTokenKeys::new(&old, &[]).encode(&token(), old.key_id());
        assert!(RefreshTokenKeys::new(&new, &[]).decode(text.expose()).is_none());
        assert!(RefreshTokenKeys::new(&new, &[old]).decode(text.expose()).is_some());
    }
}
