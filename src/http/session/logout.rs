//! `DELETE /session`: logs out.
//!
//! The cookie is deleted only when the revocation is stored: until then it is what the next try revokes by.
//!
//! Not here: revocation with a token in the body (RFC 7009).

use std::sync::Arc;

use poem::{
    FromRequest, Request, RequestBody, Response,
    http::{StatusCode, header},
};

use super::{cookie_name, presented};
use crate::{
    App,
    client::Client,
    error::{InvalidClient, InvalidRequest, TokenError},
    http::{
        cookies::{self, SameSite},
        error_response::{ErrorRenderer, no_store},
        form::{self, Form},
        request_context::RequestContext,
        same_site::CallingPage,
    },
    ids::ClientId,
    secret::SecretText,
    store::{Delivery, Origin, RevocationReason},
    telemetry::AUDIT,
};

/// The `client_id` of a logout, and whether it is only local. From the query string, which is documented, or from a form.
pub(super) struct EndParameters(Result<(String, bool), InvalidRequest>);

impl<'a> FromRequest<'a> for EndParameters {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(read_end(request, body).await))
    }
}

async fn read_end(request: &Request, body: &mut RequestBody) -> Result<(String, bool), InvalidRequest> {
    let mut query = Form::parse(request.uri().query().unwrap_or_default().as_bytes())?;
    let mut form = if form::is_form(request.headers()) { Form::read(request, body).await? } else { Form::parse(b"")? };
    if query.take("refresh_token").is_some() || form.take("refresh_token").is_some() {
        return Err(InvalidRequest::TokenOutsideCookie);
    }
    let mut one = |name: &'static str| match (query.take(name), form.take(name)) {
        (Some(_), Some(_)) => Err(InvalidRequest::RepeatedParameter),
        (in_query, in_form) => Ok(in_query.or(in_form)),
    };
    let local = one("local")?.as_deref() == Some("1");
    Ok((one("client_id")?.ok_or(InvalidRequest::Missing("client_id"))?, local))
}

/// The whole logout.
pub(super) async fn end(
    app: &App,
    page: &CallingPage,
    context: &RequestContext,
    parameters: EndParameters,
) -> Response {
    let (request_id, address) = (&context.request_id, context.address.map(tracing::field::display));
    let mut client = None;
    let mut response = match try_end(app, page, context, parameters, &mut client).await {
        Ok(name) => {
            tracing::info!(target: AUDIT, %request_id, address, client = context.client.get().map(tracing::field::display), "session ended");
            let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
            response.headers_mut().insert(header::SET_COOKIE, cookies::clear(&name, SameSite::Strict));
            no_store(&mut response);
            response
        }
        Err(error) => {
            tracing::info!(target: AUDIT, %request_id, address, ?error, "session not ended");
            ErrorRenderer::new(app.issuer.url()).browser_error(&error)
        }
    };
    page.share(client.as_deref(), &mut response);
    response
}

/// The name of the cookie to delete. A client that is disabled or gone can still log out.
async fn try_end(
    app: &App,
    page: &CallingPage,
    context: &RequestContext,
    EndParameters(parameters): EndParameters,
    client: &mut Option<Arc<Client>>,
) -> Result<String, TokenError> {
    let (client_id, local) = parameters?;
    let client_id = ClientId::parse(&client_id).map_err(|_| TokenError::InvalidClient(InvalidClient::Unknown))?;
    context.client.set(client_id.clone());
    // Deleting the cookie on a page of ours needs nothing of the store, so it works while that is down.
    if !(local && page.is_ours(app)) {
        *client = app.store.client(&client_id).await?;
    }
    page.belongs_to(client.as_deref(), app)?;
    let name = cookie_name(&client_id);
    let token = presented(&context.headers, &name)?;
    if let Some(token) = token.filter(|_| !local) {
        revoke(&token, &client_id, context.origin(), app).await?;
    }
    Ok(name)
}

/// Revokes the grant of a cookie. A cookie that is not of this client and this mode revokes nothing.
async fn revoke(token: &SecretText, client_id: &ClientId, from: &Origin, app: &App) -> Result<(), TokenError> {
    let Some(token) = app.issuer.decode_refresh_token(token) else { return Ok(()) };
    let Some(record) = app.store.grant(token.owner, token.grant).await? else { return Ok(()) };
    let its_own = record.client_id == *client_id
        && record.delivery == Delivery::Cookie
        && record.family_hash == token.family_secret.hash();
    // Once more if it is revoked already: after a 503 this answer, too, waits until the revocation is safe.
    if its_own {
        app.store.revoke_grant(token.owner, token.grant, RevocationReason::Client, from).await?;
    }
    Ok(())
}
