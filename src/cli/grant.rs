//! `regrant grant`: what a user has granted, and why a refresh token was refused.

use std::io::Read as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Common, Outcome, Refused, print_json, user};
use crate::{
    clock::Timestamp,
    ids::GrantId,
    secret::SecretText,
    store::{Changed, GrantRecord, GrantStatus, Origin, OwnerRecord, OwnerStatus, RevocationReason, Store},
    token::refresh_token::{RefreshToken, RefreshTokenKeys},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List a user's grants
    List(OfUser),
    /// Show one grant
    Show(One),
    /// Revoke one grant
    Revoke(One),
    /// Say why a refresh token was refused; the token comes from standard input
    Explain(Common),
}

#[derive(Args)]
pub(super) struct OfUser {
    /// The name they sign in with
    #[arg(long)]
    username: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(super) struct One {
    /// The grant's id, as access tokens and the log carry it
    grant_id: String,
    /// Whose grant it is; without it, every user's grants are searched
    #[arg(long)]
    username: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(command: Command) -> Outcome {
    match command {
        Command::List(arguments) => list(arguments).await,
        Command::Show(one) => {
            let store = one.common.settings.open_store().await?;
            let (owner, id, record) = find(store.as_ref(), &one).await?;
            report(&describe(id, &owner, &record, store.now()), &one.common)
        }
        Command::Revoke(one) => revoke(one).await,
        Command::Explain(common) => explain(common).await,
    }
}

async fn list(arguments: OfUser) -> Outcome {
    let OfUser { username, common } = arguments;
    let store = common.settings.open_store().await?;
    let owner = user::find(store.as_ref(), &username).await?;
    let mut views = Vec::new();
    for id in store.grants_of(owner.id()).await? {
        if let Some(record) = store.grant(owner.id(), id).await? {
            views.push(describe(id, &owner, &record, store.now()));
        }
    }
    if common.json {
        return print_json(&views);
    }
    if views.is_empty() {
        println!("{username} has no grants");
    }
    for view in views {
        let text = |name: &str| view[name].as_str().unwrap_or_default().to_owned();
        println!("{} {:<24} {:<8} {}", text("grant_id"), text("client_id"), text("state"), text("scope"));
    }
    Ok(())
}

async fn revoke(one: One) -> Outcome {
    let store = one.common.settings.open_store().await?;
    let (owner, id, _) = find(store.as_ref(), &one).await?;
    match store.revoke_grant(owner.id(), id, RevocationReason::Operator, &Origin::default()).await? {
        Changed::NotFound => Err(no_such_grant(&one.grant_id)),
        Changed::Stored => {
            let record = store.grant(owner.id(), id).await?.ok_or_else(|| no_such_grant(&one.grant_id))?;
            report(&describe(id, &owner, &record, store.now()), &one.common)
        }
    }
}

/// Tells what the store knows about a token that a client says was refused.
async fn explain(common: Common) -> Outcome {
    let config = common.settings.read()?;
    let secret = config.server_secret()?;
    let store = common.settings.open_store().await?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let text = SecretText::new(text.trim().to_owned());
    let Some(token) = RefreshTokenKeys::new(&secret, &[]).decode(text.expose()) else {
        let why = "not issued under this server's secret: cut short, changed, or of another deployment";
        return report(&json!({ "why": why }), &common);
    };
    let owner = store.owner(token.owner).await?;
    let view = match (store.grant(token.owner, token.grant).await?, owner) {
        (None, _) => json!({
            "grant_id": token.grant.to_string(),
            "generation": token.generation,
            "why": "the store has no such grant: it expired, or was revoked and then forgotten",
        }),
        (Some(record), None) => json!({
            "grant_id": token.grant.to_string(),
            "client_id": record.client_id,
            "generation": token.generation,
            "why": "its user was deleted",
        }),
        (Some(record), Some(owner)) => {
            let mut view = describe(token.grant, &owner, &record, store.now());
            view["why"] = reason(&token, &record, &owner, store.now()).into();
            view["presented_generation"] = token.generation.into();
            view
        }
    };
    report(&view, &common)
}

/// The words for what `store/decide.rs` would answer now, without presenting the token.
fn reason(token: &RefreshToken, record: &GrantRecord, owner: &OwnerRecord, now: Timestamp) -> String {
    let ago = |at: Timestamp| format!("{} s ago", now.since(at).max(0) / 1000);
    if let GrantStatus::Revoked { reason, at, .. } = record.status {
        return format!("its grant was revoked {}: {}", ago(at), explain_revocation(reason));
    }
    if owner.status == OwnerStatus::Disabled {
        return "its user is disabled".into();
    }
    if owner.epoch != record.owner_epoch {
        return "its user was logged out everywhere, or changed the password, after it was issued".into();
    }
    if now >= record.expires_at() {
        return format!("it expired {}", ago(record.expires_at()));
    }
    let rotated = ago(record.current_since);
    match record.generation.checked_sub(token.generation) {
        Some(0) => "it is the current refresh token: nothing of it is wrong. Was it sent by another client, or with a larger scope?".into(),
        Some(1) if !record.used_in_place && now.since(record.current_since) < record.grace_ms => {
            format!("it was rotated {rotated}, and is accepted again until its successor is used")
        }
        Some(_) => format!("it was rotated {rotated} and its successor was used, or the grace is over: presenting it revokes the grant"),
        None => "it is newer than what the store knows: the store lost writes".into(),
    }
}

const fn explain_revocation(reason: RevocationReason) -> &'static str {
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
        RevocationReason::ResourceOwner => "its user took the access away on the account page",
        RevocationReason::CodeReplay => "the authorization code that it came of was presented again: two had it",
    }
}

