//! `regrant key`: the signing keys.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Common, Outcome, Refused, print_json};
use crate::{
    administration::{Refusal, keys},
    resource_owner::PasswordKeeper,
    store::Store,
    token::keys::{FirstKey, KeyState, SigningKeys},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the signing keys and what each does now
    List(Common),
    /// Publish the next signing key; it signs when every verifier can have it, after 65 minutes
    Rotate(Rotate),
    /// Seal every password hash under the current secret, so that the other ones can go
    Reseal(Common),
}

#[derive(Args)]
pub(super) struct Rotate {
    /// Replace every key at once: access tokens that exist are refused, refresh tokens are not concerned
    #[arg(long)]
    compromised: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(command: Command) -> Outcome {
    match command {
        Command::List(common) => {
            let store = common.settings.open_store().await?;
            print(&load(&common, store.as_ref(), FirstKey::Refuse).await?, store.as_ref(), &common).await
        }
        Command::Rotate(arguments) => rotate(arguments).await,
        Command::Reseal(common) => reseal(common).await,
    }
}

async fn load(common: &Common, store: &dyn Store, first: FirstKey) -> Result<SigningKeys, Refused> {
    let config = common.settings.read()?;
    Ok(SigningKeys::load(store, &config.server_secret()?, &config, first).await?)
}

async fn rotate(arguments: Rotate) -> Outcome {
    let Rotate { compromised, common } = arguments;
    let (store, operator) = common.at_work().await?;
    let store = store.as_ref();
    let is_new = store.signing_keys().await?.is_empty();
    let signing = load(&common, store, FirstKey::Make).await?;
    if compromised {
        keys::replace_compromised(&signing, store, &operator).await?;
    } else if !is_new {
        keys::rotate(&signing, store, &operator).await.map_err(|refusal| match refusal {
            Refusal::Exists => Refused("the next key is published already; see: regrant key list".into()),
            other => other.into(),
        })?;
    }
    print(&signing, store, &common).await
}

async fn reseal(common: Common) -> Outcome {
    let config = common.settings.read()?;
    let store = common.settings.open_store().await?;
    let secret = config.server_secret()?;
    let keeper = PasswordKeeper::start(&config.passwords, &secret)?;
    let (mut resealed, mut others) = (0, 0);
    for owner in store.owners().await? {
        match keeper.reseal(&owner)? {
            Some(change) => {
                store.change_owner(owner.id(), change).await?;
                resealed += 1;
            }
            None => others += 1,
        }
    }
    // Sealed under an older secret, a signing key goes when it is spent: a day after the next one signs.
    let seal = secret.sealing_key(b"signing keys");
    let older = store.signing_keys().await?.iter().filter(|key| !seal.is_current(&key.sealed)).count();
    if common.json {
        return print_json(&json!({ "resealed": resealed, "unchanged": others, "older_signing_keys": older }));
    }
    println!("{resealed} password hashes sealed anew, {others} were");
    if older > 0 {
        println!(
            "{older} signing keys are still sealed under another secret: run regrant key rotate, and keep that secret in other_secret_files until regrant key reseal says 0"
        );
    }
    Ok(())
}

async fn print(signing: &SigningKeys, store: &dyn Store, common: &Common) -> Outcome {
    let listed = signing.list(store).await?;
    if common.json {
        return print_json(&listed.iter().map(keys::describe).collect::<Vec<_>>());
    }
    for (key, id, state) in listed {
        let minutes = key.active_from.since(store.now()).max(0) / 60_000;
        let when = if state == KeyState::Next { format!("signs in {minutes} minutes") } else { String::new() };
        println!("{id} {:<6} {:<8} {when}", key.algorithm, state.as_str());
    }
    Ok(())
}
