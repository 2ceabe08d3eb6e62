//! `/device`: a person types the code that a device shows, sees what it asks for, and decides
//! ([RFC 8628 §3.3](https://www.rfc-editor.org/rfc/rfc8628#section-3.3)).
//!
//! A code is short, so guesses are counted, for the browser and for the address (§5.1). Only a form looks a code up: its
//! answer leads to a page whose address carries the code sealed, so that an address found in a log or made up by somebody
//! can't be used to guess.
//!
//! Not here: the device's own requests, see `device_authorization.rs` and `token.rs`; the QR code, see `qr_code.rs`.

use std::{net::IpAddr, sync::Arc};

use askama::Template;
use poem::{
    Response,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::OpenApi;

use super::{
    Tag,
    browser::{Browser, PageAnswer, PageForm, PageQuery, Visit},
    form::Form,
    pages::{Frame, Page, ScopeLine, see_other},
};
use crate::{
    client::{Client, GrantType},
    error::PageError,
    resource_owner::BrowserSession,
    store::{DeviceDecided, DeviceDecision, DeviceRecord},
    telemetry::AUDIT,
    token::device_code::UserCode,
};

/// How many codes may be tried in [`WINDOW_MS`] from one browser, and from one address. With 25,600,000,000 codes, and a
/// thousand devices waiting, an address that tries all it may for a year finds one with a chance of one in ten.
const BROWSER_TRIES: u32 = 10;
const ADDRESS_TRIES: u32 = 50;
const WINDOW_MS: i64 = 600_000;
/// The same in seconds, for people and for `Retry-After`.
const WINDOW_SECONDS: &str = "600";

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage<'a> {
    frame: Frame<'a>,
    user_code: &'a str,
    problem: Option<&'static str>,
    form_token: &'a str,
}

#[derive(Template)]
#[template(path = "device_confirm.html")]
struct ConfirmPage<'a> {
    frame: Frame<'a>,
    action: &'a str,
    user_code: &'a str,
    client: &'a str,
    username: &'a str,
    scopes: Vec<ScopeLine<'a>>,
    minutes: i64,
    address: &'a str,
    agent: &'a str,
    form_token: &'a str,
}

#[derive(Template)]
#[template(path = "device_done.html")]
struct DonePage<'a> {
    frame: Frame<'a>,
    allowed: bool,
}

/// The pages.
pub struct DeviceEndpoint;

#[OpenApi]
impl DeviceEndpoint {
    /// Show the page for a device's code
    ///
    /// `user_code` fills the field in; the person still has to compare it.
    #[oai(path = "/device", method = "get", operation_id = "showDevice", tag = "Tag::Pages")]
    async fn show(&self, browser: Browser, query: PageQuery) -> PageAnswer {
        PageAnswer(show(&browser, query).unwrap_or_else(|error| browser.error(&error)))
    }

    /// Enter a device's code
    ///
    /// The form of the page. A known code leads to `/device/confirm`; guessing is limited (RFC 8628 section 5.1).
    #[oai(path = "/device", method = "post", operation_id = "enterUserCode", tag = "Tag::Pages")]
    async fn enter(&self, browser: Browser, form: PageForm) -> PageAnswer {
        PageAnswer(enter(&browser, form).await.unwrap_or_else(|error| browser.error(&error)))
    }

    /// Show what a device asks for
    ///
    /// Names the app, what it asks for and the code to compare. Somebody who is not signed in is sent to `/login` first.
    #[oai(path = "/device/confirm", method = "get", operation_id = "showDeviceRequest", tag = "Tag::Pages")]
    async fn confirm(&self, browser: Browser, query: PageQuery) -> PageAnswer {
        PageAnswer(confirm(&browser, query).await.unwrap_or_else(|error| browser.error(&error)))
    }

    /// Allow or deny a device
    ///
    /// The form of the confirmation page. Leads to `/device/done`; the device learns of it at its next poll.
    #[oai(path = "/device/confirm", method = "post", operation_id = "decideDeviceRequest", tag = "Tag::Pages")]
    async fn decide(&self, browser: Browser, query: PageQuery, form: PageForm) -> PageAnswer {
        PageAnswer(decide(&browser, query, form).await.unwrap_or_else(|error| browser.error(&error)))
    }

