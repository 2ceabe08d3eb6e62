//! `/account`: the resource owner's page. Who has access, from where, and how to end it; the password.
//!
//! Everything is a form of the page, bound to the browser session, and answered with 303. No script.
//!
//! Not here: signing in and out, see `login.rs` and `logout.rs`; revocation by a client, see `revoke.rs`.

mod device;
mod overview;

use askama::Template;
use poem::{Response, http::StatusCode};
use poem_openapi::OpenApi;

use self::overview::{Access, BrowserEntry, accesses, browsers};
use super::{
    Tag,
    browser::{Browser, PageAnswer, PageForm, PageQuery, forget_session, keep_device, keep_session, sign_in_path},
    form::Form,
    pages::{Frame, Page, see_other},
};
use crate::{
    error::PageError,
    ids::{GrantId, SessionId},
    resource_owner::{AuthenticationError, BrowserSession, InvalidPassword, NewPasswordError},
    secret::SecretText,
    store::{Changed, OwnerChange, RevocationReason, StoreError},
    telemetry::AUDIT,
};

const HERE: &str = "/account";

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    frame: Frame<'a>,
    form_token: &'a str,
    username: &'a str,
    signed_in_as: String,
    accesses: Vec<Access>,
    browsers: Vec<BrowserEntry>,
    /// What the last form did.
    done: Option<&'static str>,
    /// Why the password was not changed.
    problem: Option<Problem>,
}

/// What is wrong with the form for a new password.
struct Problem {
    text: String,
    with_current: bool,
    with_new: bool,
    with_repetition: bool,
}

/// The page and its forms.
pub struct AccountEndpoint;

#[OpenApi]
impl AccountEndpoint {
    /// Show the account page
    ///
    /// The apps, devices and browsers that have access to the resource owner's account. Leads to the sign-in page first.
    #[oai(path = "/account", method = "get", operation_id = "showAccount", tag = "Tag::Pages")]
    async fn show(&self, browser: Browser, query: PageQuery) -> PageAnswer {
        let session = match browser.signed_in(HERE).await {
            Ok(session) => session,
            Err(response) => return PageAnswer(response),
        };
        let done = query.0.ok().and_then(|mut query| query.take("done"));
        let answer = render(&browser, &session, done.as_deref(), None).await;
        PageAnswer(answer.unwrap_or_else(|error| browser.error(&error)))
    }

    /// Send a form of the account page
    ///
    /// Takes access away, ends browser sessions, or changes the password.
    #[oai(path = "/account", method = "post", operation_id = "changeAccount", tag = "Tag::Pages")]
    async fn change(&self, browser: Browser, form: PageForm) -> PageAnswer {
        let session = match browser.signed_in(HERE).await {
            Ok(session) => session,
            Err(response) => return PageAnswer(response),
        };
        PageAnswer(change(&browser, &session, form).await.unwrap_or_else(|error| browser.error(&error)))
    }
}

async fn render(
    browser: &Browser,
    session: &BrowserSession,
    done: Option<&str>,
    problem: Option<Problem>,
) -> Result<Response, PageError> {
    let frame = browser.frame();
    let texts = &frame.texts.account;
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = AccountPage {
        frame,
        form_token: &browser.form_token(session),
        username: session.username.as_str(),
        signed_in_as: (texts.signed_in_as)(session.username.as_str()),
        accesses: accesses(session, browser, texts).await?,
        browsers: browsers(session, &browser.app, texts).await?,
        done: done.and_then(|word| texts.done.iter().find(|(known, _)| *known == word)).map(|(_, text)| *text),
        problem,
    };
    Ok(Page::new(page).status(status).respond(browser.language))
}

/// What each form does. The store's answer comes first, the page's after it: an error page means that nothing is lost and
/// the form can be sent again.
async fn change(browser: &Browser, session: &BrowserSession, form: PageForm) -> Result<Response, PageError> {
    let mut form = form.0.map_err(|_| PageError::Malformed)?;
    browser.check_form(&mut form, session)?;
    let action = form.take("action").unwrap_or_default();
    let (owner, store) = (session.owner.id(), browser.app.store.as_ref());
    let done = match action.as_str() {
        "remove" => {
            let id = form.take("grant").and_then(|text| GrantId::parse(&text)).ok_or(PageError::Malformed)?;
            remove(browser, session, id).await?;
            "removed"
        }
        "remove_all" => {
            remove_all(browser, session).await?;
            "all_removed"
        }
        "end_browser" => {
            let id = form.take("browser").and_then(|text| SessionId::parse(&text)).ok_or(PageError::Malformed)?;
            store.end_session(owner, id).await?;
            "browser_ended"
        }
        "end_other_browsers" => {
            store.end_other_sessions(owner, session.id).await?;
            "others_ended"
        }
        "log_out_everywhere" => {
            store.change_owner(owner, OwnerChange::LogOut).await?;
            log(browser, session, "logged out everywhere");
            let mut response = see_other("/logout");
            forget_session(&mut response);
            return Ok(response);
        }
        "change_password" => return change_password(browser, session, form).await,
        _ => return Err(PageError::Malformed),
    };
    log(browser, session, done);
    Ok(see_other(&format!("{HERE}?done={done}")))
}

