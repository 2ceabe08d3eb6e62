//! Creates users and changes them.
//!
//! Not here: what a password must be, see `resource_owner/password.rs`.

use serde_json::{Value, json};

use super::{Operator, Refusal, Subject};
use crate::{
    ids::{OwnerId, Username},
    resource_owner::PasswordKeeper,
    secret::SecretText,
    store::{Changed, Created, OwnerChange, OwnerRecord, Store},
};

/// Creates a user.
///
/// # Errors
/// [`Refusal`].
pub async fn create(
    username: &str,
    password: &SecretText,
    keeper: &PasswordKeeper,
    store: &dyn Store,
    by: &Operator,
) -> Result<OwnerRecord, Refusal> {
    let name = Username::parse(username).map_err(|error| Refusal::invalid("username", error))?;
    let owner = keeper.new_owner(name, password, store.now()).await?;
    if store.create_owner(&owner).await? == Created::Exists {
        return Err(Refusal::Exists);
    }
    by.note("user created", &Subject::User(owner.id()));
    Ok(owner)
}

/// The user of this name.
///
/// # Errors
/// [`Refusal`].
pub async fn find(username: &str, store: &dyn Store) -> Result<OwnerRecord, Refusal> {
    let name = Username::parse(username).map_err(|_| Refusal::NotFound)?;
    store.owner(OwnerId::of(&name)).await?.ok_or(Refusal::NotFound)
}

/// Gives a user a new password; every older grant dies.
///
/// # Errors
/// [`Refusal`].
pub async fn set_password(
    username: &str,
    password: &SecretText,
    keeper: &PasswordKeeper,
    store: &dyn Store,
    by: &Operator,
) -> Result<OwnerRecord, Refusal> {
    let id = find(username, store).await?.id();
    let new = keeper.new_password(id, password).await?;
    change(username, new, "user given a new password", store, by).await
}

/// No more logins; every grant dies.
///
/// # Errors
/// [`Refusal`].
pub async fn disable(username: &str, store: &dyn Store, by: &Operator) -> Result<OwnerRecord, Refusal> {
    change(username, OwnerChange::Disable, "user disabled", store, by).await
}

/// Lets a user sign in again; old grants stay dead.
///
/// # Errors
/// [`Refusal`].
pub async fn enable(username: &str, store: &dyn Store, by: &Operator) -> Result<OwnerRecord, Refusal> {
    change(username, OwnerChange::Enable, "user enabled", store, by).await
}

/// Every grant and every browser session of a user ends.
///
/// # Errors
/// [`Refusal`].
pub async fn log_out(username: &str, store: &dyn Store, by: &Operator) -> Result<OwnerRecord, Refusal> {
    change(username, OwnerChange::LogOut, "user logged out everywhere", store, by).await
}

/// Deletes a user; every grant dies.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(username: &str, store: &dyn Store, by: &Operator) -> Result<OwnerRecord, Refusal> {
    let owner = find(username, store).await?;
    store.delete_owner(owner.id()).await?;
    by.note("user deleted", &Subject::User(owner.id()));
    Ok(owner)
}

async fn change(
    username: &str,
    change: OwnerChange,
    done: &str,
    store: &dyn Store,
    by: &Operator,
) -> Result<OwnerRecord, Refusal> {
    let id = find(username, store).await?.id();
    match store.change_owner(id, change).await? {
        Changed::Stored => by.note(done, &Subject::User(id)),
        // Deleted since it was found.
        Changed::NotFound => return Err(Refusal::NotFound),
    }
    store.owner(id).await?.ok_or(Refusal::NotFound)
}

/// A user without the password.
pub fn describe(owner: &OwnerRecord) -> Value {
    json!({
        "username": owner.username,
        "sub": owner.subject,
        "status": owner.status,
        "created_at": owner.created_at.seconds(),
        "demo": owner.demo,
    })
}
