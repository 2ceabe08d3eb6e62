//! Collects what the account page shows: the apps and devices with access, and the browsers that are signed in.
//!
//! Not here: what the forms of the page do, see `mod.rs`.

use std::sync::Arc;

use super::device::describe;
use crate::{
    App,
    client::Client,
    clock::Timestamp,
    http::{browser::Browser, pages::ScopeLine, texts::AccountTexts},
    ids::GrantId,
    resource_owner::BrowserSession,
    store::{GrantRecord, GrantStatus, Origin, StoreError},
};

/// An app or device with access.
pub(super) struct Access {
    /// The grant, as the form names it.
    pub(super) id: String,
    /// The client, as people know it.
    pub(super) client: String,
    /// What it may.
    pub(super) rights: Vec<Right>,
    /// Where it was last used, and when.
    pub(super) place: Place,
}

/// What an app may: what a scope token means, or else the token.
pub(super) struct Right {
    pub(super) text: String,
    pub(super) is_token: bool,
}

/// A browser that is signed in.
pub(super) struct BrowserEntry {
    /// The session, as the form names it.
    pub(super) id: String,
    /// Whether it is the one that asks.
    pub(super) current: bool,
    /// Where the sign-in came from, and when it was last used.
    pub(super) place: Place,
}

/// Where and when, in words.
pub(super) struct Place {
    /// The device, as far as it is known.
    pub(super) device: String,
    /// Its address, or nothing.
    pub(super) address: String,
    /// When it began.
    pub(super) since: String,
    /// When it was last used.
    pub(super) used: String,
}

/// The apps and devices with access, the last used first. Grants of a client that was disabled, deleted or replaced are
/// dead.
pub(super) async fn accesses(
    session: &BrowserSession,
    browser: &Browser,
    texts: &AccountTexts,
) -> Result<Vec<Access>, StoreError> {
    let app = &browser.app;
    let right = |line: ScopeLine<'_>| Right {
        text: line.description.unwrap_or(line.token).to_owned(),
        is_token: line.description.is_none(),
    };
    let mut living = Vec::new();
    for id in app.store.grants_of(session.owner.id()).await? {
        let Some(record) = app.store.grant(session.owner.id(), id).await? else { continue };
        let alive = record.status == GrantStatus::Active
            && record.owner_epoch == session.owner.epoch()
            && session.now < record.expires_at();
        if !alive {
            continue;
        }
        let client = app.store.client(&record.client_id).await?;
        living.extend(client.filter(|client| client.epoch == record.client_epoch).map(|client| (id, record, client)));
    }
    living.sort_by_key(|(_, record, _)| std::cmp::Reverse(record.current_since));
    let access = |(id, record, client): (GrantId, GrantRecord, Arc<Client>)| Access {
        id: id.to_string(),
        client: client.display_name().to_owned(),
        rights: browser.pages.scope_lines(&record.scope, browser.language).into_iter().map(right).collect(),
        place: Place::new(&record.last_used_from, record.created_at, record.current_since, session.now, texts),
    };
    Ok(living.into_iter().map(access).collect())
}

/// The browsers that are signed in; the one that asks comes first.
pub(super) async fn browsers(
    session: &BrowserSession,
    app: &App,
    texts: &AccountTexts,
) -> Result<Vec<BrowserEntry>, StoreError> {
    let sessions = app.store.sessions_of(session.owner.id()).await?;
    let mut browsers: Vec<BrowserEntry> = sessions
        .into_iter()
        .map(|record| BrowserEntry {
            id: record.id.to_string(),
            current: record.id == session.id,
            place: Place::new(&record.origin, record.signed_in_at, record.last_used_at, session.now, texts),
        })
        .collect();
    browsers.sort_by_key(|browser| !browser.current);
    Ok(browsers)
}

impl Place {
    fn new(origin: &Origin, since: Timestamp, used: Timestamp, now: Timestamp, texts: &AccountTexts) -> Self {
        let ago = |at: Timestamp| (texts.ago)(now.since(at) / 1000);
        let (app, system) = describe(&origin.agent);
        Self {
            device: (texts.device)(app, system),
            address: origin.address.clone(),
            since: ago(since),
            used: ago(used),
        }
    }
}
