//! The part of the page that is about users: searched by name, and each with their grants.
//!
//! Not here: what the forms do, see `mod.rs`.

use askama::Template;
use poem::Response;

use super::{Administrator, Common, Frame, PAGE, address};
use crate::{
    administration::users,
    client::Client,
    clock::Timestamp,
    error::PageError,
    ids::{GrantId, Username},
    store::{GrantRecord, GrantStatus, Origin, OwnerRecord, OwnerSearch, OwnerStatus, RevocationReason},
};

/// Grants that are shown of one user.
const MOST_GRANTS: usize = 100;

#[derive(Template)]
#[template(path = "admin_users.html")]
struct Users<'a> {
    frame: Frame<'a>,
    common: Common<'a>,
    search: &'a str,
    users: Vec<UserLine>,
    /// The address of the next page.
    next: Option<String>,
    /// The address of the first page, on a later one.
    first: Option<String>,
}

/// A user of the list.
struct UserLine {
    address: String,
    name: String,
    active: bool,
    created: String,
}

pub(super) async fn list(administrator: &Administrator<'_>, search: &str, after: &str) -> Result<Response, PageError> {
    let app = &administrator.browser.app;
    let prefix = if search.trim().is_empty() { Some(String::new()) } else { normal(search.trim()) };
    let mut owners = match prefix {
        Some(prefix) => {
            let search = OwnerSearch { prefix, after: after.to_owned(), limit: PAGE + 1 };
            app.store.search_owners(&search).await?
        }
        // No name begins like that.
        None => Vec::new(),
    };
    let more = owners.len() > PAGE;
    owners.truncate(PAGE);
    let page = |after: &str| address(&[("part", "users"), ("search", search), ("after", after)]);
    let line = |owner: &OwnerRecord| UserLine {
        address: address(&[("user", owner.username.as_str())]),
        name: owner.username.as_str().to_owned(),
        active: owner.status == OwnerStatus::Active,
        created: administrator.ago(owner.created_at),
    };
    Ok(administrator.respond(Users {
        frame: administrator.browser.frame(),
        common: administrator.common("users", None),
        search,
        users: owners.iter().map(line).collect(),
        next: owners.last().filter(|_| more).map(|last| page(last.username.as_str())),
        first: (!after.is_empty()).then(|| page("")),
    }))
}

/// The normal form of what somebody typed.
fn normal(text: &str) -> Option<String> {
    Username::parse(text).ok().map(|name| name.as_str().to_owned())
}

#[derive(Template)]
#[template(path = "admin_user.html")]
struct User<'a> {
    frame: Frame<'a>,
    common: Common<'a>,
    name: &'a str,
    subject: &'a str,
    active: bool,
    created: String,
    /// Whether it is the administrator who looks.
    own: bool,
    grants: Vec<GrantLine>,
    /// That there are grants which are not shown.
    more: Option<String>,
}

/// A grant of a user.
struct GrantLine {
    id: String,
    client: String,
    scope: String,
    active: bool,
    state: &'static str,
    created: String,
    used: String,
    used_from: String,
    /// How it ended, unless by itself.
    end: Option<End>,
}

/// Why a grant ended.
struct End {
    reason: &'static str,
    /// Somebody else may have had its tokens.
    alarming: bool,
    when: String,
    whence: String,
}

pub(super) async fn one(
    administrator: &Administrator<'_>,
    username: &str,
    done: Option<&str>,
) -> Result<Response, PageError> {
    let store = administrator.browser.app.store.as_ref();
    let owner = users::find(username, store).await?;
    let mut grants = Vec::new();
    for id in store.grants_of(owner.id()).await? {
        if let Some(record) = store.grant(owner.id(), id).await? {
            let client = store.client(&record.client_id).await?;
            let state = State::of(&record, &owner, client.as_deref(), administrator.session.now);
            grants.push((id, record, state));
        }
    }
    // Those that work first, then the ones used last.
    grants.sort_by_key(|(_, record, state)| (*state != State::Active, std::cmp::Reverse(record.current_since)));
    let more = grants.len().saturating_sub(MOST_GRANTS);
    grants.truncate(MOST_GRANTS);
    Ok(administrator.respond(User {
        frame: administrator.browser.frame(),
        common: administrator.common("users", done),
        name: owner.username.as_str(),
        subject: &owner.subject.0,
        active: owner.status == OwnerStatus::Active,
        created: administrator.ago(owner.created_at),
        own: owner.username == administrator.session.username,
        grants: grants.iter().map(|(id, record, state)| line(*id, record, *state, administrator)).collect(),
        more: (more > 0).then(|| (administrator.browser.frame().texts.admin.more_grants)(more)),
    }))
}

/// What became of a grant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    Expired,
    Revoked,
    /// Its owner was disabled, logged out, or changed the password.
    OwnerChanged,
    /// Its client was disabled or deleted.
    ClientChanged,
}

impl State {
    fn of(record: &GrantRecord, owner: &OwnerRecord, client: Option<&Client>, now: Timestamp) -> Self {
        if record.status != GrantStatus::Active {
            Self::Revoked
        } else if owner.status == OwnerStatus::Disabled || owner.epoch != record.owner_epoch {
            Self::OwnerChanged
        } else if client.is_none_or(|client| client.epoch != record.client_epoch) {
            Self::ClientChanged
        } else if now >= record.expires_at() {
            Self::Expired
        } else {
            Self::Active
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::OwnerChanged | Self::ClientChanged => "dead",
        }
    }
}

fn line(id: GrantId, record: &GrantRecord, state: State, administrator: &Administrator<'_>) -> GrantLine {
    let texts = &administrator.browser.frame().texts.admin;
    let by_change = |reason| End { reason, alarming: false, when: String::new(), whence: String::new() };
    let end = match (&record.status, state) {
        (GrantStatus::Revoked { reason, at, from }, _) => {
            let alarming = matches!(reason, RevocationReason::Replay | RevocationReason::CodeReplay);
            let (when, whence) = (administrator.ago(*at), place(from));
            Some(End { reason: (texts.reason)(*reason), alarming, when, whence })
        }
        (_, State::OwnerChanged) => Some(by_change(texts.owner_changed)),
        (_, State::ClientChanged) => Some(by_change((texts.reason)(RevocationReason::ClientEpoch))),
        _ => None,
    };
    GrantLine {
        id: id.to_string(),
        client: record.client_id.to_string(),
        scope: record.scope.to_string(),
        active: state == State::Active,
        state: (texts.grant_state)(state.word()),
        created: administrator.ago(record.created_at),
        used: administrator.ago(record.current_since),
        used_from: place(&record.last_used_from),
        end,
    }
}

/// An address and what was there, as far as they are known.
fn place(origin: &Origin) -> String {
    let known = [origin.address.as_str(), origin.agent.as_str()];
    known.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · ")
}
