//! What a registered client is (RFC 6749 §2).
//!
//! Not here: checking its credentials, see `client/authentication.rs`.

pub mod authentication;
mod name;
mod redirect_uri;
mod refresh_policy;
mod web_origin;

pub use self::{
    name::{ClientName, InvalidClientName},
    redirect_uri::{InvalidRedirectUri, RedirectUri},
    refresh_policy::RefreshPolicy,
    web_origin::{InvalidWebOrigin, WebOrigin},
};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, ids::ClientId, scope::Scope, secret::ClientSecretHash, store::RotationPolicy};

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// What people know it by; without one it is known by its identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ClientName>,
    /// Whether it can keep a secret.
    pub client_type: ClientType,
    /// Hashes of its secrets: one, or two while it changes from one to the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<RegisteredSecret>,
    /// The grants it may use.
    pub grant_types: Vec<GrantType>,
    /// The most it can be granted.
    pub scope: Scope,
    /// Where the authorization endpoint may send the browser.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<RedirectUri>,
    /// The resources that its access tokens are for; empty means the issuer itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// Whether it may have its refresh token in a cookie: a first-party app in a browser.
    #[serde(default)]
    pub cookie_mode: bool,
    /// The origins beside our own that its pages may call from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<WebOrigin>,
    /// Whether a use of its refresh tokens replaces them.
    #[serde(default)]
    pub rotation: RotationPolicy,
    /// Its own grace in seconds, or the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u32>,
    /// The life of an unused refresh token in seconds, or the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_idle_seconds: Option<u32>,
    /// The life of a grant in seconds, or the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_absolute_seconds: Option<u32>,
    /// Whether it is shut out.
    #[serde(default)]
    pub disabled: bool,
    /// Counts up when its older grants must die.
    pub epoch: u64,
    /// Counts up with every change: a change names the version that it saw.
    pub version: u64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// A record of `regrant dev`, which `serve` refuses.
    #[serde(default)]
    pub demo: bool,
}

impl Client {
    /// What people know it by.
    pub fn display_name(&self) -> &str {
        self.name.as_ref().map_or(self.id.as_str(), ClientName::as_str)
    }

    /// Whether the client may use a grant.
    pub fn may_use(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }
}

/// A stored client secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredSecret {
    /// Its hash.
    pub hash: ClientSecretHash,
    /// When it stops working; a client in the middle of a change has one that ends and one that doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// The client types of RFC 6749 §2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ClientType {
    /// Keeps a secret: a server.
    Confidential,
    /// Can't keep one: an app on a device or in a browser.
    Public,
}

impl fmt::Display for ClientType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confidential => "confidential",
            Self::Public => "public",
        })
    }
}

/// The grants that a client can be registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantType {
    /// RFC 6749 §4.3.
    #[serde(rename = "password")]
    Password,
    /// RFC 6749 §6.
    #[serde(rename = "refresh_token")]
    RefreshToken,
    /// RFC 6749 §4.1.
    #[serde(rename = "authorization_code")]
    AuthorizationCode,
    /// RFC 6749 §4.4.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// RFC 8628.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
}

impl GrantType {
    const ALL: [Self; 5] =
        [Self::Password, Self::RefreshToken, Self::AuthorizationCode, Self::ClientCredentials, Self::DeviceCode];

    /// The grants that this server's token endpoint answers.
    pub const SERVED: [Self; 5] =
        [Self::AuthorizationCode, Self::Password, Self::RefreshToken, Self::ClientCredentials, Self::DeviceCode];

    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::RefreshToken => "refresh_token",
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
        }
    }

    /// The grant that a registration names: its wire name, or `device_code` for short.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "device_code" {
            return Some(Self::DeviceCode);
        }
        Self::ALL.into_iter().find(|grant_type| grant_type.as_str() == text)
    }
}

impl fmt::Display for GrantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
