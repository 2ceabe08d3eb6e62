//! Authenticates a resource owner by username and password (RFC 6749 §4.3), and keeps their password.
//!
//! Not here: what the password grant asks of the client, see `grant/password.rs`.

mod browser_session;
mod hash_pool;
mod password;
mod source;

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

pub use self::{
    browser_session::{BrowserSession, BrowserSessions},
    hash_pool::{HashPool, PoolError},
    password::{HashError, InvalidPassword, Password},
    source::LoginSource,
};

use self::{
    password::Verdict,
    source::{NETWORK_FAILURES, NETWORK_WINDOW_MS, Sources},
};
use crate::{
    clock::{Timestamp, random_bytes},
    config::Passwords,
    ids::{OwnerId, Subject, Username},
    secret::{SealingKey, SecretText, ServerSecret},
    store::{
        Changed, LoginAdmission, LoginAttempt, LoginOutcome, LoginTicket, OwnerChange, OwnerRecord, OwnerStatus, Store,
        StoreError,
    },
    telemetry::traces::Waiting,
};

/// How long a check waits for others of the same account and source.
const TURN: Duration = Duration::from_secs(2);

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

/// A right password, before its attempt is settled: the grant that it leads to does so in the same step.
#[derive(Debug)]
pub struct SignIn {
    /// Who it was.
    pub owner: AuthenticatedOwner,
    /// What is to be settled.
    pub ticket: LoginTicket,
    /// Given back when that is done.
    _turn: OwnedSemaphorePermit,
}

