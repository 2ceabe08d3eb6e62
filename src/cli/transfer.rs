//! The lines of an export: JSON objects, one a line. The first says what the file is, the last how many lines there are,
//! so that half a file is not taken for a whole one.
//!
//! Epochs are not in it: whatever is imported gets a new one, so that no grant of before comes alive by an import.
//!
//! Not here: writing the file, see `export.rs`; reading it into a store, see `import.rs`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Refused;
use crate::{
    client::{Client, ClientType, GrantType, RedirectUri, RefreshPolicy, WebOrigin},
    clock::{Timestamp, random_bytes},
    config::Lifetimes,
    ids::{ClientId, Subject, Username},
    resource,
    scope::Scope,
    store::{OwnerRecord, OwnerStatus, SealedKey},
};

/// The format that this version writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;

/// The longest line, bytes: far more than any record.
const LONGEST: u64 = 1 << 20;

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Line {
    /// The first.
    Regrant(Header),
    /// A client, as the store has it, without epoch and version.
    Client(Value),
    /// A resource owner.
    User(User),
    /// What a resource owner allowed a client for good; after both of them.
    Consent(Consent),
    /// A signing key, sealed under the server's secret.
    SigningKey(SigningKey),
    /// The last.
    End(End),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) exported_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    username: String,
    sub: Subject,
    disabled: bool,
    /// The password's hash, sealed under the server's secret, in base64url.
    sealed_password: String,
    created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consent {
    username: String,
    client_id: ClientId,
    pub(super) scope: Scope,
    pub(super) given_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SigningKey {
    slot: u32,
    algorithm: String,
    sealed: String,
    created_at: Timestamp,
    active_from: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    /// Of all lines before this one, the first included.
    pub(super) lines: u64,
}

/// Reads the file line by line, so that its size doesn't matter.
pub(super) fn lines(path: &Path) -> Result<impl Iterator<Item = (u64, Result<Line, String>)>, Refused> {
    let file = File::open(path).map_err(|error| Refused(format!("{}: {error}", path.display())))?;
    let mut reader = BufReader::new(file);
    let mut number = 0;
    Ok(std::iter::from_fn(move || {
        let mut text = Vec::new();
        let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut text);
        number += 1;
        match read {
            Ok(0) => None,
            Ok(_) if text.last() != Some(&b'\n') => Some((number, Err("the line has no end".to_owned()))),
            Ok(_) => Some((number, serde_json::from_slice(&text).map_err(|error| error.to_string()))),
            Err(error) => Some((number, Err(error.to_string()))),
        }
    }))
}

/// A new epoch, which no grant has: 52 random bits, exact in Lua's and JSON's floating point.
fn new_epoch() -> u64 {
    u64::from_be_bytes(random_bytes()) >> 12
}

/// The fields of a client that count how it changed. They belong to one store.
const COUNTERS: [&str; 2] = ["epoch", "version"];

impl Line {
    pub(super) fn of_client(client: &Client) -> Result<Self, String> {
        let mut record = serde_json::to_value(client).map_err(|error| error.to_string())?;
        if let Some(fields) = record.as_object_mut() {
            COUNTERS.iter().for_each(|name| drop(fields.shift_remove(*name)));
        }
        Ok(Self::Client(record))
    }

    pub(super) fn of_owner(owner: &OwnerRecord) -> Self {
        Self::User(User {
            username: owner.username.as_str().to_owned(),
            sub: owner.subject.clone(),
            disabled: owner.status == OwnerStatus::Disabled,
            sealed_password: URL_SAFE_NO_PAD.encode(&owner.sealed_password),
            created_at: owner.created_at,
        })
    }

    pub(super) fn of_consent(owner: &OwnerRecord, consent: &crate::store::Consent) -> Self {
        Self::Consent(Consent {
            username: owner.username.as_str().to_owned(),
            client_id: consent.client_id.clone(),
            scope: consent.scope.clone(),
            given_at: consent.given_at,
        })
    }

    pub(super) fn of_signing_key(key: &SealedKey) -> Self {
        Self::SigningKey(SigningKey {
            slot: key.slot,
            algorithm: key.algorithm.clone(),
            sealed: URL_SAFE_NO_PAD.encode(&key.sealed),
            created_at: key.created_at,
            active_from: key.active_from,
        })
    }
}

/// The name of a line, as people read it.
fn name_of(text: &str) -> Result<Username, String> {
    let name = Username::parse(text).map_err(|error| format!("user {text:?}: {error}"))?;
    // Another form of the name would be another person's address in a store that compares bytes.
    if name.as_str() == text { Ok(name) } else { Err(format!("user {text:?}: write the name as {name:?}")) }
}

