//! Revokes what a client hands back ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)).
//!
//! Not here: the endpoint, see `http/revocation.rs`.

use super::Issuer;
use crate::{
    client::Client,
    ids::{GrantId, OwnerId},
    secret::SecretText,
    store::{Origin, RevocationReason, Store, StoreError},
};

/// What handing a token back led to. The client reads the same answer for all of them (RFC 7009 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The grant, with all its tokens.
    Grant(GrantId),
    /// A token that no grant stands behind.
    Token,
    /// Nothing: not a token of ours, not alive, or another client's.
    Nothing,
}

impl Issuer {
    /// Revokes the grant of a refresh or access token, or a client's own access token.
    ///
    /// # Errors
    /// When the store can't answer or can't make sure: then nobody may believe that it is revoked.
    pub async fn revoke(
        &self,
        text: &SecretText,
        client: &Client,
        from: &Origin,
        store: &dyn Store,
    ) -> Result<Revoked, StoreError> {
        if let Some(token) = self.decode_refresh_token(text) {
            let family = Some(token.family_secret.hash());
            return revoke_grant(token.owner, token.grant, family, client, from, store).await;
        }
        let Some(token) = self.verify_access_token(text.expose(), store).await else {
            return Ok(Revoked::Nothing);
        };
        // RFC 7009 §2.1: only the client that a token was issued to may revoke it.
        if token.client_id != client.id {
            return Ok(Revoked::Nothing);
        }
        match (token.grant(), self.owner_of(&token)) {
            (Some(id), Some(owner)) => revoke_grant(owner, id, None, client, from, store).await,
            (None, _) => {
                store.deny(&token.jti, token.expires_at()).await?;
                Ok(Revoked::Token)
            }
            (Some(_), None) => Ok(Revoked::Nothing),
        }
    }
}

async fn revoke_grant(
    owner: OwnerId,
    id: GrantId,
    family_hash: Option<[u8; 32]>,
    client: &Client,
    from: &Origin,
    store: &dyn Store,
) -> Result<Revoked, StoreError> {
    let Some(grant) = store.grant(owner, id).await? else { return Ok(Revoked::Nothing) };
    // Neither ever changes, so nothing can come between this and the revocation.
    if grant.client_id != client.id || family_hash.is_some_and(|hash| hash != grant.family_hash) {
        return Ok(Revoked::Nothing);
    }
    store.revoke_grant(owner, id, RevocationReason::Client, from).await?;
    Ok(Revoked::Grant(id))
}
