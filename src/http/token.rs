//! `POST /oauth2/token`: the token endpoint
//! ([RFC 6749 §3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.2)).
//!
//! Not here: the grants, see `grant/`; the texts of tokens, see `token/`.

use std::sync::Arc;

use poem::{
    IntoResponse, Request, RequestBody, Response,
    http::{HeaderMap, StatusCode},
    web::Data,
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ApiResponse, Enum, ExtractParamOptions, Object, OpenApi,
    payload::Json,
    registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSecurityScheme, Registry},
    types::Type,
};
use serde::Serialize;

use super::{
    Tag, credentials,
    error_response::{ErrorRenderer, OAuthError, no_store},
    form::Form,
    request_context::RequestContext,
    requested_access,
};
use crate::{
    App,
    client::{GrantType, authentication, authentication::Credentials},
    error::{InvalidGrant, InvalidRequest, TokenError},
    failpoint,
    grant::{self, TokenRequest},
    secret::SecretText,
    store::Delivery,
    token::IssuedTokens,
};

/// The values of `grant_type` that this server answers.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename_all = "snake_case")]
enum GrantTypeParameter {
    Password,
    RefreshToken,
    ClientCredentials,
}

/// The parameters of a token request. Which are required depends on `grant_type`.
#[derive(Debug, Object)]
#[oai(rename = "TokenRequest")]
struct TokenForm {
    grant_type: GrantTypeParameter,
    /// The client's identifier. Leave it out when the Authorization header carries it.
    client_id: Option<String>,
    /// The secret of a confidential client that does not use the Authorization header.
    #[oai(validator(max_length = 1024))]
    client_secret: Option<String>,
    /// `password`: the resource owner's name.
    username: Option<String>,
    /// `password`: the resource owner's password, at most 256 characters.
    #[oai(validator(max_length = 256))]
    password: Option<String>,
    /// `refresh_token`: the refresh token that was received last.
    refresh_token: Option<String>,
    /// Scope tokens separated by spaces. Left out: everything the client may have, or everything that was
    /// granted.
    scope: Option<String>,
    /// The resource that the access token is for, an absolute URI (RFC 8707). May be repeated. Left out: every resource
    /// of the client, or of the grant.
    resource: Option<String>,
    /// The same for a resource that has a name rather than a URI.
    audience: Option<String>,
}

/// The answer to a token request (RFC 6749 section 5.1).
#[derive(Debug, Serialize, Object)]
struct TokenResponse {
    /// A JWT as RFC 9068 profiles it.
    access_token: String,
    /// Always `Bearer`.
    token_type: String,
    /// Seconds until the access token expires.
    expires_in: i64,
    /// What the access token is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Use it once: every answer brings the next one. After a lost answer, send the same one again.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Seconds until the refresh token expires unless it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token_expires_in: Option<i64>,
}

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
        body: TokenBody,
    ) -> TokenAnswer {
        // A task of its own: a client that hangs up must not stop an answer between the store and the log.
        let for_task = Arc::clone(app);
        let answered = tokio::spawn(async move {
            let outcome = answer(&context, body, &for_task).await;
            log(&context, &outcome);
            outcome
        });
        let outcome = answered.await.unwrap_or_else(|panic| {
            tracing::error!(%panic, "the token endpoint panicked");
            Err(TokenError::ServerError(panic.to_string()))
        });
        let response = match outcome {
            Ok(issued) => render(issued),
            Err(error) => ErrorRenderer::new(app.issuer.url()).token_error(&error),
        };
        failpoint::pass("before the response");
        TokenAnswer(response)
    }
}

/// The whole endpoint, one step a line.
async fn answer(context: &RequestContext, body: TokenBody, app: &App) -> Result<IssuedTokens, TokenError> {
    let (credentials, request) = body.parse(&context.headers, app)?;
    let client = authentication::authenticate(credentials, app.store.as_ref(), app.store.now()).await?;
    context.client.set(client.id.clone());
    failpoint::pass("after client authentication");
    let grant = grant::validate(request?, client, app).await?;
    app.issuer.issue(grant, Delivery::Body, &context.origin(), app.store.as_ref()).await
}

