//! `/admin`: the page for the people who run this server. The last hours, the keys; users with their grants, and clients;
//! revoking, shutting out, logging out.
//!
//! Who may: those whom the setting `administrators` names, and nobody else, so that no account becomes an operator's by
//! accident, by a scope or by anything that the store holds. They have signed in with their password, at this server, not
//! long ago: a browser that was left open for a day administers nothing. Everything is a form of the page, bound to the
//! browser session, and answered with 303. No script.
//!
//! Not here: what an act does, see `administration/`; the same for programs, see `http/admin/`.

mod clients;
mod overview;
mod plot;
mod users;

use std::sync::Arc;

use askama::Template;
use poem::{
    Response,
    http::{Uri, uri::PathAndQuery},
    web::Data,
};
use poem_openapi::OpenApi;

use super::{
    Tag,
    browser::{Browser, PageAnswer, PageForm, PageQuery, sign_in_path},
    form::Form,
    pages::{Frame, Page, see_other},
    to_the_end::to_the_end,
};
use crate::{
    administration::{self, Operator, Refusal},
    error::PageError,
    ids::{GrantId, Username},
    resource_owner::BrowserSession,
    telemetry::AUDIT,
};

const HERE: &str = "/admin";
/// How long after signing in somebody may administer, milliseconds.
const RECENT_MS: i64 = 30 * 60 * 1000;
/// Users or clients on one page.
const PAGE: usize = 25;
/// The longest text that is searched for, bytes.
const LONGEST_SEARCH: usize = 512;

/// Who may administer: the usernames of the setting.
#[derive(Debug, Default)]
pub struct Administrators(Vec<Username>);

impl Administrators {
    /// Those of the setting; a name that can't be one was refused when the settings were read.
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().filter_map(|name| Username::parse(name).ok()).collect())
    }
}

/// What every part of the page has.
struct Common<'a> {
    frame: Frame<'a>,
    form_token: String,
    signed_in_as: String,
    /// Which part it is: `overview`, `users` or `clients`.
    part: &'static str,
    /// What the last form did.
    done: Option<&'static str>,
}

/// Somebody who may administer.
struct Administrator<'a> {
    browser: &'a Browser,
    session: BrowserSession,
}

impl<'a> Administrator<'a> {
    /// Finds out who asks. `here` is where they come back to after signing in.
    async fn admit(browser: &'a Browser, administrators: &Administrators, here: &str) -> Result<Self, Response> {
        let session = browser.signed_in(here).await?;
        if !administrators.0.contains(&session.username) {
            let (request_id, owner) = (&browser.context.request_id, session.owner.id());
            tracing::warn!(target: AUDIT, %request_id, %owner, "administration page refused");
            return Err(browser.error(&PageError::NotAdministrator));
        }
        if session.now.since(session.signed_in_at) > RECENT_MS {
            return Err(see_other(&sign_in_path(here, Some(session.username.as_str()))));
        }
        Ok(Self { browser, session })
    }

    fn operator(&self) -> Operator {
        Operator {
            who: format!("user {}", self.session.username),
            request_id: Some(self.browser.context.request_id.to_string()),
            address: self.browser.context.address,
        }
    }

    fn common(&self, part: &'static str, done: Option<&str>) -> Common<'a> {
        let frame = self.browser.frame();
        let texts = &frame.texts.admin;
        Common {
            frame,
            form_token: self.browser.form_token(&self.session),
            signed_in_as: (texts.signed_in_as)(self.session.username.as_str()),
            part,
            done: done.and_then(|word| texts.done.iter().find(|(known, _)| *known == word)).map(|(_, text)| *text),
        }
    }

    fn respond(&self, page: impl Template) -> Response {
        Page::new(page).respond(self.browser.language)
    }

    /// A time in words: this long ago.
    fn ago(&self, at: crate::clock::Timestamp) -> String {
        (self.browser.frame().texts.account.ago)(self.session.now.since(at) / 1000)
    }
}

/// The page and its forms.
pub struct AdminPageEndpoint;

#[OpenApi]
impl AdminPageEndpoint {
    /// Show the administration page
    ///
    /// For the people that the setting `administrators` names. Leads to the sign-in page first. `part` is `users` or
    /// `clients`, or nothing for the overview; `search` and `after` choose what is listed, `user` is the user to show.
    #[oai(path = "/admin", method = "get", operation_id = "showAdministration", tag = "Tag::Pages")]
    async fn show(
        &self,
        browser: Browser,
        Data(administrators): Data<&Arc<Administrators>>,
        uri: &Uri,
        query: PageQuery,
    ) -> PageAnswer {
        let here = uri.path_and_query().map_or(HERE, PathAndQuery::as_str);
        let administrator = match Administrator::admit(&browser, administrators, here).await {
            Ok(administrator) => administrator,
            Err(response) => return PageAnswer(response),
        };
        PageAnswer(show(&administrator, query).await.unwrap_or_else(|error| browser.error(&error)))
    }

