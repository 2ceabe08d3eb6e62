//! Regrant: an OAuth 2.0 authorization server whose refresh is right under any retry.
//!
//! # The map of the house
//!
//! A token request walks one straight line, and each file is entered once:
//!
//! ```text
//! form -> http/token.rs -> client/authentication.rs -> grant/<grant>.rs -> token/mod.rs -> store -> Lua or SQL
//! ```
//!
//! ```text
//! main.rs             the binary: hands the command line to cli
//! cli/                the command line: one file a command
//! administration/     what operators do, for the command line, /admin and its page; each act an audit event
//! config.rs           settings: file, environment, flags; validated
//! config/             parts of the settings
//! server.rs           assembles and drains a server
//! server/             accepts connections, gives each to a thread, ends TLS, sees to it that nobody holds one for nothing
//! telemetry.rs        the log and the audit log
//! telemetry/          the log's lines and their writer, the metrics, the last hours, the traces
//! http/               one file an endpoint; error_response.rs is the only renderer of errors
//! grant/              one file a grant type: is this token request valid?
//! authorization/      the rules of an authorization request, on oxide-auth's protocol core
//! client/             what a client is; authentication.rs: credentials -> AuthenticatedClient
//! resource_owner/     username and password -> AuthenticatedOwner; the argon2id pool; browser sessions
//! token/              access tokens, refresh tokens, signing keys; mod.rs issues
//! store/              a trait a subject, the records; decide.rs: rotation as a pure function; redis/, embedded/
//! error.rs            the RFC's code outside, our reason inside
//! clock.rs            the only reader of the wall clock and of randomness
//! ids.rs              identifiers, parsed
//! lane.rs             the number of the thread that serves a connection
//! scope.rs            a set of scope tokens
//! pkce.rs             code verifiers and challenges
//! resource.rs         the resources that a token is for
//! failpoint.rs        ends the process at named steps, in the builds of the proof only
//! secret.rs           redacted types; the keys derived from the server's one secret
//! ```
//!
//! # Invariants
//!
//! - Control goes one way: `http -> grant -> client, resource_owner -> token -> store -> vocabulary`.
//! - A refresh is one atomic call of the store, and one Redis command. When it has answered, the rotation has
//!   happened; when it hasn't, the same request may be sent again.
//! - `store/decide.rs` is the specification of rotation; `store/redis/lua/rotate.lua` is held equal to it by a
//!   differential test.
//! - At most one generation of a grant can create a new one. A repeated request gets the same successor.
//! - Trouble with a store is 503, never `invalid_grant`: clients throw a token away on the latter.
//! - No secret has a `Display`; the store holds only hashes and ciphertexts.
//! - A refresh token of cookie mode works in its cookie only, and one of a body in a body only.
//! - Outside crates stay behind their doors: `poem` in `http/` and `server/`, `redis` in `store/redis/`,
//!   `rusqlite` in `store/embedded/`, `oxide_auth` in `authorization/`, `jsonwebtoken` in `token/`, `argon2` in `resource_owner/`. A test checks.
//!
//! # How to add
//!
//! - an endpoint: a file in `http/`, its type in `http/mod.rs`, then `cargo run -- openapi > openapi/regrant.yaml`.
//! - a grant: a variant of `grant::TokenRequest`; the compiler names the rest.
//! - a store verb: the trait in `store/<subject>.rs`, both stores, a case in the contract suite.

pub mod administration;
pub mod authorization;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod error;
pub mod failpoint;
pub mod grant;
pub mod http;
pub mod ids;
pub mod lane;
pub mod pkce;
pub mod resource;
pub mod resource_owner;
pub mod scope;
pub mod secret;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod token;

use std::{sync::Arc, time::Duration};

use crate::{
    client::GrantType,
    resource_owner::{BrowserSessions, PasswordKeeper},
    store::Store,
    telemetry::{metrics::Metrics, traces::Traces},
    token::Issuer,
};

/// One server: what its endpoints work with.
pub struct App {
    /// Grants, owners, clients, keys.
    pub store: Arc<dyn Store>,
    /// Makes tokens.
    pub issuer: Issuer,
    /// Checks passwords.
    pub passwords: PasswordKeeper,
    /// Begins and finds browser sessions.
    pub sessions: BrowserSessions,
    /// What it counts.
    pub metrics: Metrics,
    /// Records its requests, when an operator wants them traced.
    pub traces: Option<Traces>,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// OAuth 2.1: no password grant anywhere.
    pub oauth21: bool,
    /// Started by `regrant dev`.
    pub demo: bool,
}

impl App {
    /// Whether this server answers a grant type.
    pub fn serves(&self, grant_type: GrantType) -> bool {
        GrantType::SERVED.contains(&grant_type) && !(self.oauth21 && grant_type == GrantType::Password)
    }
}
