//! A person with a browser, as far as a server can tell: keeps cookies, fills in forms, follows redirects when told to.
//!
//! The cookies are kept by hand: they are `Secure`, and an HTTP library keeps such cookies from `http://127.0.0.1`, where
//! real browsers send them.

use std::collections::BTreeMap;

use crate::support::{Answer, Server};

/// One browser.
pub struct Person {
    base: String,
    http: reqwest::Client,
    pub cookies: BTreeMap<String, String>,
    pub headers: Vec<(&'static str, String)>,
}

impl Person {
    pub fn at(server: &Server) -> Self {
        Self::at_url(&server.url)
    }

    /// The same, for a server of another process.
    pub fn at_url(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base: url.to_owned(), http, cookies: BTreeMap::new(), headers: vec![] }
    }

    /// Opens a page of the server: a path with its query.
    pub async fn open(&mut self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.base));
        self.send(request).await
    }

    /// Sends a form as a page of the server would.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}{path}", self.base)).form(fields);
        self.send(request).await
    }

    /// Fills in the form of a page and presses its button.
    pub async fn submit(&mut self, page: &Answer, fields: &[(&str, &str)]) -> Answer {
        let hidden = hidden_fields(&page.text);
        let mut all: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.extend_from_slice(fields);
        self.post(&form_action(&page.text), &all).await
    }

    /// Follows a redirect within the server.
    pub async fn follow(&mut self, answer: &Answer) -> Answer {
        assert_eq!(answer.status, 303, "{answer:?}");
        let location = answer.header("location").to_owned();
        assert!(location.starts_with('/'), "{location} leads away");
        self.open(&location).await
    }

    /// Signs in on a sign-in page, as a user of [`Server::user`].
    pub async fn sign_in(&mut self, page: &Answer, user: &str) -> Answer {
        self.submit(page, &[("username", user), ("password", "a good password")]).await
    }

    /// Signs in for nothing in particular.
    pub async fn signed_in(server: &Server, user: &str) -> Self {
        let mut person = Self::at(server);
        let page = person.open("/login").await;
        let answer = person.sign_in(&page, user).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        person
    }

    async fn send(&mut self, mut request: reqwest::RequestBuilder) -> Answer {
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let answer = Answer::of(request).await;
        for set in answer.headers.get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let (pair, attributes) = set.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            // What __Host- demands, and no script may read it.
            for needed in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite="] {
                assert!(name.starts_with("__Host-") && set.contains(needed), "{set}");
            }
            assert!(!attributes.to_lowercase().contains("domain"), "{set}");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

/// The value of an attribute in the first tag that contains `marker`.
pub fn attribute(html: &str, marker: &str, name: &str) -> Option<String> {
    let at = html.find(marker)?;
    let start = html[..at].rfind('<')?;
    let tag = &html[start..start + html[start..].find('>')?];
    let value = tag.split_once(&format!(" {name}=\""))?.1;
    Some(unescape(&value[..value.find('"')?]))
}

/// Where the form of a page goes.
pub fn form_action(html: &str) -> String {
    attribute(html, "method=\"post\"", "action").unwrap_or_else(|| panic!("no form in {html}"))
}

/// The hidden fields of a page.
pub fn hidden_fields(html: &str) -> Vec<(String, String)> {
    html.match_indices("type=\"hidden\"")
        .map(|(at, _)| {
            let rest = &html[at..];
            (attribute_here(rest, "name"), attribute_here(rest, "value"))
        })
        .collect()
}

fn attribute_here(tag: &str, name: &str) -> String {
    let value = tag.split_once(&format!(" {name}=\"")).unwrap().1;
    unescape(&value[..value.find('"').unwrap()])
}

/// Undoes the escaping of the templates.
fn unescape(text: &str) -> String {
    text.replace("&#38;", "&").replace("&#34;", "\"").replace("&#39;", "'").replace("&#60;", "<").replace("&#62;", ">")
}

/// Asserts what every page has: type, language, no framing, nothing inline, nothing cached.
pub fn assert_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.headers.get("access-control-allow-origin").is_none());
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!answer.text.contains("<script>") && !answer.text.contains("style="), "{answer:?}");
    assert!(!answer.header("x-request-id").is_empty());
}
