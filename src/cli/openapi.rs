//! `regrant openapi`: prints the OpenAPI document.

use clap::{Args, ValueEnum};

use super::{Outcome, assemble};
use crate::{clock::Clock, config::Config, http, secret::ServerSecret, store};

#[derive(Args)]
pub(super) struct Arguments {
    /// The document's form
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let mut config = Config::read(None)?;
    // Nothing is hashed here, so nothing is allocated for it.
    config.passwords.threads = 1;
    let store = store::open("sqlite::memory:", Clock::system()).await?;
    let app = assemble(&config, &ServerSecret::generate(), store, false).await?;
    let document = http::document(&app);
    match arguments.format {
        Format::Yaml => print!("{}", serde_saphyr::to_string(&document)?),
        Format::Json => println!("{}", serde_json::to_string_pretty(&document)?),
    }
    Ok(())
}
