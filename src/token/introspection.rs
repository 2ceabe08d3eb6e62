//! Tells whether a token still counts, without using it up ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)).
//!
//! Not here: who may ask, see `http/introspection.rs`; the signature, see `verification.rs`.

use super::{
    Context, Issuer,
    verification::{self, AccessToken, NotOurs},
};
use crate::{
    client::Client,
    ids::{OwnerId, Subject},
    secret::SecretText,
    store::{GrantRecord, GrantStatus, LiveGrant, Origin, OwnerStatus, Rotation, Store, StoreError, decide},
};

/// A refresh token that would be accepted now.
#[derive(Debug)]
pub struct ActiveRefreshToken {
    /// What presenting it would lead to.
    pub live: LiveGrant,
    /// The grant, as it is.
    pub grant: GrantRecord,
}

impl Issuer {
    /// An access token of ours that still counts: its grant lives, its owner and its client are as they were when it was
    /// issued. All of it is read from the store, so a revocation counts in the next request, on every node.
    ///
    /// # Errors
    /// When the store can't answer.
    pub async fn active_access_token(&self, text: &str, store: &dyn Store) -> Result<Option<AccessToken>, StoreError> {
        let Some(token) = self.verify_access_token(text, store).await else { return Ok(None) };
        let Some(client) = store.client(&token.client_id).await?.filter(|client| !client.disabled) else {
            return Ok(None);
        };
        let counts = match token.grant() {
            Some(_) => self.grant_lives(&token, &client, store).await?,
            None => {
                token.sub == Subject::of_client(&client.id)
                    && self.token_ids.client_epoch(&token.jti) == Some(client.epoch)
                    && !store.is_denied(&token.jti).await?
            }
        };
        Ok(counts.then_some(token))
    }

    /// An access token of ours whose signature is right and that has not expired, whichever node signed it.
    pub(super) async fn verify_access_token(&self, text: &str, store: &dyn Store) -> Option<AccessToken> {
        let read = || verification::verify(text, &self.signing, &self.url, store.now());
        match read() {
            Err(NotOurs::UnknownKey) => {
                Box::pin(self.signing.look_again(store)).await;
                read().ok()
            }
            read => read.ok(),
        }
    }

    async fn grant_lives(&self, token: &AccessToken, client: &Client, store: &dyn Store) -> Result<bool, StoreError> {
        let Some((owner_id, id)) = self.owner_of(token).zip(token.grant()) else { return Ok(false) };
        let Some((grant, Some(owner))) = store.standing(owner_id, id).await? else { return Ok(false) };
        Ok(grant.status == GrantStatus::Active
            && store.now() < grant.absolute_expiry
            && grant.client_id == client.id
            && grant.client_epoch == client.epoch
            && owner.status == OwnerStatus::Active
            && owner.epoch == grant.owner_epoch
            && owner.subject == token.sub)
    }

    /// Whose grant an access token came of.
    pub(super) fn owner_of(&self, token: &AccessToken) -> Option<OwnerId> {
        self.token_ids.owner(&token.jti)
    }

    /// A refresh token that this client could use now. Rotation's own rules answer, and nothing is written.
    ///
    /// # Errors
    /// When the store can't answer.
    pub async fn active_refresh_token(
        &self,
        text: &SecretText,
        client: &Client,
        store: &dyn Store,
    ) -> Result<Option<ActiveRefreshToken>, StoreError> {
        let Some(token) = self.decode_refresh_token(text) else { return Ok(None) };
        let Some((grant, owner)) = store.standing(token.owner, token.grant).await? else { return Ok(None) };
        let context = Context { delivery: grant.delivery, from: &Origin::default(), store };
        let presented = self.presented(&token, client, context);
        let decision = decide::decide(Some(&grant), owner.as_ref(), &presented, store.now());
        Ok(match decision.rotation {
            Rotation::Rotated(live) | Rotation::Repeated(live) | Rotation::Repaired(live) => {
                Some(ActiveRefreshToken { live, grant })
            }
            Rotation::Replayed { .. } | Rotation::Refused(_) | Rotation::TooLate { .. } => None,
        })
    }
}