fn render(issued: IssuedTokens) -> Response {
    let (refresh_token, refresh_token_expires_in) =
        issued.refresh_token.map(|(token, expires_in)| (token.expose().to_owned(), expires_in)).unzip();
    let body = TokenResponse {
        access_token: issued.access_token.expose().to_owned(),
        token_type: "Bearer".into(),
        expires_in: issued.expires_in,
        scope: Some(String::from(issued.scope)).filter(|scope| !scope.is_empty()),
        refresh_token,
        refresh_token_expires_in,
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::builder().status(StatusCode::OK).content_type("application/json").body(body);
    no_store(&mut response);
    response
}

/// One line for each request; never a token, a secret or a password.
pub(super) fn log(context: &RequestContext, outcome: &Result<IssuedTokens, TokenError>) {
    let request_id = &context.request_id;
    let address = context.address.map(tracing::field::display);
    let client = context.client.get().map(tracing::field::display);
    match outcome {
        Ok(issued) => {
            let grant = issued.grant.map(tracing::field::display);
            tracing::info!(%request_id, address, client, grant, outcome = issued.outcome, "token request");
        }
        Err(TokenError::InvalidGrant(InvalidGrant::Replayed { reason, presented, current })) => {
            tracing::warn!(
                %request_id, address, client, reason = reason.as_str(), presented, current,
                "refresh token replayed: grant revoked"
            );
        }
        Err(error @ (TokenError::TemporarilyUnavailable(_) | TokenError::ServerError(_))) => {
            tracing::error!(%request_id, address, client, ?error, "token request failed");
        }
        Err(error) => tracing::info!(%request_id, address, client, ?error, "token request refused"),
    }
}

/// The form of a token request, read but not yet understood.
struct TokenBody {
    form: Result<Form, InvalidRequest>,
    query: bool,
}

impl TokenBody {
    /// Understands the form. Credentials come first: who asks is settled before what is asked.
    fn parse(
        self,
        headers: &HeaderMap,
        app: &App,
    ) -> Result<(Credentials, Result<TokenRequest, TokenError>), TokenError> {
        // RFC 6749 §2.3.1: credentials MUST NOT be in the request URI, where logs would keep them.
        if self.query {
            return Err(InvalidRequest::Query.into());
        }
        let mut form = self.form?;
        let grant_type = form.take("grant_type");
        let credentials = credentials::read(headers, &mut form)?;
        Ok((credentials, parse_request(grant_type, form, app)))
    }
}

/// Understands what the grant type asks for.
pub(super) fn parse_request(grant_type: Option<String>, mut form: Form, app: &App) -> Result<TokenRequest, TokenError> {
    let grant_type = grant_type.ok_or(InvalidRequest::Missing("grant_type"))?;
    let access = requested_access::read(&mut form)?;
    let mut required = |name: &'static str| form.take(name).ok_or(InvalidRequest::Missing(name));
    match GrantType::parse(&grant_type).filter(|known| app.serves(*known)) {
        Some(GrantType::Password) => Ok(TokenRequest::Password {
            username: required("username")?,
            password: SecretText::new(required("password")?),
            access,
        }),
        Some(GrantType::RefreshToken) => {
            Ok(TokenRequest::RefreshToken { refresh_token: SecretText::new(required("refresh_token")?), access })
        }
        Some(GrantType::ClientCredentials) => Ok(TokenRequest::ClientCredentials { access }),
        Some(GrantType::AuthorizationCode | GrantType::DeviceCode) | None => Err(TokenError::UnsupportedGrantType),
    }
}

/// Parameters that must not be in the query string.
const BODY_PARAMETERS: [&str; 19] = [
    "grant_type",
    "client_id",
    "client_secret",
    "username",
    "password",
    "refresh_token",
    "scope",
    "resource",
    "audience",
    "code",
    "code_verifier",
    "client_assertion",
    "client_assertion_type",
    "assertion",
    "device_code",
    "subject_token",
    "actor_token",
    "access_token",
    "token",
];

/// Whether the query string has a parameter that belongs in the body.
pub(super) fn parameters_in_query(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .any(|name| super::form::decode(name.as_bytes()).is_none_or(|name| BODY_PARAMETERS.contains(&name.as_str())))
}

impl<'a> ApiExtractor<'a> for TokenBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        TokenForm::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content =
            vec![MetaMediaType { content_type: "application/x-www-form-urlencoded", schema: TokenForm::schema_ref() }];
        Some(MetaRequest { description: None, required: true, content })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        // Errors travel as values: the handler renders them, so that no framework text reaches a client.
        Ok(Self { form: Form::read(request, body).await, query: parameters_in_query(request) })
    }
}

/// Documents HTTP Basic; reading it is `credentials.rs`'s work.
struct ClientBasic;

impl<'a> ApiExtractor<'a> for ClientBasic {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "ClientBasic",
            MetaSecurityScheme {
                ty: "http",
                description: Some(
                    "Client authentication: the form-encoded client_id and client_secret (RFC 6749 section 2.3.1).",
                ),
                name: None,
                key_in: None,
                scheme: Some("basic"),
                bearer_format: None,
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["ClientBasic"]
    }

    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(_: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(Self)
    }
}

/// A finished response, documented by hand because every error shares one renderer.
struct TokenAnswer(Response);

impl IntoResponse for TokenAnswer {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for TokenAnswer {
    fn meta() -> MetaResponses {
        let response = |status, description, schema| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType { content_type: "application/json", schema }],
            headers: vec![],
        };
        let error = || OAuthError::schema_ref();
        MetaResponses {
            responses: vec![
                response(200, "Tokens.", TokenResponse::schema_ref()),
                response(
                    400,
                    "The request was refused: invalid_request, invalid_grant, unauthorized_client, unsupported_grant_type, invalid_scope or invalid_target.",
                    error(),
                ),
                response(401, "Client authentication failed: invalid_client.", error()),
                response(413, "The body is larger than 16 KiB: invalid_request.", error()),
                response(500, "The server failed: server_error.", error()),
                response(
                    503,
                    "The server can't answer right now: temporarily_unavailable. Send the same request again after Retry-After seconds; a refresh token is still good.",
                    error(),
                ),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        <Json<TokenResponse> as poem_openapi::ResponseContent>::register(registry);
        <Json<OAuthError> as poem_openapi::ResponseContent>::register(registry);
    }
}
