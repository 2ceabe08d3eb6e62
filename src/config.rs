//! Reads the settings: a TOML file, then the environment, then flags; checked before anything starts.
//!
//! Not here: checks that need the store, see `cli/check.rs`.

pub mod branding;
pub mod connections;
pub mod telemetry;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use url::Url;

pub use self::{
    branding::{Branding, ScopeDescription},
    connections::{Limits, Tls},
    telemetry::Telemetry,
};
use crate::{
    ids::Username,
    secret::{InvalidServerSecret, SecretText, ServerSecret},
};

/// All settings, with the same names in the file, the environment (`REGRANT_…`, `__` for nesting) and, where
/// one exists, the flag.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The issuer: the URL that clients know this server by (RFC 8414 §2). Empty means `http://LISTEN`, with TLS `https://LISTEN`.
    pub issuer: String,
    /// The store's URL.
    pub store: String,
    /// A file that holds the server's secret.
    pub secret_file: Option<PathBuf>,
    /// The server's secret itself, in base64url. Prefer the file.
    pub secret: Option<SecretText>,
    /// Files with secrets that are accepted but make nothing: the one before, or the next one while nodes are given it.
    pub other_secret_files: Vec<PathBuf>,
    /// Where health and metrics are served; never on the public address.
    pub management_listen: SocketAddr,
    /// The usernames of those who may use the administration page; nobody may when it is empty.
    pub administrators: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// The default resource of access tokens (RFC 9068 §3). Empty means the issuer.
    pub audience: String,
    /// OAuth 2.1: no password grant anywhere.
    pub oauth21: bool,
    /// The algorithm of new signing keys.
    pub signing_algorithm: SigningAlgorithm,
    /// Days after which a signing key is replaced; 0 means never.
    pub signing_key_days: u32,
    /// The form of the log.
    pub log_format: LogFormat,
    /// A file that security events are appended to, one JSON object a line.
    pub audit_log: Option<PathBuf>,
    /// TLS on the public address.
    pub tls: Tls,
    /// What clients may cost.
    pub limits: Limits,
    /// Traces.
    pub telemetry: Telemetry,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// How passwords are hashed.
    pub passwords: Passwords,
    /// How the pages look.
    pub branding: Branding,
    /// What scope tokens mean, for people: by scope token.
    pub scopes: BTreeMap<String, ScopeDescription>,
}

/// Lifetimes, all in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lifetimes {
    /// Access token.
    pub access_token_seconds: u32,
    /// Refresh token that nobody uses.
    pub refresh_idle_seconds: u32,
    /// Grant, however often it is refreshed.
    pub refresh_absolute_seconds: u32,
    /// How long the previous refresh token is accepted again while its successor is unused.
    pub grace_seconds: u32,
    /// Authorization code.
    pub code_seconds: u32,
    /// The codes of a device that waits for a person.
    pub device_code_seconds: u32,
    /// Browser session that nobody uses.
    pub session_idle_seconds: u32,
    /// Browser session, however often it is used.
    pub session_absolute_seconds: u32,
}

/// Password hashing: argon2id (RFC 9106).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Passwords {
    /// Memory per hash, KiB.
    pub memory_kib: u32,
    /// Passes.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
    /// Threads that hash; 0 means one per core.
    pub threads: usize,
    /// Logins that may wait; above that the answer is 503. 0 means half a second's worth.
    pub queue: usize,
    /// Shortest new password, in characters.
    pub minimum_length: usize,
}

