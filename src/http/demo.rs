//! `/demo`: a small first-party app in cookie mode, for `regrant dev` only.
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

/// Adds the app to the public routes.
pub fn mount(routes: Route, pages: Arc<Pages>) -> Route {
    let script = Asset::new(JAVASCRIPT, include_str!("pages/demo.js").as_bytes());
    let style = Asset::new(CSS, include_str!("pages/demo.css").as_bytes());
    let (script_version, style_version) = (script.version.clone(), style.version.clone());
    let page = get(make_sync(move |_| respond(&pages, &script_version, &style_version)));
    routes.at("/demo", page).at("/demo/app.js", script.serve()).at("/demo/app.css", style.serve())
}

/// Like the rest of what is for developers, it speaks English only.
fn respond(pages: &Pages, script: &str, style: &str) -> Response {
    Page::new(DemoPage { frame: pages.frame(Language::English), script, style })
        .with_scripts()
        .respond(Language::English)
}
