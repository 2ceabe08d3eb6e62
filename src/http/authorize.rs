//! `/oauth2/authorize`: the authorization endpoint
//! ([RFC 6749 §3.1](https://www.rfc-editor.org/rfc/rfc6749#section-3.1)), and `/consent`, where its question is answered.
//!
//! No state is kept between the pages: the whole request travels in the address and is checked anew at each step. The form
//! of the consent page is bound to the browser session and to the request that it shows.
//!
//! Not here: whether a request is good, see `authorization/`; signing in, see `login.rs`.

use askama::Template;
use poem::{FromRequest, Request, RequestBody, Response};
use poem_openapi::OpenApi;
use serde_json::{Value, json};

use super::{
    Tag,
    browser::{Browser, PageAnswer, PageForm, sign_in_path},
    error_response,
    form::Form,
    pages::{Frame, Page, ScopeLine, see_other},
};
use crate::{
    authorization::{self, AuthorizationError, AuthorizationRequest, Parameters, Refusal},
    error::{InvalidRequest, PageError},
    ids::GrantId,
    resource_owner::BrowserSession,
    store::{NewCode, NewConsent},
    telemetry::AUDIT,
    token::envelope::EnvelopeSecret,
};

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    frame: Frame<'a>,
    title: String,
    signed_in_as: String,
    leads_to: String,
    scopes: Vec<ScopeLine<'a>>,
    action: String,
    form_token: String,
    may_remember: bool,
}

/// The endpoint and its page.
pub struct AuthorizeEndpoint;

#[OpenApi]
impl AuthorizeEndpoint {
    /// Ask the resource owner
    ///
    /// The browser of the resource owner comes here with an authorization request (RFC 6749 section 4.1.1): `client_id`,
    /// `redirect_uri`, `response_type=code`, `scope`, `state`, and for PKCE `code_challenge` and
    /// `code_challenge_method=S256` (RFC 7636). It leaves for the `redirect_uri` with `code`, `state` and `iss`, or with
    /// `error`. Optional: `prompt`, `login_hint`, `max_age`, `resource`.
    #[oai(path = "/oauth2/authorize", method = "get", operation_id = "authorize", tag = "Tag::OAuth")]
    async fn get(&self, browser: Browser, query: AuthorizationQuery) -> PageAnswer {
        PageAnswer(respond(&browser, query.0).await)
    }

    /// Ask the resource owner, with the request in a form
    ///
    /// The same request in a body (RFC 6749 section 3.1), for requests that are too long for an address.
    #[oai(path = "/oauth2/authorize", method = "post", operation_id = "authorizeByForm", tag = "Tag::OAuth")]
    async fn post(&self, browser: Browser, form: AuthorizationForm) -> PageAnswer {
        // The pages that follow carry the request in their address, so it moves there.
        PageAnswer(match form.0 {
            Ok(parameters) if parameters.repeated.is_empty() => see_other(&parameters.path()),
            request => respond(&browser, request).await,
        })
    }

    /// Answer the consent page
    ///
    /// The form of the consent page: allowed or denied, the browser leaves for the app's `redirect_uri`.
    #[oai(path = "/consent", method = "post", operation_id = "consent", tag = "Tag::Pages")]
    async fn consent(&self, browser: Browser, query: AuthorizationQuery, form: PageForm) -> PageAnswer {
        PageAnswer(answer(&browser, query.0, form).await.unwrap_or_else(|refusal| refuse(&browser, refusal)))
    }
}

/// The parameters in the address.
struct AuthorizationQuery(Result<Parameters, InvalidRequest>);

impl<'a> FromRequest<'a> for AuthorizationQuery {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(Form::parse_any(request.uri().query().unwrap_or_default().as_bytes()).map(parameters)))
    }
}

/// The parameters in a form.
struct AuthorizationForm(Result<Parameters, InvalidRequest>);

impl<'a> FromRequest<'a> for AuthorizationForm {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(match Form::read_bytes(request, body).await {
            Ok(bytes) => Form::parse_any(bytes.as_ref()).map(parameters),
            Err(error) => Err(error),
        }))
    }
}

/// The request at the end of a path, when it is a good one: what the sign-in page says whom it is for, and where its form
/// may end. Nothing is granted by it.
pub(super) async fn request_at(browser: &Browser, path: &str) -> Option<AuthorizationRequest> {
    let query = path.strip_prefix("/oauth2/authorize?")?;
    let parameters = Form::parse_any(query.as_bytes()).map(parameters).ok()?;
    authorization::validate(&parameters, &browser.app.issuer, browser.app.store.as_ref()).await.ok()
}

fn parameters((mut form, repeated): (Form, Vec<String>)) -> Parameters {
    let resources = form.take_resources();
    Parameters::read(|name| form.take(name), resources, repeated)
}

