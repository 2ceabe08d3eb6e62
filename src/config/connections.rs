//! The settings of connections: TLS, and what a client may cost.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;

/// TLS on the public address. Without it that address speaks plain http, for a proxy that ends TLS.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the certificate, and those that lead from it to the authority.
    pub certificate_file: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    pub key_file: Option<PathBuf>,
}

impl Tls {
    /// Whether the public address speaks TLS.
    pub const fn is_on(&self) -> bool {
        self.certificate_file.is_some()
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => Err(ConfigError::Invalid {
                setting: "tls.key_file",
                problem: "there is none, and tls.certificate_file needs it".into(),
            }),
            (None, Some(_)) => Err(ConfigError::Invalid {
                setting: "tls.certificate_file",
                problem: "there is none, and tls.key_file needs it".into(),
            }),
            _ => Ok(()),
        }
    }
}

/// What clients may cost: how many there may be, and how long they may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections served at once; more wait in the kernel.
    pub connections: usize,
    /// How long a TLS handshake may take, seconds.
    pub handshake_seconds: u32,
    /// How long the header of a request may take to arrive, from its first byte; and that byte of a new connection.
    pub header_seconds: u32,
    /// How long the body of a request may take to arrive, seconds.
    pub body_seconds: u32,
    /// How long a connection may stay open between requests; longer than a proxy keeps its own.
    pub idle_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16_384, handshake_seconds: 10, header_seconds: 10, body_seconds: 10, idle_seconds: 75 }
    }
}

impl Limits {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let Self { connections, handshake_seconds, header_seconds, body_seconds, idle_seconds } = *self;
        let invalid = |setting, problem: &str| Err(ConfigError::Invalid { setting, problem: problem.into() });
        if !(16..=1_000_000).contains(&connections) {
            return invalid("limits.connections", "must be 16 to 1000000");
        }
        for (setting, seconds) in [
            ("limits.handshake_seconds", handshake_seconds),
            ("limits.header_seconds", header_seconds),
            ("limits.body_seconds", body_seconds),
        ] {
            if !(1..=60).contains(&seconds) {
                return invalid(setting, "must be 1 to 60: who takes longer keeps others out");
            }
        }
        if !(1..=3600).contains(&idle_seconds) {
            return invalid("limits.idle_seconds", "must be 1 to 3600");
        }
        Ok(())
    }
}
