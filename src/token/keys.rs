//! The signing keys: sealed in the store, published as a JWK set ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)), and
//! replaced without a token that nobody can verify.
//!
//! A key is published [`PUBLISHED_AHEAD_MS`] before it signs, so that every cached set holds it by then. It signs until the
//! next one does, and stays published until the last of its tokens has expired. Each of these times follows from when the
//! keys sign, so there is no state that two nodes could disagree about.
//!
//! Not here: what is signed, see `token/access_token.rs`; how a key is made and opened, see `key_material.rs`.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

use jsonwebtoken::jwk::JwkSet;

pub use super::key_material::KeyError;
use super::key_material::{OpenKey, generate, open};
use crate::{
    clock::Timestamp,
    config::{Config, SigningAlgorithm},
    secret::{SealingKey, ServerSecret},
    store::{Created, SealedKey, Store, StoreError},
    telemetry::AUDIT,
};

/// How long a key is published before it signs, milliseconds: verifiers may keep the set for an hour, see `http/metadata.rs`.
pub const PUBLISHED_AHEAD_MS: i64 = 65 * 60_000;
/// How long a retired key stays published at least, milliseconds: access tokens may have lived longer before a setting
/// changed.
const RETIRED_AT_LEAST_MS: i64 = 24 * 3_600_000;
/// On top of the life of access tokens, milliseconds: clocks differ.
const LEEWAY_MS: i64 = 5 * 60_000;
/// How soon the store is asked again for whoever meets a key that this node does not know, milliseconds.
const LOOK_AGAIN_MS: i64 = 1_000;
const DAY_MS: i64 = 24 * 3_600_000;

/// What to do when the store has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstKey {
    /// Make one: the store is new.
    Make,
    /// Refuse to start: the store may have lost its keys, and tokens under new ones would hide that.
    Refuse,
}

/// What a key does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, signs later.
    Next,
    /// Signs.
    Active,
    /// Verifies what it signed.
    Retired,
    /// Nothing that it signed is alive.
    Spent,
}

impl KeyState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Spent => "spent",
        }
    }
}

/// The key that signs, and the set that verifiers see.
pub struct SigningKeys {
    seal: SealingKey,
    algorithm: SigningAlgorithm,
    /// 0 for never.
    period_ms: i64,
    retired_ms: i64,
    ring: RwLock<Arc<Vec<OpenKey>>>,
    /// When [`look_again`](Self::look_again) asked the store, milliseconds.
    looked_at: AtomicI64,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(redacted)")
    }
}

