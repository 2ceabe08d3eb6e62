//! `/admin/…`: for operators, with a client's own bearer access token of the scope `regrant:admin`
//! ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)). A token that a person signed in for does not do: whoever has an
//! account would be an operator as soon as one client with that scope offers a login.
//!
//! Who asks is found out before anything of what they ask is looked at.
//!
//! Not here: what an operator does, see `administration/`; the page for people, see `http/admin_page/`.

mod clients;
mod examples;
mod grants;
mod keys;
mod users;

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::{
    FromRequest as _, Request, RequestBody, Response,
    http::{StatusCode, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};
use serde_json::{Value, json};

pub use self::{
    clients::AdminClientsEndpoint, examples::describe, grants::AdminGrantsEndpoint, keys::AdminKeysEndpoint,
    users::AdminUsersEndpoint,
};
use super::{
    contract::{ErrorExample, HeaderExample, NO_STORE, Operation, Success},
    error_response::{ErrorRenderer, no_store},
    request_context::RequestContext,
    to_the_end::to_the_end,
};
use crate::{
    App,
    administration::{Operator, Refusal},
    error::AdminError,
    ids::ClientId,
    telemetry::AUDIT,
};

/// What the document says about them.
pub const OPERATIONS: &[&[Operation]] = &[clients::OPERATIONS, grants::OPERATIONS, keys::OPERATIONS, users::OPERATIONS];

/// The scope that opens these endpoints.
const SCOPE: &str = "regrant:admin";
/// The longest page of a list, and the usual one.
const LONGEST_PAGE: u32 = 1000;
const USUAL_PAGE: u32 = 100;

/// A request of an operator, whose access token has been checked. The first argument of every endpoint here: it is read
/// before the others.
struct Admitted {
    app: Arc<App>,
    context: RequestContext,
    client: ClientId,
}

impl Admitted {
    async fn read(request: &Request) -> poem::Result<Result<Self, Response>> {
        let app = request.data::<Arc<App>>().cloned();
        let app = app.ok_or_else(|| poem::Error::from_status(StatusCode::INTERNAL_SERVER_ERROR))?;
        let context = RequestContext::from_request_without_body(request).await?;
        Ok(match admit(request, &app).await {
            Ok(client) => Ok(Self { app, context, client }),
            Err(error) => Err(refuse(&error, &context, &app)),
        })
    }

    fn operator(&self) -> Operator {
        Operator {
            who: format!("client {}", self.client),
            request_id: Some(self.context.request_id.to_string()),
            address: self.context.address,
        }
    }

    /// Answers with what `work` finds.
    async fn look<T: Into<Found>>(self, work: impl AsyncFnOnce(&Self) -> Result<T, AdminError>) -> Response {
        let outcome = work(&self).await;
        self.respond(StatusCode::OK, outcome)
    }

    /// Does `work` to the end: a client that hangs up must not stop it between the change and its audit event.
    async fn act<T, F>(self, status: StatusCode, work: impl FnOnce(Arc<Self>) -> F) -> Response
    where
        T: Into<Found> + Send + 'static,
        F: Future<Output = Result<T, AdminError>> + Send + 'static,
    {
        let this = Arc::new(self);
        let outcome = to_the_end(work(Arc::clone(&this))).await;
        this.respond(status, outcome.unwrap_or_else(|panic| Err(AdminError::Failed(panic))))
    }

    fn respond<T: Into<Found>>(&self, status: StatusCode, outcome: Result<T, AdminError>) -> Response {
        let found = match outcome {
            Ok(found) => found.into(),
            Err(error) => return refuse(&error, &self.context, &self.app),
        };
        let response = Response::builder().status(status);
        let mut response = match found {
            Found::View(view) => {
                response.content_type("application/json").body(serde_json::to_vec(&view).unwrap_or_default())
            }
            Found::Nothing => response.finish(),
        };
        no_store(&mut response);
        response
    }
}

/// What an endpoint answers with.
enum Found {
    View(Value),
    Nothing,
}

impl From<Value> for Found {
    fn from(view: Value) -> Self {
        Self::View(view)
    }
}

impl From<()> for Found {
    fn from((): ()) -> Self {
        Self::Nothing
    }
}

fn refuse(error: &AdminError, context: &RequestContext, app: &App) -> Response {
    let (request_id, address) = (&context.request_id, context.address.map(tracing::field::display));
    tracing::info!(target: AUDIT, %request_id, address, ?error, "administration refused");
    ErrorRenderer::new(app.issuer.url()).admin_error(error)
}

/// Verifies the token as every resource server must, and asks the store whether it still counts: a revoked
/// administrator is out at once.
async fn admit(request: &Request, app: &App) -> Result<ClientId, AdminError> {
    // In the Authorization header only (RFC 6750 §2.1).
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let text = match (headers.next(), headers.next()) {
        (None, _) => return Err(AdminError::NoToken),
        (Some(value), None) => bearer(value.as_bytes()).ok_or(AdminError::InvalidToken)?,
        (Some(_), Some(_)) => return Err(AdminError::InvalidToken),
    };
    let token = app.issuer.active_access_token(text, app.store.as_ref()).await?;
    let token = token.ok_or(AdminError::InvalidToken)?;
    // RFC 9068 §4: a token for another resource must not open this one, whatever its scope.
    if !token.aud.iter().any(|resource| resource == app.issuer.url()) {
        return Err(AdminError::InvalidToken);
    }
    let admitted = token.gid.is_none() && token.scope.tokens().any(|word| word == SCOPE);
    if admitted { Ok(token.client_id) } else { Err(AdminError::InsufficientScope) }
}

fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, token) = header.split_at_checked(7)?;
    let token = str::from_utf8(token).ok()?.trim_matches(' ');
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

