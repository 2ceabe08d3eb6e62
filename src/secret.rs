//! Secrets: redacted types, and the keys that are derived from the server's one secret.
//!
//! Not here: passwords of people and their hashes, see `resource_owner/password.rs`.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    constant_time::verify_slices_are_equal,
    digest, hkdf, hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::random_bytes;

/// A secret text that came from outside: shown nowhere, wiped when dropped.
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Every use of a secret is found by searching for this name.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

/// SHA-256 of a client secret. The secrets are 256 random bits, so nothing slower is needed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientSecretHash(String);

impl ClientSecretHash {
    /// The hash to store for a secret.
    pub fn of(secret: &SecretText) -> Self {
        Self(URL_SAFE_NO_PAD.encode(sha256(secret.expose().as_bytes())))
    }

    /// A hash that no secret has, to compare with when the client is unknown: the answer then takes the
    /// same time.
    pub fn of_nobody() -> Self {
        Self(URL_SAFE_NO_PAD.encode([0; 32]))
    }

    /// Whether `secret` is the one that was hashed, in constant time.
    pub fn matches(&self, secret: &SecretText) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), Self::of(secret).0.as_bytes()).is_ok()
    }
}

impl fmt::Debug for ClientSecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecretHash(redacted)")
    }
}

/// A new client secret: 256 random bits under a prefix that secret scanners can find.
pub fn generate_client_secret() -> SecretText {
    SecretText::new(format!("cs_{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>())))
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// The secret of the server, 32 bytes, and others that are accepted but make nothing new: the one before, or the next one
/// while the nodes are given it. All nodes of one deployment share it; no store holds it.
pub struct ServerSecret {
    bytes: Zeroizing<[u8; 32]>,
    others: Vec<Self>,
}

/// Says what the server's secret must look like.
#[derive(Debug, thiserror::Error)]
pub enum InvalidServerSecret {
    /// Not 43 characters of base64url, or not 32 bytes.
    #[error(
        "the secret is 32 random bytes in base64url (43 characters); make one with: openssl rand 32 | basenc --base64url | tr -d '='"
    )]
    Form,
    /// Bytes that no random generator gives.
    #[error("the secret is not random; make one with: openssl rand 32 | basenc --base64url | tr -d '='")]
    Weak,
    /// Two secrets whose tokens can't be told apart.
    #[error("two of the secrets have the same key id (1 in 256 have); make another one")]
    SameId,
}

impl ServerSecret {
    /// A new secret.
    pub fn generate() -> Self {
        Self { bytes: Zeroizing::new(random_bytes()), others: vec![] }
    }

    /// The same secret, which accepts what others made.
    ///
    /// # Errors
    /// [`InvalidServerSecret::SameId`].
    pub fn accepting(mut self, others: Vec<Self>) -> Result<Self, InvalidServerSecret> {
        let mut ids: Vec<u8> = others.iter().chain([&self]).map(Self::key_id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(InvalidServerSecret::SameId);
        }
        self.others = others;
        Ok(self)
    }

    /// This secret, then the others that are accepted.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.others)
    }

    /// Reads base64url text, with or without padding.
    ///
    /// # Errors
    /// [`InvalidServerSecret`] when it isn't 32 bytes, or when they are plainly not random.
    pub fn parse(text: &str) -> Result<Self, InvalidServerSecret> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| InvalidServerSecret::Form)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| InvalidServerSecret::Form)?;
        // 32 random bytes hold fewer than 16 different values with a chance below 2^-70.
        let mut distinct = bytes;
        distinct.sort_unstable();
        let changes = distinct.windows(2).filter(|pair| pair[0] != pair[1]).count();
        if changes < 15 {
            return Err(InvalidServerSecret::Weak);
        }
        Ok(Self { bytes: Zeroizing::new(bytes), others: vec![] })
    }

    /// The base64url form, to write to a secret file.
    pub fn to_text(&self) -> SecretText {
        SecretText::new(URL_SAFE_NO_PAD.encode(self.bytes.as_ref()))
    }

    /// One byte that says which secret made a token, so that older secrets can be kept while newer ones
    /// mint.
    pub fn key_id(&self) -> u8 {
        let mut id = [0; 1];
        self.derive(b"key id", &mut id);
        id[0]
    }

    /// A MAC key for one purpose.
    pub fn mac_key(&self, purpose: &'static [u8]) -> hmac::Key {
        let mut bytes = Zeroizing::new([0; 32]);
        self.derive(purpose, bytes.as_mut());
        hmac::Key::new(hmac::HMAC_SHA256, bytes.as_ref())
    }

    /// An encryption key for one purpose.
    pub fn sealing_key(&self, purpose: &'static [u8]) -> SealingKey {
        let derive = |secret: &Self| {
            let mut bytes = Zeroizing::new([0; 32]);
            secret.derive(purpose, bytes.as_mut());
            (secret.key_id(), aes_key(&bytes))
        };
        SealingKey { current: derive(self), others: self.others.iter().map(derive).collect() }
    }

    fn derive(&self, purpose: &[u8], out: &mut [u8]) {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let info = [b"regrant 1: ".as_slice(), purpose];
        let length = Length(out.len());
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, b"regrant")
            .extract(self.bytes.as_ref())
            .expand(&info, length)
            .and_then(|okm| okm.fill(out));
        #[expect(clippy::expect_used, reason = "HKDF fails only for more than 8,160 bytes")]
        derived.expect("at most 32 bytes are derived");
    }
}

