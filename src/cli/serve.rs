//! `regrant serve`: production. It starts only when every check of `regrant check` passes.

use tokio::net::TcpListener;

use super::{Outcome, Refused, asked_to_stop, check, start_log};
use crate::{
    config::Config,
    server::{self, Listeners},
};

pub(super) use super::check::Arguments;

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let config = Config::read(arguments.config.as_deref())?;
    start_log(&config);
    let app = check::ready_app(&config).await?;
    for advice in app.store.advice().await? {
        tracing::warn!("{advice}");
    }
    let stop = asked_to_stop()?;
    let listen = |address| async move {
        TcpListener::bind(address).await.map_err(|error| Refused(format!("cannot listen on {address}: {error}")))
    };
    let public = listen(config.listen).await?;
    let management = Some(listen(config.management_listen).await?);
    tracing::info!(issuer = app.issuer.url(), listen = %config.listen, management = %config.management_listen, "serving");
    server::run(app, &config, Listeners { public, management }, stop).await?;
    Ok(())
}
