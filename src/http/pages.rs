//! Renders the pages for people: layout, style sheet, branding, and the headers that keep a page safe.
//!
//! A page is an askama template that extends `pages/layout.html` and has a field `frame`; [`Page`] answers with it.
//! Headers: [RFC 9700 §4.16](https://www.rfc-editor.org/rfc/rfc9700#section-4.16) (no framing), no inline script or
//! style, nothing from elsewhere, nothing cached.
//!
//! Not here: what the pages say, see `texts/`; the pages for developers, see `docs.rs`.

use std::collections::BTreeMap;

use askama::Template;
use poem::{
    Response, Route,
    http::{HeaderValue, StatusCode, header},
};

use super::{
    asset::{Asset, CSS, PNG, SVG},
    texts::{Language, Texts},
};
use crate::{
    config::{
        Branding, ConfigError, ScopeDescription,
        branding::{Colour, LogoKind},
    },
    scope::Scope,
};

/// What all pages of one server share.
#[derive(Clone, Debug)]
pub struct Pages {
    brand: Brand,
    scopes: BTreeMap<String, ScopeDescription>,
}

/// The deployer's name and logo, and the versions of what pages load.
#[derive(Clone, Debug)]
pub struct Brand {
    /// The name that people know this server by.
    pub name: String,
    /// The logo's address, if there is a logo.
    pub logo: Option<String>,
    /// The style sheet's version.
    pub style: String,
    /// The icon's version.
    pub icon: String,
}

/// What `layout.html` needs: the field `frame` of every page.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Whose page it is.
    pub brand: &'a Brand,
    /// What it says.
    pub texts: &'static Texts,
}

/// A scope token, for people.
#[derive(Clone, Copy, Debug)]
pub struct ScopeLine<'a> {
    /// The token.
    pub token: &'a str,
    /// What it means, if the deployer has said so.
    pub description: Option<&'a str>,
}

impl Pages {
    /// Adds the style sheet, the icon and the logo to the routes.
    ///
    /// # Errors
    /// When the logo can't be used.
    pub fn mount(
        routes: Route,
        branding: &Branding,
        scopes: &BTreeMap<String, ScopeDescription>,
    ) -> Result<(Self, Route), ConfigError> {
        let style = Asset::new(CSS, style(branding).into_bytes());
        let icon = include_str!("pages/icon.svg").replace("#0b57a4", &branding.colour.to_string());
        let icon = Asset::new(SVG, icon.into_bytes());
        let logo = branding.load_logo()?.map(|logo| match logo.kind {
            LogoKind::Svg => ("/assets/logo.svg", Asset::new(SVG, logo.bytes)),
            LogoKind::Png => ("/assets/logo.png", Asset::new(PNG, logo.bytes)),
        });
        let brand = Brand {
            name: branding.name.clone(),
            logo: logo.as_ref().map(|(path, asset)| format!("{path}?v={}", asset.version)),
            style: style.version.clone(),
            icon: icon.version.clone(),
        };
        let routes = routes.at("/assets/style.css", style.serve()).at("/assets/icon.svg", icon.serve());
        let routes = logo.into_iter().fold(routes, |routes, (path, asset)| routes.at(path, asset.serve()));
        Ok((Self { brand, scopes: scopes.clone() }, routes))
    }

    /// What `scopes.html` shows of a scope.
    pub fn scope_lines<'a>(&'a self, scope: &'a Scope, language: Language) -> Vec<ScopeLine<'a>> {
        let line = |token| ScopeLine { token, description: self.describe_scope(token, language) };
        scope.tokens().map(line).collect()
    }

    /// What a scope token means, if the deployer has said so; in another language rather than not at all.
    fn describe_scope(&self, token: &str, language: Language) -> Option<&str> {
        let ScopeDescription { en, de } = self.scopes.get(token)?;
        let (first, second) = match language {
            Language::English => (en, de),
            Language::German => (de, en),
        };
        first.as_deref().or(second.as_deref())
    }

    /// The scope tokens that the deployer has described.
    pub fn described_scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.keys().map(String::as_str)
    }

    /// The frame of a page in this language.
    pub fn frame(&self, language: Language) -> Frame<'_> {
        Frame { brand: &self.brand, texts: language.texts() }
    }
}

/// The style sheet with the deployer's colours in front.
fn style(branding: &Branding) -> String {
    let colours = |accent: Colour| format!(":root {{ --accent: {accent}; --on-accent: {}; }}", accent.text_on());
    format!(
        "{}\n@media (prefers-color-scheme: dark) {{ {} }}\n{}",
        colours(branding.colour),
        colours(branding.colour_dark),
        include_str!("pages/style.css")
    )
}

