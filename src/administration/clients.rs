//! Registers clients and changes them.
//!
//! Not here: what a client is, see `client/mod.rs`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Operator, Refusal, Subject};
use crate::{
    client::{Client, ClientName, ClientType, GrantType, RedirectUri, RefreshPolicy, RegisteredSecret, WebOrigin},
    config::Lifetimes,
    ids::ClientId,
    scope::Scope,
    secret::{ClientSecretHash, SecretText, generate_client_secret},
    store::{Changed, Created, RotationPolicy, Store},
};

/// How long the old secret works beside the new one, milliseconds.
const SECRET_OVERLAP_MS: i64 = 24 * 60 * 60 * 1000;
/// The longest grace that a client may be registered with, seconds.
const LONGEST_GRACE: u32 = 600;

/// A client as an operator describes it, not yet looked at.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its identifier.
    pub client_id: String,
    /// What people know it by.
    pub name: Option<String>,
    /// Whether it can keep a secret.
    pub client_type: ClientType,
    /// The grants it may use.
    pub grant_types: Vec<GrantType>,
    /// The most it can be granted.
    pub scope: String,
    /// Where the browser may be sent.
    pub redirect_uris: Vec<String>,
    /// The resources its access tokens are for.
    pub audience: Vec<String>,
    /// Whether it may have its refresh token in a cookie.
    pub cookie_mode: bool,
    /// The origins that its pages call from.
    pub origins: Vec<String>,
    /// Whether a use of its refresh tokens replaces them.
    pub rotation: RotationPolicy,
    /// Its own grace.
    pub grace_seconds: Option<u32>,
    /// The life of an unused refresh token.
    pub refresh_idle_seconds: Option<u32>,
    /// The life of a grant.
    pub refresh_absolute_seconds: Option<u32>,
}

impl Registration {
    /// Looks at everything, and makes the client with its secret, if it has one.
    fn check(self, lifetimes: &Lifetimes, store: &dyn Store) -> Result<(Client, Option<SecretText>), Refusal> {
        let (client_type, grant_types) = (self.client_type, self.grant_types);
        if grant_types.is_empty() {
            return Err(Refusal::invalid("grant_types", "name at least one"));
        }
        if client_type == ClientType::Public && grant_types.contains(&GrantType::ClientCredentials) {
            let problem = "a public client cannot use client_credentials (RFC 6749 section 4.4)";
            return Err(Refusal::invalid("grant_types", problem));
        }
        if grant_types.contains(&GrantType::AuthorizationCode) && self.redirect_uris.is_empty() {
            return Err(Refusal::invalid("redirect_uris", "authorization_code needs at least one"));
        }
        // A secret in a browser is nobody's secret, and without a refresh token there is nothing to put into a cookie.
        if self.cookie_mode && (client_type != ClientType::Public || !grant_types.contains(&GrantType::RefreshToken)) {
            return Err(Refusal::invalid("cookie_mode", "is for public clients with the refresh_token grant"));
        }
        if self.grace_seconds.is_some_and(|seconds| seconds > LONGEST_GRACE) {
            return Err(Refusal::invalid("grace_seconds", format!("must be at most {LONGEST_GRACE}")));
        }
        for (index, resource) in self.audience.iter().enumerate() {
            crate::resource::parse(resource).map_err(|error| Refusal::invalid(&format!("audience[{index}]"), error))?;
        }
        let secret = (client_type == ClientType::Confidential).then(generate_client_secret);
        let registered =
            secret.iter().map(|secret| RegisteredSecret { hash: ClientSecretHash::of(secret), expires_at: None });
        let client = Client {
            id: ClientId::parse(&self.client_id).map_err(|error| Refusal::invalid("client_id", error))?,
            name: self
                .name
                .as_deref()
                .map(ClientName::parse)
                .transpose()
                .map_err(|error| Refusal::invalid("name", error))?,
            client_type,
            secrets: registered.collect(),
            grant_types,
            scope: Scope::parse(&self.scope).map_err(|error| Refusal::invalid("scope", error))?,
            redirect_uris: parse_each("redirect_uris", &self.redirect_uris, RedirectUri::parse)?,
            audience: self.audience,
            cookie_mode: self.cookie_mode,
            origins: parse_each("origins", &self.origins, WebOrigin::parse)?,
            rotation: self.rotation,
            grace_seconds: self.grace_seconds,
            refresh_idle_seconds: self.refresh_idle_seconds,
            refresh_absolute_seconds: self.refresh_absolute_seconds,
            disabled: false,
            // A recreated client must not meet the grants of its predecessor.
            epoch: u64::from_be_bytes(crate::clock::random_bytes()) >> 12,
            version: 1,
            created_at: store.now(),
            demo: false,
        };
        RefreshPolicy::check(&client, lifetimes).map_err(|(field, problem)| Refusal::invalid(field, problem))?;
        Ok((client, secret))
    }
}

