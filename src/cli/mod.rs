//! The command line: one file a command.
//!
//! Exit status: 0 success, 1 refused, 2 usage.

mod check;
mod client;
mod dev;
mod export;
mod grant;
mod import;
mod key;
mod openapi;
mod serve;
mod transfer;
mod user;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Parser, Subcommand};

use crate::{
    App,
    administration::Operator,
    clock::Clock,
    config::Config,
    resource_owner::{BrowserSessions, PasswordKeeper},
    secret::ServerSecret,
    store::{self, Store},
    telemetry::{self, Log, metrics::Metrics, traces::Traces},
    token::{
        Issuer,
        keys::{FirstKey, SigningKeys},
    },
};

/// An OAuth 2.0 authorization server whose refresh is right under any retry.
#[derive(Parser)]
#[command(
    name = "regrant",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try it out: no configuration, demo records, loopback only
    Dev(dev::Arguments),
    /// Run in production
    Serve(serve::Flags),
    /// Make all of serve's start-up checks, then exit
    Check(check::Arguments),
    /// Register and change clients
    #[command(subcommand)]
    Client(client::Command),
    /// Create and change resource owners
    #[command(subcommand)]
    User(user::Command),
    /// Look into grants: list, show, revoke, explain
    #[command(subcommand)]
    Grant(grant::Command),
    /// Look at the signing keys and replace them
    #[command(subcommand)]
    Key(key::Command),
    /// Write clients, users and consents as JSON lines, without tokens and sessions
    Export(export::Arguments),
    /// Read what `regrant export` wrote; nothing is written unless all of it can be
    Import(import::Arguments),
    /// Print the OpenAPI document
    Openapi(openapi::Arguments),
}

/// Where the settings come from, for commands that work on a store.
#[derive(Args, Clone, Debug)]
struct Settings {
    /// A TOML file with settings; the environment (REGRANT_…) comes after it
    #[arg(long, env = "REGRANT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The store's URL: sqlite:PATH, redis://HOST:PORT, rediss://HOST:PORT [default: the one of `regrant dev`]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// The folder of `regrant dev`: its embedded store and its secret
    #[arg(long, value_name = "DIR", default_value = "regrant-data")]
    data: PathBuf,
}

impl Settings {
    /// File, environment, flags; then the folder of `regrant dev` for what none of them says.
    fn read(&self) -> Result<Config, Refused> {
        let mut config = Config::read(self.config.as_deref())?;
        if let Some(store) = &self.store {
            config.store.clone_from(store);
        }
        if config.store == Config::default().store {
            config.store = dev::store_url(&self.data);
        }
        let secret_file = dev::secret_file(&self.data);
        if config.secret.is_none() && config.secret_file.is_none() && secret_file.exists() {
            config.secret_file = Some(secret_file);
        }
        Ok(config)
    }

    async fn open_store(&self) -> Result<Arc<dyn Store>, Refused> {
        Ok(store::open(&self.read()?.store, Clock::system()).await?)
    }
}

/// What every command on a store takes.
#[derive(Args)]
struct Common {
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Common {
    /// The store, for a command that changes something, and who does it. The audit log is told, where there is one: a
    /// command that can't write into it changes nothing.
    async fn at_work(&self) -> Result<(Arc<dyn Store>, Operator), Refused> {
        if let Some(audit_log) = &self.settings.read()?.audit_log {
            telemetry::start_audit(audit_log)?;
        }
        Ok((self.settings.open_store().await?, Operator::at_the_command_line()))
    }
}

/// A command that was refused: the text says what to do.
#[derive(Debug)]
struct Refused(String);

impl<E: std::fmt::Display> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

type Outcome = Result<(), Refused>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error.to_string()),
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Dev(arguments) => dev::run(arguments).await,
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Check(arguments) => check::run(arguments).await,
            Command::Client(command) => client::run(command).await,
            Command::User(command) => user::run(command).await,
            Command::Grant(command) => grant::run(command).await,
            Command::Key(command) => key::run(command).await,
            Command::Export(arguments) => export::run(arguments).await,
            Command::Import(arguments) => import::run(arguments).await,
            Command::Openapi(arguments) => openapi::run(arguments),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refused(text)) => refuse(&text),
    }
}

fn refuse(text: &str) -> ExitCode {
    eprintln!("regrant: {text}");
    ExitCode::from(1)
}

/// Puts a server together: store, keys, pool.
async fn assemble(
    config: &Config,
    secret: &ServerSecret,
    store: Arc<dyn Store>,
    first_key: FirstKey,
    demo: bool,
) -> Result<Arc<App>, Refused> {
    let signing = SigningKeys::load(store.as_ref(), secret, config, first_key).await?;
    let issuer = Issuer::new(config, config.issuer_text()?, secret, signing);
    let passwords = PasswordKeeper::start(&config.passwords, secret)?;
    let sessions = BrowserSessions::new(&config.lifetimes, secret);
    let metrics = Metrics::new(store.meter());
    let traces = Traces::start(&config.telemetry);
    let body_timeout = std::time::Duration::from_secs(config.limits.body_seconds.into());
    Ok(Arc::new(App {
        store,
        issuer,
        passwords,
        sessions,
        metrics,
        traces,
        body_timeout,
        oauth21: config.oauth21,
        demo,
    }))
}

/// Completes when the process is asked to stop: SIGINT or SIGTERM. From the call on, so that whoever has seen the server
/// answer may stop it.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Prints one record or a list: JSON for scripts, or lines for people.
fn print_json(value: &impl serde::Serialize) -> Outcome {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn start_log(config: &Config) -> Result<Log, Refused> {
    Ok(telemetry::start(config.log_format, config.audit_log.as_deref())?)
}
