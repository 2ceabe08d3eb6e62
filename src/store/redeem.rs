//! Decides what a presented authorization code leads to, as a pure function.
//!
//! The embedded store calls it; `store/redis/lua/redeem.lua` is a port of it, and a differential test keeps the two equal.
//! [RFC 6749 §4.1.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3),
//! [RFC 7636 §4.6](https://www.rfc-editor.org/rfc/rfc7636#section-4.6).

use super::{
    CodeRecord, CodeRefusal, GrantRecord, GrantStatus, LiveGrant, OwnerRecord, OwnerStatus, PresentedCode, Redemption,
};
use crate::clock::Timestamp;

/// A grant that a code has become, and which request made it so.
#[derive(Clone, Debug)]
pub struct RedeemedGrant {
    /// The grant.
    pub record: GrantRecord,
    /// SHA-256 of the secret in the code.
    pub code_hash: [u8; 32],
    /// The HTTP request that redeemed it.
    pub request_id: [u8; 16],
}

/// What a redemption changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeDelta {
    /// Nothing.
    Unchanged,
    /// The code is gone.
    Burn,
    /// The code is gone, and this grant is there.
    Grant(Box<GrantRecord>),
    /// The grant that the code became is revoked at this time.
    Revoke(Timestamp),
}

/// The rules of redemption. Their order is the policy.
pub fn redeem(
    code: Option<&CodeRecord>,
    redeemed: Option<&RedeemedGrant>,
    owner: Option<&OwnerRecord>,
    presented: &PresentedCode,
    now: Timestamp,
) -> (Redemption, CodeDelta) {
    let refuse = |refusal| (Redemption::Refused(refusal), CodeDelta::Unchanged);
    let burn = |refusal| (Redemption::Refused(refusal), CodeDelta::Burn);
    if now > presented.deadline {
        return (Redemption::TooLate { now }, CodeDelta::Unchanged);
    }
    if let Some(redeemed) = redeemed {
        return again(redeemed, owner, presented, now);
    }
    let Some(code) = code else { return refuse(CodeRefusal::Unknown) };
    if code.code_hash != presented.code_hash {
        return refuse(CodeRefusal::WrongSecret);
    }
    // Another client that saw the code must neither use it nor burn it.
    if code.client_id != presented.client_id {
        return refuse(CodeRefusal::WrongClient { issued_to: code.client_id.clone() });
    }
    let Some(owner) = owner.filter(|o| o.status == OwnerStatus::Active && o.epoch == code.owner_epoch) else {
        return burn(CodeRefusal::OwnerChanged);
    };
    if code.client_epoch != presented.client_epoch {
        return burn(CodeRefusal::ClientChanged);
    }
    if now >= code.expires_at {
        return burn(CodeRefusal::Expired);
    }
    // RFC 6749 §4.1.3: identical to the one of the authorization request.
    if code.redirect_uri_hash != presented.redirect_uri_hash {
        return burn(CodeRefusal::RedirectUri);
    }
    // One try: a thief who has the code can't guess on.
    if code.challenge != presented.challenge {
        return burn(CodeRefusal::Challenge);
    }
    let absolute_expiry = now.plus(presented.absolute_ms);
    let record = GrantRecord {
        status: GrantStatus::Active,
        family_hash: presented.family_hash,
        generation: 1,
        key_id: presented.key_id,
        current_since: now,
        created_at: now,
        absolute_expiry,
        idle_ms: presented.idle_ms,
        grace_ms: presented.grace_ms,
        client_id: code.client_id.clone(),
        owner_epoch: code.owner_epoch,
        client_epoch: code.client_epoch,
        scope: code.scope.clone(),
        audience: code.audience.clone(),
        delivery: presented.delivery,
        access_expires_at: now.plus(presented.access_token_lifetime_ms).min(absolute_expiry),
        used_in_place: false,
        repeats: 0,
        last_used_from: presented.from.clone(),
    };
    let live = live(&record, owner, now);
    (Redemption::Redeemed(live), CodeDelta::Grant(Box::new(record)))
}

/// The code has become a grant: the same request once more, or a replay.
fn again(
    redeemed: &RedeemedGrant,
    owner: Option<&OwnerRecord>,
    presented: &PresentedCode,
    now: Timestamp,
) -> (Redemption, CodeDelta) {
    let refuse = |refusal| (Redemption::Refused(refusal), CodeDelta::Unchanged);
    let record = &redeemed.record;
    if redeemed.code_hash != presented.code_hash {
        return refuse(CodeRefusal::WrongSecret);
    }
    if record.client_id != presented.client_id {
        return refuse(CodeRefusal::WrongClient { issued_to: record.client_id.clone() });
    }
    if let GrantStatus::Revoked { reason, .. } = record.status {
        return refuse(CodeRefusal::Revoked(reason));
    }
    match owner {
        // The store's first answer to this very request was lost.
        Some(owner) if redeemed.request_id == presented.request_id => {
            let live = live(record, owner, now);
            (Redemption::Redeemed(live), CodeDelta::Unchanged)
        }
        // RFC 6749 §4.1.2: two used it, and one of them stole it. What came of it is dead.
        _ => (Redemption::Replayed, CodeDelta::Revoke(now)),
    }
}

fn live(record: &GrantRecord, owner: &OwnerRecord, now: Timestamp) -> LiveGrant {
    LiveGrant {
        now,
        subject: owner.subject.clone(),
        scope: record.scope.clone(),
        audience: record.audience.clone(),
        generation: record.generation,
        key_id: record.key_id,
        current_since: record.current_since,
        expires_at: record.expires_at(),
        absolute_expiry: record.absolute_expiry,
    }
}
