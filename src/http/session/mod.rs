//! `/session`: cookie mode, for first-party apps in a browser
//! ([draft-ietf-oauth-browser-based-apps](https://datatracker.ietf.org/doc/draft-ietf-oauth-browser-based-apps/)).
//!
//! The access token is in the body; the refresh token is in a cookie that no script can read, and nowhere else.
//!
//! A refused refresh leaves the cookie alone: it may be the late answer of an old session, and the cookie that of a new
//! one. A login overwrites it, a logout deletes it, and its age ends it.
//!
//! Not here: where a request may come from, see `same_site.rs`; rotation, see `store/decide.rs`.

mod logout;
mod schema;

use std::sync::Arc;

use poem::{
    Response,
    http::{HeaderMap, StatusCode, header},
    web::Data,
};
use poem_openapi::{
    OpenApi,
    param::{Header, Query},
};

pub use self::schema::OPERATIONS;
use self::{
    logout::{EndParameters, end},
    schema::{SessionRefresh, SessionRequest, SessionResponse},
};
use super::{
    Tag, browser,
    contract::{Answer, FormBody, NoBody},
    cookies::{self, SameSite},
    credentials,
    error_response::{ErrorRenderer, no_store},
    form::Form,
    request_context::RequestContext,
    requested_access,
    same_site::CallingPage,
    to_the_end::to_the_end,
    token,
};
use crate::{
    App,
    client::{
        GrantType,
        authentication::{self, AuthenticatedClient},
    },
    error::{InvalidGrant, InvalidRequest, TokenError},
    grant::{self, TokenRequest},
    ids::ClientId,
    resource_owner::LoginSource,
    secret::{SecretText, sha256},
    store::Delivery,
    token::IssuedTokens,
};

/// The endpoints.
pub struct SessionEndpoint;

#[OpenApi]
impl SessionEndpoint {
    /// Log in, in cookie mode
    ///
    /// As `POST /oauth2/token`, with the refresh token in a `__Host-` cookie that no script can read. For pages of this
    /// server's origin, and of origins that the client has registered.
    #[oai(path = "/session", method = "post", operation_id = "createSession", tag = "Tag::Session")]
    async fn create(
        &self,
        Data(app): Data<&Arc<App>>,
        page: CallingPage,
        context: RequestContext,
        /// Must be `oauth`: no form can send it, and no script of another site.
        #[oai(name = "X-Requested-By", validator(pattern = "^oauth$"))]
        _requested_by: Header<String>,
        body: FormBody<SessionRequest>,
    ) -> Answer<SessionResponse> {
        answer(app, page, context, Act::Create, body.form).await.into()
    }

    /// Refresh, in cookie mode
    ///
    /// Sends a new access token and the next cookie. After a lost answer, send the same request again.
    #[oai(path = "/session/refresh", method = "post", operation_id = "refreshSession", tag = "Tag::Session")]
    async fn refresh(
        &self,
        Data(app): Data<&Arc<App>>,
        page: CallingPage,
        context: RequestContext,
        /// Must be `oauth`: no form can send it, and no script of another site.
        #[oai(name = "X-Requested-By", validator(pattern = "^oauth$"))]
        _requested_by: Header<String>,
        body: FormBody<SessionRefresh>,
    ) -> Answer<SessionResponse> {
        answer(app, page, context, Act::Refresh, body.form).await.into()
    }

    /// Log out, in cookie mode
    ///
    /// Revokes the grant and deletes the cookie. When the revocation can't be stored the answer is 503 and the cookie
    /// stays, so that the same request can be sent again.
    #[oai(path = "/session", method = "delete", operation_id = "endSession", tag = "Tag::Session")]
    #[expect(clippy::too_many_arguments, reason = "the documented parameters of the operation")]
    async fn end(
        &self,
        Data(app): Data<&Arc<App>>,
        page: CallingPage,
        context: RequestContext,
        /// Must be `oauth`: no form can send it, and no script of another site.
        #[oai(name = "X-Requested-By", validator(pattern = "^oauth$"))]
        _requested_by: Header<String>,
        /// The client's identifier. It may also be in a form.
        #[oai(name = "client_id")]
        _client_id: Query<Option<String>>,
        /// `1` only deletes the cookie of this browser, and leaves the grant.
        #[oai(name = "local")]
        _local: Query<Option<String>>,
        parameters: EndParameters,
    ) -> Answer<NoBody> {
        let (app, renderer) = (Arc::clone(app), ErrorRenderer::new(app.issuer.url()));
        let ending = async move { end(&app, &page, &context, parameters).await };
        to_the_end(ending).await.unwrap_or_else(|panic| renderer.browser_error(&panicked(panic))).into()
    }
}

/// What a request with a form wants.
#[derive(Clone, Copy)]
enum Act {
    Create,
    Refresh,
}

