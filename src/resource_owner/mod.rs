//! Authenticates a resource owner by username and password (RFC 6749 §4.3), and keeps their password.
//!
//! Not here: what the password grant asks of the client, see `grant/password.rs`.

mod browser_session;
mod hash_pool;
mod password;

pub use self::{
    browser_session::{BrowserSession, BrowserSessions},
    hash_pool::{HashPool, PoolError},
    password::{HashError, InvalidPassword, Password},
};

use self::password::Verdict;
use crate::{
    clock::{Timestamp, random_bytes},
    config::Passwords,
    ids::{OwnerId, Subject, Username},
    secret::{SealingKey, SecretText, ServerSecret},
    store::{Changed, OwnerChange, OwnerRecord, OwnerStatus, Store, StoreError},
};

/// A resource owner who has just proved who they are. Only this module makes one.
#[derive(Debug)]
pub struct AuthenticatedOwner {
    id: OwnerId,
    epoch: u64,
    subject: Subject,
}

impl AuthenticatedOwner {
    /// Where the owner's records are.
    pub const fn id(&self) -> OwnerId {
        self.id
    }

    /// The owner's epoch when the password was checked: a grant made for a later epoch is refused.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The `sub` of their tokens.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }
}

/// Why an owner was not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Unknown, disabled, or a wrong password: the client sees one and the same `invalid_grant`.
    #[error("unknown user, disabled user, or wrong password")]
    Refused,
    /// The store can't answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pool can't answer.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// The passwords of all resource owners: the pool that hashes and the key that seals.
pub struct PasswordKeeper {
    pool: HashPool,
    seal: SealingKey,
    minimum_length: usize,
}

impl PasswordKeeper {
    /// Starts the pool.
    ///
    /// # Errors
    /// [`HashError`] for parameters that argon2 refuses.
    pub fn start(settings: &Passwords, secret: &ServerSecret) -> Result<Self, HashError> {
        Ok(Self {
            pool: HashPool::start(settings)?,
            seal: secret.sealing_key(b"password hashes"),
            minimum_length: settings.minimum_length,
        })
    }

    /// Checks a username and a password. Whatever is wrong, the same work is done and the same error comes
    /// back, so that nobody learns who exists.
    ///
    /// # Errors
    /// [`AuthenticationError`].
    pub async fn authenticate(
        &self,
        store: &dyn Store,
        username: &str,
        password: &SecretText,
    ) -> Result<AuthenticatedOwner, AuthenticationError> {
        // A name that can't exist is looked up all the same, as somebody who does not exist.
        let username = Username::parse(username).or_else(|_| Username::parse("nobody")).ok();
        let id = username.as_ref().map_or(OwnerId([0; 16]), OwnerId::of);
        let owner = store.owner(id).await?.filter(|owner| Some(&owner.username) == username.as_ref());

        let stored = match &owner {
            Some(owner) if owner.status == OwnerStatus::Active => Some(self.open(owner)?),
            _ => None,
        };
        let password = Password::parse(password.expose()).ok();
        let verdict = self.pool.verify(password, stored).await?;

        let (Some(owner), Verdict::Right { rehash }) = (owner, verdict) else {
            return Err(AuthenticationError::Refused);
        };
        if let Some(phc) = rehash {
            self.store_rehash(store, &owner, &phc).await;
        }
        Ok(AuthenticatedOwner { id, epoch: owner.epoch, subject: owner.subject })
    }

    /// A new owner with this password.
    ///
    /// # Errors
    /// [`InvalidPassword`] or [`PoolError`], for the operator.
    pub async fn new_owner(
        &self,
        username: Username,
        password: &SecretText,
        now: Timestamp,
    ) -> Result<OwnerRecord, NewPasswordError> {
        let id = OwnerId::of(&username);
        let sealed_password = self.seal_new(id, password).await?;
        // 52 random bits: a recreated owner's epoch never meets an old grant's, and the number stays exact
        // in Lua's and JSON's floating point.
        let epoch = u64::from_be_bytes(random_bytes()) >> 12;
        Ok(OwnerRecord {
            username,
            subject: Subject::random(),
            status: OwnerStatus::Active,
            epoch,
            sealed_password,
            created_at: now,
            demo: false,
        })
    }

    /// The change that gives an owner a new password.
    ///
    /// # Errors
    /// [`NewPasswordError`], for the operator.
    pub async fn new_password(&self, id: OwnerId, password: &SecretText) -> Result<OwnerChange, NewPasswordError> {
        Ok(OwnerChange::SetPassword { sealed: self.seal_new(id, password).await? })
    }

    async fn seal_new(&self, id: OwnerId, password: &SecretText) -> Result<Vec<u8>, NewPasswordError> {
        let password = Password::parse_new(password.expose(), self.minimum_length)?;
        let phc = self.pool.hash(password).await?;
        Ok(self.seal.seal(phc.as_bytes(), &context(id)))
    }

    fn open(&self, owner: &OwnerRecord) -> Result<SecretText, StoreError> {
        let plain = self
            .seal
            .open(&owner.sealed_password, &context(owner.id()))
            .map_err(|error| StoreError::Corrupt(format!("password hash of {}: {error}", owner.id())))?;
        let text = std::str::from_utf8(&plain).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(SecretText::new(text.to_owned()))
    }

    /// Keeps the hash under today's parameters. The login has already succeeded; when this fails, the next
    /// one tries again.
    async fn store_rehash(&self, store: &dyn Store, owner: &OwnerRecord, phc: &str) {
        let change = OwnerChange::Rehash {
            expected: owner.sealed_password.clone(),
            sealed: self.seal.seal(phc.as_bytes(), &context(owner.id())),
        };
        match store.change_owner(owner.id(), change).await {
            Ok(Changed::Stored) => tracing::info!(owner = %owner.id(), "password rehashed under new parameters"),
            Ok(Changed::NotFound) => tracing::info!(owner = %owner.id(), "password changed during a rehash"),
            Err(error) => tracing::warn!(owner = %owner.id(), %error, "password not rehashed"),
        }
    }
}

/// Binds a sealed hash to its owner, so that nobody who can write the store can swap two of them.
fn context(id: OwnerId) -> Vec<u8> {
    [b"phc:".as_slice(), &id.0].concat()
}

/// Why a new password was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NewPasswordError {
    /// The text can't be a password.
    #[error(transparent)]
    Invalid(#[from] InvalidPassword),
    /// The pool can't hash.
    #[error(transparent)]
    Pool(#[from] PoolError),
}
