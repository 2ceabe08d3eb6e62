//! The refresh token's text: what it carries.
//!
//! Not here: what a presented token leads to, see `store/decide.rs`; the MAC that makes it ours, see `envelope.rs`.

use super::envelope::{Envelope, EnvelopeKeys, EnvelopeSecret, Kind};
use crate::{
    ids::{GrantId, OwnerId},
    secret::{SecretText, ServerSecret},
};

const KIND: Kind = Kind { prefix: "rt_", domain: b"rt1", purpose: b"refresh tokens" };

/// The secret part of every refresh token of one grant.
pub type FamilySecret = EnvelopeSecret;

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

/// The MAC keys of refresh tokens: the current one mints, those of other accepted secrets verify.
#[derive(Debug)]
pub struct RefreshTokenKeys(EnvelopeKeys);

impl RefreshTokenKeys {
    /// Derives the keys.
    pub fn new(secret: &ServerSecret) -> Self {
        Self(EnvelopeKeys::new(KIND, secret))
    }

    /// The key that mints new generations.
    pub const fn current_id(&self) -> u8 {
        self.0.current_id()
    }

    /// The token's text. The same token and key give the same text on every node, so a retry is answered
    /// with what the lost response said.
    ///
    /// A key id that is not known any more means the current key: both texts would be accepted, because the
    /// store decides by the generation.
    pub fn encode(&self, token: &RefreshToken, key_id: u8) -> SecretText {
        let envelope = Envelope {
            owner: token.owner,
            record: token.grant.0,
            counter: token.generation,
            secret: token.family_secret.clone(),
        };
        self.0.seal(&envelope, key_id)
    }

    /// Reads a token that we issued; `None` for everything else.
    pub fn decode(&self, text: &str) -> Option<RefreshToken> {
        let Envelope { owner, record, counter, secret } = self.0.open(text)?;
        Some(RefreshToken { owner, grant: GrantId(record), generation: counter, family_secret: secret })
    }
}
