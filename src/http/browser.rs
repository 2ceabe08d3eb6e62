//! What a browser brings to a page: its language, its session, the token of its forms.
//!
//! Three cookies, all `__Host-` and `HttpOnly`. Two are `SameSite=Lax`: the browser session, once somebody is signed in, and
//! the visit, which before that binds the sign-in form to this browser. `Lax`, because an authorization request comes from
//! another site and must find its session. The third says that somebody has signed in here before.
//!
//! Not here: the session itself, see `resource_owner/browser_session.rs`; the cookies of cookie mode, see `session/`.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::{
    FromRequest, IntoResponse, Request, RequestBody, Response,
    http::{HeaderMap, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef},
};

use super::{
    cookies::{self, SameSite},
    error_response,
    form::Form,
    form_guard,
    pages::{Frame, Pages, see_other},
    request_context::RequestContext,
    texts::Language,
    to_the_end::to_the_end,
};
use crate::{
    App,
    clock::random_bytes,
    error::{InvalidRequest, PageError},
    resource_owner::{AuthenticatedOwner, AuthenticationError, BrowserSession, LoginSource},
    secret::SecretText,
    store::Origin,
};

/// The cookie that names a browser session.
pub const SESSION_COOKIE: &str = "__Host-regrant-session";
/// The cookie of a browser in which nobody need be signed in.
const VISIT_COOKIE: &str = "__Host-regrant-visit";

/// The cookie of a device that somebody has signed in on: other people's guesses don't lock it out.
const DEVICE_COOKIE: &str = "__Host-regrant-device";
/// How long a browser keeps it, seconds: 180 days.
const DEVICE_SECONDS: i64 = 180 * 24 * 3600;

/// A request of a person's browser.
pub struct Browser {
    /// The server.
    pub app: Arc<App>,
    /// What its pages have in common.
    pub pages: Arc<Pages>,
    /// The request.
    pub context: RequestContext,
    /// The language of the answer.
    pub language: Language,
}

impl<'a> FromRequest<'a> for Browser {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let context = <RequestContext as FromRequest>::from_request(request, body).await?;
        let shared =
            |missing: &'static str| poem::Error::from_string(missing, poem::http::StatusCode::INTERNAL_SERVER_ERROR);
        Ok(Self {
            app: request.data::<Arc<App>>().cloned().ok_or_else(|| shared("no App"))?,
            pages: request.data::<Arc<Pages>>().cloned().ok_or_else(|| shared("no Pages"))?,
            language: Language::of(&context.headers),
            context,
        })
    }
}