    /// Send a form of the administration page
    ///
    /// Shuts a user or a client out or lets them in again, logs a user out everywhere, or revokes a grant.
    #[oai(path = "/admin", method = "post", operation_id = "changeAdministration", tag = "Tag::Pages")]
    async fn change(
        &self,
        browser: Browser,
        Data(administrators): Data<&Arc<Administrators>>,
        form: PageForm,
    ) -> PageAnswer {
        let administrator = match Administrator::admit(&browser, administrators, HERE).await {
            Ok(administrator) => administrator,
            Err(response) => return PageAnswer(response),
        };
        PageAnswer(change(&administrator, form).await.unwrap_or_else(|error| browser.error(&error)))
    }
}

async fn show(administrator: &Administrator<'_>, query: PageQuery) -> Result<Response, PageError> {
    let mut query = query.0.map_err(|_| PageError::Malformed)?;
    let done = query.take("done");
    let user = query.take("user");
    let search = query.take("search").unwrap_or_default();
    let after = query.take("after").unwrap_or_default();
    if search.len() > LONGEST_SEARCH || after.len() > LONGEST_SEARCH {
        return Err(PageError::Malformed);
    }
    match (user, query.take("part").as_deref()) {
        (Some(user), _) => users::one(administrator, &user, done.as_deref()).await,
        (None, None) => overview::show(administrator).await,
        (None, Some("users")) => users::list(administrator, &search, &after).await,
        (None, Some("clients")) => clients::list(administrator, &search, &after, done.as_deref()).await,
        (None, Some(_)) => Err(PageError::NotFound),
    }
}

/// Does what a form asks. An error page means that nothing changed, or that the form can be sent again.
async fn change(administrator: &Administrator<'_>, form: PageForm) -> Result<Response, PageError> {
    let Administrator { browser, session } = administrator;
    let mut form = form.0.map_err(|_| PageError::Malformed)?;
    browser.check_form(&mut form, session)?;
    let (app, operator, origin) = (Arc::clone(&browser.app), administrator.operator(), browser.origin());
    // Who closes the window must not stop it between the change and its audit event.
    let acted = to_the_end(async move { act(form, &app, &operator, &origin).await });
    let location = acted.await.map_err(PageError::Failed)??;
    Ok(see_other(&location))
}

async fn act(
    mut form: Form,
    app: &crate::App,
    operator: &Operator,
    origin: &crate::store::Origin,
) -> Result<String, PageError> {
    use administration::{clients, grants, users};

    let store = app.store.as_ref();
    let action = form.take("action").unwrap_or_default();
    let mut field = |name: &str| form.take(name).ok_or(PageError::Malformed);
    let done = match action.as_str() {
        "disable_user" | "enable_user" | "log_out_user" | "revoke_grant" => {
            let user = field("user")?;
            let owner = match action.as_str() {
                "disable_user" => users::disable(&user, store, operator).await?,
                "enable_user" => users::enable(&user, store, operator).await?,
                "log_out_user" => users::log_out(&user, store, operator).await?,
                _ => {
                    let id = GrantId::parse(&field("grant")?).ok_or(PageError::Malformed)?;
                    let owner = users::find(&user, store).await?;
                    grants::revoke(&owner, id, origin, store, operator).await?;
                    owner
                }
            };
            let done = match action.as_str() {
                "disable_user" => "user_disabled",
                "enable_user" => "user_enabled",
                "log_out_user" => "user_logged_out",
                _ => "grant_revoked",
            };
            return Ok(address(&[("user", owner.username.as_str()), ("done", done)]));
        }
        "disable_client" => {
            clients::disable(&field("client")?, store, operator).await?;
            "client_disabled"
        }
        "enable_client" => {
            clients::enable(&field("client")?, store, operator).await?;
            "client_enabled"
        }
        _ => return Err(PageError::Malformed),
    };
    let search = field("search").unwrap_or_default();
    Ok(address(&[("part", "clients"), ("search", &search), ("done", done)]))
}

/// The address of the page with these parameters.
fn address(parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
    format!("{HERE}?{}", query.finish())
}

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid { .. } => Self::Malformed,
            Refusal::NotFound => Self::NotFound,
            Refusal::Exists | Refusal::Changed => Self::Unavailable(refusal.to_string()),
            Refusal::Unavailable(cause) => Self::Unavailable(cause),
            Refusal::Failed(cause) => Self::Failed(cause),
        }
    }
}
