//! The text of everything secret that names a record: a prefix, then base64url of what finds the record, a secret whose
//! hash the record holds, and a MAC that makes it ours.
//!
//! Refresh tokens, authorization codes, device codes and browser sessions share it; each kind has its own prefix and its own key, so
//! that none can be presented as another.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    clock::random_bytes,
    ids::OwnerId,
    secret::{SecretText, ServerSecret, sha256},
};

const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;
/// version 1, key id 1, owner 16, record 16, counter 4, secret 24
const BODY_BYTES: usize = 62;
const TOTAL_BYTES: usize = BODY_BYTES + MAC_BYTES;
/// Exactly this many base64url characters follow the prefix.
const CHARACTERS: usize = TOTAL_BYTES * 4 / 3;

/// 192 random bits. The store knows only their hash.
#[derive(Clone)]
pub struct EnvelopeSecret(Zeroizing<[u8; 24]>);

impl EnvelopeSecret {
    /// A new secret.
    pub fn random() -> Self {
        Self(Zeroizing::new(random_bytes()))
    }

    /// One that is computed from another secret.
    pub fn computed(bytes: [u8; 24]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, to compute another secret from.
    pub(super) fn expose(&self) -> &[u8; 24] {
        &self.0
    }

    /// What the store keeps.
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_ref())
    }
}

impl fmt::Debug for EnvelopeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvelopeSecret(redacted)")
    }
}

/// What an envelope carries.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Whose record it names.
    pub owner: OwnerId,
    /// The record.
    pub record: [u8; 16],
    /// The generation of a refresh token; 0 where nothing counts.
    pub counter: u32,
    /// The secret.
    pub secret: EnvelopeSecret,
}

/// What kind of thing an envelope is.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The beginning of the text, for people and secret scanners.
    pub prefix: &'static str,
    /// What the MAC begins with.
    pub domain: &'static [u8],
    /// What the MAC's key is derived for.
    pub purpose: &'static [u8],
}

/// The MAC keys of one kind: the current one seals, those of other accepted secrets verify.
pub struct EnvelopeKeys {
    kind: Kind,
    current: (u8, hmac::Key),
    others: Vec<(u8, hmac::Key)>,
}

impl fmt::Debug for EnvelopeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvelopeKeys(redacted)")
    }
}

impl EnvelopeKeys {
    /// Derives the keys.
    pub fn new(kind: Kind, secret: &ServerSecret) -> Self {
        let derive = |secret: &ServerSecret| (secret.key_id(), secret.mac_key(kind.purpose));
        Self { kind, current: derive(secret), others: secret.all().skip(1).map(derive).collect() }
    }

    /// The key that seals what is new.
    pub const fn current_id(&self) -> u8 {
        self.current.0
    }

    fn key(&self, id: u8) -> Option<&hmac::Key> {
        std::iter::once(&self.current).chain(&self.others).find(|(known, _)| *known == id).map(|(_, key)| key)
    }

    /// The text. The same envelope and key give the same text on every node.
    ///
    /// A key id that is not known any more means the current key.
    pub fn seal(&self, envelope: &Envelope, key_id: u8) -> SecretText {
        let (key_id, key) = match self.key(key_id) {
            Some(key) => (key_id, key),
            None => (self.current.0, &self.current.1),
        };
        let mut bytes = Zeroizing::new([0; TOTAL_BYTES]);
        bytes[0] = VERSION;
        bytes[1] = key_id;
        bytes[2..18].copy_from_slice(&envelope.owner.0);
        bytes[18..34].copy_from_slice(&envelope.record);
        bytes[34..38].copy_from_slice(&envelope.counter.to_be_bytes());
        bytes[38..62].copy_from_slice(envelope.secret.0.as_ref());
        let tag = self.mac(key, &bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&tag.as_ref()[..MAC_BYTES]);

        let mut text = String::with_capacity(self.kind.prefix.len() + CHARACTERS);
        text.push_str(self.kind.prefix);
        URL_SAFE_NO_PAD.encode_string(bytes.as_ref(), &mut text);
        SecretText::new(text)
    }

