//! The endpoints, one file each, and what every response has in common.
//!
//! Not here: accepting connections, see `server.rs`.

mod account;
mod admin;
mod admin_page;
mod asset;
mod authorize;
mod body;
mod browser;
mod contract;
pub mod cookies;
mod cors;
pub mod credentials;
mod demo;
mod device;
mod device_authorization;
mod direct;
mod docs;
mod error_response;
pub mod form;
mod form_guard;
mod front;
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
mod to_the_end;
mod token;
mod watch;

use std::sync::Arc;

use poem::{Endpoint, EndpointExt, IntoEndpoint, Response, Route, endpoint::make_sync, get};
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
    front::Front,
    introspection::IntrospectionEndpoint,
    login::LoginEndpoint,
    logout::LogoutEndpoint,
    metadata::MetadataEndpoint,
    openapi::Documented,
    pages::Pages,
    qr_code::QrCodeEndpoint,
    revocation::RevocationEndpoint,
    session::SessionEndpoint,
    token::TokenEndpoint,
};
pub use self::{management::management, request_context::forwarded_client, texts::Language};
use crate::{
    App,
    config::{Config, ConfigError},
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
pub fn public(app: &Arc<App>, config: &Config) -> Result<impl Endpoint<Output = Response> + use<>, ConfigError> {
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
    let routes = docs::mount(routes, &document, app.demo);
    let front = Front {
        documented: Documented::paths(&document),
        service: service().into_endpoint(),
        routes: routes.boxed(),
        errors: ErrorRenderer::new(app.issuer.url()),
        app: Arc::clone(app),
        pages,
        administrators: Arc::new(Administrators::new(&config.administrators)),
        origins: same_site::Origins::default(),
        trusted: config.trusted_proxies.clone(),
    };
    Ok(front)
}
