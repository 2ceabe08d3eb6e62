//! `/login`: a resource owner signs in at this server, and goes on to the page that asked for it.
//!
//! The parameter `continue` is a path of this server. It is only followed, never believed: the page at its end checks
//! everything again.
//!
//! Not here: whether the password is right, see `resource_owner/mod.rs`; what a session is, see `browser.rs`.

use askama::Template;
use poem::Response;
use poem_openapi::OpenApi;

use super::{
    Tag,
    browser::{Browser, PageAnswer, PageForm, PageQuery, Visit, keep_device, keep_session, own_path, sign_in_path},
    error_response::too_many,
    form::Form,
    pages::{Frame, Page, see_other},
};
use crate::{
    error::{PageError, seconds},
    resource_owner::{AuthenticatedOwner, AuthenticationError},
    secret::SecretText,
    telemetry::AUDIT,
};

/// Where somebody goes who came to sign in and for nothing else.
const HOME: &str = "/account";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    frame: Frame<'a>,
    action: &'a str,
    /// The app that somebody signs in for.
    for_app: Option<String>,
    username: &'a str,
    problem: Option<&'static str>,
    form_token: &'a str,
}

/// The page and its form.
pub struct LoginEndpoint;

#[OpenApi]
impl LoginEndpoint {
    /// Show the sign-in page
    ///
    /// `continue` is the path to go on to, `username` fills the first field in.
    #[oai(path = "/login", method = "get", operation_id = "showLogin", tag = "Tag::Pages")]
    async fn show(&self, browser: Browser, query: PageQuery) -> PageAnswer {
        PageAnswer(show(&browser, query).await.unwrap_or_else(|error| browser.error(&error)))
    }

    /// Sign in
    ///
    /// Starts a browser session, in a cookie, and goes on to where the person was heading.
    #[oai(path = "/login", method = "post", operation_id = "login", tag = "Tag::Pages")]
    async fn sign_in(&self, browser: Browser, query: PageQuery, form: PageForm) -> PageAnswer {
        PageAnswer(sign_in(&browser, query, form).await.unwrap_or_else(|error| browser.error(&error)))
    }
}

async fn show(browser: &Browser, query: PageQuery) -> Result<Response, PageError> {
    let mut query = query.0.map_err(|_| PageError::Malformed)?;
    let here = destination(&mut query)?;
    let username = query.take("username").unwrap_or_default();
    Ok(render(browser, &browser.visit()?, &here, &username, None).await)
}

async fn sign_in(browser: &Browser, query: PageQuery, form: PageForm) -> Result<Response, PageError> {
    let mut query = query.0.map_err(|_| PageError::Malformed)?;
    let mut form = form.0.map_err(|_| PageError::Malformed)?;
    let here = destination(&mut query)?;
    let visit = browser.visit()?;
    browser.check_visit_form(&mut form, &visit)?;

    let username = form.take("username").unwrap_or_default();
    let password = SecretText::new(form.take("password").unwrap_or_default());
    let texts = &browser.frame().texts.login;
    let owner = match authenticate(browser, &username, &password).await? {
        SignIn::Right(owner) => owner,
        SignIn::Wrong => return Ok(render(browser, &visit, &here, &username, Some(texts.refused)).await),
        SignIn::TooMany(seconds) => {
            let response = render(browser, &visit, &here, &username, Some(texts.too_many)).await;
            return Ok(too_many(response, seconds));
        }
    };
    // A new session with a new id: one that somebody planted before the sign-in is worth nothing. The one that this
    // browser had ends.
    let before = browser.session().await?;
    let store = browser.app.store.as_ref();
    let Some(cookie) = browser.app.sessions.begin(&owner, browser.origin(), store).await? else {
        return Ok(render(browser, &visit, &here, &username, Some(texts.refused)).await);
    };
    if let Some(before) = before {
        store.end_session(before.owner.id(), before.id).await?;
    }
    let request_id = &browser.context.request_id;
    tracing::info!(target: AUDIT, %request_id, owner = %owner.id(), "signed in");
    let mut response = see_other(&here);
    keep_session(&mut response, &cookie);
    keep_device(&mut response, &browser.app.passwords.remember_device(&owner));
    Ok(response)
}

fn destination(query: &mut Form) -> Result<String, PageError> {
    match query.take("continue") {
        Some(path) => own_path(&path).map(str::to_owned).ok_or(PageError::Malformed),
        None => Ok(HOME.to_owned()),
    }
}

/// What came of a username and a password.
enum SignIn {
    Right(AuthenticatedOwner),
    Wrong,
    TooMany(i64),
}

async fn authenticate(browser: &Browser, username: &str, password: &SecretText) -> Result<SignIn, PageError> {
    let checked = browser.authenticate(username, password).await?;
    browser.app.metrics.sign_in(match &checked {
        Ok(_) => "succeeded",
        Err(AuthenticationError::Refused) => "refused",
        Err(AuthenticationError::Throttled { .. }) => "throttled",
        Err(_) => "unavailable",
    });
    match checked {
        Ok(owner) => Ok(SignIn::Right(owner)),
        Err(AuthenticationError::Refused) => {
            let (request_id, address) = (&browser.context.request_id, browser.context.address);
            tracing::info!(target: AUDIT, %request_id, address = address.map(tracing::field::display), "sign-in refused");
            Ok(SignIn::Wrong)
        }
        Err(AuthenticationError::Throttled { retry_after_ms }) => {
            let (request_id, address) = (&browser.context.request_id, browser.context.address);
            tracing::warn!(target: AUDIT, %request_id, address = address.map(tracing::field::display), "too many wrong passwords");
            Ok(SignIn::TooMany(seconds(retry_after_ms)))
        }
        Err(AuthenticationError::Store(error)) => Err(error.into()),
        Err(AuthenticationError::Pool(error)) => Err(PageError::Unavailable(error.to_string())),
    }
}

async fn render(
    browser: &Browser,
    visit: &Visit,
    here: &str,
    username: &str,
    problem: Option<&'static str>,
) -> Response {
    let request = super::authorize::request_at(browser, here).await;
    let frame = browser.frame();
    let page = LoginPage {
        frame,
        for_app: request.as_ref().map(|request| (frame.texts.login.for_app)(request.client.display_name())),
        action: &sign_in_path(here, None),
        username,
        problem,
        form_token: &browser.visit_token(visit),
    };
    // After the password may come the redirect to the app, without another page between.
    let source = request.and_then(|request| request.redirect.source());
    let mut response = Page::new(page).forms_lead_to(source).respond(browser.language);
    visit.keep(&mut response);
    response
}
