//! One signing key: made, sealed, opened.
//!
//! Not here: which key signs when, see `keys.rs`.

use std::fmt;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, VerificationAlgorithm,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use zeroize::Zeroizing;

use crate::{
    clock::Timestamp,
    config::SigningAlgorithm,
    secret::SealingKey,
    store::{SealedKey, StoreError},
};

/// Room for the claims of most tokens.
const CLAIMS_BYTES: usize = 512;
/// Of the two short algorithms; RS256 has more.
const SIGNATURE_BYTES: usize = 64;

/// Why the signing keys can't be used: for the operator.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store can't answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has none.
    #[error(
        "keys: the store holds no signing keys. If it is new, start once with: regrant serve --init-keys. If it is not, it has lost them: restore it, because new keys would make every access token invalid and hide the loss"
    )]
    None,
    /// The keys were sealed under another secret.
    #[error(
        "signing key {0} does not open under this secret: start with the secret it was made with (secret or secret_file, or among other_secret_files), or with an empty store"
    )]
    Sealed(u32),
    /// The cryptographic library refuses.
    #[error("signing key: {0}")]
    Broken(String),
}

/// A private key, parsed once: `jsonwebtoken` would parse and check it for every token, which costs more than the signature.
enum SigningKey {
    ES256(EcdsaKeyPair),
    EdDSA(Ed25519KeyPair),
    RS256(RsaKeyPair),
}

impl SigningKey {
    fn parse(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, aws_lc_rs::error::KeyRejected> {
        Ok(match algorithm {
            SigningAlgorithm::ES256 => Self::ES256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)?),
            SigningAlgorithm::EdDSA => Self::EdDSA(Ed25519KeyPair::from_pkcs8(pkcs8)?),
            SigningAlgorithm::RS256 => Self::RS256(RsaKeyPair::from_pkcs8(pkcs8)?),
        })
    }

    /// The public half, parsed once as well.
    fn public(&self) -> Result<ParsedPublicKey, aws_lc_rs::error::KeyRejected> {
        let (algorithm, bytes): (&'static dyn VerificationAlgorithm, &[u8]) = match self {
            Self::ES256(pair) => (&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()),
            Self::EdDSA(pair) => (&ED25519, pair.public_key().as_ref()),
            Self::RS256(pair) => (&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()),
        };
        ParsedPublicKey::new(algorithm, bytes)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::ES256(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::EdDSA(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::RS256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

/// A key out of its seal.
pub(super) struct OpenKey {
    pub(super) sealed: SealedKey,
    pub(super) id: String,
    pub(super) algorithm: SigningAlgorithm,
    /// The first part of every JWT that it signs, with its dot.
    header: String,
    signing: SigningKey,
    verifying: ParsedPublicKey,
    pub(super) jwk: Jwk,
}

impl OpenKey {
    /// The claims as a signed JWT, in the compact form of [RFC 7515 §7.1](https://www.rfc-editor.org/rfc/rfc7515#section-7.1).
    pub(super) fn sign(&self, claims: &impl serde::Serialize) -> Result<String, String> {
        let mut text = Vec::with_capacity(CLAIMS_BYTES);
        serde_json::to_writer(&mut text, claims).map_err(|error| error.to_string())?;
        let mut token = String::with_capacity(self.header.len() + (text.len() + SIGNATURE_BYTES) * 4 / 3 + 8);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(text, &mut token);
        let signature = self.signing.sign(token.as_bytes()).map_err(|error| error.to_string())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Whether a signature is this key's.
    pub(super) fn verifies(&self, signed: &str, signature: &[u8]) -> bool {
        self.verifying.verify_sig(signed.as_bytes(), signature).is_ok()
    }
}

impl SigningAlgorithm {
    const ALL: [Self; 3] = [Self::ES256, Self::EdDSA, Self::RS256];

    /// The name that JOSE gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
        }
    }
}

pub(super) const fn jose(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::ES256 => Algorithm::ES256,
        SigningAlgorithm::EdDSA => Algorithm::EdDSA,
        SigningAlgorithm::RS256 => Algorithm::RS256,
    }
}

/// Binds a sealed key to its place and algorithm.
fn context(slot: u32, algorithm: &str) -> Vec<u8> {
    format!("signing key {slot} {algorithm}").into_bytes()
}

/// A new key, which signs from then on.
pub(super) fn generate(
    seal: &SealingKey,
    slot: u32,
    algorithm: SigningAlgorithm,
    now: Timestamp,
    active_from: Timestamp,
) -> Result<SealedKey, KeyError> {
    let broken = |error: &dyn fmt::Display| KeyError::Broken(error.to_string());
    let pkcs8 = match algorithm {
        SigningAlgorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| pair.to_pkcs8v1())
            .map(|document| Zeroizing::new(document.as_ref().to_vec())),
        SigningAlgorithm::EdDSA => Ed25519KeyPair::generate()
            .and_then(|pair| pair.to_pkcs8v1())
            .map(|document| Zeroizing::new(document.as_ref().to_vec())),
        SigningAlgorithm::RS256 => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|pair| AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair))
            .map(|document| Zeroizing::new(document.as_ref().to_vec())),
    }
    .map_err(|error| broken(&error))?;
    Ok(SealedKey {
        slot,
        algorithm: algorithm.as_str().to_owned(),
        sealed: seal.seal(&pkcs8, &context(slot, algorithm.as_str())),
        created_at: now,
        active_from,
    })
}

pub(super) fn open(seal: &SealingKey, stored: &SealedKey) -> Result<OpenKey, KeyError> {
    let broken = |error: &dyn fmt::Display| KeyError::Broken(format!("{}: {error}", stored.slot));
    let algorithm = SigningAlgorithm::ALL
        .into_iter()
        .find(|known| known.as_str() == stored.algorithm)
        .ok_or_else(|| broken(&"unknown algorithm"))?;
    let pkcs8 = seal
        .open(&stored.sealed, &context(stored.slot, &stored.algorithm))
        .map_err(|_| KeyError::Sealed(stored.slot))?;
    let pem = Zeroizing::new(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(pkcs8.as_slice())
    ));
    let encoding = match algorithm {
        SigningAlgorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
        SigningAlgorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
        SigningAlgorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
    }
    .map_err(|error| broken(&error))?;
    let mut jwk = Jwk::from_encoding_key(&encoding, jose(algorithm)).map_err(|error| broken(&error))?;
    let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|error| broken(&error))?;
    jwk.common.key_id = Some(id.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    let mut header = Header::new(jose(algorithm));
    // RFC 9068 §2.1: no other kind of JWT can be taken for an access token.
    header.typ = Some("at+jwt".into());
    header.kid = Some(id.clone());
    let header = serde_json::to_vec(&header).map_err(|error| broken(&error))?;
    let header = format!("{}.", URL_SAFE_NO_PAD.encode(header));
    let signing = SigningKey::parse(algorithm, &pkcs8).map_err(|error| broken(&error))?;
    let verifying = signing.public().map_err(|error| broken(&error))?;
    Ok(OpenKey { sealed: stored.clone(), id, algorithm, header, signing, verifying, jwk })
}