fn parse_each<T, E: std::fmt::Display>(
    field: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, Refusal> {
    let one = |(index, text): (usize, &String)| {
        parse(text).map_err(|error| Refusal::invalid(&format!("{field}[{index}]"), error))
    };
    texts.iter().enumerate().map(one).collect()
}

/// Registers a client, and returns it with its secret: the only time that it is known.
///
/// # Errors
/// [`Refusal`].
pub async fn create(
    registration: Registration,
    lifetimes: &Lifetimes,
    store: &dyn Store,
    by: &Operator,
) -> Result<(Client, Option<SecretText>), Refusal> {
    let (client, secret) = registration.check(lifetimes, store)?;
    if store.create_client(&client).await? == Created::Exists {
        return Err(Refusal::Exists);
    }
    by.note("client created", &Subject::Client(&client.id));
    Ok((client, secret))
}

/// The client of this identifier.
///
/// # Errors
/// [`Refusal`].
pub async fn find(id: &str, store: &dyn Store) -> Result<Arc<Client>, Refusal> {
    let id = ClientId::parse(id).map_err(|_| Refusal::NotFound)?;
    store.client(&id).await?.ok_or(Refusal::NotFound)
}

/// Shuts a client out; its grants die.
///
/// # Errors
/// [`Refusal`].
pub async fn disable(id: &str, store: &dyn Store, by: &Operator) -> Result<Client, Refusal> {
    let mut client = Client::clone(&*find(id, store).await?);
    client.disabled = true;
    client.epoch += 1;
    replace(&mut client, store).await?;
    by.note("client disabled", &Subject::Client(&client.id));
    Ok(client)
}

/// Lets a client in again; old grants stay dead.
///
/// # Errors
/// [`Refusal`].
pub async fn enable(id: &str, store: &dyn Store, by: &Operator) -> Result<Client, Refusal> {
    let mut client = Client::clone(&*find(id, store).await?);
    client.disabled = false;
    replace(&mut client, store).await?;
    by.note("client enabled", &Subject::Client(&client.id));
    Ok(client)
}

/// Gives a client a new secret; the old one works for another day.
///
/// # Errors
/// [`Refusal`].
pub async fn rotate_secret(id: &str, store: &dyn Store, by: &Operator) -> Result<(Client, SecretText), Refusal> {
    let mut client = Client::clone(&*find(id, store).await?);
    if client.client_type == ClientType::Public {
        return Err(Refusal::invalid("client_id", "this client is public and has no secret"));
    }
    let secret = generate_client_secret();
    let now = store.now();
    let newest = client.secrets.pop();
    client.secrets = newest
        .into_iter()
        .map(|old| RegisteredSecret { expires_at: Some(old.expires_at.unwrap_or(now.plus(SECRET_OVERLAP_MS))), ..old })
        .collect();
    client.secrets.push(RegisteredSecret { hash: ClientSecretHash::of(&secret), expires_at: None });
    replace(&mut client, store).await?;
    by.note("client given a new secret", &Subject::Client(&client.id));
    Ok((client, secret))
}

/// Deletes a client; its grants die.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(id: &str, store: &dyn Store, by: &Operator) -> Result<Arc<Client>, Refusal> {
    let client = find(id, store).await?;
    store.delete_client(&client.id).await?;
    by.note("client deleted", &Subject::Client(&client.id));
    Ok(client)
}

async fn replace(client: &mut Client, store: &dyn Store) -> Result<(), Refusal> {
    client.version += 1;
    match store.replace_client(client).await? {
        Changed::Stored => Ok(()),
        Changed::NotFound => Err(Refusal::Changed),
    }
}

/// A client without its secrets, under the names of RFC 7591 where it has one.
pub fn describe(client: &Client) -> Value {
    json!({
        "client_id": client.id,
        "name": client.name,
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
