//! Decides what a presented refresh token leads to: the specification of rotation, as a pure function.
//!
//! The embedded store calls it; `store/redis/lua/rotate.lua` is a port of it, and a differential test keeps
//! the two equal. RFC 6749 §6, [RFC 9700 §4.14.2](https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2).
//!
//! Not here: the token's text and its MAC, see `token/refresh_token.rs`.

use crate::{
    clock::Timestamp,
    resource,
    scope::Scope,
    store::{
        GrantRecord, GrantStatus, LiveGrant, Origin, OwnerStanding, OwnerStatus, Presented, Refusal, RevocationReason,
        Rotation, RotationPolicy,
    },
};

/// How far a genuine generation may be ahead of the store: a failover loses at most the last writes.
/// Larger gaps mean a restored backup, and revoke.
pub const REPAIRABLE_GENERATIONS: u32 = 2;

/// What a rotation changes in the grant's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Nothing.
    Unchanged,
    /// The current generation was given out once more.
    CountRepeat,
    /// A generation was used; a new one may have become current.
    Advance {
        /// The current generation afterwards.
        generation: u32,
        /// The MAC key of that generation.
        key_id: u8,
        /// When it became current.
        current_since: Timestamp,
        /// The latest expiry of any access token of the grant.
        access_expires_at: Timestamp,
        /// Whether the current generation was used without rotating.
        used_in_place: bool,
        /// When the refresh token, and with it the record, expires.
        expires_at: Timestamp,
        /// Where it was used from.
        from: Origin,
    },
    /// The grant is revoked; the record stays until `forget_at` to say why.
    Revoke {
        /// Why.
        reason: RevocationReason,
        /// When.
        at: Timestamp,
        /// When the record may go.
        forget_at: Timestamp,
        /// Where the request came from that revoked it.
        from: Origin,
    },
}

/// What to answer, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub rotation: Rotation,
    /// The change that must be stored in the same atomic step.
    pub delta: Delta,
}

/// The rotation protocol. The order of the checks is the policy.
pub fn decide(
    record: Option<&GrantRecord>,
    owner: Option<&OwnerStanding>,
    presented: &Presented,
    now: Timestamp,
) -> Decision {
    // A command that was stuck in a socket must not fire later: its client has long retried, and the late
    // rotation would make that retry look like a replay.
    if now > presented.deadline {
        return unchanged(Rotation::TooLate { now });
    }
    let Some(record) = record else {
        return refuse(Refusal::Unknown);
    };
    if record.family_hash != presented.family_hash {
        return refuse(Refusal::WrongFamily);
    }
    // RFC 6749 §6: a refresh token is bound to the client it was issued to. Checked before anything is
    // written, so that another client holding a copy can't revoke this grant.
    if record.client_id != presented.client_id {
        return refuse(Refusal::WrongClient { issued_to: record.client_id.clone() });
    }
    // Before anything is written, too: a cookie that somebody planted must not revoke the grant it was copied from.
    if record.delivery != presented.delivery {
        return refuse(Refusal::WrongDelivery);
    }
    if let GrantStatus::Revoked { reason, .. } = record.status {
        return refuse(Refusal::Revoked(reason));
    }
    // A grant's clock never runs backwards, whatever the store's does after a failover.
    let now = now.max(record.current_since);
    let Some(owner) = owner.filter(|o| o.status == OwnerStatus::Active && o.epoch == record.owner_epoch) else {
        return revoke(record, presented, RevocationReason::OwnerEpoch, now);
    };
    if record.client_epoch != presented.client_epoch {
        return revoke(record, presented, RevocationReason::ClientEpoch, now);
    }
    if now >= record.expires_at() {
        return refuse(Refusal::Expired);
    }

    let step = match classify(record, presented, now) {
        Ok(step) => step,
        Err(reason) => return revoke(record, presented, reason, now),
    };
    // RFC 6749 §6: no scope that was not granted. After the replay check, so that a copied token can't
    // hide behind a bad scope; before any write, so that the token stays good.
    let scope = match &presented.requested_scope {
        Some(requested) if !requested.is_subset_of(&record.scope) => return refuse(Refusal::Scope),
        Some(requested) => requested.clone(),
        None => record.scope.clone(),
    };
    // RFC 8707 §2.2: likewise no resource.
    let Ok(audience) = resource::narrow(&record.audience, &presented.requested_audience) else {
        return refuse(Refusal::Audience);
    };
    accept(record, owner, presented, step, (scope, audience), now)
}