fn bytes_of(text: &str, what: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("{what} is not base64url"))
}

/// The client of a line, in a state that `regrant client create` could have made.
pub(super) fn client_of(record: &Value, lifetimes: &Lifetimes) -> Result<Client, String> {
    let mut record = record.clone();
    let fields = record.as_object_mut().ok_or("a client is a JSON object")?;
    if let Some(counter) = COUNTERS.iter().find(|name| fields.contains_key(**name)) {
        return Err(format!("a client of an export has no {counter}"));
    }
    fields.insert("epoch".into(), new_epoch().into());
    fields.insert("version".into(), 1.into());
    let named: Vec<String> = fields.keys().cloned().collect();
    let client: Client = serde_json::from_value(record).map_err(|error| format!("client: {error}"))?;
    let wrong = |what: &str| Err(format!("client {}: {what}", client.id));
    let known = serde_json::to_value(&client).map_err(|error| error.to_string())?;
    if let Some(unknown) = named.iter().find(|name| known.get(name.as_str()).is_none() && !is_empty_field(name)) {
        return wrong(&format!("unknown field {unknown}"));
    }
    for uri in &client.redirect_uris {
        RedirectUri::parse(uri.as_str()).map_err(|error| format!("client {}: {}: {error}", client.id, uri.as_str()))?;
    }
    for origin in &client.origins {
        let parsed = WebOrigin::parse(origin.as_str());
        parsed.map_err(|error| format!("client {}: {}: {error}", client.id, origin.as_str()))?;
    }
    for resource in &client.audience {
        resource::parse(resource).map_err(|error| format!("client {}: {resource}: {error}", client.id))?;
    }
    let (public, may_use) = (client.client_type == ClientType::Public, |grant_type| client.may_use(grant_type));
    if public != client.secrets.is_empty() {
        return wrong("a confidential client has a secret, and a public one has none");
    }
    if public && may_use(GrantType::ClientCredentials) {
        return wrong("a public client cannot use client_credentials (RFC 6749 section 4.4)");
    }
    if may_use(GrantType::AuthorizationCode) && client.redirect_uris.is_empty() {
        return wrong("authorization_code needs a redirection URI");
    }
    if client.cookie_mode && !(public && may_use(GrantType::RefreshToken)) {
        return wrong("cookie mode is for public clients with the refresh_token grant");
    }
    if client.demo {
        return wrong("a demo record, which an export leaves out");
    }
    RefreshPolicy::check(&client, lifetimes)
        .map_err(|(field, problem)| format!("client {}: {field} {problem}", client.id))?;
    Ok(client)
}

/// Fields that are left out while they are empty.
fn is_empty_field(name: &str) -> bool {
    ["name", "secrets", "redirect_uris", "audience", "origins", "grace_seconds"].contains(&name)
        || name.starts_with("refresh_")
}

impl User {
    /// The owner of the line.
    pub(super) fn read(&self) -> Result<OwnerRecord, String> {
        let username = name_of(&self.username)?;
        let sub = &self.sub.0;
        // A colon is for the subjects of clients.
        if sub.is_empty() || sub.len() > 255 || !sub.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
            return Err(format!("user {username}: sub {sub:?} can't be a resource owner's"));
        }
        Ok(OwnerRecord {
            sealed_password: bytes_of(&self.sealed_password, "sealed_password")?,
            username,
            subject: self.sub.clone(),
            status: if self.disabled { OwnerStatus::Disabled } else { OwnerStatus::Active },
            epoch: new_epoch(),
            created_at: self.created_at,
            demo: false,
        })
    }
}

impl Consent {
    /// Who gave it, and to which client.
    pub(super) fn parties(&self) -> Result<(Username, &ClientId), String> {
        Ok((name_of(&self.username)?, &self.client_id))
    }
}

impl SigningKey {
    /// The key of the line.
    pub(super) fn read(&self) -> Result<SealedKey, String> {
        Ok(SealedKey {
            slot: self.slot,
            algorithm: self.algorithm.clone(),
            sealed: bytes_of(&self.sealed, "sealed")?,
            created_at: self.created_at,
            active_from: self.active_from,
        })
    }
}

/// Whether two clients are the same but for what belongs to one store.
pub(super) fn same_client(one: &Client, other: &Client) -> bool {
    *one == Client { epoch: one.epoch, version: one.version, ..other.clone() }
}

/// The same of two owners.
pub(super) fn same_owner(one: &OwnerRecord, other: &OwnerRecord) -> bool {
    *one == OwnerRecord { epoch: one.epoch, ..other.clone() }
}