/// Why an owner was not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Unknown, disabled, or a wrong password: the client sees one and the same `invalid_grant`.
    #[error("unknown user, disabled user, or wrong password")]
    Refused,
    /// Too many wrong passwords: nothing was checked.
    #[error("too many wrong passwords; the next one may come in {retry_after_ms} ms")]
    Throttled {
        /// When to ask again, milliseconds from now.
        retry_after_ms: i64,
    },
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
    sources: Sources,
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
            seal: Self::sealing_key(secret),
            sources: Sources::new(secret),
            minimum_length: settings.minimum_length,
        })
    }

    /// The key that seals the hashes of passwords.
    pub fn sealing_key(secret: &ServerSecret) -> SealingKey {
        secret.sealing_key(b"password hashes")
    }

    /// Checks a username and a password. Whatever is wrong, the same work is done and the same error comes
    /// back, so that nobody learns who exists. Guesses are counted before anything is hashed.
    ///
    /// # Errors
    /// [`AuthenticationError`].
    pub async fn authenticate(
        &self,
        store: &dyn Store,
        username: &str,
        password: &SecretText,
        from: &LoginSource,
    ) -> Result<AuthenticatedOwner, AuthenticationError> {
        let sign_in = self.sign_in(store, username, password, from).await?;
        store.settle_login(sign_in.owner.id, &sign_in.ticket, LoginOutcome::Succeeded).await?;
        Ok(sign_in.owner)
    }

    /// The same, for whoever makes a grant of it: [`NewGrant::settles`](crate::store::NewGrant::settles) settles the attempt.
    ///
    /// # Errors
    /// [`AuthenticationError`].
    pub async fn sign_in(
        &self,
        store: &dyn Store,
        username: &str,
        password: &SecretText,
        from: &LoginSource,
    ) -> Result<SignIn, AuthenticationError> {
        // A name that can't exist is looked up all the same, as somebody who does not exist.
        let name = Username::parse(username).ok();
        let id = name.as_ref().map_or_else(|| OwnerId(self.sources.bucket(username)), OwnerId::of);
        let device = self.sources.device(from, id);
        let address = self.sources.address(from);
        let turn = device.as_ref().map_or(&address, |(device, _)| device).clone();
        let spoken_for = from.speaks_for_many || device.is_some();
        // Before anything is counted: a flood must not fill the store with counts of what nobody checks.
        let shed = || {
            if let Some(retry_after_ms) = self.sources.wait(from, store.now()).filter(|_| !spoken_for) {
                return Err(AuthenticationError::Throttled { retry_after_ms });
            }
            if self.pool.is_full() { Err(PoolError::Full.into()) } else { Ok(()) }
        };
        shed()?;
        let turn = tokio::time::timeout(TURN, self.sources.turn(id, turn)).await;
        let turn = turn.ok().flatten().ok_or(PoolError::Full)?;
        shed()?;
        let attempt = LoginAttempt { owner: id, address, device, deadline: store.deadline() };
        let (owner, ticket) = admit(attempt, store).await?;
        let checked = self.check(owner.filter(|owner| Some(&owner.username) == name.as_ref()), password, store).await;
        let (outcome, error) = match checked {
            Ok(owner) => return Ok(SignIn { owner, ticket, _turn: turn }),
            Err(error @ AuthenticationError::Refused) => (LoginOutcome::Failed, error),
            Err(error) => (LoginOutcome::Withdrawn, error),
        };
        store.settle_login(id, &ticket, outcome).await?;
        if outcome == LoginOutcome::Failed && !from.speaks_for_many && !ticket.trusted {
            let bucket = self.sources.bucket(&format!("failures from {}", from.network()));
            if store.count_attempt(bucket, NETWORK_WINDOW_MS).await? >= NETWORK_FAILURES {
                self.sources.shut_out(from, store.now());
            }
        }
        Err(error)
    }

    /// How many passwords wait, and how many may.
    pub fn queue(&self) -> (usize, usize) {
        self.pool.queue()
    }

    /// The text for the cookie of a device that this owner has just signed in on: other people's guesses don't lock it out.
    pub fn remember_device(&self, owner: &AuthenticatedOwner) -> SecretText {
        self.sources.remember(owner)
    }

    /// The owner with the password that they have just been given. No guess, so nothing is counted.
    ///
    /// # Errors
    /// [`AuthenticationError`], but for those of counting.
    pub async fn authenticate_anew(
        &self,
        store: &dyn Store,
        id: OwnerId,
        password: &SecretText,
    ) -> Result<AuthenticatedOwner, AuthenticationError> {
        self.check(store.owner(id).await?, password, store).await
    }

    async fn check(
        &self,
        owner: Option<OwnerRecord>,
        password: &SecretText,
        store: &dyn Store,
    ) -> Result<AuthenticatedOwner, AuthenticationError> {
        let stored = match &owner {
            Some(owner) if owner.status == OwnerStatus::Active => Some(self.open(owner)?),
            _ => None,
        };
        let password = Password::parse(password.expose()).ok();
        let waiting = Waiting::begin("hash");
        let verdict = self.pool.verify(password, stored).await;
        waiting.end(verdict.is_err());
        let verdict = verdict?;

        let (Some(owner), Verdict::Right { rehash }) = (owner, verdict) else {
            return Err(AuthenticationError::Refused);
        };
        if let Some(phc) = rehash {
            self.store_rehash(store, &owner, &phc).await;
        } else if let Some(change) = self.reseal(&owner)? {
            // The login has already succeeded; when this fails, the next one tries again.
            if let Err(error) = store.change_owner(owner.id(), change).await {
                tracing::warn!(owner = %owner.id(), %error, "password not sealed anew");
            }
        }
        Ok(AuthenticatedOwner { id: owner.id(), epoch: owner.epoch, subject: owner.subject })
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

    /// The change that seals a password hash under the current secret, when it isn't yet.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it opens under none of the accepted secrets.
    pub fn reseal(&self, owner: &OwnerRecord) -> Result<Option<OwnerChange>, StoreError> {
        if self.seal.is_current(&owner.sealed_password) {
            return Ok(None);
        }
        let sealed = self.seal.seal(self.open(owner)?.expose().as_bytes(), &context(owner.id()));
        Ok(Some(OwnerChange::Rehash { expected: owner.sealed_password.clone(), sealed }))
    }

    fn open(&self, owner: &OwnerRecord) -> Result<SecretText, StoreError> {
        Self::opens(&self.seal, owner)
    }

    /// The hash of an owner's password, out of its seal.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it opens under none of the accepted secrets.
    pub fn opens(seal: &SealingKey, owner: &OwnerRecord) -> Result<SecretText, StoreError> {
        let plain = seal
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

/// Counts an attempt; when the store's clock is ahead of our guess, once more.
async fn admit(
    mut attempt: LoginAttempt,
    store: &dyn Store,
) -> Result<(Option<OwnerRecord>, LoginTicket), AuthenticationError> {
    for _ in 0..2 {
        match store.attempt_login(&attempt).await? {
            LoginAdmission::Admitted { owner, ticket } => return Ok((owner, ticket)),
            LoginAdmission::Refused { retry_after_ms } => {
                return Err(AuthenticationError::Throttled { retry_after_ms });
            }
            LoginAdmission::TooLate => attempt.deadline = store.deadline(),
        }
    }
    Err(StoreError::Unavailable("the store keeps answering after the deadline".into()).into())
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