impl Browser {
    /// The frame of a page for this browser.
    pub fn frame(&self) -> Frame<'_> {
        self.pages.frame(self.language)
    }

    /// The page that tells what went wrong.
    pub fn error(&self, error: &PageError) -> Response {
        error_response::page_error(error, &self.pages, &self.context)
    }

    /// Where the request came from, to be kept.
    pub fn origin(&self) -> Origin {
        self.context.origin().clone()
    }

    /// Checks a username and a password, to the end: who hangs up must not get around the counting.
    ///
    /// # Errors
    /// [`PageError::Malformed`] for two of the device's cookies at once.
    pub async fn authenticate(
        &self,
        username: &str,
        password: &SecretText,
    ) -> Result<Result<AuthenticatedOwner, AuthenticationError>, PageError> {
        let (app, source) = (Arc::clone(&self.app), self.source()?);
        let (username, password) = (username.to_owned(), SecretText::new(password.expose().to_owned()));
        let checked =
            to_the_end(
                async move { app.passwords.authenticate(app.store.as_ref(), &username, &password, &source).await },
            );
        checked.await.map_err(PageError::Failed)
    }

    /// Where a guess of a password comes from.
    ///
    /// # Errors
    /// [`PageError::Malformed`] for two of the device's cookies at once.
    fn source(&self) -> Result<LoginSource, PageError> {
        let device = known_device(&self.context.headers).map_err(|_| PageError::Malformed)?;
        Ok(LoginSource { device, ..self.context.source() })
    }

    /// The session of this browser, if somebody is signed in.
    ///
    /// # Errors
    /// [`PageError`] for two session cookies at once, or when the store can't answer.
    pub async fn session(&self) -> Result<Option<BrowserSession>, PageError> {
        let cookie = cookies::read(&self.context.headers, SESSION_COOKIE).map_err(|_| PageError::Malformed)?;
        match cookie {
            Some(cookie) => Ok(self.app.sessions.find(cookie, self.app.store.as_ref()).await?),
            None => Ok(None),
        }
    }

    /// The session, or else the way to sign in and come back to `here`: a path of this server with its query.
    ///
    /// # Errors
    /// The response to give instead.
    pub async fn signed_in(&self, here: &str) -> Result<BrowserSession, Response> {
        match self.session().await {
            Ok(Some(session)) => Ok(session),
            Ok(None) => Err(see_other(&sign_in_path(here, None))),
            Err(error) => Err(self.error(&error)),
        }
    }

    /// The token for the forms of somebody who is signed in. Bound to the session: a form that was made for one browser
    /// can't be sent from another.
    pub fn form_token(&self, session: &BrowserSession) -> String {
        form_guard::token(self.app.sessions.form_key(), &session_binding(session))
    }

    /// Checks the `form_token` of a form of somebody who is signed in.
    ///
    /// # Errors
    /// [`PageError::StaleForm`]; nothing may change then.
    pub fn check_form(&self, form: &mut Form, session: &BrowserSession) -> Result<(), PageError> {
        self.check(form, &session_binding(session))
    }

    /// The same, bound to what the page shows as well: `what` is the address of what is asked.
    pub fn form_token_for(&self, session: &BrowserSession, what: &str) -> String {
        form_guard::token(self.app.sessions.form_key(), &[&session_binding(session), what.as_bytes()].concat())
    }

    /// Checks the `form_token` of a form of somebody who is signed in and was asked `what`.
    ///
    /// # Errors
    /// [`PageError::StaleForm`]; nothing may change then.
    pub fn check_form_for(&self, form: &mut Form, session: &BrowserSession, what: &str) -> Result<(), PageError> {
        self.check(form, &[&session_binding(session), what.as_bytes()].concat())
    }

    fn check(&self, form: &mut Form, binding: &[u8]) -> Result<(), PageError> {
        let token = form.take("form_token").unwrap_or_default();
        let cross_site = form_guard::is_cross_site(&self.context.headers, self.app.issuer.url());
        if cross_site || !form_guard::verify(self.app.sessions.form_key(), binding, &token) {
            return Err(PageError::StaleForm);
        }
        Ok(())
    }

    /// This browser's visit: the one of its cookie, or a new one.
    ///
    /// # Errors
    /// [`PageError::Malformed`] for two of these cookies at once.
    pub fn visit(&self) -> Result<Visit, PageError> {
        let cookie = cookies::read(&self.context.headers, VISIT_COOKIE).map_err(|_| PageError::Malformed)?;
        Ok(match cookie {
            Some(value) => Visit { value: value.to_owned(), is_new: false },
            None => Visit { value: URL_SAFE_NO_PAD.encode(random_bytes::<16>()), is_new: true },
        })
    }

    /// The token for the forms of a browser in which nobody need be signed in.
    pub fn visit_token(&self, visit: &Visit) -> String {
        form_guard::token(self.app.sessions.form_key(), &visit.binding())
    }

    /// Checks the `form_token` of a form of a browser in which nobody need be signed in.
    ///
    /// # Errors
    /// [`PageError::StaleForm`]; nothing may change then.
    pub fn check_visit_form(&self, form: &mut Form, visit: &Visit) -> Result<(), PageError> {
        // A visit that begins with this very request has seen no form.
        if visit.is_new {
            return Err(PageError::StaleForm);
        }
        self.check(form, &visit.binding())
    }
}

/// Binds a form to a browser session.
fn session_binding(session: &BrowserSession) -> Vec<u8> {
    [b"session:".as_slice(), &session.id.0].concat()
}

/// A browser in which nobody need be signed in.
pub struct Visit {
    value: String,
    is_new: bool,
}

impl Visit {
    fn binding(&self) -> Vec<u8> {
        [b"visit:", self.value.as_bytes()].concat()
    }

