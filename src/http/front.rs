//! What stands before every endpoint of the public address: one step after the other, because each layer of the framework
//! would carry the request and the room for all that follows.
//!
//! Not here: what is counted and traced, see `management.rs`.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use poem::{
    Endpoint, IntoResponse, Request, Response,
    http::{Method, StatusCode, header},
};

use super::{
    admin_page::Administrators,
    cors::Sharing,
    error_response::{self, ErrorRenderer},
    openapi::Documented,
    pages::Pages,
    request_context::{RequestContext, identify},
    same_site,
};
use crate::{App, error::PageError};

/// The endpoints, and what they share.
pub struct Front<E> {
    /// The paths of the OpenAPI document.
    pub documented: BTreeMap<String, Documented>,
    /// Their endpoints.
    pub service: E,
    /// All others: the document itself, assets, the pages of the documentation.
    pub routes: E,
    /// Renders what no endpoint answered.
    pub errors: ErrorRenderer,
    /// The server.
    pub app: Arc<App>,
    /// What its pages have in common.
    pub pages: Arc<Pages>,
    /// Who may use the page for operators.
    pub administrators: Arc<Administrators>,
    /// For preflights of cookie mode.
    pub origins: same_site::Origins,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted: Vec<IpAddr>,
}

impl<E: Endpoint> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let (name, id) = identify(&mut request, &self.trusted);
        let sharing = Sharing::of(&request);
        let mut response = match sharing.and_then(Sharing::preflight) {
            Some(preflight) => preflight,
            None => self.answer(request).await,
        };
        if let Some(sharing) = sharing {
            sharing.open(&mut response);
        }
        response.headers_mut().insert(name, id);
        Ok(response)
    }
}

impl<E: Endpoint> Front<E> {
    async fn answer(&self, mut request: Request) -> Response {
        if is_home(&request) {
            return Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, "/docs").finish();
        }
        if same_site::concerns(&request)
            && let Some(refused) = Box::pin(same_site::judge(&mut request, &self.app, &self.origins)).await
        {
            return refused;
        }
        let person = RequestContext::of_page_reader(&request);
        let documented = Documented::at(&self.documented, request.uri().path());
        let endpoints = if documented.is_some() { &self.service } else { &self.routes };
        request.set_data(Arc::clone(&self.app));
        request.set_data(Arc::clone(&self.pages));
        request.set_data(Arc::clone(&self.administrators));
        match endpoints.call(request).await {
            Ok(response) => response.into_response(),
            Err(error) => self.refuse(error, person, documented),
        }
    }

    /// Turns what no endpoint answered into an OAuth error, so that no framework text reaches a client.
    fn refuse(&self, error: poem::Error, person: Option<RequestContext>, documented: Option<&Documented>) -> Response {
        // An endpoint's own answer, which it gave before it was called.
        if error.is_from_response() {
            return error.into_response();
        }
        if error.status().is_server_error() {
            tracing::error!(%error, "request failed");
        }
        match person {
            Some(context) if error.status() == StatusCode::NOT_FOUND => {
                error_response::page_error(&PageError::NotFound, &self.pages, &context)
            }
            _ => self.errors.outside_endpoints(&error, documented),
        }
    }
}

/// The bare address, which leads to the documentation.
fn is_home(request: &Request) -> bool {
    request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD)
}