/// A page and what it may do.
#[derive(Debug)]
pub struct Page<T> {
    template: T,
    status: StatusCode,
    /// Where its forms may lead, beside this server.
    forms_lead_to: Option<String>,
    scripts: bool,
}

impl<T: Template> Page<T> {
    /// A page whose forms lead to this server only, and which runs no script.
    pub const fn new(template: T) -> Self {
        Self { template, status: StatusCode::OK, forms_lead_to: None, scripts: false }
    }

    /// With another status than 200.
    #[must_use]
    pub const fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Lets its forms end at another place as well: browsers hold `form-action` against the redirect that answers a form.
    /// `source` is a CSP source, such as an origin.
    #[must_use]
    pub fn forms_lead_to(mut self, source: Option<String>) -> Self {
        self.forms_lead_to = source;
        self
    }

    /// Lets it run scripts that this server serves, and fetch from this server.
    #[must_use]
    pub const fn with_scripts(mut self) -> Self {
        self.scripts = true;
        self
    }

    /// The response.
    pub fn respond(self, language: Language) -> Response {
        let (status, html) = match self.template.render() {
            Ok(html) => (self.status, html),
            // A template fails only when its writer does, and a String doesn't.
            Err(error) => {
                tracing::error!(%error, "a page could not be rendered");
                (StatusCode::INTERNAL_SERVER_ERROR, String::new())
            }
        };
        let scripts = if self.scripts { "script-src 'self'; connect-src 'self'; " } else { "" };
        let forms = self.forms_lead_to.map(|source| format!(" {source}")).unwrap_or_default();
        let policy = format!(
            "default-src 'none'; {scripts}style-src 'self'; img-src 'self'; form-action 'self'{forms}; base-uri 'none'; \
             frame-ancestors 'none'"
        );
        let mut response = Response::builder().status(status).content_type("text/html; charset=utf-8").body(html);
        let headers = response.headers_mut();
        // A source comes from a parsed URI, so it is ASCII without spaces; were it not, the page would go out closed.
        let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.texts().lang));
        protect(&mut response);
        response
    }
}

/// A redirect after a form, or to another page of ours: 303, so that no browser repeats the form elsewhere
/// (RFC 9700 §4.12).
pub fn see_other(location: &str) -> Response {
    let mut response = Response::builder().status(StatusCode::SEE_OTHER).finish();
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    protect(&mut response);
    response
}

/// The headers of every page and of every redirect between pages.
fn protect(response: &mut Response) {
    super::error_response::no_store(response);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // The address of a page can hold an authorization request; no other site is told.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

#[cfg(test)]
mod tests {
    use poem::{Endpoint as _, Request, http::Uri};

    use super::*;

    #[derive(Template)]
    #[template(
        source = "{% extends \"layout.html\" %}{% block content %}<h1>{{ text }}</h1>{% endblock %}",
        ext = "html"
    )]
    struct TestPage<'a> {
        frame: Frame<'a>,
        text: &'a str,
    }

    #[tokio::test]
    async fn a_page_is_branded_escaped_and_closed_to_everybody_else() {
        let branding = Branding { name: "Acme & Co".into(), ..Branding::default() };
        let (pages, routes) = Pages::mount(Route::new(), &branding, &BTreeMap::new()).unwrap();
        let language = Language::German;
        let page = || Page::new(TestPage { frame: pages.frame(language), text: "<script>" });
        let response = page().respond(language);
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("content-language", "de"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(response.headers()[name], value, "{name}");
        }
        let html = response.into_body().into_string().await.unwrap();
        assert!(html.contains("<html lang=\"de\">") && html.contains("Acme &#38; Co"), "{html}");
        assert!(!html.contains("<script"), "{html}");

        let open = page().forms_lead_to(Some("https://app.example".into())).with_scripts().respond(language);
        let policy = open.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("script-src 'self'; ") && policy.contains("form-action 'self' https://app.example; "));

        for loaded in ["/assets/style.css", "/assets/icon.svg"] {
            assert!(html.contains(&format!("=\"{loaded}?v=")), "{html}");
            let asset = routes.get_response(Request::builder().uri(loaded.parse::<Uri>().unwrap()).finish()).await;
            let text = asset.into_body().into_string().await.unwrap();
            assert!(text.contains(&branding.colour.to_string()), "{text}");
        }
    }
}
