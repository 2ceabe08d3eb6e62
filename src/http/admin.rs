//! `/admin/grants`: for operators, with a client's own bearer access token of the scope `regrant:admin`
//! ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)). A token that a person signed in for does not do: whoever has an
//! account would be an operator as soon as one client with that scope offers a login.
//!
//! Not here: the words about a grant, see `token/explanation.rs`.

use std::sync::Arc;

use poem::{
    Request, RequestBody, Response,
    http::{StatusCode, header},
    web::Data,
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, Object, OpenApi,
    param::{Path, Query},
    registry::{MetaSecurityScheme, Registry},
};
use serde_json::{Value, json};

use super::{
    Tag,
    contract::{Answer, ErrorExample, NO_STORE, Operation, Success},
    error_response::{ErrorRenderer, no_store},
    request_context::RequestContext,
};
use crate::{
    App,
    error::{AdminError, InvalidRequest, TokenError},
    ids::{GrantId, OwnerId, Username},
    store::{GrantRecord, OwnerRecord, RevocationReason},
    telemetry::AUDIT,
    token::explanation,
};

/// The scope that opens these endpoints.
const SCOPE: &str = "regrant:admin";

/// A grant, and what became of it. Times are seconds since the epoch.
#[derive(Debug, Object)]
struct Grant {
    /// Its identifier: the claim `gid` of its access tokens.
    grant_id: String,
    /// Whose it is.
    username: String,
    /// The client it was given to.
    client_id: String,
    /// What was granted.
    scope: String,
    /// `active`, `expired`, `revoked`, or `dead`: its user was disabled, logged out everywhere or changed the password.
    state: String,
    /// Why it was revoked.
    revoked_because: Option<String>,
    /// When it was revoked.
    revoked_at: Option<i64>,
    /// The address that revoked it: for a replay, whoever presented the old token.
    revoked_from_address: Option<String>,
    /// The beginning of the User-Agent that revoked it.
    revoked_from_agent: Option<String>,
    /// How its refresh tokens travel: `body` or `cookie`.
    delivery: String,
    /// How often it was rotated, and one.
    generation: u32,
    /// When it was made.
    created_at: i64,
    /// When its refresh token was last rotated.
    last_refreshed_at: i64,
    /// The address of the last accepted use.
    last_used_from_address: Option<String>,
    /// The beginning of the User-Agent of the last accepted use.
    last_used_from_agent: Option<String>,
    /// When its refresh token expires unused.
    expires_at: i64,
    /// When it ends, however often it is refreshed.
    ends_at: i64,
    /// How often an answer was repeated, because the first was lost.
    repeated_answers: u32,
}

/// The grants of a user.
#[derive(Debug, Object)]
struct Grants {
    /// Those that are remembered, the revoked ones on some stores too.
    grants: Vec<Grant>,
}

const fn operation(id: &'static str, description: &'static str) -> Operation {
    Operation {
        id,
        see: ("RFC 6750: bearer token usage", "https://www.rfc-editor.org/rfc/rfc6750"),
        requests: &[],
        fields: &[],
        success: Success { status: 200, description, headers: &[NO_STORE], examples: Vec::new },
        errors: refusals,
        notes: &[],
    }
}

fn refusals(renderer: &ErrorRenderer) -> Vec<ErrorExample> {
    let errors = [
        AdminError::InvalidToken,
        AdminError::InsufficientScope,
        AdminError::NotFound,
        AdminError::Failed(String::new()),
        AdminError::Unavailable(String::new()),
    ];
    let example = |error: &AdminError| ErrorExample {
        response: renderer.admin_error(error),
        body: renderer.admin_error_body(error),
    };
    errors.iter().map(example).collect()
}

/// Those of an operation with a required parameter, which is missed before anything else.
fn refusals_without_a_parameter(renderer: &ErrorRenderer) -> Vec<ErrorExample> {
    let missing = TokenError::from(InvalidRequest::Malformed);
    let example = ErrorExample { response: renderer.token_error(&missing), body: renderer.token_error_body(&missing) };
    [example].into_iter().chain(refusals(renderer)).collect()
}

/// What the document says about them.
pub const OPERATIONS: &[Operation] = &[
    Operation { errors: refusals_without_a_parameter, ..operation("listGrants", "The grants.") },
    operation("getGrant", "The grant."),
    operation("revokeGrant", "The grant, which is revoked now."),
];

/// The endpoints.
pub struct AdminEndpoint;

#[OpenApi]
impl AdminEndpoint {
    /// List a user's grants
    ///
    /// With what became of each, and from where it was last used.
    #[oai(path = "/admin/grants", method = "get", operation_id = "listGrants", tag = "Tag::Administration")]
    async fn list(
        &self,
        Data(app): Data<&Arc<App>>,
        context: RequestContext,
        bearer: AdminBearer,
        /// The name they sign in with.
        username: Query<String>,
    ) -> Answer<Grants> {
        let listed = async {
            bearer.admit(app).await?;
            list(&username.0, app).await
        };
        respond(listed.await, &context, app).into()
    }