/// What a generation that is not a replay does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    UseInPlace,
    Rotate,
    Repeat,
    Repair,
}

/// Compares the presented generation with the current one (security.md §1.6).
fn classify(record: &GrantRecord, presented: &Presented, now: Timestamp) -> Result<Step, RevocationReason> {
    let (given, current) = (presented.generation, record.generation);
    if given == current {
        return Ok(match presented.rotation {
            RotationPolicy::Keep => Step::UseInPlace,
            RotationPolicy::Rotate => Step::Rotate,
        });
    }
    // The client never saw our answer and asks again: only while nobody has used that answer.
    let within_grace = now.since(record.current_since) < record.grace_ms;
    if given.checked_add(1) == Some(current) && !record.used_in_place && within_grace {
        return Ok(Step::Repeat);
    }
    match given.checked_sub(current) {
        // The MAC proves that we issued it, so the store lost our write in a failover.
        Some(ahead) if ahead <= REPAIRABLE_GENERATIONS => Ok(Step::Repair),
        Some(_) => Err(RevocationReason::FromTheFuture),
        None => Err(RevocationReason::Replay),
    }
}

fn accept(
    record: &GrantRecord,
    owner: &OwnerStanding,
    presented: &Presented,
    step: Step,
    (scope, audience): (Scope, Vec<String>),
    now: Timestamp,
) -> Decision {
    let (generation, key_id, current_since) = match step {
        Step::UseInPlace => (record.generation, record.key_id, now),
        Step::Rotate => (record.generation.saturating_add(1), presented.new_key_id, now),
        Step::Repair => (presented.generation.saturating_add(1), presented.new_key_id, now),
        Step::Repeat => (record.generation, record.key_id, record.current_since),
    };
    let expires_at = record.expiry_of(current_since);
    let live = LiveGrant {
        now,
        subject: owner.subject.clone(),
        scope,
        audience,
        generation,
        key_id,
        current_since,
        expires_at,
        absolute_expiry: record.absolute_expiry,
    };
    if step == Step::Repeat {
        return Decision { rotation: Rotation::Repeated(live), delta: Delta::CountRepeat };
    }
    let access_expires_at = current_since
        .plus(presented.access_token_lifetime_ms)
        .min(record.absolute_expiry)
        .max(record.access_expires_at);
    Decision {
        rotation: if step == Step::Repair { Rotation::Repaired(live) } else { Rotation::Rotated(live) },
        delta: Delta::Advance {
            generation,
            key_id,
            current_since,
            access_expires_at,
            used_in_place: step == Step::UseInPlace,
            expires_at,
            from: presented.from.clone(),
        },
    }
}

fn revoke(record: &GrantRecord, presented: &Presented, reason: RevocationReason, at: Timestamp) -> Decision {
    let rotation = match reason {
        RevocationReason::Replay | RevocationReason::FromTheFuture => {
            Rotation::Replayed { reason, presented: presented.generation, current: record.generation }
        }
        _ => Rotation::Refused(Refusal::Revoked(reason)),
    };
    let from = presented.from.clone();
    Decision { rotation, delta: Delta::Revoke { reason, at, forget_at: record.forget_at(at), from } }
}

const fn unchanged(rotation: Rotation) -> Decision {
    Decision { rotation, delta: Delta::Unchanged }
}

const fn refuse(refusal: Refusal) -> Decision {
    unchanged(Rotation::Refused(refusal))
}
