//! `regrant check`: the start-up checks of `regrant serve`, and nothing else.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use url::Host;

use super::{Outcome, Refused, assemble};
use crate::{App, clock::Clock, config::Config, server::tls, store, token::keys::FirstKey};

#[derive(Args)]
pub(super) struct Arguments {
    /// A TOML file with settings; the environment (REGRANT_…) comes after it
    #[arg(long, env = "REGRANT_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let config = Config::read(arguments.config.as_deref())?;
    let app = ready_app(&config, FirstKey::Refuse).await?;
    for advice in app.store.advice().await?.into_iter().chain(certificate_advice(&config)) {
        eprintln!("warning: {advice}");
    }
    println!("ready to serve {} on {}, store {}", config.issuer_text()?, config.listen, config.store);
    Ok(())
}

/// Checks everything that production needs, and puts the server together. All that is wrong is told at
/// once, each with what to do.
pub(super) async fn ready_app(config: &Config, first_key: FirstKey) -> Result<Arc<App>, Refused> {
    let mut problems = Vec::new();
    problems.extend(config.validate().err().map(|error| error.to_string()));
    problems.extend(config.branding.load_logo().err().map(|error| error.to_string()));
    problems.extend(issuer_problem(config));
    problems.extend(tls::check(&config.tls, Clock::system().now()).err().map(|error| error.to_string()));
    let secret = match config.server_secret() {
        Ok(secret) => Some(secret),
        Err(error) => {
            problems.push(error.to_string());
            None
        }
    };
    match store::open(&config.store, Clock::system()).await {
        Err(error) => problems.push(format!("store: {error}")),
        Ok(store) => {
            problems.extend(store.warnings().await?.into_iter().map(|warning| format!("store: {warning}")));
            problems.extend(demo_problem(store.as_ref()).await?);
            if let (Some(secret), true) = (&secret, problems.is_empty()) {
                return assemble(config, secret, store, first_key, false).await;
            }
        }
    }
    Err(Refused(format!("not fit for production:\n  - {}", problems.join("\n  - "))))
}

/// Tokens travel in the clear over plain http (RFC 6749 §1.6).
fn issuer_problem(config: &Config) -> Option<String> {
    if config.issuer.is_empty() {
        return Some(
            "issuer: there is none. Set it to the https URL that clients use, such as https://login.example.com".into(),
        );
    }
    let url = config.issuer_url().ok()?;
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    (url.scheme() == "http" && !loopback).then(|| {
        format!("issuer: {url} is plain http, and tokens would travel in the clear. Use https (a proxy may end TLS)")
    })
}

/// A certificate for another host is right behind a proxy that connects by TLS itself, and wrong everywhere else.
pub(super) fn certificate_advice(config: &Config) -> Option<String> {
    let host = config.issuer_url().ok()?.host_str()?.to_owned();
    (!tls::is_for(&config.tls, &host))
        .then(|| format!("tls.certificate_file: the certificate is not for {host}, the issuer's host"))
}

/// Demo records have passwords that everybody knows.
async fn demo_problem(store: &dyn store::Store) -> Result<Option<String>, Refused> {
    let clients = store.clients().await?;
    let owners = store.owners().await?;
    let mut commands: Vec<String> = clients
        .iter()
        .filter(|client| client.demo)
        .map(|client| format!("regrant client delete {}", client.id))
        .collect();
    commands.extend(
        owners.iter().filter(|owner| owner.demo).map(|owner| format!("regrant user delete {}", owner.username)),
    );
    Ok((!commands.is_empty()).then(|| {
        format!("store: it holds the demo records of regrant dev. Use another store, or run: {}", commands.join("; "))
    }))
}
