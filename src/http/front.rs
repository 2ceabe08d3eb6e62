//! What stands before every endpoint of the public address: one step after the other, because each layer of the framework
//! would carry the request and the room for all that follows.
//!
//! Not here: what is counted and traced, see `watch.rs`.

use std::{collections::BTreeMap, net::IpAddr, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use poem::{
    Endpoint, Request, Response,
    endpoint::BoxEndpoint,
    http::{HeaderValue, Method, StatusCode, header},
};

use super::{
    admin_page::Administrators,
    cors::Sharing,
    direct::Direct,
    error_response::{self, ErrorRenderer},
    openapi::Documented,
    pages::Pages,
    request_context::{Identity, RequestContext},
    same_site,
    watch::Watch,
};
use crate::{App, error::PageError, telemetry::traces::recorded};

/// The endpoints, and what they share.
pub struct Front {
    /// The paths of the OpenAPI document.
    pub documented: BTreeMap<String, Documented>,
    /// Their endpoints.
    pub service: BoxEndpoint<'static>,
    /// All others: the document itself, assets, the pages of the documentation.
    pub routes: BoxEndpoint<'static>,
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

impl Endpoint for Front {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let watch = Watch::begin(&self.app, &request);
        let identity = Identity::of(&request, &self.trusted);
        let (sharing, direct) = (Sharing::of(&request), Direct::of(&request));
        let answering = || AssertUnwindSafe(self.answer(request, identity, sharing, direct)).catch_unwind();
        let answered = match watch.recorder() {
            None => answering().await,
            Some(recorder) => Box::pin(recorded(recorder, answering())).await,
        };
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => self.refuse(error, None, None),
            Err(_) => self.refuse(StatusCode::INTERNAL_SERVER_ERROR.into(), None, None),
        };
        if let Some(sharing) = sharing {
            sharing.open(&mut response);
        }
        let (name, id) = identity.header();
        response.headers_mut().insert(name, id);
        // The rest of the body is not read, so the connection can't go on: who does not know would send the next request on it.
        if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        watch.end(&self.app, &response, direct.map(Direct::path));
        Ok(response)
    }
}

impl Front {
    async fn answer(
        &self,
        request: Request,
        identity: Identity,
        sharing: Option<Sharing>,
        direct: Option<Direct>,
    ) -> poem::Result<Response> {
        if let Some(preflight) = sharing.and_then(Sharing::preflight) {
            return Ok(preflight);
        }
        match direct {
            Some(direct) => Ok(direct.answer(request, identity, &self.app).await),
            // In a box: those that are asked all day would carry the room for it.
            None => Box::pin(self.route(request, identity)).await,
        }
    }

    async fn route(&self, mut request: Request, identity: Identity) -> poem::Result<Response> {
        request.extensions_mut().insert(identity);
        if is_home(&request) {
            return Ok(Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, "/docs").finish());
        }
        if same_site::concerns(&request)
            && let Some(refused) = same_site::judge(&mut request, &self.app, &self.origins).await
        {
            return Ok(refused);
        }
        let person = RequestContext::of_page_reader(&request);
        let documented = Documented::at(&self.documented, request.uri().path());
        let endpoints = if documented.is_some() { &self.service } else { &self.routes };
        request.set_data(Arc::clone(&self.app));
        request.set_data(Arc::clone(&self.pages));
        request.set_data(Arc::clone(&self.administrators));
        Ok(endpoints.call(request).await.unwrap_or_else(|error| self.refuse(error, person, documented)))
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
