//! What operators do to clients, users, keys and grants: one function an act, for the command line, `/admin` and its page
//! alike. Each act writes an audit event.
//!
//! Not here: who is an operator, see `http/admin/mod.rs`; the words about a grant, see `token/explanation.rs`.

pub mod clients;
pub mod grants;
pub mod keys;
pub mod users;

use std::{fmt, net::IpAddr};

use crate::{
    ids::{ClientId, GrantId, OwnerId},
    resource_owner::{NewPasswordError, PoolError},
    store::StoreError,
    telemetry::AUDIT,
    token::keys::KeyError,
};

/// Who acts, for the audit log.
#[derive(Clone, Debug)]
pub struct Operator {
    /// `command line`, `client NAME` or `user NAME`.
    pub who: String,
    /// The request, if it came as one.
    pub request_id: Option<String>,
    /// Where it came from, if that is known.
    pub address: Option<IpAddr>,
}

impl Operator {
    /// Whoever may read the server's settings.
    pub fn at_the_command_line() -> Self {
        Self { who: "command line".into(), request_id: None, address: None }
    }

    /// Writes the audit event of an act that has been done.
    fn note(&self, change: &str, on: &Subject<'_>) {
        let Self { who, request_id, address } = self;
        let (mut client, mut owner, mut grant) = (None, None, None);
        match on {
            Subject::Client(id) => client = Some(tracing::field::display(id)),
            Subject::User(id) => owner = Some(tracing::field::display(id)),
            Subject::Grant(of, id) => {
                owner = Some(tracing::field::display(of));
                grant = Some(tracing::field::display(id));
            }
            Subject::Keys => {}
        }
        let address = address.map(tracing::field::display);
        tracing::info!(target: AUDIT, request_id, address, by = who, client, owner, grant, change, "an operator acted");
    }
}

/// What was changed.
enum Subject<'a> {
    Client(&'a ClientId),
    User(OwnerId),
    Grant(OwnerId, GrantId),
    Keys,
}

/// Why an act was refused: nothing changed, but for [`Refusal::Unavailable`].
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What was asked can't be.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field, as `/admin` names it.
        field: String,
        /// What is wrong with it: ASCII, without what was sent.
        problem: String,
    },
    /// The name is taken.
    #[error("there is one of this name already")]
    Exists,
    /// There is nothing of this name.
    #[error("there is nothing of this name")]
    NotFound,
    /// Somebody else changed it at the same time.
    #[error("it was changed by somebody else meanwhile; try again")]
    Changed,
    /// The store or the pool can't answer.
    #[error("{0}")]
    Unavailable(String),
    /// Something stored can't be read.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// Of a field, with what is wrong.
    pub fn invalid(field: &str, problem: impl fmt::Display) -> Self {
        Self::Invalid { field: field.to_owned(), problem: problem.to_string() }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Unavailable(_) => Self::Unavailable(text),
            StoreError::Corrupt(_) => Self::Failed(text),
        }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<NewPasswordError> for Refusal {
    fn from(error: NewPasswordError) -> Self {
        match error {
            NewPasswordError::Invalid(reason) => Self::invalid("password", reason),
            NewPasswordError::Pool(PoolError::Full) => Self::Unavailable(PoolError::Full.to_string()),
            NewPasswordError::Pool(error) => Self::Failed(error.to_string()),
        }
    }
}
