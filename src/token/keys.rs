//! The signing keys: made on first start, sealed in the store, published as a JWK set
//! ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)).
//!
//! Not here: what is signed, see `token/access_token.rs`.

use std::{collections::HashMap, fmt};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use zeroize::Zeroizing;

use crate::{
    config::SigningAlgorithm,
    secret::{SealingKey, ServerSecret},
    store::{SealedKey, Store, StoreError},
};

/// Why the signing keys can't be used: for the operator, at start.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store can't answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys were sealed under another secret.
    #[error(
        "signing key {0} does not open under this secret: start with the secret it was made with (secret or secret_file), or with an empty store"
    )]
    Sealed(u32),
    /// The cryptographic library refuses.
    #[error("signing key: {0}")]
    Broken(String),
}

/// The key that signs, and the set that verifiers see.
pub struct SigningKeys {
    header: Header,
    key: EncodingKey,
    jwks: JwkSet,
    verifying: HashMap<String, (SigningAlgorithm, DecodingKey)>,
    algorithm: SigningAlgorithm,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(redacted)")
    }
}

impl SigningKeys {
    /// Loads the keys, or makes the first one. Nodes that start at the same moment end up with the same key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn load(store: &dyn Store, secret: &ServerSecret, algorithm: SigningAlgorithm) -> Result<Self, KeyError> {
        let seal = secret.sealing_key(b"signing keys");
        let mut stored = store.signing_keys().await?;
        if stored.is_empty() {
            store.add_signing_key(&generate(&seal, 1, algorithm, store)?).await?;
            stored = store.signing_keys().await?;
            tracing::info!(?algorithm, "made the first signing key");
        }
        let mut loaded = Vec::with_capacity(stored.len());
        for sealed in &stored {
            loaded.push(open(&seal, sealed)?);
        }
        let mut verifying = HashMap::with_capacity(loaded.len());
        for (_, jwk, algorithm) in &loaded {
            let key = DecodingKey::from_jwk(jwk).map_err(|error| KeyError::Broken(error.to_string()))?;
            verifying.extend(jwk.common.key_id.clone().map(|id| (id, (*algorithm, key))));
        }
        let jwks = JwkSet { keys: loaded.iter().map(|(_, jwk, _)| jwk.clone()).collect() };
        let (key, jwk, algorithm) = loaded.pop().ok_or_else(|| KeyError::Broken("the store kept no key".into()))?;
        let mut header = Header::new(jose(algorithm));
        // RFC 9068 §2.1: no other kind of JWT can be taken for an access token.
        header.typ = Some("at+jwt".into());
        header.kid = jwk.common.key_id;
        Ok(Self { header, key, jwks, verifying, algorithm })
    }

    /// Signs claims as an access token.
    ///
    /// # Errors
    /// The library's text, for the log; the client sees `server_error`.
    pub fn sign(&self, claims: &impl serde::Serialize) -> Result<String, String> {
        jsonwebtoken::encode(&self.header, claims, &self.key).map_err(|error| error.to_string())
    }

    /// The public keys, as JSON.
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::to_value(&self.jwks).unwrap_or_default()
    }

    /// The key of this id, and the one algorithm that it is for.
    pub(super) fn verifying(&self, id: &str) -> Option<(SigningAlgorithm, &DecodingKey)> {
        self.verifying.get(id).map(|(algorithm, key)| (*algorithm, key))
    }

    /// The algorithm of new tokens.
    pub const fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
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

fn generate(
    seal: &SealingKey,
    slot: u32,
    algorithm: SigningAlgorithm,
    store: &dyn Store,
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
        created_at: store.now(),
    })
}

fn open(seal: &SealingKey, stored: &SealedKey) -> Result<(EncodingKey, Jwk, SigningAlgorithm), KeyError> {
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
    let key = match algorithm {
        SigningAlgorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
        SigningAlgorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
        SigningAlgorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
    }
    .map_err(|error| broken(&error))?;
    let mut jwk = Jwk::from_encoding_key(&key, jose(algorithm)).map_err(|error| broken(&error))?;
    jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).map_err(|error| broken(&error))?);
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok((key, jwk, algorithm))
}
