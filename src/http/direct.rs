//! The endpoints that programs call all day. What they need is taken out of the request, and no router, no extractor and no
//! table of shared things stands between.
//!
//! Not here: all others, which `front.rs` hands to the framework's router; what these say about themselves in the OpenAPI
//! document, see their own files.

use std::sync::Arc;

use poem::{Request, Response, http::Method};

use super::{
    form::Form,
    introspection,
    request_context::{Identity, RequestContext},
    revocation, token,
};
use crate::App;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direct {
    /// The token endpoint.
    Token,
    /// Revocation.
    Revocation,
    /// Introspection.
    Introspection,
}

impl Direct {
    const ALL: [Self; 3] = [Self::Token, Self::Revocation, Self::Introspection];

    /// The one that a request is for.
    pub fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        Self::ALL.into_iter().find(|known| known.path() == path && request.method() == Method::POST)
    }

    /// Its path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Token => "/oauth2/token",
            Self::Revocation => "/oauth2/revoke",
            Self::Introspection => "/oauth2/introspect",
        }
    }

    /// Answers a request for it.
    pub async fn answer(self, request: Request, identity: Identity, app: &Arc<App>) -> Response {
        let (mut request, mut body) = request.split();
        let form = Form::read_with_credentials(&request, &mut body, app.body_timeout).await;
        let context = RequestContext::new(identity, std::mem::take(request.headers_mut()));
        drop((request, body));
        match self {
            Self::Token => token::respond(context, form, app).await,
            Self::Revocation => revocation::respond(context, form, app).await,
            Self::Introspection => Box::pin(introspection::respond(context, form, app)).await,
        }
    }
}
