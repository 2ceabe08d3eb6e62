//! `/admin/users`: creates users and changes them.
//!
//! Not here: what each change does, see `administration/users.rs`.

use std::{borrow::Cow, sync::Arc};

use poem::http::StatusCode;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
};
use serde_json::Value;

use super::{Admitted, Page, answered, deletion, lookup, not_found, of_a_page, refusals};
use crate::{
    administration::{
        Refusal,
        users::{self, describe},
    },
    error::{AdminError, InvalidRequest},
    http::{
        Tag,
        contract::{Answer, NO_STORE, NoBody, Operation},
        json_body::JsonBody,
    },
    ids::Username,
    store::{OwnerRecord, OwnerSearch},
};

/// A user. Times are seconds since the epoch.
#[derive(Debug, Object)]
#[oai(rename = "User")]
struct UserView {
    /// The name they sign in with, in its normal form.
    username: String,
    /// The `sub` of their tokens.
    sub: String,
    /// `active` or `disabled`.
    status: String,
    /// When they were created.
    created_at: i64,
    /// Whether `regrant dev` made them.
    demo: bool,
}

/// One page of the users.
#[derive(Debug, Object)]
#[oai(rename = "Users")]
struct UserList {
    /// Sorted by their names.
    users: Vec<UserView>,
    /// The `cursor` of the next page; not there on the last one.
    next_cursor: Option<String>,
}

/// A user to be created.
#[derive(Debug, Object)]
struct UserRegistration {
    /// The name they sign in with: 1 to 128 characters that RFC 8265 section 3.3 allows. It is brought into its normal form.
    username: String,
    /// Their password, at most 256 characters.
    #[oai(validator(max_length = 256))]
    password: String,
}

/// A new password.
#[derive(Debug, Object)]
struct NewPassword {
    /// At most 256 characters.
    #[oai(validator(max_length = 256))]
    password: String,
}

/// What the document says about them.
pub(super) const OPERATIONS: &[Operation] = &[
    lookup("listUsers", "A page of the users.", of_a_page),
    answered("createUser", 201, "The user.", &[NO_STORE], |renderer| {
        let invalid = Refusal::invalid("password", "a password needs at least 8 characters");
        refusals(renderer, vec![invalid.into(), AdminError::Exists, AdminError::Body(InvalidRequest::BodyTooLarge)])
    }),
    lookup("getUser", "The user.", not_found),
    lookup("setUserPassword", "The user.", |renderer| {
        let invalid = Refusal::invalid("password", "a password needs at least 8 characters");
        refusals(renderer, vec![invalid.into(), AdminError::NotFound, AdminError::Body(InvalidRequest::BodyTooLarge)])
    }),
    lookup("disableUser", "The user, who can't sign in any more.", not_found),
    lookup("enableUser", "The user, who may sign in again.", not_found),
    lookup("logOutUser", "The user, whose grants are dead.", not_found),
    deletion("deleteUser", "The user is gone."),
];

/// The endpoints.
pub struct AdminUsersEndpoint;

#[OpenApi]
impl AdminUsersEndpoint {
    /// List the users
    ///
    /// Page by page, sorted by their names; all of them, or those whose names begin with some characters.
    #[oai(path = "/admin/users", method = "get", operation_id = "listUsers", tag = "Tag::Administration")]
    async fn list(
        &self,
        admitted: Admitted,
        /// What their names begin with; everybody when left out.
        prefix: Query<Option<String>>,
        /// The longest page, 1 to 1000; 100 when left out.
        limit: Query<Option<u32>>,
        /// Where the page begins: the `next_cursor` of the one before.
        cursor: Query<Option<String>>,
    ) -> Answer<UserList> {
        let look = async |at: &Admitted| {
            let page = Page::read(*limit, cursor.as_deref())?;
            let prefix = prefix.as_deref().filter(|text| !text.is_empty()).map(Username::parse).transpose();
            let prefix = prefix.map_err(|error| Refusal::invalid("prefix", error))?;
            let prefix = prefix.map(|name| name.as_str().to_owned()).unwrap_or_default();
            let search = OwnerSearch { prefix, after: page.after.clone(), limit: page.limit + 1 };
            let mut owners = at.app.store.search_owners(&search).await?;
            let next = page.cut(&mut owners, |owner: &OwnerRecord| Cow::Owned(owner.username.as_str().to_owned()));
            let users: Vec<Value> = owners.iter().map(describe).collect();
            Ok(super::list("users", users, next))
        };
        admitted.look(look).await.into()
    }

