//! `regrant client`: registers and changes clients.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Common, Outcome, Refused, print_json};
use crate::{
    administration::{
        Refusal,
        clients::{self, Registration},
    },
    client::{Client, ClientType, GrantType},
    store::{RotationPolicy, Store},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a client; prints its secret once
    Create(Box<Create>),
    /// List all clients
    List(Common),
    /// Show one client
    Show(One),
    /// Shut a client out; its grants die
    Disable(One),
    /// Let a client in again; old grants stay dead
    Enable(One),
    /// Give a client a new secret, printed once; the old one works for another day
    RotateSecret(One),
    /// Delete a client; its grants die
    Delete(One),
}

#[derive(Args)]
pub(super) struct One {
    /// The client's id
    id: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(super) struct Create {
    /// The client's id: 1 to 128 visible ASCII characters
    #[arg(long)]
    id: String,
    /// What people know it by: the consent page asks about it [default: the id]
    #[arg(long)]
    name: Option<String>,
    /// Whether it can keep a secret
    #[arg(long = "type", value_enum)]
    client_type: ClientType,
    /// The grants it may use, separated by commas
    #[arg(long, value_delimiter = ',', required = true, value_parser = parse_grant_type)]
    grant_types: Vec<GrantType>,
    /// The most it can be granted, separated by spaces
    #[arg(long, default_value = "")]
    scope: String,
    /// Where the browser may be sent; repeat for more
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// A resource its access tokens are for; repeat for more
    #[arg(long)]
    audience: Vec<String>,
    /// Let it have its refresh token in a cookie: for a first-party app in a browser
    #[arg(long)]
    cookie_mode: bool,
    /// An origin beside the server's own that its pages call from, such as `https://app.example.com`; repeat for more
    #[arg(long = "origin", value_name = "URL")]
    origins: Vec<String>,
    /// Whether a use of its refresh tokens replaces them
    #[arg(long, value_enum, default_value_t = RotationPolicy::Rotate)]
    rotation: RotationPolicy,
    /// How long its previous refresh token is accepted again [default: the server's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=600))]
    grace_seconds: Option<u32>,
    /// How long its refresh token lives unused [default: the server's]
    #[arg(long, value_name = "N")]
    refresh_idle_seconds: Option<u32>,
    /// How long its grants live, however often they are refreshed [default: the server's]
    #[arg(long, value_name = "N")]
    refresh_absolute_seconds: Option<u32>,
    #[command(flatten)]
    common: Common,
}

fn parse_grant_type(text: &str) -> Result<GrantType, String> {
    GrantType::parse(text.trim())
        .ok_or_else(|| "use password, refresh_token, authorization_code, client_credentials or device_code".to_owned())
}

pub(super) async fn run(command: Command) -> Outcome {
    match command {
        Command::Create(create) => self::create(*create).await,
        Command::List(common) => list(common).await,
        Command::Show(One { id, common }) => {
            let store = common.settings.open_store().await?;
            report(&*find(store.as_ref(), &id).await?, &common, "")
        }
        Command::Disable(One { id, common }) => {
            let (store, operator) = common.at_work().await?;
            let client = clients::disable(&id, store.as_ref(), &operator).await;
            report(&client.map_err(|refusal| explain(refusal, &id))?, &common, "disabled")
        }
        Command::Enable(One { id, common }) => {
            let (store, operator) = common.at_work().await?;
            let client = clients::enable(&id, store.as_ref(), &operator).await;
            report(&client.map_err(|refusal| explain(refusal, &id))?, &common, "enabled")
        }
        Command::RotateSecret(One { id, common }) => {
            let (store, operator) = common.at_work().await?;
            let rotated = clients::rotate_secret(&id, store.as_ref(), &operator).await;
            let (client, secret) = rotated.map_err(|refusal| explain(refusal, &id))?;
            let done = "given a new secret; the old one works for another day";
            report_secret(&client, &common, done, Some(secret.expose()))
        }
        Command::Delete(One { id, common }) => {
            let (store, operator) = common.at_work().await?;
            let client = clients::delete(&id, store.as_ref(), &operator).await;
            report(&*client.map_err(|refusal| explain(refusal, &id))?, &common, "deleted")
        }
    }
}

/// The words for a refusal, with what to do.
fn explain(refusal: Refusal, id: &str) -> Refused {
    Refused(match refusal {
        Refusal::NotFound => format!("there is no client {id}; see: regrant client list"),
        Refusal::Exists => format!("there is a client {id} already; see: regrant client show {id}"),
        Refusal::Changed => format!("client {id} was changed by somebody else meanwhile; try again"),
        Refusal::Invalid { field, problem } => format!("{}: {problem}", flag(&field)),
        other => other.to_string(),
    })
}

/// The option that a field comes from.
fn flag(field: &str) -> String {
    match field.split('[').next().unwrap_or_default() {
        "client_id" => "--id".into(),
        "redirect_uris" => "--redirect-uri".into(),
        "origins" => "--origin".into(),
        name => format!("--{}", name.replace('_', "-")),
    }
}

async fn create(arguments: Create) -> Outcome {
    let Create { common, id, .. } = &arguments;
    let registration = Registration {
        client_id: id.clone(),
        name: arguments.name.clone(),
        client_type: arguments.client_type,
        grant_types: arguments.grant_types.clone(),
        scope: arguments.scope.clone(),
        redirect_uris: arguments.redirect_uris.clone(),
        audience: arguments.audience.clone(),
        cookie_mode: arguments.cookie_mode,
        origins: arguments.origins.clone(),
        rotation: arguments.rotation,
        grace_seconds: arguments.grace_seconds,
        refresh_idle_seconds: arguments.refresh_idle_seconds,
        refresh_absolute_seconds: arguments.refresh_absolute_seconds,
    };
    let (store, operator) = common.at_work().await?;
    let lifetimes = common.settings.read()?.lifetimes;
    let created = clients::create(registration, &lifetimes, store.as_ref(), &operator).await;
    let (client, secret) = created.map_err(|refusal| explain(refusal, id))?;
    report_secret(&client, common, "created", secret.as_ref().map(crate::secret::SecretText::expose))
}

async fn list(common: Common) -> Outcome {
    let clients = common.settings.open_store().await?.clients().await?;
    if common.json {
        return print_json(&clients.iter().map(|client| clients::describe(client)).collect::<Vec<_>>());
    }
    if clients.is_empty() {
        println!("no clients yet; register one with: regrant client create");
    }
    for client in clients {
        let state = if client.disabled { "disabled" } else { "enabled" };
        let grants: Vec<&str> = client.grant_types.iter().map(|grant_type| grant_type.as_str()).collect();
        println!("{:<24} {:<13} {:<9} {}", client.id.as_str(), client.client_type, state, grants.join(","));
    }
    Ok(())
}

async fn find(store: &dyn Store, id: &str) -> Result<std::sync::Arc<Client>, Refused> {
    clients::find(id, store).await.map_err(|refusal| explain(refusal, id))
}

fn report(client: &Client, common: &Common, done: &str) -> Outcome {
    report_secret(client, common, done, None)
}

fn report_secret(client: &Client, common: &Common, done: &str, secret: Option<&str>) -> Outcome {
    let mut view = clients::describe(client);
    if let Some(secret) = secret {
        view["client_secret"] = secret.into();
    }
    if common.json {
        return print_json(&view);
    }
    if !done.is_empty() {
        println!("client {} {done}", client.id);
    }
    for (name, value) in view.as_object().into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        println!("  {name:<24} {text}");
    }
    if secret.is_some() {
        println!("The secret is shown this once; the server keeps only its hash.");
    }
    Ok(())
}
