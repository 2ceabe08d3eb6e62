//! `regrant openapi`: prints the OpenAPI document.

use clap::{Args, ValueEnum};

use super::Outcome;
use crate::{config::Config, http};

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

pub(super) fn run(arguments: Arguments) -> Outcome {
    let config = Config::read(None)?;
    let document = http::document(&config.issuer_text()?, config.oauth21);
    match arguments.format {
        Format::Yaml => print!("{}", serde_saphyr::to_string(&document)?),
        Format::Json => println!("{}", serde_json::to_string_pretty(&document)?),
    }
    Ok(())
}
