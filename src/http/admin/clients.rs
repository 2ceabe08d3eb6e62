//! `/admin/clients`: registers clients and changes them.
//!
//! Not here: what a registration must be, see `administration/clients.rs`.

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
        clients::{self, Registration, describe},
    },
    client::{ClientType, GrantType},
    error::{AdminError, InvalidRequest},
    http::{
        Tag,
        contract::{Answer, NO_STORE, NoBody, Operation},
        json_body::{Fields, JsonBody},
    },
    secret::SecretText,
    store::RotationPolicy,
};

/// A registered client, without its secret. Times are seconds since the epoch, lifetimes are seconds.
#[derive(Debug, Object)]
// `Client` and `NewClient` are names of what generators make.
#[oai(rename = "RegisteredClient")]
struct ClientView {
    /// Its identifier.
    client_id: String,
    /// What people know it by; without one it is known by its identifier.
    name: Option<String>,
    /// `confidential` or `public`.
    #[oai(rename = "type")]
    client_type: String,
    /// The grants it may use.
    grant_types: Vec<String>,
    /// The most it can be granted: scope tokens separated by spaces.
    scope: String,
    /// Where the authorization endpoint may send the browser.
    redirect_uris: Vec<String>,
    /// The resources its access tokens are for; none means the server itself.
    audience: Vec<String>,
    /// Whether it may have its refresh token in a cookie.
    cookie_mode: bool,
    /// The origins beside the server's own that its pages call from.
    origins: Vec<String>,
    /// `rotate`: each use of a refresh token gives a new one. `keep`: it stays the same.
    rotation: String,
    /// How long its previous refresh token is accepted again; the server's setting when it is not there.
    grace_seconds: Option<u32>,
    /// How long its refresh token lives unused; the server's setting when it is not there.
    refresh_idle_seconds: Option<u32>,
    /// How long its grants live; the server's setting when it is not there.
    refresh_absolute_seconds: Option<u32>,
    /// Whether it is shut out.
    disabled: bool,
    /// When it was registered.
    created_at: i64,
    /// Whether `regrant dev` made it.
    demo: bool,
    /// Its secret, in the one answer that shows it: the server keeps only a hash.
    client_secret: Option<String>,
}

/// One page of the clients.
#[derive(Debug, Object)]
#[oai(rename = "RegisteredClients")]
struct ClientList {
    /// Sorted by their identifiers.
    clients: Vec<ClientView>,
    /// The `cursor` of the next page; not there on the last one.
    next_cursor: Option<String>,
}

/// A client to be registered. A field that is not among these is refused.
#[derive(Debug, Object)]
struct ClientRegistration {
    /// Its identifier: 1 to 128 visible ASCII characters.
    client_id: String,
    /// What people know it by, at most 80 characters: the consent page asks about it.
    name: Option<String>,
    /// `confidential`: it can keep a secret. `public`: it can't.
    #[oai(rename = "type")]
    client_type: String,
    /// The grants it may use: `authorization_code`, `refresh_token`, `client_credentials`, `device_code`, `password`.
    grant_types: Vec<String>,
    /// The most it can be granted: scope tokens separated by spaces.
    scope: Option<String>,
    /// Where the browser may be sent. `authorization_code` needs at least one.
    redirect_uris: Option<Vec<String>>,
    /// The resources its access tokens are for: absolute URIs.
    audience: Option<Vec<String>>,
    /// Whether it may have its refresh token in a cookie: for a first-party app in a browser.
    cookie_mode: Option<bool>,
    /// The origins beside the server's own that its pages call from.
    origins: Option<Vec<String>>,
    /// `rotate` (the default) or `keep`.
    rotation: Option<String>,
    /// How long its previous refresh token is accepted again, at most 600.
    grace_seconds: Option<u32>,
    /// How long its refresh token lives unused.
    refresh_idle_seconds: Option<u32>,
    /// How long its grants live, however often they are refreshed.
    refresh_absolute_seconds: Option<u32>,
}