    /// Tell that it is done
    ///
    /// The last page: the person goes back to the device.
    #[oai(path = "/device/done", method = "get", operation_id = "showDeviceDone", tag = "Tag::Pages")]
    async fn done(&self, browser: Browser, query: PageQuery) -> PageAnswer {
        PageAnswer(done(&browser, query).unwrap_or_else(|error| browser.error(&error)))
    }
}

fn show(browser: &Browser, query: PageQuery) -> Result<Response, PageError> {
    let mut query = query.0.map_err(|_| PageError::Malformed)?;
    let user_code = query.take("user_code").and_then(|text| UserCode::parse(&text)).map(|code| code.text());
    Ok(render_entry(browser, &browser.visit()?, user_code.as_deref().unwrap_or_default(), None))
}

async fn enter(browser: &Browser, form: PageForm) -> Result<Response, PageError> {
    let mut form = form.0.map_err(|_| PageError::Malformed)?;
    let visit = browser.visit()?;
    browser.check_visit_form(&mut form, &visit)?;
    let typed = form.take("user_code").unwrap_or_default();
    let texts = &browser.frame().texts.device;
    let Some(user_code) = UserCode::parse(&typed) else {
        return Ok(render_entry(browser, &visit, &typed, Some(texts.malformed)));
    };
    if !may_try(browser, &visit).await? {
        let mut response = render_entry(browser, &visit, &typed, Some(texts.too_many));
        response.set_status(StatusCode::TOO_MANY_REQUESTS);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(WINDOW_SECONDS));
        let (request_id, address) = (&browser.context.request_id, browser.context.address);
        tracing::warn!(target: AUDIT, %request_id, address = address.map(tracing::field::display), "too many user codes tried");
        return Ok(response);
    }
    match waiting(browser, &user_code).await? {
        Some(_) => Ok(see_other(&confirm_path(browser, &user_code))),
        None => {
            let (request_id, address) = (&browser.context.request_id, browser.context.address);
            tracing::info!(target: AUDIT, %request_id, address = address.map(tracing::field::display), "unknown user code");
            Ok(render_entry(browser, &visit, &typed, Some(texts.unknown)))
        }
    }
}

/// Counts the attempt before it is made: of many at once none gets past the limit.
async fn may_try(browser: &Browser, visit: &Visit) -> Result<bool, PageError> {
    let (codes, store) = (browser.app.issuer.device_codes(), browser.app.store.as_ref());
    let address = browser.context.address.map(network).unwrap_or_default();
    for (who, most) in [
        (format!("address {address}"), ADDRESS_TRIES),
        (format!("browser {}", browser.visit_token(visit)), BROWSER_TRIES),
    ] {
        if store.count_attempt(codes.bucket(who.as_bytes()), WINDOW_MS).await? > most {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whom an address stands for: with IPv6 a household has at least 2^64 of them.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x?}", &address.segments()[..4]),
    }
}

/// The device that waits under this code, and its client: nobody has decided, and the client may still have it.
async fn waiting(browser: &Browser, user_code: &UserCode) -> Result<Option<(DeviceRecord, Arc<Client>)>, PageError> {
    let store = browser.app.store.as_ref();
    let id = browser.app.issuer.device_codes().address(user_code);
    let Some(device) = store.device(id).await?.filter(|device| !device.decided) else { return Ok(None) };
    let client = store.client(&device.client_id).await?;
    let usable = client.filter(|client| {
        !client.disabled && client.epoch == device.client_epoch && client.may_use(GrantType::DeviceCode)
    });
    Ok(usable.map(|client| (device, client)))
}

/// The address of the page that shows what the device asks for.
fn confirm_path(browser: &Browser, user_code: &UserCode) -> String {
    format!("/device/confirm?ticket={}", browser.app.issuer.device_codes().seal(user_code))
}

