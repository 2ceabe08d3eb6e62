//! `regrant user`: creates and changes resource owners.

use std::io::{BufRead as _, IsTerminal as _};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Common, Outcome, Refused, print_json};
use crate::{
    ids::{OwnerId, Username},
    resource_owner::PasswordKeeper,
    secret::SecretText,
    store::{Changed, Created, OwnerChange, OwnerRecord, Store},
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
        Command::Disable(one) => change(one, OwnerChange::Disable, "disabled; every grant is dead").await,
        Command::Enable(one) => change(one, OwnerChange::Enable, "enabled").await,
        Command::Logout(one) => change(one, OwnerChange::LogOut, "logged out; every grant is dead").await,
        Command::Delete(one) => {
            let store = one.common.settings.open_store().await?;
            let owner = find(store.as_ref(), &one.username).await?;
            store.delete_owner(owner.id()).await?;
            report(&owner, &one.common, "deleted; every grant is dead")
        }
    }
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
    let name = Username::parse(&username)?;
    let store = common.settings.open_store().await?;
    let keeper = keeper(&common)?;
    let owner = keeper.new_owner(name, &read_password()?, store.now()).await?;
    if store.create_owner(&owner).await? == Created::Exists {
        return Err(Refused(format!("there is a user {username} already")));
    }
    report(&owner, &common, "created")
}

async fn list(common: Common) -> Outcome {
    let owners = common.settings.open_store().await?.owners().await?;
    if common.json {
        return print_json(&owners.iter().map(public_view).collect::<Vec<_>>());
    }
    if owners.is_empty() {
        println!("no users yet; create one with: regrant user create");
    }
    for owner in owners {
        let view = public_view(&owner);
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
    let WithPassword { one, password_stdin: _ } = arguments;
    let keeper = keeper(&one.common)?;
    let id = OwnerId::of(&Username::parse(&one.username)?);
    let new = keeper.new_password(id, &read_password()?).await?;
    change(one, new, "given a new password; every older grant is dead").await
}

async fn change(one: One, change: OwnerChange, done: &str) -> Outcome {
    let store = one.common.settings.open_store().await?;
    let id = find(store.as_ref(), &one.username).await?.id();
    match store.change_owner(id, change).await? {
        Changed::Stored => {}
        Changed::NotFound => return Err(Refused(format!("user {} was deleted meanwhile", one.username))),
    }
    let owner = find(store.as_ref(), &one.username).await?;
    report(&owner, &one.common, done)
}

/// The owner with this name.
pub(super) async fn find(store: &dyn Store, username: &str) -> Result<OwnerRecord, Refused> {
    let unknown = || Refused(format!("there is no user {username}; see: regrant user list"));
    let id = OwnerId::of(&Username::parse(username).map_err(|_| unknown())?);
    store.owner(id).await?.ok_or_else(unknown)
}

fn report(owner: &OwnerRecord, common: &Common, done: &str) -> Outcome {
    if common.json {
        return print_json(&public_view(owner));
    }
    println!("user {} {done}", owner.username);
    println!("  {:<10} {}", "sub", owner.subject);
    Ok(())
}

fn public_view(owner: &OwnerRecord) -> Value {
    json!({
        "username": owner.username,
        "sub": owner.subject,
        "status": owner.status,
        "created_at": owner.created_at.seconds(),
        "demo": owner.demo,
    })
}
