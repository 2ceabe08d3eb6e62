//! Revokes grants for operators.
//!
//! Not here: looking for one and the words about it, see `token/explanation.rs`.

use super::{Operator, Refusal, Subject};
use crate::{
    ids::GrantId,
    store::{Changed, GrantRecord, Origin, OwnerRecord, RevocationReason, Store},
};

/// Revokes a grant, and returns it as it is then.
///
/// # Errors
/// [`Refusal`].
pub async fn revoke(
    owner: &OwnerRecord,
    id: GrantId,
    from: &Origin,
    store: &dyn Store,
    by: &Operator,
) -> Result<GrantRecord, Refusal> {
    match store.revoke_grant(owner.id(), id, RevocationReason::Operator, from).await? {
        Changed::Stored => by.note("grant revoked", &Subject::Grant(owner.id(), id)),
        Changed::NotFound => return Err(Refusal::NotFound),
    }
    store.grant(owner.id(), id).await?.ok_or(Refusal::NotFound)
}
