//! `POST /oauth2/introspect`: tells a resource server or the client whether a token counts
//! ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)).
//!
//! Not here: whether it does, see `token/introspection.rs`.

use std::sync::Arc;

use poem::{Response, http::StatusCode, web::Data};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_json::json;

use super::{
    Tag,
    contract::{Answer, ClientBasic, FormBody, NO_STORE, Operation, RequestExample, Success, token_errors},
    credentials,
    error_response::{ErrorRenderer, no_store},
    form::Form,
    request_context::RequestContext,
};
use crate::{
    App,
    client::{Client, ClientType, authentication},
    error::{InvalidClient, InvalidRequest, TokenError},
    secret::SecretText,
};

/// The parameters of an introspection request (RFC 7662 section 2.1).
#[derive(Debug, Object)]
#[oai(rename = "IntrospectionRequest")]
struct IntrospectionForm {
    /// An access token or a refresh token.
    token: String,
    /// `access_token` or `refresh_token`. The server finds out by itself, so that it is never wrong.
    token_type_hint: Option<String>,
    /// The client's identifier. Leave it out when the Authorization header carries it.
    client_id: Option<String>,
    /// The client's secret. Leave it out when the Authorization header carries it.
    #[oai(validator(max_length = 1024))]
    client_secret: Option<String>,
}

/// What the server says about a token (RFC 7662 section 2.2). For a token that does not count, or is none of the
/// caller's business, there is `active` alone.
#[derive(Debug, Default, Serialize, Object)]
#[oai(rename = "IntrospectionResponse")]
struct Introspection {
    /// Whether the token counts now.
    active: bool,
    /// What it is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The client it was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// `Bearer` for an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<String>,
    /// When it expires, seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// When it was issued, seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// Whom it speaks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    /// The resources it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Vec<String>>,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// The identifier of an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

/// What the document says about it.
pub const OPERATIONS: &[Operation] = &[Operation {
    id: "introspectToken",
    see: ("RFC 7662: token introspection", "https://www.rfc-editor.org/rfc/rfc7662#section-2"),
    requests: &[RequestExample {
        name: "any_token",
        summary: "Ask about a token",
        form: &[("token", "rt_AeU..."), ("client_id", "demo"), ("client_secret", "demo-secret")],
    }],
    fields: &[("token", ""), ("token_type_hint", ""), ("client_id", "demo"), ("client_secret", "demo-secret")],
    success: Success {
        status: 200,
        description: "Whether the token counts, and what it says.",
        headers: &[NO_STORE],
        examples: || {
            let active = json!({
                "active": true, "scope": "read write", "client_id": "demo", "token_type": "Bearer",
                "exp": 1_795_000_600, "iat": 1_795_000_000, "sub": "2YotnFZFEjr1zCsicMWpAA",
                "aud": ["https://api.example.com"], "iss": "https://login.example.com", "jti": "tGzv3JOkF0XG5Qx2TlKWIA",
            });
            vec![("active", active), ("inactive", json!({ "active": false }))]
        },
    },
    errors: |renderer| {
        let errors = [InvalidRequest::Missing("token").into(), TokenError::InvalidClient(InvalidClient::WrongSecret)];
        token_errors(renderer, &errors)
    },
    notes: &[],
}];

/// The endpoint.
pub struct IntrospectionEndpoint;

#[OpenApi]
impl IntrospectionEndpoint {
    /// Ask about a token
    ///
    /// For confidential clients: the one that a token was issued to, and resource servers. A resource server is a client
    /// whose identifier or whose registered `audience` is in the token's `aud`. Everybody else reads `active: false`, as
    /// for a token that expired or was revoked. Asking changes nothing: a refresh token stays as good as it was.
    #[oai(path = "/oauth2/introspect", method = "post", operation_id = "introspectToken", tag = "Tag::OAuth")]
    async fn introspect(
        &self,
        Data(app): Data<&Arc<App>>,
        context: RequestContext,
        _basic: ClientBasic,
        form: FormBody<IntrospectionForm>,
    ) -> Answer<Introspection> {
        respond(context, form.form, app).await.into()
    }
}

/// Answers a request, which `direct.rs` took apart.
pub(super) async fn respond(context: RequestContext, form: Result<Form, InvalidRequest>, app: &App) -> Response {
    match answer(&context, form, app).await {
        Ok(introspection) => {
            let body = serde_json::to_vec(&introspection).unwrap_or_default();
            let mut response = Response::builder().status(StatusCode::OK).content_type("application/json").body(body);
            no_store(&mut response);
            response
        }
        Err(error) => {
            let (request_id, address) = (&context.request_id, context.address.map(tracing::field::display));
            let client = context.client.get().map(tracing::field::display);
            tracing::info!(%request_id, address, client, ?error, "introspection refused");
            ErrorRenderer::new(app.issuer.url()).token_error(&error)
        }
    }
}

async fn answer(
    context: &RequestContext,
    form: Result<Form, InvalidRequest>,
    app: &App,
) -> Result<Introspection, TokenError> {
    let mut form = form?;
    let credentials = credentials::read(&context.headers, &mut form)?;
    let caller = authentication::authenticate(credentials, app.store.as_ref(), app.store.now()).await?;
    // RFC 7662 §2.1: the endpoint MUST require authorization, or anybody could try tokens here.
    if caller.client_type == ClientType::Public {
        return Err(TokenError::InvalidClient(InvalidClient::WrongMethod));
    }
    context.client.set(caller.id.clone());
    let token = SecretText::new(form.take("token").ok_or(InvalidRequest::Missing("token"))?);
    Ok(introspect(&token, &caller, app).await?.unwrap_or_default())
}

async fn introspect(
    text: &SecretText,
    caller: &Client,
    app: &App,
) -> Result<Option<Introspection>, crate::store::StoreError> {
    let store = app.store.as_ref();
    if let Some(token) = app.issuer.active_access_token(text.expose(), store).await? {
        return Ok(concerns(caller, token.client_id.as_str(), &token.aud).then(|| Introspection {
            active: true,
            scope: Some(String::from(token.scope)).filter(|scope| !scope.is_empty()),
            client_id: Some(token.client_id.into()),
            token_type: Some("Bearer".into()),
            exp: Some(token.exp),
            iat: Some(token.iat),
            sub: Some(token.sub.0),
            aud: Some(token.aud),
            iss: Some(token.iss),
            jti: Some(token.jti),
        }));
    }
    // A refresh token is its client's alone: rotation's rules compare the client.
    let Some(token) = app.issuer.active_refresh_token(text, caller, store).await? else { return Ok(None) };
    Ok(Some(Introspection {
        active: true,
        scope: Some(String::from(token.live.scope)).filter(|scope| !scope.is_empty()),
        exp: Some(token.grant.expires_at().seconds()),
        client_id: Some(token.grant.client_id.into()),
        iat: Some(token.grant.current_since.seconds()),
        sub: Some(token.live.subject.0),
        iss: Some(app.issuer.url().to_owned()),
        ..Introspection::default()
    }))
}

/// RFC 7662 §4: a token is shown to the client it was issued to and to the resources it is for, or one resource server
/// could learn what its neighbour's tokens are good for.
fn concerns(caller: &Client, client_id: &str, audience: &[String]) -> bool {
    let is_resource = |resource: &String| resource == caller.id.as_str() || caller.audience.contains(resource);
    caller.id.as_str() == client_id || audience.iter().any(is_resource)
}