/// Answers to the end: what was issued is logged.
async fn answer(
    app: &Arc<App>,
    page: CallingPage,
    context: RequestContext,
    act: Act,
    form: Result<Form, InvalidRequest>,
) -> Response {
    let (app, renderer) = (Arc::clone(app), ErrorRenderer::new(app.issuer.url()));
    let for_panic = renderer.clone();
    let answering = async move {
        let (client, outcome) = match admit(form, &page, &context, &app).await {
            Ok((client, form)) => {
                let outcome = issue(act, form, client.clone(), &context, &app).await;
                (Some(client), outcome)
            }
            Err(error) => (None, Err(error)),
        };
        token::log(&context, &outcome, &app);
        let mut response = match (&client, outcome) {
            (Some(client), Ok(issued)) => render(issued, &client.id),
            (None, Ok(_)) => renderer.browser_error(&TokenError::ServerError("tokens without a client".into())),
            (_, Err(error)) => renderer.browser_error(&error),
        };
        page.share(client.as_deref(), &mut response);
        response
    };
    to_the_end(answering).await.unwrap_or_else(|panic| for_panic.browser_error(&panicked(panic)))
}

fn panicked(panic: String) -> TokenError {
    tracing::error!(panic, "the session endpoint panicked");
    TokenError::ServerError(panic)
}

/// Who asks, and from which page, before what is asked.
async fn admit(
    form: Result<Form, InvalidRequest>,
    page: &CallingPage,
    context: &RequestContext,
    app: &App,
) -> Result<(AuthenticatedClient, Form), TokenError> {
    let mut form = form?;
    let credentials = credentials::read(&context.headers, &mut form)?;
    let client = authentication::authenticate(credentials, app.store.as_ref(), app.store.now()).await?;
    context.client.set(client.id.clone());
    page.belongs_to(Some(&client), app)?;
    Ok((client, form))
}

async fn issue(
    act: Act,
    mut form: Form,
    client: AuthenticatedClient,
    context: &RequestContext,
    app: &App,
) -> Result<IssuedTokens, TokenError> {
    if !client.cookie_mode {
        return Err(TokenError::NoCookieMode);
    }
    // Two refresh tokens in one request, or one where a script could have put it.
    if form.take("refresh_token").is_some() {
        return Err(InvalidRequest::TokenOutsideCookie.into());
    }
    let cookie = presented(&context.headers, &cookie_name(&client.id))?;
    let request = match act {
        Act::Create => {
            let implied = if form.has("code") { GrantType::AuthorizationCode } else { GrantType::Password };
            let grant_type = form.take("grant_type").unwrap_or_else(|| implied.to_string());
            // The grants that a person in front of the browser gives.
            match GrantType::parse(&grant_type) {
                Some(GrantType::Password | GrantType::AuthorizationCode) => {
                    token::parse_request(Some(grant_type), form, app)?
                }
                _ => return Err(TokenError::UnsupportedGrantType),
            }
        }
        Act::Refresh => TokenRequest::RefreshToken {
            access: requested_access::read(&mut form)?,
            refresh_token: cookie.ok_or(TokenError::InvalidGrant(InvalidGrant::NotOurs))?,
        },
    };
    context.grant_type.get_or_init(|| request.kind());
    let source = LoginSource { device: browser::known_device(&context.headers)?, ..context.source() };
    let grant = grant::validate(request, client, context.origin(), source, app).await?;
    token::issue(grant, Delivery::Cookie, context, app).await
}

fn render(issued: IssuedTokens, client_id: &ClientId) -> Response {
    let body = SessionResponse {
        access_token: issued.access_token.expose().to_owned(),
        token_type: "Bearer".into(),
        expires_in: issued.expires_in,
        scope: Some(String::from(issued.scope)).filter(|scope| !scope.is_empty()),
        session_expires_in: issued.refresh_token.as_ref().map(|(_, expires_in)| *expires_in),
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::builder().status(StatusCode::OK).content_type("application/json").body(body);
    if let Some((token, expires_in)) = issued.refresh_token {
        let cookie = cookies::set(&cookie_name(client_id), token.expose(), SameSite::Strict, Some(expires_in));
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    no_store(&mut response);
    response
}

/// The refresh token that the browser sent.
fn presented(headers: &HeaderMap, name: &str) -> Result<Option<SecretText>, InvalidRequest> {
    let value = cookies::read(headers, name).map_err(|cookies::Repeated| InvalidRequest::RepeatedCookie)?;
    Ok(value.map(|text| SecretText::new(text.to_owned())))
}

/// A cookie for each client, so that two apps on one server keep out of each other's way.
fn cookie_name(client_id: &ClientId) -> String {
    let hash = sha256(client_id.as_str().as_bytes());
    hash.iter().take(4).fold("__Host-rt-".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}