    /// Create a user
    ///
    /// As `regrant user create` does.
    #[oai(path = "/admin/users", method = "post", operation_id = "createUser", tag = "Tag::Administration")]
    async fn create(&self, admitted: Admitted, body: JsonBody<UserRegistration>) -> Answer<UserView> {
        let create = move |at: Arc<Admitted>| async move {
            let mut fields = body.fields?;
            let (username, password) = (fields.text("username")?, fields.secret("password")?);
            fields.end()?;
            let app = &at.app;
            let owner = users::create(&username, &password, &app.passwords, app.store.as_ref(), &at.operator()).await?;
            Ok(describe(&owner))
        };
        admitted.act(StatusCode::CREATED, create).await.into()
    }

    /// Look a user up
    ///
    /// Their grants are at `/admin/grants`.
    #[oai(path = "/admin/users/:username", method = "get", operation_id = "getUser", tag = "Tag::Administration")]
    async fn get(
        &self,
        admitted: Admitted,
        /// The name they sign in with.
        username: Path<String>,
    ) -> Answer<UserView> {
        let look = async |at: &Admitted| Ok(describe(&users::find(&username, at.app.store.as_ref()).await?));
        admitted.look(look).await.into()
    }

    /// Give a user a new password
    ///
    /// Every grant and every browser session of them dies.
    #[oai(
        path = "/admin/users/:username/set-password",
        method = "post",
        operation_id = "setUserPassword",
        tag = "Tag::Administration"
    )]
    async fn set_password(
        &self,
        admitted: Admitted,
        /// The name they sign in with.
        username: Path<String>,
        body: JsonBody<NewPassword>,
    ) -> Answer<UserView> {
        let set = move |at: Arc<Admitted>| async move {
            let mut fields = body.fields?;
            let password = fields.secret("password")?;
            fields.end()?;
            let (passwords, store) = (&at.app.passwords, at.app.store.as_ref());
            let owner = users::set_password(&username, &password, passwords, store, &at.operator()).await?;
            Ok(describe(&owner))
        };
        admitted.act(StatusCode::OK, set).await.into()
    }

    /// Shut a user out
    ///
    /// They can't sign in any more, and every grant and every browser session of them dies.
    #[oai(
        path = "/admin/users/:username/disable",
        method = "post",
        operation_id = "disableUser",
        tag = "Tag::Administration"
    )]
    async fn disable(
        &self,
        admitted: Admitted,
        /// The name they sign in with.
        username: Path<String>,
    ) -> Answer<UserView> {
        let disable = move |at: Arc<Admitted>| async move {
            Ok(describe(&users::disable(&username, at.app.store.as_ref(), &at.operator()).await?))
        };
        admitted.act(StatusCode::OK, disable).await.into()
    }

    /// Let a user in again
    ///
    /// They may sign in; what died before stays dead.
    #[oai(
        path = "/admin/users/:username/enable",
        method = "post",
        operation_id = "enableUser",
        tag = "Tag::Administration"
    )]
    async fn enable(
        &self,
        admitted: Admitted,
        /// The name they sign in with.
        username: Path<String>,
    ) -> Answer<UserView> {
        let enable = move |at: Arc<Admitted>| async move {
            Ok(describe(&users::enable(&username, at.app.store.as_ref(), &at.operator()).await?))
        };
        admitted.act(StatusCode::OK, enable).await.into()
    }

    /// Log a user out everywhere
    ///
    /// Every grant and every browser session of them dies.
    #[oai(
        path = "/admin/users/:username/logout",
        method = "post",
        operation_id = "logOutUser",
        tag = "Tag::Administration"
    )]
    async fn log_out(
        &self,
        admitted: Admitted,
        /// The name they sign in with.
        username: Path<String>,
    ) -> Answer<UserView> {
        let log_out = move |at: Arc<Admitted>| async move {
            Ok(describe(&users::log_out(&username, at.app.store.as_ref(), &at.operator()).await?))
        };
        admitted.act(StatusCode::OK, log_out).await.into()
    }

    /// Delete a user
    ///
    /// Every grant and every browser session of them dies. A new user of this name is somebody else: they get another `sub`.
    #[oai(path = "/admin/users/:username", method = "delete", operation_id = "deleteUser", tag = "Tag::Administration")]
    async fn delete(
        &self,
        admitted: Admitted,
        /// The name they sign in with.
        username: Path<String>,
    ) -> Answer<NoBody> {
        let delete = move |at: Arc<Admitted>| async move {
            users::delete(&username, at.app.store.as_ref(), &at.operator()).await?;
            Ok(())
        };
        admitted.act(StatusCode::NO_CONTENT, delete).await.into()
    }
}