async fn confirm(browser: &Browser, query: PageQuery) -> Result<Response, PageError> {
    let (user_code, here) = asked(browser, query)?;
    let session = match browser.signed_in(&here).await {
        Ok(session) => session,
        Err(instead) => return Ok(instead),
    };
    match waiting(browser, &user_code).await? {
        Some((device, client)) => Ok(render_request(browser, &session, &user_code, &here, (&device, &client))),
        None => gone(browser),
    }
}

async fn decide(browser: &Browser, query: PageQuery, form: PageForm) -> Result<Response, PageError> {
    let mut form = form.0.map_err(|_| PageError::Malformed)?;
    let (user_code, here) = asked(browser, query)?;
    let session = match browser.signed_in(&here).await {
        Ok(session) => session,
        Err(instead) => return Ok(instead),
    };
    browser.check_form(&mut form, &session)?;
    let allowed = match form.take("decision").as_deref() {
        Some("allow") => true,
        Some("deny") => false,
        _ => return Err(PageError::Malformed),
    };
    let decision = match allowed {
        true => DeviceDecision::Approve { owner: session.owner.id(), owner_epoch: session.owner.epoch() },
        false => DeviceDecision::Deny,
    };
    let store = browser.app.store.as_ref();
    let id = browser.app.issuer.device_codes().address(&user_code);
    for _ in 0..2 {
        match store.decide_device(id, decision, store.deadline()).await? {
            DeviceDecided::Stored => {
                let request_id = &browser.context.request_id;
                tracing::info!(target: AUDIT, %request_id, owner = %session.owner.id(), device = %id, allowed, "device decided");
                return Ok(see_other(if allowed { "/device/done?allowed=1" } else { "/device/done" }));
            }
            DeviceDecided::Already | DeviceDecided::Gone => return gone(browser),
            DeviceDecided::TooLate => {}
        }
    }
    Err(PageError::Unavailable("the store keeps answering after the deadline".into()))
}

fn done(browser: &Browser, query: PageQuery) -> Result<Response, PageError> {
    let mut query = query.0.map_err(|_| PageError::Malformed)?;
    let allowed = query.take("allowed").is_some();
    Ok(Page::new(DonePage { frame: browser.frame(), allowed }).respond(browser.language))
}

/// The code in the address of the page, and that address.
fn asked(browser: &Browser, query: PageQuery) -> Result<(UserCode, String), PageError> {
    let mut query: Form = query.0.map_err(|_| PageError::Malformed)?;
    let ticket = query.take("ticket").unwrap_or_default();
    let user_code = browser.app.issuer.device_codes().open(&ticket).ok_or(PageError::Malformed)?;
    Ok((user_code, format!("/device/confirm?ticket={ticket}")))
}

/// The code was good a moment ago: it expired, or somebody has decided.
fn gone(browser: &Browser) -> Result<Response, PageError> {
    let problem = browser.frame().texts.device.unknown;
    Ok(render_entry(browser, &browser.visit()?, "", Some(problem)))
}

fn render_entry(browser: &Browser, visit: &Visit, user_code: &str, problem: Option<&'static str>) -> Response {
    let form_token = &browser.visit_token(visit);
    let page = DevicePage { frame: browser.frame(), user_code, problem, form_token };
    let mut response = Page::new(page).respond(browser.language);
    visit.keep(&mut response);
    response
}

fn render_request(
    browser: &Browser,
    session: &BrowserSession,
    user_code: &UserCode,
    here: &str,
    (device, client): (&DeviceRecord, &Client),
) -> Response {
    let page = ConfirmPage {
        frame: browser.frame(),
        action: here,
        user_code: &user_code.text(),
        client: client.display_name(),
        username: session.username.as_str(),
        scopes: browser.pages.scope_lines(&device.scope, browser.language),
        minutes: browser.app.store.now().since(device.started_at).max(0) / 60_000,
        address: &device.origin.address,
        agent: &device.origin.agent,
        form_token: &browser.form_token(session),
    };
    Page::new(page).respond(browser.language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::2"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