fn no_such_grant(id: &str) -> Refused {
    Refused(format!("there is no grant {id}; see: regrant grant list --username NAME"))
}

/// A grant is stored with its owner, so without the owner all of them are asked.
async fn find(store: &dyn Store, one: &One) -> Result<(OwnerRecord, GrantId, GrantRecord), Refused> {
    let id = GrantId::parse(&one.grant_id).ok_or_else(|| no_such_grant(&one.grant_id))?;
    let owners = match &one.username {
        Some(username) => vec![user::find(store, username).await?],
        None => store.owners().await?,
    };
    for owner in owners {
        if let Some(record) = store.grant(owner.id(), id).await? {
            return Ok((owner, id, record));
        }
    }
    Err(no_such_grant(&one.grant_id))
}

fn describe(id: GrantId, owner: &OwnerRecord, record: &GrantRecord, now: Timestamp) -> Value {
    let dead = owner.status == OwnerStatus::Disabled || owner.epoch != record.owner_epoch;
    let (state, revoked) = match record.status {
        GrantStatus::Revoked { reason, at, .. } => ("revoked", Some((reason, at))),
        GrantStatus::Active if dead => ("dead", None),
        GrantStatus::Active if now >= record.expires_at() => ("expired", None),
        GrantStatus::Active => ("active", None),
    };
    json!({
        "grant_id": id.to_string(),
        "username": owner.username,
        "client_id": record.client_id,
        "scope": record.scope,
        "state": state,
        "revoked_because": revoked.map(|(reason, _)| explain_revocation(reason)),
        "revoked_at": revoked.map(|(_, at)| at.seconds()),
        "delivery": record.delivery,
        "generation": record.generation,
        "created_at": record.created_at.seconds(),
        "last_refreshed_at": record.current_since.seconds(),
        "expires_at": record.expires_at().seconds(),
        "ends_at": record.absolute_expiry.seconds(),
        "repeated_answers": record.repeats,
    })
}

fn report(view: &Value, common: &Common) -> Outcome {
    if common.json {
        return print_json(view);
    }
    for (name, value) in view.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        println!("{name:<22} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    Ok(())
}
