//! `regrant user`: creates and changes resource owners.

use std::io::{BufRead as _, IsTerminal as _};

use clap::{Args, Subcommand};

use super::{Common, Outcome, Refused, print_json};
use crate::{
    administration::{Refusal, users},
    resource_owner::PasswordKeeper,
    secret::SecretText,
    store::{OwnerRecord, Store},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a resource owner; the password comes from standard input
    Create(Create),
    /// List all resource owners
    List(Common),
    /// Set a new password, from standard input; every older grant dies
    SetPassword(WithPassword),
    /// No more logins; every grant dies
    Disable(One),
    /// Let them sign in again; old grants stay dead
    Enable(One),
    /// Revoke every grant
    Logout(One),
    /// Delete; every grant dies
    Delete(One),
}

#[derive(Args)]
pub(super) struct One {
    /// The name they sign in with
    username: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(super) struct Create {
    /// The name they sign in with
    #[arg(long)]
    username: String,
    /// Read the password from standard input, up to the end of the line
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(super) struct WithPassword {
    #[command(flatten)]
    one: One,
    /// Read the password from standard input, up to the end of the line
    #[arg(long)]
    password_stdin: bool,
}

pub(super) async fn run(command: Command) -> Outcome {
    match command {
        Command::Create(create) => self::create(create).await,
        Command::List(common) => list(common).await,
        Command::SetPassword(arguments) => set_password(arguments).await,
        Command::Disable(One { username, common }) => {
            let (store, operator) = common.at_work().await?;
            let owner = users::disable(&username, store.as_ref(), &operator).await;
            report(&owner.map_err(|refusal| explain(refusal, &username))?, &common, "disabled; every grant is dead")
        }
        Command::Enable(One { username, common }) => {
            let (store, operator) = common.at_work().await?;
            let owner = users::enable(&username, store.as_ref(), &operator).await;
            report(&owner.map_err(|refusal| explain(refusal, &username))?, &common, "enabled")
        }
        Command::Logout(One { username, common }) => {
            let (store, operator) = common.at_work().await?;
            let owner = users::log_out(&username, store.as_ref(), &operator).await;
            report(&owner.map_err(|refusal| explain(refusal, &username))?, &common, "logged out; every grant is dead")
        }
        Command::Delete(One { username, common }) => {
            let (store, operator) = common.at_work().await?;
            let owner = users::delete(&username, store.as_ref(), &operator).await;
            report(&owner.map_err(|refusal| explain(refusal, &username))?, &common, "deleted; every grant is dead")
        }
    }
}

/// The words for a refusal, with what to do.
fn explain(refusal: Refusal, username: &str) -> Refused {
    Refused(match refusal {
        Refusal::NotFound => format!("there is no user {username}; see: regrant user list"),
        Refusal::Exists => format!("there is a user {username} already"),
        Refusal::Invalid { problem, .. } => problem,
        other => other.to_string(),
    })
}

/// The pool and the key, for one hash.
fn keeper(common: &Common) -> Result<PasswordKeeper, Refused> {
    let mut config = common.settings.read()?;
    config.validate()?;
    config.passwords.threads = 1;
    Ok(PasswordKeeper::start(&config.passwords, &config.server_secret()?)?)
}

/// One line of standard input. A person at a terminal is told what is expected.
fn read_password() -> Result<SecretText, Refused> {
    let input = std::io::stdin();
    if input.is_terminal() {
        eprint!("Password (it will be visible): ");
    }
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    Ok(SecretText::new(password))
}

async fn create(arguments: Create) -> Outcome {
    let Create { username, password_stdin: _, common } = arguments;
    let (store, operator) = common.at_work().await?;
    let keeper = keeper(&common)?;
    let owner = users::create(&username, &read_password()?, &keeper, store.as_ref(), &operator).await;
    report(&owner.map_err(|refusal| explain(refusal, &username))?, &common, "created")
}

async fn list(common: Common) -> Outcome {
    let owners = common.settings.open_store().await?.owners().await?;
    if common.json {
        return print_json(&owners.iter().map(users::describe).collect::<Vec<_>>());
    }
    if owners.is_empty() {
        println!("no users yet; create one with: regrant user create");
    }
    for owner in owners {
        let view = users::describe(&owner);
        println!(
            "{:<32} {:<9} {}",
            owner.username.as_str(),
            view["status"].as_str().unwrap_or_default(),
            owner.subject
        );
    }
    Ok(())
}

async fn set_password(arguments: WithPassword) -> Outcome {
    let WithPassword { one: One { username, common }, password_stdin: _ } = arguments;
    let (store, operator) = common.at_work().await?;
    let keeper = keeper(&common)?;
    let owner = users::set_password(&username, &read_password()?, &keeper, store.as_ref(), &operator).await;
    let owner = owner.map_err(|refusal| explain(refusal, &username))?;
    report(&owner, &common, "given a new password; every older grant is dead")
}

/// The owner with this name.
pub(super) async fn find(store: &dyn Store, username: &str) -> Result<OwnerRecord, Refused> {
    users::find(username, store).await.map_err(|refusal| explain(refusal, username))
}

fn report(owner: &OwnerRecord, common: &Common, done: &str) -> Outcome {
    if common.json {
        return print_json(&users::describe(owner));
    }
    println!("user {} {done}", owner.username);
    println!("  {:<10} {}", "sub", owner.subject);
    Ok(())
}