    /// Look a grant up
    ///
    /// Tells why its tokens are refused: revoked by what, from where and when, or expired.
    #[oai(path = "/admin/grants/:grant_id", method = "get", operation_id = "getGrant", tag = "Tag::Administration")]
    async fn get(
        &self,
        Data(app): Data<&Arc<App>>,
        context: RequestContext,
        bearer: AdminBearer,
        /// The grant's identifier: the claim `gid` of its access tokens, and in the log.
        grant_id: Path<String>,
        /// Whose it is. Without it every user's grants are searched.
        username: Query<Option<String>>,
    ) -> Answer<Grant> {
        let found = async {
            bearer.admit(app).await?;
            let (owner, id, record) = find(&grant_id.0, username.0.as_deref(), app).await?;
            Ok(explanation::describe(id, &owner, &record, app.store.now()))
        };
        respond(found.await, &context, app).into()
    }

    /// Revoke a grant
    ///
    /// Its refresh token and all its access tokens stop to count, on every node.
    #[oai(
        path = "/admin/grants/:grant_id/revoke",
        method = "post",
        operation_id = "revokeGrant",
        tag = "Tag::Administration"
    )]
    async fn revoke(
        &self,
        Data(app): Data<&Arc<App>>,
        context: RequestContext,
        bearer: AdminBearer,
        /// The grant's identifier.
        grant_id: Path<String>,
        /// Whose it is. Without it every user's grants are searched.
        username: Query<Option<String>>,
    ) -> Answer<Grant> {
        let revoked = async {
            bearer.admit(app).await?;
            let store = app.store.as_ref();
            let (owner, id, _) = find(&grant_id.0, username.0.as_deref(), app).await?;
            store.revoke_grant(owner.id(), id, RevocationReason::Operator, &context.origin()).await?;
            tracing::info!(target: AUDIT, request_id = %context.request_id, grant = %id, "an operator revoked a grant");
            let record = store.grant(owner.id(), id).await?.ok_or(AdminError::NotFound)?;
            Ok(explanation::describe(id, &owner, &record, store.now()))
        };
        respond(revoked.await, &context, app).into()
    }
}

async fn list(username: &str, app: &App) -> Result<Value, AdminError> {
    let store = app.store.as_ref();
    let username = Username::parse(username).map_err(|_| AdminError::NotFound)?;
    let owner = store.owner(OwnerId::of(&username)).await?.ok_or(AdminError::NotFound)?;
    Ok(json!({ "grants": explanation::describe_all(store, &owner).await? }))
}

async fn find(id: &str, username: Option<&str>, app: &App) -> Result<(OwnerRecord, GrantId, GrantRecord), AdminError> {
    let id = GrantId::parse(id).ok_or(AdminError::NotFound)?;
    let found = explanation::find(app.store.as_ref(), username, id).await?;
    let (owner, record) = found.ok_or(AdminError::NotFound)?;
    Ok((owner, id, record))
}

fn respond(outcome: Result<Value, AdminError>, context: &RequestContext, app: &App) -> Response {
    match outcome {
        Ok(view) => {
            let body = serde_json::to_vec(&view).unwrap_or_default();
            let mut response = Response::builder().status(StatusCode::OK).content_type("application/json").body(body);
            no_store(&mut response);
            response
        }
        Err(error) => {
            let (request_id, address) = (&context.request_id, context.address.map(tracing::field::display));
            tracing::info!(target: AUDIT, %request_id, address, ?error, "administration refused");
            ErrorRenderer::new(app.issuer.url()).admin_error(&error)
        }
    }
}

/// The access token of a request, in the Authorization header only (RFC 6750 §2.1).
struct AdminBearer(Result<String, AdminError>);

impl AdminBearer {
    /// Verifies the token as every resource server must, and asks the store whether it still counts: a revoked
    /// administrator is out at once.
    async fn admit(&self, app: &App) -> Result<(), AdminError> {
        let text = match &self.0 {
            Ok(text) => text,
            Err(AdminError::NoToken) => return Err(AdminError::NoToken),
            Err(_) => return Err(AdminError::InvalidToken),
        };
        let token = app.issuer.active_access_token(text, app.store.as_ref()).await?;
        let token = token.ok_or(AdminError::InvalidToken)?;
        // RFC 9068 §4: a token for another resource must not open this one, whatever its scope.
        if !token.aud.iter().any(|resource| resource == app.issuer.url()) {
            return Err(AdminError::InvalidToken);
        }
        let admitted = token.gid.is_none() && token.scope.tokens().any(|word| word == SCOPE);
        if admitted { Ok(()) } else { Err(AdminError::InsufficientScope) }
    }
}

impl<'a> ApiExtractor<'a> for AdminBearer {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "AdminBearer",
            MetaSecurityScheme {
                ty: "http",
                description: Some(
                    "An access token with the scope regrant:admin, for the issuer's URL as its audience (RFC 6750).",
                ),
                name: None,
                key_in: None,
                scheme: Some("bearer"),
                bearer_format: Some("JWT"),
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["AdminBearer"]
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
        Ok(Self(match (headers.next(), headers.next()) {
            (None, _) => Err(AdminError::NoToken),
            (Some(value), None) => bearer(value.as_bytes()).ok_or(AdminError::InvalidToken),
            (Some(_), Some(_)) => Err(AdminError::InvalidToken),
        }))
    }
}

fn bearer(header: &[u8]) -> Option<String> {
    let (scheme, token) = header.split_at_checked(7)?;
    let token = str::from_utf8(token).ok()?.trim_matches(' ');
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.to_owned())
}