    /// Reads what this deployment sealed; `None` for everything else. No store is asked, so garbage costs no I/O and
    /// nobody can touch a record by guessing its id.
    pub fn open(&self, text: &str) -> Option<Envelope> {
        let encoded = text.strip_prefix(self.kind.prefix).filter(|encoded| encoded.len() == CHARACTERS)?;
        let mut bytes = Zeroizing::new([0; TOTAL_BYTES]);
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, bytes.as_mut()).ok()?;
        if length != TOTAL_BYTES || bytes[0] != VERSION {
            return None;
        }
        let (body, tag) = bytes.split_at(BODY_BYTES);
        let expected = self.mac(self.key(body[1])?, body);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..MAC_BYTES], tag).ok()?;

        let part = |range: std::ops::Range<usize>| body.get(range);
        Some(Envelope {
            owner: OwnerId(part(2..18)?.try_into().ok()?),
            record: part(18..34)?.try_into().ok()?,
            counter: u32::from_be_bytes(part(34..38)?.try_into().ok()?),
            secret: EnvelopeSecret(Zeroizing::new(part(38..62)?.try_into().ok()?)),
        })
    }

    fn mac(&self, key: &hmac::Key, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(key);
        context.update(self.kind.domain);
        context.update(body);
        context.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { prefix: "te_", domain: b"te1", purpose: b"tests" };

    fn envelope() -> Envelope {
        Envelope {
            owner: OwnerId(random_bytes()),
            record: random_bytes(),
            counter: 7,
            secret: EnvelopeSecret::random(),
        }
    }

    #[test]
    fn the_same_envelope_is_the_same_text_on_every_node() {
        let secret = ServerSecret::generate();
        let (node_a, node_b) = (EnvelopeKeys::new(KIND, &secret), EnvelopeKeys::new(KIND, &secret));
        let envelope = envelope();
        let text = node_a.seal(&envelope, secret.key_id());
        assert_eq!(text.expose(), node_b.seal(&envelope, secret.key_id()).expose());
        let read = node_b.open(text.expose()).unwrap();
        assert_eq!((read.owner, read.record, read.counter), (envelope.owner, envelope.record, 7));
        assert_eq!(read.secret.hash(), envelope.secret.hash());
    }

    #[test]
    fn a66_a_text_changed_in_any_bit_is_refused() {
        let secret = ServerSecret::generate();
        let keys = EnvelopeKeys::new(KIND, &secret);
        let text = keys.seal(&envelope(), secret.key_id());
        for i in 0..text.expose().len() {
            for bit in 0..8 {
                let mut changed = text.expose().as_bytes().to_vec();
                changed[i] ^= 1 << bit;
                let opened = std::str::from_utf8(&changed).ok().and_then(|changed| keys.open(changed));
                assert!(opened.is_none(), "bit {bit} of character {i}");
            }
        }
        assert!(keys.open(&format!("{}=", text.expose())).is_none());
        assert!(keys.open(&format!(" {}", text.expose())).is_none());
        assert!(keys.open("").is_none());
    }

    #[test]
    fn one_kind_does_not_pass_for_another() {
        let secret = ServerSecret::generate();
        let text = EnvelopeKeys::new(KIND, &secret).seal(&envelope(), secret.key_id());
        let other_domain = Kind { domain: b"te2", ..KIND };
        let other_purpose = Kind { purpose: b"other tests", ..KIND };
        for other in [other_domain, other_purpose] {
            assert!(EnvelopeKeys::new(other, &secret).open(text.expose()).is_none(), "{other:?}");
        }
    }

    #[test]
    fn texts_of_another_secret_verify_while_it_is_accepted() {
        let secret = |name: &[u8]| ServerSecret::parse(&URL_SAFE_NO_PAD.encode(crate::secret::sha256(name))).unwrap();
        let text = EnvelopeKeys::new(KIND, &secret(b"old")).seal(&envelope(), secret(b"old").key_id());
        assert!(EnvelopeKeys::new(KIND, &secret(b"new")).open(text.expose()).is_none());
        let both = secret(b"new").accepting(vec![secret(b"old")]).unwrap();
        assert!(EnvelopeKeys::new(KIND, &both).open(text.expose()).is_some());
    }
}
