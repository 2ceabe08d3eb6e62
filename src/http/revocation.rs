//! `POST /oauth2/revoke`: a client hands a token back ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)).
//!
//! Not here: what a token's revocation takes with it, see `token/revocation.rs`.

use std::sync::Arc;

use poem::{Response, http::StatusCode, web::Data};
use poem_openapi::{Object, OpenApi};

use super::{
    Tag,
    contract::{Answer, ClientBasic, FormBody, NO_STORE, NoBody, Operation, RequestExample, Success, token_errors},
    credentials,
    error_response::{ErrorRenderer, no_store},
    form::Form,
    request_context::RequestContext,
    to_the_end::to_the_end,
};
use crate::{
    App,
    client::authentication,
    error::{InvalidClient, InvalidRequest, TokenError},
    secret::SecretText,
    telemetry::AUDIT,
    token::revocation::Revoked,
};

/// The parameters of a revocation request (RFC 7009 section 2.1).
#[derive(Debug, Object)]
#[oai(rename = "RevocationRequest")]
struct RevocationForm {
    /// A refresh token or an access token.
    token: String,
    /// `refresh_token` or `access_token`. The server finds out by itself, so that it is never wrong.
    token_type_hint: Option<String>,
    /// The client's identifier. Leave it out when the Authorization header carries it.
    client_id: Option<String>,
    /// The secret of a confidential client that does not use the Authorization header.
    #[oai(validator(max_length = 1024))]
    client_secret: Option<String>,
}

/// What the document says about it.
pub const OPERATIONS: &[Operation] = &[Operation {
    id: "revokeToken",
    see: ("RFC 7009: token revocation", "https://www.rfc-editor.org/rfc/rfc7009#section-2"),
    requests: &[RequestExample {
        name: "refresh_token",
        summary: "End the grant of a refresh token",
        form: &[("token", "rt_AeU..."), ("client_id", "demo"), ("client_secret", "demo-secret")],
    }],
    fields: &[("token", ""), ("token_type_hint", ""), ("client_id", "demo"), ("client_secret", "demo-secret")],
    success: Success {
        status: 200,
        description: "The token does not count any more, or never did. The body is empty.",
        headers: &[NO_STORE],
        examples: Vec::new,
    },
    errors: |renderer| {
        let errors = [InvalidRequest::Missing("token").into(), TokenError::InvalidClient(InvalidClient::WrongSecret)];
        token_errors(renderer, &errors)
    },
    notes: &[(503, "The token may still count.")],
}];

/// The endpoint.
pub struct RevocationEndpoint;

#[OpenApi]
impl RevocationEndpoint {
    /// Revoke a token
    ///
    /// Ends the grant that the token came of, with its refresh token and all its access tokens. Clients authenticate as
    /// at the token endpoint. The answer to an unknown token and to another client's is the same, and changes nothing.
    /// After 503 the token may still count: send the request again.
    #[oai(path = "/oauth2/revoke", method = "post", operation_id = "revokeToken", tag = "Tag::OAuth")]
    async fn revoke(
        &self,
        Data(app): Data<&Arc<App>>,
        context: RequestContext,
        _basic: ClientBasic,
        form: FormBody<RevocationForm>,
    ) -> Answer<NoBody> {
        respond(context, form.form, app).await.into()
    }
}

/// Answers a request, which `direct.rs` took apart.
pub(super) async fn respond(context: RequestContext, form: Result<Form, InvalidRequest>, app: &Arc<App>) -> Response {
    let server = Arc::clone(app);
    let answered = to_the_end(async move {
        let outcome = answer(&context, form, &server).await;
        log(&context, &outcome);
        outcome
    });
    match answered.await.unwrap_or_else(|panic| Err(TokenError::ServerError(panic))) {
        Ok(_) => {
            let mut response = Response::builder().status(StatusCode::OK).finish();
            no_store(&mut response);
            response
        }
        Err(error) => ErrorRenderer::new(app.issuer.url()).token_error(&error),
    }
}

async fn answer(
    context: &RequestContext,
    form: Result<Form, InvalidRequest>,
    app: &App,
) -> Result<Revoked, TokenError> {
    let mut form = form?;
    let credentials = credentials::read(&context.headers, &mut form)?;
    let client = authentication::authenticate(credentials, app.store.as_ref(), app.store.now()).await?;
    context.client.set(client.id.clone());
    let token = SecretText::new(form.take("token").ok_or(InvalidRequest::Missing("token"))?);
    Ok(app.issuer.revoke(&token, &client, context.origin(), app.store.as_ref()).await?)
}

fn log(context: &RequestContext, outcome: &Result<Revoked, TokenError>) {
    let request_id = &context.request_id;
    let address = context.address.map(tracing::field::display);
    let client = context.client.get().map(tracing::field::display);
    match outcome {
        Ok(Revoked::Grant(grant)) => {
            tracing::info!(target: AUDIT, %request_id, address, client, %grant, "the client revoked a grant");
        }
        Ok(Revoked::Token) => {
            tracing::info!(target: AUDIT, %request_id, address, client, "the client revoked a token of its own")
        }
        Ok(Revoked::Nothing) => tracing::info!(%request_id, address, client, "nothing to revoke"),
        Err(error @ (TokenError::TemporarilyUnavailable(_) | TokenError::ServerError(_))) => {
            tracing::error!(%request_id, address, client, ?error, "revocation failed");
        }
        Err(error) => tracing::info!(%request_id, address, client, ?error, "revocation refused"),
    }
}
