//! `POST /oauth2/token`: the token endpoint
//! ([RFC 6749 §3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.2)).
//!
//! Not here: the form and the errors as the document shows them, see `token/schema.rs`; the grants, see `grant/`; the texts of tokens, see `token/`.

mod schema;

use std::{fmt::Write as _, sync::Arc};

use poem::{
    Response,
    http::{HeaderMap, StatusCode},
    web::Data,
};
use poem_openapi::OpenApi;

pub use self::schema::OPERATIONS;
use self::schema::{TokenForm, TokenResponse};
use super::{
    Tag,
    contract::{Answer, ClientBasic, FormBody},
    credentials,
    error_response::{ErrorRenderer, no_store},
    form::Form,
    request_context::RequestContext,
    requested_access,
    to_the_end::to_the_end,
};
use crate::{
    App,
    client::{GrantType, authentication, authentication::Credentials},
    error::{DeviceRefusal, InvalidGrant, InvalidRequest, TokenError},
    failpoint,
    grant::{self, TokenRequest, ValidGrant},
    pkce::CodeChallenge,
    secret::SecretText,
    store::Delivery,
    telemetry::{AUDIT, traces},
    token::IssuedTokens,
};

/// Room for most responses.
const RESPONSE_BYTES: usize = 1024;

/// The endpoint.
pub struct TokenEndpoint;

#[OpenApi]
impl TokenEndpoint {
    /// Get or refresh tokens
    ///
    /// Confidential clients authenticate with HTTP Basic or with `client_id` and `client_secret` in the body;
    /// public clients send `client_id`.
    #[oai(path = "/oauth2/token", method = "post", operation_id = "issueToken", tag = "Tag::OAuth")]
    async fn token(
        &self,
        Data(app): Data<&Arc<App>>,
        context: RequestContext,
        _basic: ClientBasic,
        body: FormBody<TokenForm>,
    ) -> Answer<TokenResponse> {
        respond(context, body.form, app).await.into()
    }
}

/// Answers a request, which `direct.rs` took apart.
pub(super) async fn respond(context: RequestContext, form: Result<Form, InvalidRequest>, app: &Arc<App>) -> Response {
    let server = Arc::clone(app);
    let answered = to_the_end(async move {
        let outcome = answer(&context, form, &server).await;
        log(&context, &outcome, &server);
        outcome
    });
    let outcome = answered.await.unwrap_or_else(|panic| {
        tracing::error!(%panic, "the token endpoint panicked");
        Err(TokenError::ServerError(panic))
    });
    let response = match outcome {
        Ok(issued) => render(issued),
        Err(error) => ErrorRenderer::new(app.issuer.url()).token_error(&error),
    };
    failpoint::pass("before the response");
    response
}

/// The whole endpoint, one step a line.
async fn answer(
    context: &RequestContext,
    form: Result<Form, InvalidRequest>,
    app: &App,
) -> Result<IssuedTokens, TokenError> {
    let (credentials, request) = parse(form?, &context.headers, app)?;
    let client = authentication::authenticate(credentials, app.store.as_ref(), app.store.now()).await?;
    context.client.set(client.id.clone());
    failpoint::pass("after client authentication");
    let request = request?;
    context.grant_type.get_or_init(|| request.kind());
    tracing::debug!(request_id = context.request_id.as_str(), ?request, "token request understood");
    let grant = grant::validate(request, client, context.origin(), context.source(), app).await?;
    issue(grant, Delivery::Body, context, app).await
}

/// Issues. When a refresh token is refused, the log says why under the request's id: the client reads `invalid_grant`.
pub(super) async fn issue(
    grant: ValidGrant,
    delivery: Delivery,
    context: &RequestContext,
    app: &App,
) -> Result<IssuedTokens, TokenError> {
    let presented = match &grant {
        ValidGrant::RefreshToken { token, .. } => Some(token.clone()),
        _ => None,
    };
    let (store, origin) = (app.store.as_ref(), context.origin());
    let outcome = app.issuer.issue(grant, delivery, origin, store).await;
    if let (Err(TokenError::InvalidGrant(_)), Some(token)) = (&outcome, presented) {
        let why = Box::pin(app.issuer.explain(&token, store)).await.unwrap_or_else(|error| error.to_string());
        let (request_id, agent, grant, generation) =
            (&context.request_id, &origin.agent, token.grant, token.generation);
        tracing::info!(target: AUDIT, %request_id, address = origin.address, agent, %grant, generation, why, "refresh token explained");
    }
    outcome
}