impl fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerSecret(redacted)")
    }
}

fn aes_key(bytes: &[u8; 32]) -> LessSafeKey {
    #[expect(clippy::expect_used, reason = "the length is in the type")]
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes are an AES-256 key"))
}

/// Encrypts what the store must not read: AES-256-GCM with a random nonce, bound to a context.
pub struct SealingKey {
    current: (u8, LessSafeKey),
    others: Vec<(u8, LessSafeKey)>,
}

/// The sealed bytes were changed, moved to another context, or sealed under another secret.
#[derive(Debug, thiserror::Error)]
#[error("the stored ciphertext does not open under this server's secret")]
pub struct Unsealable;

impl SealingKey {
    /// Encrypts and authenticates `plain`; it opens only with the same `context`.
    pub fn seal(&self, plain: &[u8], context: &[u8]) -> Vec<u8> {
        let nonce: [u8; 12] = random_bytes();
        let mut sealed = plain.to_vec();
        let done = self.current.1.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context),
            &mut sealed,
        );
        #[expect(clippy::expect_used, reason = "AES-GCM fails only above 64 GiB")]
        done.expect("a short text is sealed");
        [&[self.current.0], nonce.as_slice(), &sealed].concat()
    }

    /// Whether it was sealed under the current secret.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.first() == Some(&self.current.0)
    }

    /// Decrypts what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// [`Unsealable`].
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let (key_id, rest) = sealed.split_first().ok_or(Unsealable)?;
        let (nonce, ciphertext) = rest.split_at_checked(12).ok_or(Unsealable)?;
        let known = std::iter::once(&self.current).chain(&self.others);
        let (_, key) = known.into_iter().find(|(id, _)| id == key_id).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        let length = key.open_in_place(nonce, Aad::from(context), &mut plain).map_err(|_| Unsealable)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a112_debug_shows_no_secret() {
        let secret = generate_client_secret();
        let shown = format!("{secret:?} {:?} {:?}", ClientSecretHash::of(&secret), ServerSecret::generate());
        assert_eq!(shown, "SecretText(redacted) ClientSecretHash(redacted) ServerSecret(redacted)");
    }

    #[test]
    fn sealed_bytes_open_only_in_their_context_and_under_their_secret() {
        let key = ServerSecret::generate().sealing_key(b"test");
        let sealed = key.seal(b"plain", b"here");
        assert_eq!(key.open(&sealed, b"here").unwrap().as_slice(), b"plain");
        assert!(key.open(&sealed, b"there").is_err());
        assert!(ServerSecret::generate().sealing_key(b"test").open(&sealed, b"here").is_err());
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(key.open(&changed, b"here").is_err(), "byte {i}");
        }
    }

    #[test]
    fn what_another_accepted_secret_sealed_opens_and_nothing_is_sealed_under_it() {
        let old = ServerSecret::parse(&URL_SAFE_NO_PAD.encode(sha256(b"old"))).unwrap();
        let sealed = old.sealing_key(b"test").seal(b"plain", b"here");
        let new = ServerSecret::parse(&URL_SAFE_NO_PAD.encode(sha256(b"new"))).unwrap();
        assert!(new.sealing_key(b"test").open(&sealed, b"here").is_err());
        let both = new.accepting(vec![old]).unwrap().sealing_key(b"test");
        assert_eq!(both.open(&sealed, b"here").unwrap().as_slice(), b"plain");
        assert!(!both.is_current(&sealed) && both.is_current(&both.seal(b"plain", b"here")));
        let secret = ServerSecret::generate();
        let same = ServerSecret::parse(secret.to_text().expose()).unwrap();
        assert!(matches!(secret.accepting(vec![same]), Err(InvalidServerSecret::SameId)));
    }

    #[test]
    fn a_weak_or_malformed_server_secret_is_refused() {
        assert!(matches!(ServerSecret::parse("short"), Err(InvalidServerSecret::Form)));
        assert!(matches!(ServerSecret::parse(&"A".repeat(43)), Err(InvalidServerSecret::Weak)));
        let secret = ServerSecret::generate();
        let read = ServerSecret::parse(secret.to_text().expose()).unwrap();
        assert_eq!(read.key_id(), secret.key_id());
    }
}
