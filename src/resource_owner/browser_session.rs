//! Browser sessions: a resource owner who signed in on a page of ours, and the text of the cookie that says so.
//!
//! Not here: the cookie itself, see `http/browser.rs`; what the store keeps, see `store/sessions.rs`.

use aws_lc_rs::hmac;

use super::AuthenticatedOwner;
use crate::{
    clock::Timestamp,
    config::Lifetimes,
    ids::{SessionId, Username},
    secret::{SecretText, ServerSecret},
    store::{NewSession, Origin, SessionBeginning, Store, StoreError},
    token::envelope::{Envelope, EnvelopeKeys, EnvelopeSecret, Kind},
};

const KIND: Kind = Kind { prefix: "bs_", domain: b"bs1", purpose: b"browser sessions" };

/// A browser whose resource owner is signed in.
#[derive(Debug)]
pub struct BrowserSession {
    /// Its identifier.
    pub id: SessionId,
    /// Who is signed in.
    pub owner: AuthenticatedOwner,
    /// Their name.
    pub username: Username,
    /// When they signed in.
    pub signed_in_at: Timestamp,
    /// The store's time.
    pub now: Timestamp,
}

/// Begins and finds browser sessions.
#[derive(Debug)]
pub struct BrowserSessions {
    keys: EnvelopeKeys,
    form_key: hmac::Key,
    idle_ms: i64,
    absolute_ms: i64,
}

impl BrowserSessions {
    /// Derives the keys.
    pub fn new(lifetimes: &Lifetimes, secret: &ServerSecret) -> Self {
        Self {
            keys: EnvelopeKeys::new(KIND, secret),
            form_key: secret.mac_key(b"forms"),
            idle_ms: i64::from(lifetimes.session_idle_seconds) * 1000,
            absolute_ms: i64::from(lifetimes.session_absolute_seconds) * 1000,
        }
    }

    /// The key of the tokens in forms.
    pub const fn form_key(&self) -> &hmac::Key {
        &self.form_key
    }

    /// Begins a session and returns the text of its cookie: always a new one, so that an id from before the sign-in is
    /// worth nothing. `None` when the owner has changed since their password was checked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin(
        &self,
        owner: &AuthenticatedOwner,
        origin: Origin,
        store: &dyn Store,
    ) -> Result<Option<SecretText>, StoreError> {
        let secret = EnvelopeSecret::random();
        let mut session = NewSession {
            id: SessionId::random(),
            owner: owner.id(),
            owner_epoch: owner.epoch(),
            secret_hash: secret.hash(),
            idle_ms: self.idle_ms,
            absolute_ms: self.absolute_ms,
            origin,
            deadline: store.deadline(),
        };
        for _ in 0..2 {
            match store.begin_session(&session).await? {
                SessionBeginning::Stored => {
                    let envelope = Envelope { owner: session.owner, record: session.id.0, counter: 0, secret };
                    return Ok(Some(self.keys.seal(&envelope, self.keys.current_id())));
                }
                SessionBeginning::OwnerChanged => return Ok(None),
                // The store's clock is ahead of our guess; the answer has corrected it.
                SessionBeginning::TooLate { .. } => session.deadline = store.deadline(),
            }
        }
        Err(StoreError::Unavailable("the store keeps answering after the deadline".into()))
    }

    /// The session that a cookie names; `None` when it has ended or is not ours.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, cookie: &str, store: &dyn Store) -> Result<Option<BrowserSession>, StoreError> {
        let Some(Envelope { owner, record, secret, .. }) = self.keys.open(cookie) else { return Ok(None) };
        let id = SessionId(record);
        let live = store.use_session(owner, id, secret.hash()).await?;
        Ok(live.map(|live| BrowserSession {
            id,
            owner: AuthenticatedOwner { id: owner, epoch: live.owner_epoch, subject: live.subject },
            username: live.username,
            signed_in_at: live.signed_in_at,
            now: live.now,
        }))
    }
}