impl SigningKeys {
    /// Loads the keys. Nodes that make the first one at the same moment end up with the same.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn load(
        store: &dyn Store,
        secret: &ServerSecret,
        config: &Config,
        first: FirstKey,
    ) -> Result<Self, KeyError> {
        let keys = Self {
            seal: Self::sealing_key(secret),
            algorithm: config.signing_algorithm,
            period_ms: i64::from(config.signing_key_days) * DAY_MS,
            retired_ms: (i64::from(config.lifetimes.access_token_seconds) * 1000).max(RETIRED_AT_LEAST_MS) + LEEWAY_MS,
            ring: RwLock::default(),
            looked_at: AtomicI64::default(),
        };
        let mut stored = store.signing_keys().await?;
        if stored.is_empty() {
            if first == FirstKey::Refuse {
                return Err(KeyError::None);
            }
            keys.add(&stored, Timestamp(0), store).await?;
            stored = store.signing_keys().await?;
            tracing::info!(target: AUDIT, algorithm = keys.algorithm.as_str(), "made the first signing key");
        }
        keys.take(&stored)?;
        Ok(keys)
    }

    fn sealing_key(secret: &ServerSecret) -> SealingKey {
        secret.sealing_key(b"signing keys")
    }

    /// Whether a key opens under this secret, or under another that it accepts.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn opens(secret: &ServerSecret, key: &SealedKey) -> Result<(), KeyError> {
        open(&Self::sealing_key(secret), key).map(drop)
    }

    /// Adds the key after all that were stored when that was decided. Of two nodes that do so at once, one does.
    ///
    /// # Errors
    /// [`KeyError`].
    async fn add(&self, stored: &[SealedKey], active_from: Timestamp, store: &dyn Store) -> Result<Created, KeyError> {
        let slot = stored.last().map_or(1, |newest| newest.slot.saturating_add(1));
        let new = generate(&self.seal, slot, self.algorithm, store.now(), active_from)?;
        Ok(store.add_signing_key(&new).await?)
    }

    /// Publishes the next key; it signs after [`PUBLISHED_AHEAD_MS`]. Nothing happens while there is one already.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn rotate(&self, store: &dyn Store) -> Result<Created, KeyError> {
        let (stored, now) = (store.signing_keys().await?, store.now());
        if stored.last().is_some_and(|newest| now < newest.active_from) {
            return Ok(Created::Exists);
        }
        let created = self.add(&stored, now.plus(PUBLISHED_AHEAD_MS), store).await?;
        self.take(&store.signing_keys().await?)?;
        Ok(created)
    }

    /// Replaces all keys at once, because somebody else has one. Every access token that they signed is refused from now
    /// on; refresh tokens are not concerned.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn replace_compromised(&self, store: &dyn Store) -> Result<(), KeyError> {
        let before = store.signing_keys().await?;
        self.add(&before, store.now(), store).await?;
        for key in before {
            store.remove_signing_key(key.slot).await?;
        }
        self.take(&store.signing_keys().await?)
    }

    /// What each node does now and then: publishes the next key when it is due, forgets spent ones, and takes over what
    /// other nodes changed.
    ///
    /// # Errors
    /// [`KeyError`]; the keys of before stay in use.
    pub async fn maintain(&self, store: &dyn Store) -> Result<(), KeyError> {
        let (stored, now) = (store.signing_keys().await?, store.now());
        let Some(newest) = stored.last() else { return Err(KeyError::None) };
        // The first key's time is 0: it signed from the start.
        let signs_from = newest.active_from.max(newest.created_at);
        if self.period_ms > 0
            && now >= signs_from.plus(self.period_ms - PUBLISHED_AHEAD_MS)
            && self.add(&stored, now.plus(PUBLISHED_AHEAD_MS), store).await? == Created::Stored
        {
            tracing::info!(target: AUDIT, "published the next signing key");
        }
        for (index, key) in stored.iter().enumerate() {
            if self.state(&stored, index, now) == KeyState::Spent {
                store.remove_signing_key(key.slot).await?;
                tracing::info!(target: AUDIT, slot = key.slot, "forgot a spent signing key");
            }
        }
        self.take(&store.signing_keys().await?)
    }

    /// Takes over what other nodes changed, at most once a second: for those who ask for the keys because they met one that they
    /// don't know. Without it a node would deny keys that replaced compromised ones, until it looks by itself.
    pub async fn look_again(&self, store: &dyn Store) {
        let (now, before) = (store.now().0, self.looked_at.load(Ordering::Relaxed));
        if (0..LOOK_AGAIN_MS).contains(&now.saturating_sub(before)) {
            return;
        }
        self.looked_at.store(now, Ordering::Relaxed);
        let looked = match store.signing_keys().await {
            Ok(stored) => self.take(&stored),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = looked {
            tracing::warn!(%error, "the signing keys could not be looked at");
        }
    }

    /// The keys of the store with what each does now, oldest first.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn list(&self, store: &dyn Store) -> Result<Vec<(SealedKey, String, KeyState)>, KeyError> {
        let (stored, now) = (store.signing_keys().await?, store.now());
        let described = stored.iter().enumerate().map(|(index, key)| {
            let id = open(&self.seal, key)?.id;
            Ok((key.clone(), id, self.state(&stored, index, now)))
        });
        described.collect()
    }

    fn state(&self, stored: &[SealedKey], index: usize, now: Timestamp) -> KeyState {
        state(|index| stored.get(index).map(|key| key.active_from), index, self.retired_ms, now)
    }

    fn take(&self, stored: &[SealedKey]) -> Result<(), KeyError> {
        let known = self.ring();
        if known.len() == stored.len() && known.iter().zip(stored).all(|(known, stored)| known.sealed == *stored) {
            return Ok(());
        }
        let opened = stored.iter().map(|key| open(&self.seal, key)).collect::<Result<Vec<_>, _>>()?;
        if opened.is_empty() {
            return Err(KeyError::None);
        }
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(opened);
        Ok(())
    }

    fn ring(&self) -> Arc<Vec<OpenKey>> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Signs claims as an access token.
    ///
    /// # Errors
    /// A text for the log; the client sees `server_error`.
    pub fn sign(&self, claims: &impl serde::Serialize, now: Timestamp) -> Result<String, String> {
        let ring = self.ring();
        let key = ring.iter().rfind(|key| key.sealed.active_from <= now).or(ring.first()).ok_or("no signing key")?;
        key.sign(claims)
    }

    /// The public keys, as JSON.
    pub fn jwks(&self, now: Timestamp) -> serde_json::Value {
        let ring = self.ring();
        let keys = self.published(&ring, now).map(|key| key.jwk.clone()).collect();
        serde_json::to_value(JwkSet { keys }).unwrap_or_default()
    }

    /// Whether the key of this id signed a text, under the one algorithm that it is for; `None` for a key that is not
    /// published.
    pub(super) fn verify(
        &self,
        (id, algorithm): (&str, &str),
        signed: &str,
        signature: &[u8],
        now: Timestamp,
    ) -> Option<bool> {
        let ring = self.ring();
        let key = self.published(&ring, now).find(|key| key.id == id)?;
        Some(key.algorithm.as_str() == algorithm && key.verifies(signed, signature))
    }

    fn published<'a>(&self, ring: &'a [OpenKey], now: Timestamp) -> impl Iterator<Item = &'a OpenKey> {
        let signs_from = |index: usize| ring.get(index).map(|key| key.sealed.active_from);
        let retired_ms = self.retired_ms;
        let spent = move |index| state(signs_from, index, retired_ms, now) == KeyState::Spent;
        ring.iter().enumerate().filter(move |(index, _)| !spent(*index)).map(|(_, key)| key)
    }

    /// How long the key that signs has done so, seconds.
    pub fn age_seconds(&self, now: Timestamp) -> i64 {
        let ring = self.ring();
        let active = ring.iter().rfind(|key| key.sealed.active_from <= now).or(ring.first());
        active.map_or(0, |key| now.since(key.sealed.active_from.max(key.sealed.created_at)).max(0) / 1000)
    }
}

/// What the key of an index does, given when each signs from.
fn state(signs_from: impl Fn(usize) -> Option<Timestamp>, index: usize, retired_ms: i64, now: Timestamp) -> KeyState {
    match (signs_from(index), signs_from(index + 1)) {
        (_, Some(next)) if now >= next.plus(retired_ms) => KeyState::Spent,
        (_, Some(next)) if now >= next => KeyState::Retired,
        (Some(from), _) if now >= from || index == 0 => KeyState::Active,
        _ => KeyState::Next,
    }
}

/// Reads the store's error out of a key's: a node that can't reach its store goes on with the keys it has.
impl From<KeyError> for StoreError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error,
            other => Self::Corrupt(other.to_string()),
        }
    }
}