/// The algorithms that access tokens can be signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256.
    #[default]
    ES256,
    /// Ed25519.
    EdDSA,
    /// RSA, 2048 bits: for old clients.
    RS256,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            issuer: String::new(),
            store: "sqlite:regrant-data/regrant.db".into(),
            secret_file: None,
            secret: None,
            other_secret_files: Vec::new(),
            management_listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            administrators: Vec::new(),
            trusted_proxies: Vec::new(),
            audience: String::new(),
            oauth21: false,
            signing_algorithm: SigningAlgorithm::default(),
            signing_key_days: 90,
            log_format: LogFormat::default(),
            audit_log: None,
            tls: Tls::default(),
            limits: Limits::default(),
            telemetry: Telemetry::default(),
            lifetimes: Lifetimes::default(),
            passwords: Passwords::default(),
            branding: Branding::default(),
            scopes: BTreeMap::new(),
        }
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access_token_seconds: 600,
            refresh_idle_seconds: 14 * 24 * 3600,
            refresh_absolute_seconds: 90 * 24 * 3600,
            grace_seconds: 60,
            code_seconds: 60,
            device_code_seconds: 600,
            session_idle_seconds: 12 * 3600,
            session_absolute_seconds: 7 * 24 * 3600,
        }
    }
}

impl Default for Passwords {
    fn default() -> Self {
        // OWASP's minimum for argon2id; weaker settings are refused.
        Self { memory_kib: 19 * 1024, iterations: 2, parallelism: 1, threads: 0, queue: 0, minimum_length: 8 }
    }
}

/// Why the settings can't be used; each text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or variable that can't be read as settings.
    #[error("{0}")]
    Unreadable(String),
    /// A value that makes no sense, by setting name.
    #[error("{setting}: {problem}")]
    Invalid {
        /// The setting's name.
        setting: &'static str,
        /// What to change.
        problem: String,
    },
    /// The secret is missing.
    #[error(
        "secret: there is none. Set secret_file to a file that holds 32 random bytes in base64url; make it with: openssl rand 32 | basenc --base64url | tr -d '=' > FILE && chmod 600 FILE"
    )]
    NoSecret,
    /// The secret is no good.
    #[error("secret: {0}")]
    Secret(#[from] InvalidServerSecret),
}

