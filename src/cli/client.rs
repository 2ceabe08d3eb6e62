//! `regrant client`: registers and changes clients.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Common, Outcome, Refused, print_json};
use crate::{
    client::{Client, ClientName, ClientType, GrantType, RedirectUri, RefreshPolicy, RegisteredSecret, WebOrigin},
    ids::ClientId,
    scope::Scope,
    secret::{ClientSecretHash, generate_client_secret},
    store::{Changed, Created, RotationPolicy, Store},
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

/// How long the old secret works beside the new one.
const SECRET_OVERLAP_MS: i64 = 24 * 60 * 60 * 1000;

pub(super) async fn run(command: Command) -> Outcome {
    match command {
        Command::Create(create) => self::create(*create).await,
        Command::List(common) => list(common).await,
        Command::Show(One { id, common }) => {
            let store = common.settings.open_store().await?;
            report(&*find(store.as_ref(), &id).await?, &common, "")
        }
        Command::Disable(one) => {
            change(one, "disabled", |client| {
                client.disabled = true;
                client.epoch += 1;
            })
            .await
        }
        Command::Enable(one) => change(one, "enabled", |client| client.disabled = false).await,
        Command::RotateSecret(one) => rotate_secret(one).await,
        Command::Delete(One { id, common }) => {
            let store = common.settings.open_store().await?;
            let client = find(store.as_ref(), &id).await?;
            store.delete_client(&client.id).await?;
            report(&client, &common, "deleted")
        }
    }
}

async fn create(arguments: Create) -> Outcome {
    let Create {
        id,
        name,
        client_type,
        grant_types,
        scope,
        redirect_uris,
        audience,
        cookie_mode,
        origins,
        rotation,
        grace_seconds,
        refresh_idle_seconds,
        refresh_absolute_seconds,
        common,
    } = arguments;
    if client_type == ClientType::Public && grant_types.contains(&GrantType::ClientCredentials) {
        return Err(Refused("a public client cannot use client_credentials (RFC 6749 section 4.4)".into()));
    }
    if grant_types.contains(&GrantType::AuthorizationCode) && redirect_uris.is_empty() {
        return Err(Refused("authorization_code needs at least one --redirect-uri".into()));
    }
    // A secret in a browser is nobody's secret, and without a refresh token there is nothing to put into a cookie.
    if cookie_mode && (client_type != ClientType::Public || !grant_types.contains(&GrantType::RefreshToken)) {
        return Err(Refused("--cookie-mode is for public clients with the refresh_token grant".into()));
    }
    let origins = origins
        .iter()
        .map(|text| WebOrigin::parse(text).map_err(|error| Refused(format!("--origin {text}: {error}"))))
        .collect::<Result<_, _>>()?;
    let redirect_uris = redirect_uris
        .iter()
        .map(|text| RedirectUri::parse(text).map_err(|error| Refused(format!("--redirect-uri {text}: {error}"))))
        .collect::<Result<_, _>>()?;
    for resource in &audience {
        crate::resource::parse(resource).map_err(|error| Refused(format!("--audience {resource}: {error}")))?;
    }
    let store = common.settings.open_store().await?;
    let secret = (client_type == ClientType::Confidential).then(generate_client_secret);
    let registered =
        secret.iter().map(|secret| RegisteredSecret { hash: ClientSecretHash::of(secret), expires_at: None });
    let client = Client {
        id: ClientId::parse(&id)?,
        name: name.as_deref().map(ClientName::parse).transpose()?,
        client_type,
        secrets: registered.collect(),
        grant_types,
        scope: Scope::parse(&scope)?,
        redirect_uris,
        audience,
        cookie_mode,
        origins,
        rotation,
        grace_seconds,
        refresh_idle_seconds,
        refresh_absolute_seconds,
        disabled: false,
        // A recreated client must not meet the grants of its predecessor.
        epoch: u64::from_be_bytes(crate::clock::random_bytes()) >> 12,
        version: 1,
        created_at: store.now(),
        demo: false,
    };
    RefreshPolicy::check(&client, &common.settings.read()?.lifetimes)?;
    if store.create_client(&client).await? == Created::Exists {
        return Err(Refused(format!("there is a client {id} already; see: regrant client show {id}")));
    }
    report_secret(&client, &common, "created", secret.as_ref().map(crate::secret::SecretText::expose))
}

async fn list(common: Common) -> Outcome {
    let clients = common.settings.open_store().await?.clients().await?;
    if common.json {
        return print_json(&clients.iter().map(|client| public_view(client)).collect::<Vec<_>>());
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
    let unknown = || Refused(format!("there is no client {id}; see: regrant client list"));
    let id = ClientId::parse(id).map_err(|_| unknown())?;
    store.client(&id).await?.ok_or_else(unknown)
}

async fn change(one: One, done: &str, change: impl FnOnce(&mut Client)) -> Outcome {
    let store = one.common.settings.open_store().await?;
    let mut client = Client::clone(&*find(store.as_ref(), &one.id).await?);
    change(&mut client);
    replace(store.as_ref(), &mut client).await?;
    report(&client, &one.common, done)
}

async fn replace(store: &dyn Store, client: &mut Client) -> Outcome {
    client.version += 1;
    match store.replace_client(client).await? {
        Changed::Stored => Ok(()),
        Changed::NotFound => {
            Err(Refused(format!("client {} was changed by somebody else meanwhile; try again", client.id)))
        }
    }
}

async fn rotate_secret(one: One) -> Outcome {
    let store = one.common.settings.open_store().await?;
    let mut client = Client::clone(&*find(store.as_ref(), &one.id).await?);
    if client.client_type == ClientType::Public {
        return Err(Refused(format!("client {} is public and has no secret", one.id)));
    }
    let secret = generate_client_secret();
    let now = store.now();
    let newest = client.secrets.pop();
    client.secrets = newest
        .into_iter()
        .map(|old| RegisteredSecret { expires_at: Some(old.expires_at.unwrap_or(now.plus(SECRET_OVERLAP_MS))), ..old })
        .collect();
    client.secrets.push(RegisteredSecret { hash: ClientSecretHash::of(&secret), expires_at: None });
    replace(store.as_ref(), &mut client).await?;
    report_secret(&client, &one.common, "given a new secret; the old one works for another day", Some(secret.expose()))
}

fn report(client: &Client, common: &Common, done: &str) -> Outcome {
    report_secret(client, common, done, None)
}

fn report_secret(client: &Client, common: &Common, done: &str, secret: Option<&str>) -> Outcome {
    let mut view = public_view(client);
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

/// A client without its secrets, under the names of RFC 7591.
fn public_view(client: &Client) -> Value {
    json!({
        "client_id": client.id,
        "type": client.client_type,
        "grant_types": client.grant_types,
        "scope": client.scope,
        "redirect_uris": client.redirect_uris,
        "audience": client.audience,
        "cookie_mode": client.cookie_mode,
        "origins": client.origins,
        "rotation": client.rotation,
        "grace_seconds": client.grace_seconds,
        "refresh_idle_seconds": client.refresh_idle_seconds,
        "refresh_absolute_seconds": client.refresh_absolute_seconds,
        "disabled": client.disabled,
        "created_at": client.created_at.seconds(),
        "demo": client.demo,
    })
}
