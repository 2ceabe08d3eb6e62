//! The endpoints, one file each, and what every response has in common.
//!
//! Not here: accepting connections, see `server.rs`.

mod account;
mod admin;
mod admin_page;
mod asset;
mod authorize;
mod browser;
mod contract;
pub mod cookies;
mod cors;
pub mod credentials;
mod demo;
mod device;
mod device_authorization;
mod docs;
mod error_response;
pub mod form;
mod form_guard;
mod introspection;
mod json_body;
mod login;
mod logout;
mod management;
mod metadata;
mod openapi;
mod pages;
mod qr_code;
mod request_context;
mod requested_access;
mod revocation;
mod same_site;
mod session;
mod texts;
mod token;

use std::{collections::BTreeMap, sync::Arc};

use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route, endpoint::BoxEndpoint, endpoint::make_sync, get,
    http::StatusCode, middleware::CatchPanic,
};
use poem_openapi::{ContactObject, LicenseObject, OpenApiService, Tags};
use serde_json::Value;

use self::{
    account::AccountEndpoint,
    admin::{AdminClientsEndpoint, AdminGrantsEndpoint, AdminKeysEndpoint, AdminUsersEndpoint},
    admin_page::{AdminPageEndpoint, Administrators},
    authorize::AuthorizeEndpoint,
    device::DeviceEndpoint,
    device_authorization::DeviceAuthorizationEndpoint,
    error_response::ErrorRenderer,
    introspection::IntrospectionEndpoint,
    login::LoginEndpoint,
    logout::LogoutEndpoint,
    management::count,
    metadata::MetadataEndpoint,
    openapi::Documented,
    pages::Pages,
    qr_code::QrCodeEndpoint,
    request_context::{RequestContext, identify},
    revocation::RevocationEndpoint,
    session::SessionEndpoint,
    token::TokenEndpoint,
};
pub use self::{management::management, request_context::forwarded_client, texts::Language};
use crate::{
    App,
    config::{Config, ConfigError},
    error::PageError,
};

/// The groups of the OpenAPI document.
#[derive(Tags)]
enum Tag {
    /// Tokens: issued, refreshed, looked into, revoked.
    #[oai(rename = "Tokens")]
    OAuth,
    /// Cookie mode: for first-party apps in a browser.
    Session,
    /// Pages for the person in front of the browser.
    Pages,
    /// For operators, with a bearer token of the scope `regrant:admin`.
    Administration,
    /// Documents that clients and resource servers configure themselves with.
    Discovery,
}

/// Every endpoint in the OpenAPI document.
type Endpoints = (
    TokenEndpoint,
    AuthorizeEndpoint,
    RevocationEndpoint,
    IntrospectionEndpoint,
    DeviceAuthorizationEndpoint,
    QrCodeEndpoint,
    DeviceEndpoint,
    SessionEndpoint,
    LoginEndpoint,
    LogoutEndpoint,
    AccountEndpoint,
    AdminPageEndpoint,
    AdminEndpoints,
    MetadataEndpoint,
);

/// Those for operators' programs.
type AdminEndpoints = (AdminClientsEndpoint, AdminGrantsEndpoint, AdminKeysEndpoint, AdminUsersEndpoint);