async fn respond(browser: &Browser, request: Result<Parameters, InvalidRequest>) -> Response {
    proceed(browser, request).await.unwrap_or_else(|refusal| refuse(browser, refusal))
}

fn refuse(browser: &Browser, refusal: Refusal) -> Response {
    match refusal {
        Refusal::Page(error) => browser.error(&error),
        Refusal::Redirect(redirect, error) => {
            tracing::info!(request_id = %browser.context.request_id, ?error, "authorization request refused");
            error_response::authorization_error(&redirect, error, browser.app.issuer.url())
        }
    }
}

/// Someone who is signed in, recently enough.
struct Ready {
    request: AuthorizationRequest,
    session: BrowserSession,
}

/// Checks the request and who is there; the outer error is an answer, the inner one the way to sign in.
async fn ready(browser: &Browser, parameters: &Parameters) -> Result<Result<Ready, Response>, Refusal> {
    let request = authorization::validate(parameters, &browser.app.issuer, browser.app.store.as_ref()).await?;
    let session = browser.session().await.map_err(|error| match error {
        // A page that shows nothing can't tell anybody to try again.
        PageError::Unavailable(_) if request.prompt.none => {
            Refusal::Redirect(request.redirect.clone(), AuthorizationError::TemporarilyUnavailable)
        }
        error => Refusal::Page(error),
    })?;
    let recent = |session: &BrowserSession| {
        request.max_age.is_none_or(|seconds| session.now.since(session.signed_in_at) < seconds.saturating_mul(1000))
    };
    match session.filter(|session| !request.prompt.login && recent(session)) {
        Some(session) => Ok(Ok(Ready { request, session })),
        None if request.prompt.none => Err(Refusal::Redirect(request.redirect, AuthorizationError::LoginRequired)),
        None => Ok(Err(see_other(&sign_in_path(&parameters.path_after_sign_in(), request.login_hint.as_deref())))),
    }
}

/// The whole endpoint, one step a line.
async fn proceed(browser: &Browser, request: Result<Parameters, InvalidRequest>) -> Result<Response, Refusal> {
    let parameters = request.map_err(|_| Refusal::Page(PageError::Malformed))?;
    let Ready { request, session } = match ready(browser, &parameters).await? {
        Ok(ready) => ready,
        Err(sign_in) => return Ok(sign_in),
    };
    if !request.prompt.consent && has_consented(browser, &request, &session).await? {
        return issue(browser, &request, &session, &parameters).await;
    }
    if request.prompt.none {
        return Err(Refusal::Redirect(request.redirect, AuthorizationError::ConsentRequired));
    }
    Ok(ask(browser, &request, &session, &parameters))
}

/// The consent page's form.
async fn answer(
    browser: &Browser,
    request: Result<Parameters, InvalidRequest>,
    form: PageForm,
) -> Result<Response, Refusal> {
    let parameters = request.map_err(|_| Refusal::Page(PageError::Malformed))?;
    let mut form = form.0.map_err(|_| Refusal::Page(PageError::Malformed))?;
    let Ready { request, session } = match ready(browser, &parameters).await? {
        Ok(ready) => ready,
        Err(sign_in) => return Ok(sign_in),
    };
    browser.check_form_for(&mut form, &session, &parameters.path()).map_err(Refusal::Page)?;
    match form.take("decision").as_deref() {
        Some("allow") => {}
        Some("deny") => return Err(Refusal::Redirect(request.redirect, AuthorizationError::AccessDenied)),
        _ => return Err(Refusal::Page(PageError::Malformed)),
    }
    if form.take("remember").is_some() && request.client_is_certain() {
        let consent = NewConsent {
            owner: session.owner.id(),
            owner_epoch: session.owner.epoch(),
            client_id: request.client.id.clone(),
            client_epoch: request.client.epoch,
            scope: request.access.scope.clone(),
            given_at: None,
        };
        browser.app.store.remember_consent(&consent).await.map_err(|error| Refusal::Page(error.into()))?;
    }
    issue(browser, &request, &session, &parameters).await
}

/// Whether this owner has allowed this client all of that for good. RFC 8252 §8.6: who only says to be this client must be
/// looked at by a person each time.
async fn has_consented(
    browser: &Browser,
    request: &AuthorizationRequest,
    session: &BrowserSession,
) -> Result<bool, Refusal> {
    if !request.client_is_certain() {
        return Ok(false);
    }
    let consent = browser.app.store.consent(session.owner.id(), &request.client.id).await;
    let consent = consent.map_err(|error| Refusal::Page(error.into()))?;
    Ok(consent.is_some_and(|consent| {
        consent.client_epoch == request.client.epoch && request.access.scope.is_subset_of(&consent.scope)
    }))
}

