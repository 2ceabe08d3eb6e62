//! The authorization code's text, and what it becomes.
//!
//! Not here: what a presented code leads to, see `store/redeem.rs`; the MAC that makes it ours, see `envelope.rs`.

use super::envelope::{Envelope, EnvelopeKeys, EnvelopeSecret, Kind};
use crate::{
    error::{InvalidGrant, TokenError},
    ids::{GrantId, OwnerId},
    secret::{SecretText, ServerSecret},
    store::{CodeCreation, LiveGrant, NewCode, PresentedCode, Redemption, Store, StoreError},
};

const KIND: Kind = Kind { prefix: "ac_", domain: b"ac1", purpose: b"authorization codes" };

/// An authorization code whose MAC is right: this deployment issued it.
#[derive(Clone, Debug)]
pub struct AuthorizationCode {
    /// The owner who consented.
    pub owner: OwnerId,
    /// The grant that it may become.
    pub grant: GrantId,
    /// Its secret.
    pub secret: EnvelopeSecret,
}

/// The MAC keys of authorization codes.
#[derive(Debug)]
pub struct AuthorizationCodeKeys(EnvelopeKeys);

impl AuthorizationCodeKeys {
    /// Derives the keys.
    pub fn new(secret: &ServerSecret) -> Self {
        Self(EnvelopeKeys::new(KIND, secret))
    }

    /// Reads a code that we issued; `None` for everything else, without asking the store.
    pub fn decode(&self, text: &str) -> Option<AuthorizationCode> {
        let Envelope { owner, record, secret, .. } = self.0.open(text)?;
        Some(AuthorizationCode { owner, grant: GrantId(record), secret })
    }

    /// Stores a code and gives its text. `secret` is the one whose hash is in `new`. `None` when the owner has changed
    /// since they signed in.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn issue(
        &self,
        mut new: NewCode,
        secret: EnvelopeSecret,
        store: &dyn Store,
    ) -> Result<Option<SecretText>, StoreError> {
        for _ in 0..2 {
            match store.create_code(&new).await? {
                CodeCreation::Stored => {
                    let envelope = Envelope { owner: new.owner, record: new.grant.0, counter: 0, secret };
                    return Ok(Some(self.0.seal(&envelope, self.0.current_id())));
                }
                CodeCreation::OwnerChanged => return Ok(None),
                // The store's clock is ahead of our guess; the answer has corrected it.
                CodeCreation::TooLate { .. } => new.deadline = store.deadline(),
            }
        }
        Err(StoreError::Unavailable("the store keeps answering after the deadline".into()))
    }
}

/// Redeems a code, once more when the store's clock is ahead of our guess.
pub(super) async fn redeem(presented: &mut PresentedCode, store: &dyn Store) -> Result<LiveGrant, TokenError> {
    for _ in 0..2 {
        match store.redeem(presented).await? {
            Redemption::Redeemed(live) => return Ok(live),
            Redemption::Replayed => return Err(TokenError::InvalidGrant(InvalidGrant::CodeReplayed)),
            Redemption::Refused(refusal) => return Err(TokenError::InvalidGrant(InvalidGrant::Code(refusal))),
            Redemption::TooLate { .. } => presented.deadline = store.deadline(),
        }
    }
    Err(TokenError::TemporarilyUnavailable("the store keeps answering after the deadline".into()))
}