fn service() -> OpenApiService<Endpoints, ()> {
    let endpoints = (
        TokenEndpoint,
        AuthorizeEndpoint,
        RevocationEndpoint,
        IntrospectionEndpoint,
        DeviceAuthorizationEndpoint,
        QrCodeEndpoint,
        DeviceEndpoint,
        SessionEndpoint,
        LoginEndpoint,
        LogoutEndpoint,
        AccountEndpoint,
        AdminPageEndpoint,
        (AdminClientsEndpoint, AdminGrantsEndpoint, AdminKeysEndpoint, AdminUsersEndpoint),
        MetadataEndpoint,
    );
    OpenApiService::new(endpoints, "Regrant", env!("CARGO_PKG_VERSION"))
        .description("An OAuth 2.0 authorization server whose refresh is right under any retry.")
        .license(LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/MIT.html"))
        .contact(ContactObject::new().name("The Regrant contributors"))
}

/// The OpenAPI document of the server at `issuer`.
pub fn document(issuer: &str, oauth21: bool) -> Value {
    openapi::document(&service(), issuer, oauth21)
}

/// Everything that the public address serves.
///
/// # Errors
/// When the deployer's logo can't be used.
pub fn public(app: &Arc<App>, config: &Config) -> Result<BoxEndpoint<'static, Response>, ConfigError> {
    let document = document(app.issuer.url(), app.oauth21);
    let json = serde_json::to_vec_pretty(&document).unwrap_or_default();
    let yaml = serde_saphyr::to_string(&document).unwrap_or_default();
    let serve = |content_type: &'static str, body: Vec<u8>| {
        get(make_sync(move |_| {
            Response::builder().content_type(content_type).header("Cache-Control", "no-cache").body(body.clone())
        }))
    };
    let routes = Route::new()
        .at("/openapi.json", serve("application/json", json))
        .at("/openapi.yaml", serve("application/yaml", yaml.into_bytes()));
    let (pages, routes) = Pages::mount(routes, &config.branding, &config.scopes)?;
    let pages = Arc::new(pages);
    let routes = if app.demo { demo::mount(routes, Arc::clone(&pages), app.issuer.url()) } else { routes };
    let routes = docs::mount(routes, &document, app.demo).nest("/", service());
    let administrators = Arc::new(Administrators::new(&config.administrators));
    let routes = routes.data(Arc::clone(app)).data(Arc::clone(&pages)).data(administrators);

    let (for_guard, origins) = (Arc::clone(app), Arc::new(same_site::Origins::default()));
    let guarded = routes
        .with(CatchPanic::new())
        .around(home)
        .around(move |next, request| same_site::guard(next, request, Arc::clone(&for_guard), Arc::clone(&origins)));
    let whole = WithErrors {
        next: Arc::new(guarded),
        errors: ErrorRenderer::new(app.issuer.url()),
        documented: Documented::paths(&document),
        pages,
    };
    let for_count = Arc::clone(app);
    let trusted = config.trusted_proxies.as_slice().into();
    Ok(whole
        .around(cors::share)
        .around(move |next, request| identify(next, request, Arc::clone(&trusted)))
        .around(move |next, request| count(next, request, Arc::clone(&for_count)))
        .map_to_response()
        .boxed())
}

/// Leads whoever opens the bare address to the documentation. No route can: the nested service takes `/` for itself.
async fn home<E: Endpoint>(next: Arc<E>, request: Request) -> poem::Result<Response> {
    if request.uri().path() == "/" && matches!(request.method().as_str(), "GET" | "HEAD") {
        return Ok(Response::builder().status(StatusCode::SEE_OTHER).header("Location", "/docs").finish());
    }
    next.call(request).await.map(IntoResponse::into_response)
}

/// Turns what no endpoint answered into an OAuth error, so that no framework text reaches a client.
struct WithErrors<E> {
    next: Arc<E>,
    errors: ErrorRenderer,
    documented: BTreeMap<String, Documented>,
    pages: Arc<Pages>,
}

impl<E: Endpoint> Endpoint for WithErrors<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let path = request.uri().path().to_owned();
        let person = RequestContext::of_page_reader(&request);
        Ok(match self.next.call(request).await {
            Ok(response) => response.into_response(),
            // An endpoint's own answer, which it gave before it was called.
            Err(error) if error.is_from_response() => error.into_response(),
            Err(error) => {
                if error.status().is_server_error() {
                    tracing::error!(%error, path, "request failed");
                }
                match person {
                    Some(context) if error.status() == StatusCode::NOT_FOUND => {
                        error_response::page_error(&PageError::NotFound, &self.pages, &context)
                    }
                    _ => self.errors.outside_endpoints(&error, Documented::at(&self.documented, &path)),
                }
            }
        })
    }
}
