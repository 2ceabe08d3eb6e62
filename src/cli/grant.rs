//! `regrant grant`: what a user has granted, and why a refresh token was refused.

use std::io::Read as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Common, Outcome, Refused, print_json, user};
use crate::{
    administration::{Refusal, grants},
    ids::GrantId,
    secret::SecretText,
    store::{GrantRecord, Origin, OwnerRecord, Store},
    token::{
        explanation::{self, describe},
        refresh_token::RefreshTokenKeys,
    },
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
    let views = explanation::describe_all(store.as_ref(), &owner).await?;
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
    let (store, operator) = one.common.at_work().await?;
    let (owner, id, _) = find(store.as_ref(), &one).await?;
    let revoked = grants::revoke(&owner, id, &Origin::default(), store.as_ref(), &operator).await;
    let record = revoked.map_err(|refusal| match refusal {
        Refusal::NotFound => no_such_grant(&one.grant_id),
        other => other.into(),
    })?;
    report(&describe(id, &owner, &record, store.now()), &one.common)
}

/// Tells what the store knows about a token that a client says was refused.
async fn explain(common: Common) -> Outcome {
    let config = common.settings.read()?;
    let secret = config.server_secret()?;
    let store = common.settings.open_store().await?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let text = SecretText::new(text.trim().to_owned());
    let Some(token) = RefreshTokenKeys::new(&secret).decode(text.expose()) else {
        let why = "not issued under this server's secret: cut short, changed, or of another deployment";
        return report(&json!({ "why": why }), &common);
    };
    let owner = store.owner(token.owner).await?;
    let view = match (store.grant(token.owner, token.grant).await?, owner) {
        (None, _) => json!({
            "grant_id": token.grant.to_string(),
            "generation": token.generation,
            "why": explanation::NO_GRANT,
        }),
        (Some(record), None) => json!({
            "grant_id": token.grant.to_string(),
            "client_id": record.client_id,
            "generation": token.generation,
            "why": explanation::NO_OWNER,
        }),
        (Some(record), Some(owner)) => {
            let mut view = describe(token.grant, &owner, &record, store.now());
            view["why"] = explanation::why(&token, &record, &owner, store.now()).into();
            view["presented_generation"] = token.generation.into();
            view
        }
    };
    report(&view, &common)
}

fn no_such_grant(id: &str) -> Refused {
    Refused(format!("there is no grant {id}; see: regrant grant list --username NAME"))
}

async fn find(store: &dyn Store, one: &One) -> Result<(OwnerRecord, GrantId, GrantRecord), Refused> {
    let id = GrantId::parse(&one.grant_id).ok_or_else(|| no_such_grant(&one.grant_id))?;
    if let Some(username) = &one.username {
        user::find(store, username).await?;
    }
    let found = explanation::find(store, one.username.as_deref(), id).await?;
    found.map(|(owner, record)| (owner, id, record)).ok_or_else(|| no_such_grant(&one.grant_id))
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
