//! The part of the page that is about clients: searched by name.
//!
//! Not here: what the forms do, see `mod.rs`.

use askama::Template;
use poem::Response;

use super::{Administrator, Common, Frame, PAGE, address};
use crate::{client::Client, error::PageError};

#[derive(Template)]
#[template(path = "admin_clients.html")]
struct Clients<'a> {
    frame: Frame<'a>,
    common: Common<'a>,
    search: &'a str,
    clients: Vec<ClientLine>,
    /// The address of the next page.
    next: Option<String>,
    /// The address of the first page, on a later one.
    first: Option<String>,
}

/// A client of the list.
struct ClientLine {
    id: String,
    name: String,
    kind: &'static str,
    active: bool,
    grants: String,
    scope: String,
    created: String,
}

pub(super) async fn list(
    administrator: &Administrator<'_>,
    search: &str,
    after: &str,
    done: Option<&str>,
) -> Result<Response, PageError> {
    let texts = &administrator.browser.frame().texts.admin;
    let all = administrator.browser.app.store.clients().await?;
    let wanted = search.trim().to_lowercase();
    let fits = |client: &Client| {
        client.id.as_str() > after
            && [client.id.as_str(), client.display_name()].iter().any(|name| name.to_lowercase().contains(&wanted))
    };
    let mut found: Vec<_> = all.iter().filter(|client| fits(client)).take(PAGE + 1).collect();
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let page = |after: &str| address(&[("part", "clients"), ("search", search), ("after", after)]);
    let line = |client: &Client| ClientLine {
        id: client.id.to_string(),
        name: client.display_name().to_owned(),
        kind: (texts.kind)(client.client_type),
        active: !client.disabled,
        grants: client.grant_types.iter().map(|grant| short(grant.as_str())).collect::<Vec<_>>().join(", "),
        scope: client.scope.to_string(),
        created: administrator.ago(client.created_at),
    };
    Ok(administrator.respond(Clients {
        frame: administrator.browser.frame(),
        common: administrator.common("clients", done),
        search,
        clients: found.iter().map(|client| line(client)).collect(),
        next: found.last().filter(|_| more).map(|last| page(last.id.as_str())),
        first: (!after.is_empty()).then(|| page("")),
    }))
}

/// The grant of RFC 8628 without the words that every such URN begins with.
fn short(grant_type: &str) -> &str {
    grant_type.rsplit(':').next().unwrap_or(grant_type)
}
