//! `/demo`: a small first-party app in cookie mode, and `/demo/device`: a device without a keyboard; for `regrant dev` only.
//!
//! Its script, `pages/demo.js`, shows what an app has to do: one refresh at a time among all tabs, early and with jitter,
//! the same refresh again after a lost answer, and no token anywhere but in memory.
//!
//! Not here: the endpoints that it calls, see `session/`.

use std::sync::Arc;

use askama::Template;
use poem::{Response, Route, endpoint::make_sync, get};

use super::{
    asset::{Asset, CSS, JAVASCRIPT},
    pages::{Frame, Page, Pages},
    texts::Language,
};

#[derive(Template)]
#[template(path = "demo.html")]
struct DemoPage<'a> {
    frame: Frame<'a>,
    script: &'a str,
    style: &'a str,
}

#[derive(Template)]
#[template(path = "demo_device.html")]
struct DevicePage<'a> {
    frame: Frame<'a>,
    script: &'a str,
    address: &'a str,
}

/// Adds both to the public routes. `issuer` is the address that the device shows.
pub fn mount(routes: Route, pages: Arc<Pages>, issuer: &str) -> Route {
    let script = Asset::new(JAVASCRIPT, include_str!("pages/demo.js").as_bytes());
    let style = Asset::new(CSS, include_str!("pages/demo.css").as_bytes());
    let (script_version, style_version) = (script.version.clone(), style.version.clone());
    let device_script = Asset::new(JAVASCRIPT, include_str!("pages/demo_device.js").as_bytes());
    let (for_device, device_version) = (Arc::clone(&pages), device_script.version.clone());
    let address = format!("{issuer}/device");
    let device = get(make_sync(move |_| {
        let frame = for_device.frame(Language::English);
        let page = DevicePage { frame, script: &device_version, address: &address };
        Page::new(page).with_scripts().respond(Language::English)
    }));
    let page = get(make_sync(move |_| respond(&pages, &script_version, &style_version)));
    let routes = routes.at("/demo/device", device).at("/demo/device.js", device_script.serve());
    routes.at("/demo", page).at("/demo/app.js", script.serve()).at("/demo/app.css", style.serve())
}

/// Like the rest of what is for developers, it speaks English only.
fn respond(pages: &Pages, script: &str, style: &str) -> Response {
    Page::new(DemoPage { frame: pages.frame(Language::English), script, style })
        .with_scripts()
        .respond(Language::English)
}