impl Config {
    /// Reads the file, if there is one, then the environment.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] names the file or variable and the field.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut settings = config::Config::builder();
        if let Some(file) = file {
            settings = settings.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        // REGRANT_CONFIG names the file and is no setting in it.
        let ours = std::env::vars_os().filter(|(name, _)| name != "REGRANT_CONFIG");
        let ours = ours.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let environment = config::Environment::with_prefix("REGRANT")
            .source(Some(ours.collect()))
            .prefix_separator("_")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("administrators")
            .with_list_parse_key("trusted_proxies")
            .with_list_parse_key("other_secret_files")
            .ignore_empty(true);
        let mut read: Self = settings
            .add_source(environment)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| ConfigError::Unreadable(error.to_string()))?;
        read.telemetry.or_standard(|name| std::env::var(name).ok());
        Ok(read)
    }

    /// Checks what can be checked without a store.
    ///
    /// # Errors
    /// The first [`ConfigError::Invalid`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |setting, problem: String| Err(ConfigError::Invalid { setting, problem });
        let Lifetimes {
            access_token_seconds,
            refresh_idle_seconds,
            refresh_absolute_seconds,
            grace_seconds,
            code_seconds,
            device_code_seconds,
            session_idle_seconds,
            session_absolute_seconds,
        } = self.lifetimes;
        if access_token_seconds == 0 {
            return invalid("lifetimes.access_token_seconds", "must be at least 1".into());
        }
        if u64::from(refresh_idle_seconds) < 2 * u64::from(access_token_seconds) {
            return invalid(
                "lifetimes.refresh_idle_seconds",
                format!(
                    "must be at least twice lifetimes.access_token_seconds ({access_token_seconds}), or clients that refresh on time are logged out"
                ),
            );
        }
        if refresh_absolute_seconds < refresh_idle_seconds || refresh_absolute_seconds > 366 * 24 * 3600 {
            return invalid(
                "lifetimes.refresh_absolute_seconds",
                format!("must be at least lifetimes.refresh_idle_seconds ({refresh_idle_seconds}) and at most a year"),
            );
        }
        if grace_seconds > access_token_seconds || grace_seconds > 3600 {
            return invalid(
                "lifetimes.grace_seconds",
                format!("must be at most lifetimes.access_token_seconds ({access_token_seconds}) and at most 3600"),
            );
        }
        if !(5..=600).contains(&code_seconds) {
            return invalid("lifetimes.code_seconds", "must be 5 to 600 (RFC 6749 section 4.1.2)".into());
        }
        if !(60..=3600).contains(&device_code_seconds) {
            return invalid(
                "lifetimes.device_code_seconds",
                "must be 60 to 3600: long enough to type a code, too short to guess one".into(),
            );
        }
        if session_idle_seconds < 60 || session_absolute_seconds < session_idle_seconds {
            return invalid(
                "lifetimes.session_idle_seconds",
                "must be at least 60 and at most lifetimes.session_absolute_seconds".into(),
            );
        }
        let Passwords { memory_kib, iterations, parallelism, .. } = self.passwords;
        if parallelism == 0 || u64::from(memory_kib) * u64::from(iterations) < 2 * 19 * 1024 || memory_kib < 7 * 1024 {
            return invalid(
                "passwords",
                "weaker than the OWASP minimum for argon2id: memory_kib = 19456, iterations = 2, parallelism = 1"
                    .into(),
            );
        }
        if let Some(name) = self.administrators.iter().find(|name| Username::parse(name).is_err()) {
            return invalid("administrators", format!("{name:?} can't be a username"));
        }
        self.branding.validate()?;
        self.tls.validate()?;
        self.limits.validate()?;
        self.telemetry.validate()?;
        if self.tls.is_on() && self.issuer_url()?.scheme() != "https" {
            return invalid("issuer", "must start with https://, because tls.certificate_file is set".into());
        }
        self.issuer_url().map(drop)
    }

    /// The issuer, without a trailing slash.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is not an http or https URL without query and fragment
    /// (RFC 8414 §2).
    pub fn issuer_url(&self) -> Result<Url, ConfigError> {
        let text = match (self.issuer.is_empty(), self.tls.is_on()) {
            (false, _) => self.issuer.clone(),
            (true, true) => format!("https://{}", self.listen),
            (true, false) => format!("http://{}", self.listen),
        };
        let invalid = |problem: &str| ConfigError::Invalid { setting: "issuer", problem: problem.to_owned() };
        let url = Url::parse(&text).map_err(|error| invalid(&format!("{text:?} is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(invalid("must start with https://"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("must have no query and no fragment (RFC 8414 section 2)"));
        }
        if url.path() != "/" {
            return Err(invalid("must have no path: give the server a host name of its own"));
        }
        Ok(url)
    }

    /// The issuer exactly as tokens and metadata carry it.
    ///
    /// # Errors
    /// As [`issuer_url`](Self::issuer_url).
    pub fn issuer_text(&self) -> Result<String, ConfigError> {
        Ok(self.issuer_url()?.as_str().trim_end_matches('/').to_owned())
    }

    /// The server's secret, from `secret` or `secret_file`, with those of `other_secret_files`.
    ///
    /// # Errors
    /// [`ConfigError`] says how to make one.
    pub fn server_secret(&self) -> Result<ServerSecret, ConfigError> {
        let secret = match (&self.secret, &self.secret_file) {
            (Some(text), _) => ServerSecret::parse(text.expose())?,
            (None, Some(file)) => secret_in("secret_file", file)?,
            (None, None) => return Err(ConfigError::NoSecret),
        };
        let others = self.other_secret_files.iter().map(|file| secret_in("other_secret_files", file));
        Ok(secret.accepting(others.collect::<Result<_, _>>()?)?)
    }
}

fn secret_in(setting: &str, file: &Path) -> Result<ServerSecret, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| ConfigError::Unreadable(format!("{setting} {}: {error}", file.display())))?;
    Ok(ServerSecret::parse(SecretText::new(text).expose())?)
}
