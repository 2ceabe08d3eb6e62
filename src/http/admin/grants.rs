//! `/admin/grants`: looks into grants and revokes them.
//!
//! Not here: the words about a grant, see `token/explanation.rs`.

use std::sync::Arc;

use poem::http::StatusCode;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
};
use serde_json::json;

use super::{Admitted, lookup, not_found, refusals};
use crate::{
    App,
    administration::{grants, users},
    error::{AdminError, InvalidRequest},
    http::{
        Tag,
        contract::{Answer, Operation},
    },
    ids::GrantId,
    store::{GrantRecord, OwnerRecord},
    token::explanation,
};

/// A grant, and what became of it. Times are seconds since the epoch.
#[derive(Debug, Object)]
struct Grant {
    /// Its identifier: the claim `gid` of its access tokens.
    grant_id: String,
    /// Whose it is.
    username: String,
    /// The client it was given to.
    client_id: String,
    /// What was granted.
    scope: String,
    /// `active`, `expired`, `revoked`, or `dead`: its user was disabled, logged out everywhere or changed the password.
    state: String,
    /// Why it was revoked.
    revoked_because: Option<String>,
    /// When it was revoked.
    revoked_at: Option<i64>,
    /// The address that revoked it: for a replay, whoever presented the old token.
    revoked_from_address: Option<String>,
    /// The beginning of the User-Agent that revoked it.
    revoked_from_agent: Option<String>,
    /// How its refresh tokens travel: `body` or `cookie`.
    delivery: String,
    /// How often it was rotated, and one.
    generation: u32,
    /// When it was made.
    created_at: i64,
    /// When its refresh token was last rotated.
    last_refreshed_at: i64,
    /// The address of the last accepted use.
    last_used_from_address: Option<String>,
    /// The beginning of the User-Agent of the last accepted use.
    last_used_from_agent: Option<String>,
    /// When its refresh token expires unused.
    expires_at: i64,
    /// When it ends, however often it is refreshed.
    ends_at: i64,
    /// How often an answer was repeated, because the first was lost.
    repeated_answers: u32,
}

/// The grants of a user.
#[derive(Debug, Object)]
struct Grants {
    /// Those that are remembered, the revoked ones on some stores too.
    grants: Vec<Grant>,
}

/// What the document says about them.
pub(super) const OPERATIONS: &[Operation] = &[
    lookup("listGrants", "The grants.", |renderer| {
        refusals(renderer, vec![AdminError::Body(InvalidRequest::Parameter("username")), AdminError::NotFound])
    }),
    lookup("getGrant", "The grant.", not_found),
    lookup("revokeGrant", "The grant, which is revoked now.", not_found),
];

/// The endpoints.
pub struct AdminGrantsEndpoint;

#[OpenApi]
impl AdminGrantsEndpoint {
    /// List a user's grants
    ///
    /// With what became of each, and from where it was last used.
    #[oai(path = "/admin/grants", method = "get", operation_id = "listGrants", tag = "Tag::Administration")]
    async fn list(
        &self,
        admitted: Admitted,
        /// The name they sign in with.
        username: Query<String>,
    ) -> Answer<Grants> {
        let look = async |at: &Admitted| {
            let store = at.app.store.as_ref();
            let owner = users::find(&username, store).await?;
            Ok(json!({ "grants": explanation::describe_all(store, &owner).await? }))
        };
        admitted.look(look).await.into()
    }

    /// Look a grant up
    ///
    /// Tells why its tokens are refused: revoked by what, from where and when, or expired.
    #[oai(path = "/admin/grants/:grant_id", method = "get", operation_id = "getGrant", tag = "Tag::Administration")]
    async fn get(
        &self,
        admitted: Admitted,
        /// The grant's identifier: the claim `gid` of its access tokens, and in the log.
        grant_id: Path<String>,
        /// Whose it is. Without it every user's grants are searched.
        username: Query<Option<String>>,
    ) -> Answer<Grant> {
        let look = async |at: &Admitted| {
            let (owner, id, record) = find(&grant_id, username.as_deref(), &at.app).await?;
            Ok(explanation::describe(id, &owner, &record, at.app.store.now()))
        };
        admitted.look(look).await.into()
    }

    /// Revoke a grant
    ///
    /// Its refresh token and all its access tokens stop to count, on every node.
    #[oai(
        path = "/admin/grants/:grant_id/revoke",
        method = "post",
        operation_id = "revokeGrant",
        tag = "Tag::Administration"
    )]
    async fn revoke(
        &self,
        admitted: Admitted,
        /// The grant's identifier.
        grant_id: Path<String>,
        /// Whose it is. Without it every user's grants are searched.
        username: Query<Option<String>>,
    ) -> Answer<Grant> {
        let revoke = move |at: Arc<Admitted>| async move {
            let store = at.app.store.as_ref();
            let (owner, id, _) = find(&grant_id, username.as_deref(), &at.app).await?;
            let record = grants::revoke(&owner, id, at.context.origin(), store, &at.operator()).await?;
            Ok(explanation::describe(id, &owner, &record, store.now()))
        };
        admitted.act(StatusCode::OK, revoke).await.into()
    }
}

async fn find(id: &str, username: Option<&str>, app: &App) -> Result<(OwnerRecord, GrantId, GrantRecord), AdminError> {
    let id = GrantId::parse(id).ok_or(AdminError::NotFound)?;
    let found = explanation::find(app.store.as_ref(), username, id).await?;
    let (owner, record) = found.ok_or(AdminError::NotFound)?;
    Ok((owner, id, record))
}