    /// Gives the browser its cookie, unless it has it.
    pub fn keep(&self, response: &mut Response) {
        if self.is_new {
            let cookie = cookies::set(VISIT_COOKIE, &self.value, SameSite::Lax, None);
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
}

/// Gives the browser the cookie of its new session. It ends with the browser, or before that at the store.
pub fn keep_session(response: &mut Response, cookie: &SecretText) {
    let cookie = cookies::set(SESSION_COOKIE, cookie.expose(), SameSite::Lax, None);
    response.headers_mut().append(header::SET_COOKIE, cookie);
}

/// The cookie of a device that somebody has signed in on.
///
/// # Errors
/// [`InvalidRequest::RepeatedCookie`].
pub fn known_device(headers: &HeaderMap) -> Result<Option<SecretText>, InvalidRequest> {
    let cookie = cookies::read(headers, DEVICE_COOKIE).map_err(|cookies::Repeated| InvalidRequest::RepeatedCookie)?;
    Ok(cookie.map(|text| SecretText::new(text.to_owned())))
}

/// Gives the browser the cookie of a device that somebody has signed in on.
pub fn keep_device(response: &mut Response, device: &SecretText) {
    let cookie = cookies::set(DEVICE_COOKIE, device.expose(), SameSite::Strict, Some(DEVICE_SECONDS));
    response.headers_mut().append(header::SET_COOKIE, cookie);
}

/// Takes the session's cookie away.
pub fn forget_session(response: &mut Response) {
    response.headers_mut().append(header::SET_COOKIE, cookies::clear(SESSION_COOKIE, SameSite::Lax));
}

/// The address of the sign-in page that leads back to `here`, with a name filled in.
pub fn sign_in_path(here: &str, username: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("continue", here);
    if let Some(username) = username {
        query.append_pair("username", username);
    }
    format!("/login?{}", query.finish())
}

/// A path of this server to continue at: never another host, whatever a link says.
pub fn own_path(text: &str) -> Option<&str> {
    let mut bytes = text.bytes();
    let is_path = bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
    // A browser drops tabs and newlines before it reads an address, and takes a backslash for a slash.
    (is_path && text.bytes().all(|b| matches!(b, 0x21..=0x7e) && b != b'\\')).then_some(text)
}

/// The parameters of a page's address, read strictly.
pub struct PageQuery(pub Result<Form, InvalidRequest>);

impl<'a> FromRequest<'a> for PageQuery {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(Form::parse(request.uri().query().unwrap_or_default().as_bytes())))
    }
}

/// A form that a page sent.
pub struct PageForm(pub Result<Form, InvalidRequest>);

impl<'a> ApiExtractor<'a> for PageForm {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("The fields of the page's form, with the token that binds it to the browser."),
            ..MetaSchema::new("object")
        }));
        let content = vec![MetaMediaType { content_type: "application/x-www-form-urlencoded", schema }];
        Some(MetaRequest { description: None, required: true, content })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(Form::read(request, body).await))
    }
}

/// A page, a redirect to the next one, or an error page.
pub struct PageAnswer(pub Response);

impl IntoResponse for PageAnswer {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for PageAnswer {
    fn meta() -> MetaResponses {
        let html = || MetaMediaType {
            content_type: "text/html; charset=utf-8",
            schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
        };
        let response = |status, description, content| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers: vec![],
        };
        MetaResponses {
            responses: vec![
                response(200, "A page.", vec![html()]),
                response(303, "The way on.", vec![]),
                response(400, "A page that says what is wrong with the request.", vec![html()]),
                response(403, "The form is too old or came from another site; nothing changed.", vec![html()]),
                response(404, "There is nothing of this name.", vec![html()]),
                response(429, "Too many guesses; wait for the seconds in Retry-After.", vec![html()]),
                response(503, "The server can't answer right now.", vec![html()]),
            ],
        }
    }

    fn register(_: &mut poem_openapi::registry::Registry) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_ours_is_continued_at() {
        for good in ["/", "/device?user_code=ABCD", "/oauth2/authorize?client_id=a&state=%2F%2F"] {
            assert_eq!(own_path(good), Some(good));
        }
        for bad in [
            "",
            "device",
            "//evil.test",
            "/\\evil.test",
            "/\t/evil.test",
            "https://evil.test",
            "javascript:alert(1)",
            "/a\\b",
            "/a b",
            "/a\r\nSet-Cookie: x",
            "/ä",
            "\\/evil.test",
            " /device",
        ] {
            assert_eq!(own_path(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_way_to_sign_in_leads_back() {
        assert_eq!(sign_in_path("/device?a=1&b=2", None), "/login?continue=%2Fdevice%3Fa%3D1%26b%3D2");
        assert_eq!(sign_in_path("/", Some("ä&b")), "/login?continue=%2F&username=%C3%A4%26b");
    }
}