fn read(mut fields: Fields) -> Result<Registration, AdminError> {
    let required = |name| AdminError::from(Refusal::invalid(name, "is required"));
    let types = [("confidential", ClientType::Confidential), ("public", ClientType::Public)];
    let rotations = [("rotate", RotationPolicy::Rotate), ("keep", RotationPolicy::Keep)];
    let registration = Registration {
        client_id: fields.text("client_id")?,
        name: fields.optional_text("name")?,
        client_type: fields.word("type", &types)?.ok_or_else(|| required("type"))?,
        grant_types: fields.texts("grant_types")?.iter().enumerate().map(grant_type).collect::<Result<_, _>>()?,
        scope: fields.optional_text("scope")?.unwrap_or_default(),
        redirect_uris: fields.texts("redirect_uris")?,
        audience: fields.texts("audience")?,
        cookie_mode: fields.flag("cookie_mode")?,
        origins: fields.texts("origins")?,
        rotation: fields.word("rotation", &rotations)?.unwrap_or_default(),
        grace_seconds: fields.seconds("grace_seconds")?,
        refresh_idle_seconds: fields.seconds("refresh_idle_seconds")?,
        refresh_absolute_seconds: fields.seconds("refresh_absolute_seconds")?,
    };
    fields.end()?;
    Ok(registration)
}

fn grant_type((index, text): (usize, &String)) -> Result<GrantType, AdminError> {
    let known = "use authorization_code, refresh_token, client_credentials, device_code or password";
    GrantType::parse(text).ok_or_else(|| Refusal::invalid(&format!("grant_types[{index}]"), known).into())
}

/// What the document says about them.
pub(super) const OPERATIONS: &[Operation] = &[
    lookup("listClients", "A page of the clients.", of_a_page),
    answered("createClient", 201, "The client, with its secret if it has one.", &[NO_STORE], |renderer| {
        let invalid = Refusal::invalid("redirect_uris", "authorization_code needs at least one");
        let own = vec![invalid.into(), AdminError::Exists, AdminError::Body(InvalidRequest::BodyTooLarge)];
        refusals(renderer, own)
    }),
    lookup("getClient", "The client.", not_found),
    lookup("disableClient", "The client, which is shut out now.", of_a_change),
    lookup("enableClient", "The client, which is let in again.", of_a_change),
    lookup("rotateClientSecret", "The client with its new secret.", |renderer| {
        let public = Refusal::invalid("client_id", "this client is public and has no secret");
        refusals(renderer, vec![public.into(), AdminError::NotFound, AdminError::Changed])
    }),
    deletion("deleteClient", "The client is gone."),
];

fn of_a_change(renderer: &super::ErrorRenderer) -> Vec<super::ErrorExample> {
    refusals(renderer, vec![AdminError::NotFound, AdminError::Changed])
}

/// A client as it is shown, with a secret only when that has just been made.
fn view(client: &crate::client::Client, secret: Option<&SecretText>) -> Value {
    let mut view = describe(client);
    if let Some(fields) = view.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        if let Some(secret) = secret {
            fields.insert("client_secret".into(), secret.expose().into());
        }
    }
    view
}

/// The endpoints.
pub struct AdminClientsEndpoint;

#[OpenApi]
impl AdminClientsEndpoint {
    /// List the clients
    ///
    /// Page by page, sorted by their identifiers.
    #[oai(path = "/admin/clients", method = "get", operation_id = "listClients", tag = "Tag::Administration")]
    async fn list(
        &self,
        admitted: Admitted,
        /// The longest page, 1 to 1000; 100 when left out.
        limit: Query<Option<u32>>,
        /// Where the page begins: the `next_cursor` of the one before.
        cursor: Query<Option<String>>,
    ) -> Answer<ClientList> {
        let look = async |at: &Admitted| {
            let page = Page::read(*limit, cursor.as_deref())?;
            let all = at.app.store.clients().await?;
            let after = all.iter().filter(|client| client.id.as_str() > page.after.as_str());
            let mut clients: Vec<_> = after.take(page.limit + 1).collect();
            let next = page.cut(&mut clients, |client| Cow::Borrowed(client.id.as_str()));
            let clients: Vec<Value> = clients.into_iter().map(|client| view(client, None)).collect();
            Ok(super::list("clients", clients, next))
        };
        admitted.look(look).await.into()
    }