fn log(browser: &Browser, session: &BrowserSession, change: &str) {
    tracing::info!(target: AUDIT, request_id = %browser.context.request_id, owner = %session.owner.id(), change, "account changed");
}

/// Takes away the access of one grant. The remembered consent goes with it: the app has to ask again.
async fn remove(browser: &Browser, session: &BrowserSession, id: GrantId) -> Result<(), StoreError> {
    let (owner, store) = (session.owner.id(), browser.app.store.as_ref());
    let Some(record) = store.grant(owner, id).await? else { return Ok(()) };
    // Each is tried whatever became of the other, and done once more if it was done before: then this answer, too, waits
    // until it is safe.
    let consent = store.forget_consent(owner, &record.client_id).await;
    store.revoke_grant(owner, id, RevocationReason::ResourceOwner, &browser.origin()).await?;
    consent.map(drop)
}

/// Takes away the access of all grants, and the consents of apps that have no grant right now as well.
async fn remove_all(browser: &Browser, session: &BrowserSession) -> Result<(), StoreError> {
    let (owner, store) = (session.owner.id(), browser.app.store.as_ref());
    let consents = store.forget_consents(owner).await;
    store.revoke_grants(owner, RevocationReason::ResourceOwner, &browser.origin()).await?;
    consents.map(drop)
}

/// A new password ends everything that is older: all grants, and all browser sessions. This browser gets a new session.
async fn change_password(browser: &Browser, session: &BrowserSession, mut form: Form) -> Result<Response, PageError> {
    let mut field = |name: &str| SecretText::new(form.take(name).unwrap_or_default());
    let (current, new, repetition) = (field("current_password"), field("new_password"), field("new_password_again"));
    let (passwords, store) = (&browser.app.passwords, browser.app.store.as_ref());
    let texts = &browser.frame().texts.account;
    let problem =
        |text: &str| Problem { text: text.to_owned(), with_current: false, with_new: false, with_repetition: false };

    match browser.authenticate(session.username.as_str(), &current).await? {
        Ok(_) => {}
        Err(AuthenticationError::Refused) => {
            log(browser, session, "password not changed: the current one is wrong");
            let wrong = Problem { with_current: true, ..problem(texts.wrong_password) };
            return render(browser, session, None, Some(wrong)).await;
        }
        Err(error) => return Err(error.into()),
    }
    if new.expose() != repetition.expose() {
        let differs = Problem { with_repetition: true, ..problem(texts.repetition_differs) };
        return render(browser, session, None, Some(differs)).await;
    }
    let change = match passwords.new_password(session.owner.id(), &new).await {
        Ok(change) => change,
        Err(NewPasswordError::Invalid(reason)) => {
            let text = match reason {
                InvalidPassword::TooShort(least) => (texts.too_short)(least),
                InvalidPassword::TooLong => texts.too_long.to_owned(),
                InvalidPassword::Forbidden => texts.forbidden.to_owned(),
            };
            return render(browser, session, None, Some(Problem { with_new: true, ..problem(&text) })).await;
        }
        Err(NewPasswordError::Pool(error)) => return Err(PageError::Unavailable(error.to_string())),
    };
    if store.change_owner(session.owner.id(), change).await? == Changed::NotFound {
        return Ok(see_other(&sign_in_path(HERE, None)));
    }
    log(browser, session, "password changed");

    // Signed in anew, under the new epoch: that is the only way to a session, and the old cookie is worth nothing now.
    let owner = match passwords.authenticate_anew(store, session.owner.id(), &new).await {
        Ok(owner) => Some(owner),
        // Somebody changed it once more, or disabled the user.
        Err(AuthenticationError::Refused) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(owner) = owner else { return Ok(see_other(&sign_in_path(HERE, None))) };
    let Some(cookie) = browser.app.sessions.begin(&owner, browser.origin(), store).await? else {
        return Ok(see_other(&sign_in_path(HERE, None)));
    };
    let mut response = see_other(&format!("{HERE}?done=password"));
    keep_session(&mut response, &cookie);
    // The old one ended with the epoch.
    keep_device(&mut response, &passwords.remember_device(&owner));
    Ok(response)
}
