//! Tells an operator what became of a grant, and why a refresh token was refused. The client reads plain
//! `invalid_grant`; these words are for the command line, `/admin/grants` and the log.
//!
//! Not here: the decision itself, see `store/decide.rs`.

use serde_json::{Value, json};

use super::{Issuer, refresh_token::RefreshToken};
use crate::{
    clock::Timestamp,
    ids::{GrantId, OwnerId, Username},
    store::{GrantRecord, GrantStatus, Origin, OwnerRecord, OwnerStatus, RevocationReason, Store, StoreError},
};

impl Issuer {
    /// Why a refresh token would be refused now, in one sentence.
    ///
    /// # Errors
    /// When the store can't answer.
    pub async fn explain(&self, token: &RefreshToken, store: &dyn Store) -> Result<String, StoreError> {
        let Some(record) = store.grant(token.owner, token.grant).await? else {
            return Ok(NO_GRANT.into());
        };
        Ok(match store.owner(token.owner).await? {
            Some(owner) => why(token, &record, &owner, store.now()),
            None => NO_OWNER.into(),
        })
    }
}

/// There is no record of the grant.
pub const NO_GRANT: &str = "the store has no such grant: it expired, or was revoked and then forgotten";
/// There is no record of the owner.
pub const NO_OWNER: &str = "its user was deleted";

fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} s ago", now.since(at).max(0) / 1000)
}

fn place(from: &Origin) -> String {
    match (from.address.as_str(), from.agent.as_str()) {
        ("", "") => "no known address".into(),
        (address, "") => address.into(),
        ("", agent) => format!("an unknown address ({agent})"),
        (address, agent) => format!("{address} ({agent})"),
    }
}

/// The words for what `store/decide.rs` would answer now, without presenting the token.
pub fn why(token: &RefreshToken, record: &GrantRecord, owner: &OwnerRecord, now: Timestamp) -> String {
    let ago = |at| ago(at, now);
    let last_use = format!("last accepted {} from {}", ago(record.current_since), place(&record.last_used_from));
    if let GrantStatus::Revoked { reason, at, from } = &record.status {
        let (when, whence) = (ago(*at), place(from));
        return format!("its grant was revoked {when}, from {whence}: {}; {last_use}", of_revocation(*reason));
    }
    if owner.status == OwnerStatus::Disabled {
        return "its user is disabled".into();
    }
    if owner.epoch != record.owner_epoch {
        return "its user was logged out everywhere, or changed the password, after it was issued".into();
    }
    if now >= record.expires_at() {
        return format!("it expired {}; {last_use}", ago(record.expires_at()));
    }
    let rotated = format!("{} from {}", ago(record.current_since), place(&record.last_used_from));
    match record.generation.checked_sub(token.generation) {
        Some(0) => "it is the current refresh token: nothing of it is wrong. Was it sent by another client, or with a larger scope?".into(),
        Some(1) if !record.used_in_place && now.since(record.current_since) < record.grace_ms => {
            format!("it was rotated {rotated}, and is accepted again until its successor is used")
        }
        Some(_) => format!("it was rotated {rotated} and its successor was used, or the grace is over: presenting it revokes the grant"),
        None => "it is newer than what the store knows: the store lost writes".into(),
    }
}

/// What a reason means.
pub const fn of_revocation(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::Replay => {
            "a refresh token was presented again after its successor was used, or after the grace"
        }
        RevocationReason::FromTheFuture => "a token was newer than the store by far: an old backup was restored",
        RevocationReason::OwnerEpoch => {
            "the user was disabled, deleted or logged out everywhere, or changed the password"
        }
        RevocationReason::ClientEpoch => "the client was disabled",
        RevocationReason::Overflow => "the user had too many grants, and this was the oldest",
        RevocationReason::Operator => "an operator revoked it",
        RevocationReason::Client => "the client revoked it",
        RevocationReason::CodeReplay => "the authorization code that it came of was presented again: two had it",
        RevocationReason::ResourceOwner => "its user took the access away on the account page",
    }
}

/// A grant, as `regrant grant` and `/admin/grants` show it; what is not known is left out.
pub fn describe(id: GrantId, owner: &OwnerRecord, record: &GrantRecord, now: Timestamp) -> Value {
    let dead = owner.status == OwnerStatus::Disabled || owner.epoch != record.owner_epoch;
    let (state, revoked) = match &record.status {
        GrantStatus::Revoked { reason, at, from } => ("revoked", Some((*reason, *at, from))),
        GrantStatus::Active if dead => ("dead", None),
        GrantStatus::Active if now >= record.expires_at() => ("expired", None),
        GrantStatus::Active => ("active", None),
    };
    let known = |text: &String| (!text.is_empty()).then(|| text.clone());
    let mut view = json!({
        "grant_id": id.to_string(),
        "username": owner.username,
        "client_id": record.client_id,
        "scope": record.scope,
        "state": state,
        "revoked_because": revoked.map(|(reason, ..)| of_revocation(reason)),
        "revoked_at": revoked.map(|(_, at, _)| at.seconds()),
        "revoked_from_address": revoked.and_then(|(.., from)| known(&from.address)),
        "revoked_from_agent": revoked.and_then(|(.., from)| known(&from.agent)),
        "delivery": record.delivery,
        "generation": record.generation,
        "created_at": record.created_at.seconds(),
        "last_refreshed_at": record.current_since.seconds(),
        "last_used_from_address": known(&record.last_used_from.address),
        "last_used_from_agent": known(&record.last_used_from.agent),
        "expires_at": record.expires_at().seconds(),
        "ends_at": record.absolute_expiry.seconds(),
        "repeated_answers": record.repeats,
    });
    if let Some(fields) = view.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    view
}

/// All grants of an owner, as [`describe`] shows them.
///
/// # Errors
/// When the store can't answer.
pub async fn describe_all(store: &dyn Store, owner: &OwnerRecord) -> Result<Vec<Value>, StoreError> {
    let mut views = Vec::new();
    for id in store.grants_of(owner.id()).await? {
        if let Some(record) = store.grant(owner.id(), id).await? {
            views.push(describe(id, owner, &record, store.now()));
        }
    }
    Ok(views)
}

/// Finds a grant by its id. It is stored with its owner, so without a username all owners are asked: an index would cost
/// every login a write, and this is for operators.
///
/// # Errors
/// When the store can't answer.
pub async fn find(
    store: &dyn Store,
    username: Option<&str>,
    id: GrantId,
) -> Result<Option<(OwnerRecord, GrantRecord)>, StoreError> {
    let owners = match username.map(Username::parse) {
        Some(Ok(username)) => store.owner(OwnerId::of(&username)).await?.into_iter().collect(),
        Some(Err(_)) => Vec::new(),
        None => store.owners().await?,
    };
    for owner in owners {
        if let Some(record) = store.grant(owner.id(), id).await? {
            return Ok(Some((owner, record)));
        }
    }
    Ok(None)
}