    /// Register a client
    ///
    /// As `regrant client create` does. The secret of a confidential client is in this answer and nowhere else.
    #[oai(path = "/admin/clients", method = "post", operation_id = "createClient", tag = "Tag::Administration")]
    async fn create(&self, admitted: Admitted, body: JsonBody<ClientRegistration>) -> Answer<ClientView> {
        let create = move |at: Arc<Admitted>| async move {
            let registration = read(body.fields?)?;
            let (store, lifetimes) = (at.app.store.as_ref(), at.app.issuer.lifetimes());
            let (client, secret) = clients::create(registration, lifetimes, store, &at.operator()).await?;
            Ok(view(&client, secret.as_ref()))
        };
        admitted.act(StatusCode::CREATED, create).await.into()
    }

    /// Look a client up
    ///
    /// Shows how it is registered, without its secret.
    #[oai(path = "/admin/clients/:client_id", method = "get", operation_id = "getClient", tag = "Tag::Administration")]
    async fn get(
        &self,
        admitted: Admitted,
        /// The client's identifier.
        client_id: Path<String>,
    ) -> Answer<ClientView> {
        let look = async |at: &Admitted| Ok(view(&*clients::find(&client_id, at.app.store.as_ref()).await?, None));
        admitted.look(look).await.into()
    }

    /// Shut a client out
    ///
    /// It can't authenticate any more, and its grants die, on every node at once.
    #[oai(
        path = "/admin/clients/:client_id/disable",
        method = "post",
        operation_id = "disableClient",
        tag = "Tag::Administration"
    )]
    async fn disable(
        &self,
        admitted: Admitted,
        /// The client's identifier.
        client_id: Path<String>,
    ) -> Answer<ClientView> {
        let disable = move |at: Arc<Admitted>| async move {
            Ok(view(&clients::disable(&client_id, at.app.store.as_ref(), &at.operator()).await?, None))
        };
        admitted.act(StatusCode::OK, disable).await.into()
    }

    /// Let a client in again
    ///
    /// Grants from before stay dead.
    #[oai(
        path = "/admin/clients/:client_id/enable",
        method = "post",
        operation_id = "enableClient",
        tag = "Tag::Administration"
    )]
    async fn enable(
        &self,
        admitted: Admitted,
        /// The client's identifier.
        client_id: Path<String>,
    ) -> Answer<ClientView> {
        let enable = move |at: Arc<Admitted>| async move {
            Ok(view(&clients::enable(&client_id, at.app.store.as_ref(), &at.operator()).await?, None))
        };
        admitted.act(StatusCode::OK, enable).await.into()
    }

    /// Give a client a new secret
    ///
    /// It is in this answer and nowhere else. The old secret works for another day.
    #[oai(
        path = "/admin/clients/:client_id/rotate-secret",
        method = "post",
        operation_id = "rotateClientSecret",
        tag = "Tag::Administration"
    )]
    async fn rotate_secret(
        &self,
        admitted: Admitted,
        /// The client's identifier.
        client_id: Path<String>,
    ) -> Answer<ClientView> {
        let rotate = move |at: Arc<Admitted>| async move {
            let store = at.app.store.as_ref();
            let (client, secret) = clients::rotate_secret(&client_id, store, &at.operator()).await?;
            Ok(view(&client, Some(&secret)))
        };
        admitted.act(StatusCode::OK, rotate).await.into()
    }

    /// Delete a client
    ///
    /// Its grants die, on every node at once.
    #[oai(
        path = "/admin/clients/:client_id",
        method = "delete",
        operation_id = "deleteClient",
        tag = "Tag::Administration"
    )]
    async fn delete(
        &self,
        admitted: Admitted,
        /// The client's identifier.
        client_id: Path<String>,
    ) -> Answer<NoBody> {
        let delete = move |at: Arc<Admitted>| async move {
            clients::delete(&client_id, at.app.store.as_ref(), &at.operator()).await?;
            Ok(())
        };
        admitted.act(StatusCode::NO_CONTENT, delete).await.into()
    }
}
