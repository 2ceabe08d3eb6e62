//! What a grant asks of the store, and the one write that it leads to, tried once more when the store's clock is ahead of our guess.
//!
//! Not here: what the store decides, see `store/decide.rs`; the tokens, see `token/mod.rs`.

use super::{Context, Issuer, refresh_token::RefreshToken};
use crate::{
    client::{Client, authentication::AuthenticatedClient},
    clock::Timestamp,
    error::{InvalidGrant, InvalidScope, InvalidTarget, TokenError},
    failpoint,
    grant::access::GrantedAccess,
    ids::Subject,
    store::{GrantCreation, LiveGrant, NewGrant, Presented, Refusal, Rotation, Store},
};

impl Issuer {
    /// A refresh token as the store takes it, when all that was granted is asked for.
    pub(super) fn presented(
        &self,
        token: &RefreshToken,
        client: &Client,
        Context { delivery, from, store }: Context<'_>,
    ) -> Presented {
        Presented {
            owner: token.owner,
            grant: token.grant,
            generation: token.generation,
            family_hash: token.family_secret.hash(),
            client_id: client.id.clone(),
            client_epoch: client.epoch,
            delivery,
            requested_scope: None,
            requested_audience: Vec::new(),
            rotation: client.rotation,
            new_key_id: self.refresh.current_id(),
            access_token_lifetime_ms: self.access_token_lifetime_ms,
            from: from.clone(),
            deadline: store.deadline(),
        }
    }

    /// A grant whose first refresh token is `token`.
    pub(super) fn new_grant(
        &self,
        token: &RefreshToken,
        owner_epoch: u64,
        client: &AuthenticatedClient,
        access: GrantedAccess,
        context: Context<'_>,
    ) -> NewGrant {
        let (idle_ms, absolute_ms, grace_ms) = self.lives(client);
        NewGrant {
            id: token.grant,
            owner: token.owner,
            owner_epoch,
            client_id: client.id.clone(),
            client_epoch: client.epoch,
            family_hash: token.family_secret.hash(),
            key_id: self.refresh.current_id(),
            scope: access.scope,
            audience: access.audience,
            delivery: context.delivery,
            idle_ms,
            absolute_ms,
            grace_ms,
            access_token_lifetime_ms: self.access_token_lifetime_ms,
            from: context.from.clone(),
            settles: None,
            deadline: context.store.deadline(),
        }
    }
}

/// Creates the grant; the id is the caller's, so the second try can't create a second one. `changed` is the reason when
/// the owner has changed since they were authenticated.
pub(super) async fn create(
    new: &mut NewGrant,
    subject: Subject,
    changed: InvalidGrant,
    store: &dyn Store,
) -> Result<LiveGrant, TokenError> {
    for _ in 0..2 {
        match store.create_grant(new).await? {
            GrantCreation::Stored { now } => return Ok(live_from_creation(new, subject, now)),
            // Disabled or changed between the password check and here: the check no longer counts.
            GrantCreation::OwnerChanged => return Err(TokenError::InvalidGrant(changed)),
            // The store's clock is ahead of our guess; the answer has corrected it.
            GrantCreation::TooLate { .. } => new.deadline = store.deadline(),
        }
    }
    Err(TokenError::TemporarilyUnavailable("the store keeps answering after the deadline".into()))
}

fn live_from_creation(new: &NewGrant, subject: Subject, now: Timestamp) -> LiveGrant {
    let absolute_expiry = now.plus(new.absolute_ms);
    LiveGrant {
        now,
        subject,
        scope: new.scope.clone(),
        audience: new.audience.clone(),
        generation: 1,
        key_id: new.key_id,
        current_since: now,
        expires_at: now.plus(new.idle_ms).min(absolute_expiry),
        absolute_expiry,
    }
}

/// Rotates, once more when the store's clock is ahead of our guess.
pub(super) async fn rotate(
    presented: &mut Presented,
    store: &dyn Store,
) -> Result<(LiveGrant, &'static str), TokenError> {
    for _ in 0..2 {
        failpoint::pass("before the store write");
        let rotation = store.rotate(presented).await?;
        failpoint::pass("reply read");
        return match rotation {
            Rotation::Rotated(live) => Ok((live, "rotated")),
            Rotation::Repeated(live) => Ok((live, "repeated")),
            Rotation::Repaired(live) => Ok((live, "repaired")),
            Rotation::Replayed { reason, presented, current } => {
                Err(TokenError::InvalidGrant(InvalidGrant::Replayed { reason, presented, current }))
            }
            Rotation::Refused(Refusal::Scope) => Err(TokenError::InvalidScope(InvalidScope::BeyondGrant)),
            Rotation::Refused(Refusal::Audience) => Err(InvalidTarget::BeyondGrant.into()),
            Rotation::Refused(refusal) => Err(TokenError::InvalidGrant(InvalidGrant::RefreshToken(refusal))),
            Rotation::TooLate { .. } => {
                presented.deadline = store.deadline();
                continue;
            }
        };
    }
    Err(TokenError::TemporarilyUnavailable("the store keeps answering after the deadline".into()))
}

/// What the client lost since the grant is not granted again; the grant itself keeps it.
pub(super) fn keep_what_is_left(live: &mut LiveGrant, client: &Client) -> Result<(), TokenError> {
    if !live.scope.is_subset_of(&client.scope) {
        live.scope = live.scope.intersection(&client.scope);
    }
    if live.audience.is_empty() {
        return Ok(());
    }
    live.audience.retain(|resource| client.audience.contains(resource));
    // Falling back to the default resource would widen what was granted.
    if live.audience.is_empty() { Err(TokenError::InvalidGrant(InvalidGrant::NoResourceLeft)) } else { Ok(()) }
}