fn ask(
    browser: &Browser,
    request: &AuthorizationRequest,
    session: &BrowserSession,
    parameters: &Parameters,
) -> Response {
    let frame = browser.frame();
    let texts = &frame.texts.consent;
    let path = parameters.path();
    let page = ConsentPage {
        frame,
        title: (texts.title)(request.client.display_name()),
        signed_in_as: (frame.texts.logout.signed_in_as)(session.username.as_str()),
        leads_to: (texts.leads_to)(&request.redirect.place()),
        scopes: browser.pages.scope_lines(&request.access.scope, browser.language),
        form_token: browser.form_token_for(session, &path),
        may_remember: request.client_is_certain(),
        action: path.replacen("/oauth2/authorize", "/consent", 1),
    };
    Page::new(page).forms_lead_to(request.redirect.source()).respond(browser.language)
}

/// Issues the code and sends the browser back with it.
async fn issue(
    browser: &Browser,
    request: &AuthorizationRequest,
    session: &BrowserSession,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let (app, store) = (&browser.app, browser.app.store.as_ref());
    let secret = EnvelopeSecret::random();
    let new = NewCode {
        grant: GrantId::random(),
        owner: session.owner.id(),
        owner_epoch: session.owner.epoch(),
        client_id: request.client.id.clone(),
        client_epoch: request.client.epoch,
        scope: request.access.scope.clone(),
        audience: request.access.audience.clone(),
        code_hash: secret.hash(),
        challenge: request.challenge,
        redirect_uri_hash: request.redirect_uri_hash,
        lifetime_ms: app.issuer.code_lifetime_ms(),
        deadline: store.deadline(),
    };
    let grant = new.grant;
    let code = app.issuer.codes().issue(new, secret, store).await.map_err(|error| Refusal::Page(error.into()))?;
    // The owner has changed between the session's check and here: the session is over.
    let Some(code) = code else { return Ok(see_other(&sign_in_path(&parameters.path_after_sign_in(), None))) };
    let (request_id, client) = (&browser.context.request_id, &request.client.id);
    tracing::info!(target: AUDIT, %request_id, %client, %grant, "authorization code issued");
    Ok(see_other(&request.redirect.answer(&[("code", code.expose())], app.issuer.url())))
}

/// What poem-openapi can't say about an endpoint that reads its parameters itself.
pub(super) fn describe(document: &mut Value) {
    let parameters: Vec<Value> = PARAMETERS
        .iter()
        .map(|(name, required, description, example)| {
            json!({
                "name": name, "in": "query", "required": required, "description": description,
                "schema": { "type": "string" }, "example": example,
            })
        })
        .collect();
    document["paths"]["/oauth2/authorize"]["get"]["parameters"] = parameters.into();
    let properties: serde_json::Map<String, Value> = PARAMETERS
        .iter()
        .map(|(name, _, description, _)| ((*name).to_owned(), json!({ "type": "string", "description": description })))
        .collect();
    let required: Vec<&str> = PARAMETERS.iter().filter(|parameter| parameter.1).map(|parameter| parameter.0).collect();
    document["paths"]["/oauth2/authorize"]["post"]["requestBody"] = json!({
        "required": true,
        "content": { "application/x-www-form-urlencoded": {
            "schema": { "type": "object", "properties": properties, "required": required },
        }},
    });
}

/// The parameters of an authorization request: name, whether it is REQUIRED, what it is, an example.
const PARAMETERS: [(&str, bool, &str, &str); 11] = [
    ("response_type", true, "Always `code`.", "code"),
    ("client_id", true, "The client's identifier.", "demo-public"),
    (
        "redirect_uri",
        false,
        "Where the answer goes: one of the client's, the same string; the port of 127.0.0.1 and [::1] may differ. Left out: the only one that there is.",
        "http://127.0.0.1:51234/callback",
    ),
    ("scope", false, "Scope tokens separated by spaces. Left out: everything the client may have.", "profile read"),
    ("state", false, "Comes back unchanged.", "af0ifjsldkj"),
    (
        "code_challenge",
        true,
        "The SHA-256 of the code_verifier, in base64url (RFC 7636 section 4.2).",
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    ),
    ("code_challenge_method", true, "Always `S256`.", "S256"),
    ("prompt", false, "`none` shows no page; `login` asks to sign in again, `consent` to consent again.", "login"),
    ("login_hint", false, "The username to fill in.", "demo"),
    ("max_age", false, "Seconds since the last sign-in after which to ask again.", "3600"),
    ("resource", false, "The resource that tokens will be for (RFC 8707). May be repeated.", "https://api.example.com"),
];