impl<'a> ApiExtractor<'a> for Admitted {
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
        Self::read(request).await?.map_err(poem::Error::from_response)
    }
}

/// One page of a list: which part of it, and where the next one begins.
struct Page {
    limit: usize,
    after: String,
}

impl Page {
    fn read(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, AdminError> {
        let limit = limit.unwrap_or(USUAL_PAGE);
        if !(1..=LONGEST_PAGE).contains(&limit) {
            return Err(Refusal::invalid("limit", format!("must be 1 to {LONGEST_PAGE}")).into());
        }
        let after = cursor.map(|text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok();
            let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            name.ok_or_else(|| Refusal::invalid("cursor", "is not one of this server"))
        });
        Ok(Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), after: after.transpose()?.unwrap_or_default() })
    }

    /// Cuts a list that was asked for one entry more than the page has, and says where the next page begins.
    fn cut<T>(&self, entries: &mut Vec<T>, name: impl Fn(&T) -> Cow<'_, str>) -> Option<String> {
        let more = entries.len() > self.limit;
        entries.truncate(self.limit);
        entries.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(name(last).as_bytes()))
    }
}

/// One page of a list, and where the next one begins.
fn list(name: &str, entries: Vec<Value>, next_cursor: Option<String>) -> Value {
    let mut view = json!({ name: entries });
    if let Some(cursor) = next_cursor {
        view["next_cursor"] = cursor.into();
    }
    view
}

const SEE: (&str, &str) = ("RFC 6750: bearer token usage", "https://www.rfc-editor.org/rfc/rfc6750");

/// An operation that shows what is there.
const fn lookup(id: &'static str, description: &'static str, errors: Errors) -> Operation {
    answered(id, 200, description, &[NO_STORE], errors)
}

/// An operation that answers without a body.
const fn deletion(id: &'static str, description: &'static str) -> Operation {
    answered(id, 204, description, &[NO_STORE], not_found)
}

const fn answered(
    id: &'static str,
    status: u16,
    description: &'static str,
    headers: &'static [HeaderExample],
    errors: Errors,
) -> Operation {
    Operation {
        id,
        see: SEE,
        requests: &[],
        fields: &[],
        success: Success { status, description, headers, examples: Vec::new },
        errors,
        notes: &[],
    }
}

type Errors = fn(&ErrorRenderer) -> Vec<ErrorExample>;

/// The errors of every operation here, after those of its own.
fn refusals(renderer: &ErrorRenderer, own: Vec<AdminError>) -> Vec<ErrorExample> {
    let everywhere = [
        AdminError::NoToken,
        AdminError::InvalidToken,
        AdminError::InsufficientScope,
        AdminError::Failed(String::new()),
        AdminError::Unavailable(String::new()),
    ];
    let example = |error: &AdminError| ErrorExample {
        response: renderer.admin_error(error),
        body: renderer.admin_error_body(error),
    };
    own.iter().chain(&everywhere).map(example).collect()
}

fn nothing_else(renderer: &ErrorRenderer) -> Vec<ErrorExample> {
    refusals(renderer, vec![])
}

fn not_found(renderer: &ErrorRenderer) -> Vec<ErrorExample> {
    refusals(renderer, vec![AdminError::NotFound])
}

fn of_a_page(renderer: &ErrorRenderer) -> Vec<ErrorExample> {
    refusals(renderer, vec![Refusal::invalid("limit", format!("must be 1 to {LONGEST_PAGE}")).into()])
}
