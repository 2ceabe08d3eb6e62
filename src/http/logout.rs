//! `/logout`: ends the browser session at this server. Apps keep what they were given.
//!
//! Only the form ends it: a link or a picture of another site that leads here shows a question.

use askama::Template;
use poem::Response;
use poem_openapi::OpenApi;

use super::{
    Tag,
    browser::{Browser, PageAnswer, PageForm, forget_session},
    pages::{Frame, Page, see_other},
};
use crate::{error::PageError, telemetry::AUDIT};

#[derive(Template)]
#[template(path = "logout.html")]
struct LogoutPage<'a> {
    frame: Frame<'a>,
    /// Who is signed in, and the token of the form.
    signed_in: Option<(String, &'a str)>,
}

/// The page and its form.
pub struct LogoutEndpoint;

#[OpenApi]
impl LogoutEndpoint {
    /// Ask whether to sign out
    ///
    /// A page with a form; nothing ends before it is sent.
    #[oai(path = "/logout", method = "get", operation_id = "showLogout", tag = "Tag::Pages")]
    async fn show(&self, browser: Browser) -> PageAnswer {
        PageAnswer(show(&browser).await.unwrap_or_else(|error| browser.error(&error)))
    }

    /// Sign out
    ///
    /// Ends the session of this browser at this server.
    #[oai(path = "/logout", method = "post", operation_id = "logout", tag = "Tag::Pages")]
    async fn sign_out(&self, browser: Browser, form: PageForm) -> PageAnswer {
        PageAnswer(sign_out(&browser, form).await.unwrap_or_else(|error| browser.error(&error)))
    }
}

async fn show(browser: &Browser) -> Result<Response, PageError> {
    let session = browser.session().await?;
    let token = session.as_ref().map(|session| browser.form_token(session)).unwrap_or_default();
    let frame = browser.frame();
    let signed_in =
        session.map(|session| ((frame.texts.logout.signed_in_as)(session.username.as_str()), token.as_str()));
    Ok(Page::new(LogoutPage { frame, signed_in }).respond(browser.language))
}

async fn sign_out(browser: &Browser, form: PageForm) -> Result<Response, PageError> {
    let mut form = form.0.map_err(|_| PageError::Malformed)?;
    let mut response = see_other("/logout");
    if let Some(session) = browser.session().await? {
        browser.check_form(&mut form, &session)?;
        // The cookie goes only when the session has: else a copy of it would live on.
        browser.app.store.end_session(session.owner.id(), session.id).await?;
        tracing::info!(target: AUDIT, request_id = %browser.context.request_id, owner = %session.owner.id(), "signed out");
    }
    forget_session(&mut response);
    Ok(response)
}
