//! `regrant serve`: production. It starts only when every check of `regrant check` passes.

use clap::Args;

use super::{Outcome, Refused, asked_to_stop, check, start_log};
use crate::{
    config::Config,
    server::{self, Listeners},
    token::keys::FirstKey,
};

#[derive(Args)]
pub(super) struct Flags {
    #[command(flatten)]
    settings: check::Arguments,
    /// Make the first signing key: for a store that is new. Without it, a store without keys is one that lost them
    #[arg(long)]
    init_keys: bool,
}

pub(super) async fn run(arguments: Flags) -> Outcome {
    let mut config = Config::read(arguments.settings.config.as_deref())?;
    let _log = start_log(&config)?;
    let first_key = if arguments.init_keys { FirstKey::Make } else { FirstKey::Refuse };
    let app = check::ready_app(&config, first_key).await?;
    config.limits.connections = server::raise_file_limit(config.limits.connections);
    for advice in app.store.advice().await?.into_iter().chain(check::certificate_advice(&config)) {
        tracing::warn!("{advice}");
    }
    let stop = asked_to_stop()?;
    let listen =
        |address| server::listen(address).map_err(|error| Refused(format!("cannot listen on {address}: {error}")));
    let public = listen(config.listen)?;
    let management = Some(listen(config.management_listen)?);
    tracing::info!(issuer = app.issuer.url(), listen = %config.listen, management = %config.management_listen, "serving");
    server::run(app, &config, Listeners { public, management }, stop).await?;
    Ok(())
}