fn render(issued: IssuedTokens) -> Response {
    // By hand, because a serializer looks at each byte of the tokens. Nothing here needs to be escaped: tokens are base64url
    // and dots, and scope tokens have no quotes and no backslashes (RFC 6749 §3.3).
    let mut text = String::with_capacity(RESPONSE_BYTES);
    text.push_str(r#"{"access_token":""#);
    text.push_str(issued.access_token.expose());
    // Writing to memory can't fail.
    let _ = write!(text, r#"","token_type":"Bearer","expires_in":{}"#, issued.expires_in);
    if !issued.scope.is_empty() {
        text.push_str(r#","scope":""#);
        text.push_str(issued.scope.as_str());
        text.push('"');
    }
    if let Some((refresh_token, expires_in)) = &issued.refresh_token {
        text.push_str(r#","refresh_token":""#);
        text.push_str(refresh_token.expose());
        let _ = write!(text, r#"","refresh_token_expires_in":{expires_in}"#);
    }
    text.push('}');
    let mut response = Response::builder().status(StatusCode::OK).content_type("application/json").body(text);
    no_store(&mut response);
    response
}

/// One line for each request; never a token, a secret or a password.
pub(super) fn log(context: &RequestContext, outcome: &Result<IssuedTokens, TokenError>, app: &App) {
    count(context, outcome, app);
    let request_id = &context.request_id;
    // Written once, for the grant and for the log.
    let address = context.address.map(|_| tracing::field::display(&context.origin().address));
    let client = context.client.get().map(tracing::field::display);
    match outcome {
        Ok(issued) => {
            let grant = issued.grant.map(tracing::field::display);
            tracing::info!(target: AUDIT, %request_id, address, client, grant, outcome = issued.outcome, "token request");
        }
        Err(TokenError::InvalidGrant(InvalidGrant::Replayed { reason, presented, current })) => {
            tracing::warn!(
                target: AUDIT, %request_id, address, client, reason = reason.as_str(), presented, current,
                "refresh token replayed: grant revoked"
            );
        }
        Err(error @ (TokenError::TemporarilyUnavailable(_) | TokenError::ServerError(_))) => {
            tracing::error!(%request_id, address, client, ?error, "token request failed");
        }
        Err(error) => tracing::info!(target: AUDIT, %request_id, address, client, ?error, "token request refused"),
    }
}

/// Counts a token request.
fn count(context: &RequestContext, outcome: &Result<IssuedTokens, TokenError>, app: &App) {
    let grant_type = context.grant_type.get().copied();
    let word = match outcome {
        Ok(issued) => issued.outcome,
        Err(TokenError::TooManyAttempts(_)) => "throttled",
        Err(error) => error.code(),
    };
    app.metrics.token_request(grant_type, word);
    traces::note(grant_type, word);
    match outcome {
        Err(TokenError::InvalidGrant(InvalidGrant::Replayed { .. })) => app.metrics.replay("refresh_token"),
        Err(TokenError::InvalidGrant(InvalidGrant::CodeReplayed)) => app.metrics.replay("authorization_code"),
        Err(TokenError::InvalidGrant(InvalidGrant::DeviceCode(DeviceRefusal::Used))) => {
            app.metrics.replay("device_code")
        }
        _ => {}
    }
    if grant_type == Some("password") {
        app.metrics.sign_in(match outcome {
            Ok(_) => "succeeded",
            Err(TokenError::TooManyAttempts(_)) => "throttled",
            Err(TokenError::TemporarilyUnavailable(_) | TokenError::ServerError(_)) => "unavailable",
            Err(_) => "refused",
        });
    }
}

/// Understands the form. Credentials come first: who asks is settled before what is asked.
fn parse(
    mut form: Form,
    headers: &HeaderMap,
    app: &App,
) -> Result<(Credentials, Result<TokenRequest, TokenError>), TokenError> {
    let grant_type = form.take("grant_type");
    let credentials = credentials::read(headers, &mut form)?;
    Ok((credentials, parse_request(grant_type, form, app)))
}

/// Understands what the grant type asks for.
pub(super) fn parse_request(grant_type: Option<String>, mut form: Form, app: &App) -> Result<TokenRequest, TokenError> {
    let grant_type = grant_type.ok_or(InvalidRequest::Missing("grant_type"))?;
    let access = requested_access::read(&mut form)?;
    // The form of a parameter doesn't depend on the grant: what can't be a verifier is refused, used or not.
    let challenge = form
        .take("code_verifier")
        .map(|verifier| CodeChallenge::of_verifier(&SecretText::new(verifier)).ok_or(InvalidRequest::CodeVerifier))
        .transpose()?;
    let mut required = |name: &'static str| form.take(name).ok_or(InvalidRequest::Missing(name));
    // The short names of registration are not on the wire.
    match GrantType::parse(&grant_type).filter(|known| known.as_str() == grant_type && app.serves(*known)) {
        Some(GrantType::Password) => Ok(TokenRequest::Password {
            username: required("username")?,
            password: SecretText::new(required("password")?),
            access,
        }),
        Some(GrantType::RefreshToken) => {
            Ok(TokenRequest::RefreshToken { refresh_token: SecretText::new(required("refresh_token")?), access })
        }
        Some(GrantType::ClientCredentials) => Ok(TokenRequest::ClientCredentials { access }),
        Some(GrantType::AuthorizationCode) => Ok(TokenRequest::AuthorizationCode {
            code: SecretText::new(required("code")?),
            redirect_uri: form.take("redirect_uri"),
            challenge,
        }),
        Some(GrantType::DeviceCode) => {
            Ok(TokenRequest::DeviceCode { device_code: SecretText::new(required("device_code")?), access })
        }
        None => Err(TokenError::UnsupportedGrantType),
    }
}
