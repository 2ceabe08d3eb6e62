//! What every store must do with browser sessions and consents, run against each of them.

use std::{sync::Arc, time::Duration};

use regrant::{
    clock::{Clock, random_bytes},
    ids::{ClientId, OwnerId, SessionId},
    scope::Scope,
    store::{
        Changed, Consent, Created, MAX_CONSENTS_PER_OWNER, MAX_SESSIONS_PER_OWNER, NewConsent, NewSession, Origin,
        OwnerChange, OwnerRecord, SessionBeginning, Store,
    },
};

use crate::store_contract::{contract, new_owner};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const IDLE_MS: i64 = 30 * HOUR_MS;
const ABSOLUTE_MS: i64 = 70 * HOUR_MS;

struct Fixture {
    store: Arc<dyn Store>,
    clock: Clock,
    owner: OwnerRecord,
}

impl Fixture {
    async fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        let owner = new_owner(&clock);
        assert_eq!(store.create_owner(&owner).await.unwrap(), Created::Stored);
        Self { store, clock, owner }
    }

    fn id(&self) -> OwnerId {
        self.owner.id()
    }

    fn advance(&self, milliseconds: i64) {
        self.clock.advance(Duration::from_millis(u64::try_from(milliseconds).unwrap()));
    }

    fn new_session(&self) -> NewSession {
        NewSession {
            id: SessionId::random(),
            owner: self.id(),
            owner_epoch: self.owner.epoch,
            secret_hash: random_bytes(),
            idle_ms: IDLE_MS,
            absolute_ms: ABSOLUTE_MS,
            origin: Origin::new(
                "2001:db8::7".parse().ok(),
                b"Browser/1.0 (\xff; ) of somebody who has a very long name for it, longer than is kept",
            ),
            deadline: self.clock.now().plus(MINUTE_MS),
        }
    }

    async fn begin(&self, session: &NewSession) -> SessionBeginning {
        self.store.begin_session(session).await.unwrap()
    }

    async fn begun(&self) -> NewSession {
        let session = self.new_session();
        assert_eq!(self.begin(&session).await, SessionBeginning::Stored);
        session
    }

    async fn is_alive(&self, session: &NewSession) -> bool {
        self.store.use_session(session.owner, session.id, session.secret_hash).await.unwrap().is_some()
    }

    async fn listed(&self) -> Vec<SessionId> {
        self.store.sessions_of(self.id()).await.unwrap().iter().map(|session| session.id).collect()
    }

    async fn remember(&self, client: &ClientId, client_epoch: u64, scope: &str) -> Changed {
        let consent = NewConsent {
            owner: self.id(),
            owner_epoch: self.owner.epoch,
            client_id: client.clone(),
            client_epoch,
            scope: Scope::parse(scope).unwrap(),
            given_at: None,
        };
        self.store.remember_consent(&consent).await.unwrap()
    }

    async fn consent(&self, client: &ClientId) -> Option<Consent> {
        self.store.consent(self.id(), client).await.unwrap()
    }
}

fn client(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

async fn a_session_is_found_by_its_secret_only(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let before = f.clock.now();
    let session = f.begun().await;
    let live = f.store.use_session(f.id(), session.id, session.secret_hash).await.unwrap().unwrap();
    assert_eq!((&live.subject, &live.username), (&f.owner.subject, &f.owner.username));
    assert_eq!(live.owner_epoch, f.owner.epoch);
    assert!((before.plus(-1000)..=live.now).contains(&live.signed_in_at), "{live:?}");

    for (owner, id, secret) in [
        (f.id(), session.id, random_bytes()),
        (f.id(), SessionId::random(), session.secret_hash),
        (OwnerId(random_bytes()), session.id, session.secret_hash),
    ] {
        assert_eq!(f.store.use_session(owner, id, secret).await.unwrap(), None);
    }
    let listed = f.store.sessions_of(f.id()).await.unwrap();
    assert_eq!((listed.len(), listed[0].id, listed[0].signed_in_at), (1, session.id, live.signed_in_at));
    assert_eq!(listed[0].origin.address, "2001:db8::7");
    assert_eq!(listed[0].origin.agent, "Browser/1.0 (?; ) of somebody who has a very long name for it, l");
    assert_eq!(listed[0].expires_at, live.signed_in_at.plus(IDLE_MS));
}

async fn a_session_needs_the_owner_as_authenticated(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let other_epoch = NewSession { owner_epoch: f.owner.epoch + 1, ..f.new_session() };
    assert_eq!(f.begin(&other_epoch).await, SessionBeginning::OwnerChanged);
    let nobody = NewSession { owner: OwnerId(random_bytes()), ..f.new_session() };
    assert_eq!(f.begin(&nobody).await, SessionBeginning::OwnerChanged);
    let late = NewSession { deadline: f.clock.now().plus(-MINUTE_MS), ..f.new_session() };
    assert!(matches!(f.begin(&late).await, SessionBeginning::TooLate { .. }));
    f.store.change_owner(f.id(), OwnerChange::Disable).await.unwrap();
    assert_eq!(f.begin(&f.new_session()).await, SessionBeginning::OwnerChanged);
    assert!(f.listed().await.is_empty());
}

async fn beginning_the_same_session_again_changes_nothing(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let session = f.begun().await;
    let first = f.store.sessions_of(f.id()).await.unwrap();
    f.advance(MINUTE_MS);
    let again = NewSession { deadline: f.clock.now().plus(MINUTE_MS), ..session };
    assert_eq!(f.begin(&again).await, SessionBeginning::Stored);
    assert_eq!(f.store.sessions_of(f.id()).await.unwrap(), first);
}

async fn an_unused_session_ends_and_a_used_one_lives_until_its_end(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let (used, unused) = (f.begun().await, f.begun().await);
    f.advance(IDLE_MS - HOUR_MS);
    assert!(f.is_alive(&used).await);
    // A list goes by what a node knows of the store's time, which may be some ms behind.
    f.advance(HOUR_MS + 10);
    assert!(!f.is_alive(&unused).await);
    assert_eq!(f.listed().await, [used.id]);
    f.advance(IDLE_MS - 2 * HOUR_MS);
    assert!(f.is_alive(&used).await);
    // 58 hours have passed; the end is at 70, whatever is used.
    f.advance(11 * HOUR_MS);
    assert!(f.is_alive(&used).await);
    f.advance(HOUR_MS);
    assert!(!f.is_alive(&used).await);
    assert!(f.listed().await.is_empty());
}

async fn the_use_of_a_session_is_noted_to_the_minute(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let session = f.begun().await;
    let last_used = async || f.store.sessions_of(f.id()).await.unwrap()[0].last_used_at;
    let first = last_used().await;
    f.advance(MINUTE_MS - 5_000);
    assert!(f.is_alive(&session).await);
    assert_eq!(last_used().await, first);
    f.advance(6_000);
    assert!(f.is_alive(&session).await);
    assert!(last_used().await.since(first) >= MINUTE_MS);
}

async fn a_session_ends_with_what_its_owner_had(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    for change in [OwnerChange::SetPassword { sealed: vec![9] }, OwnerChange::LogOut, OwnerChange::Disable] {
        let epoch = f.store.owner(f.id()).await.unwrap().unwrap().epoch;
        let session = NewSession { owner_epoch: epoch, ..f.new_session() };
        assert_eq!(f.begin(&session).await, SessionBeginning::Stored);
        assert!(f.is_alive(&session).await);
        f.store.change_owner(f.id(), change.clone()).await.unwrap();
        assert!(!f.is_alive(&session).await, "{change:?}");
        assert!(f.listed().await.is_empty(), "{change:?}");
    }
}

async fn a_session_and_a_consent_go_with_their_owner(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let session = f.begun().await;
    f.remember(&client("app"), 1, "read").await;
    assert_eq!(f.store.delete_owner(f.id()).await.unwrap(), Changed::Stored);
    // The same name, the same address, and even the same epoch.
    assert_eq!(f.store.create_owner(&f.owner).await.unwrap(), Created::Stored);
    assert_eq!(f.consent(&client("app")).await, None);
    assert!(f.listed().await.is_empty());
    f.store.change_owner(f.id(), OwnerChange::LogOut).await.unwrap();
    assert!(!f.is_alive(&session).await);
}

async fn sessions_end_one_by_one_or_all_others_at_once(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let (first, second, third) = (f.begun().await, f.begun().await, f.begun().await);
    assert_eq!(f.store.end_session(f.id(), first.id).await.unwrap(), Changed::Stored);
    assert_eq!(f.store.end_session(f.id(), first.id).await.unwrap(), Changed::NotFound);
    assert!(!f.is_alive(&first).await);
    assert_eq!(f.listed().await.len(), 2);
    let fourth = f.begun().await;
    assert_eq!(f.store.end_other_sessions(f.id(), third.id).await.unwrap(), 2);
    assert!(f.is_alive(&third).await);
    assert!(!f.is_alive(&second).await && !f.is_alive(&fourth).await);
    assert_eq!(f.listed().await, [third.id]);
}

async fn the_oldest_session_ends_beyond_the_cap(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let mut sessions = Vec::new();
    for _ in 0..MAX_SESSIONS_PER_OWNER + 2 {
        f.advance(10);
        sessions.push(f.begun().await);
    }
    assert!(!f.is_alive(&sessions[0]).await && !f.is_alive(&sessions[1]).await);
    assert!(f.is_alive(&sessions[2]).await && f.is_alive(&sessions[MAX_SESSIONS_PER_OWNER + 1]).await);
    assert_eq!(f.listed().await.len(), MAX_SESSIONS_PER_OWNER);
}

async fn a_consent_grows_with_what_is_allowed(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let app = client("app/1");
    assert_eq!(f.consent(&app).await, None);
    assert_eq!(f.remember(&app, 5, "read").await, Changed::Stored);
    f.advance(MINUTE_MS);
    assert_eq!(f.remember(&app, 5, "write read").await, Changed::Stored);
    let consent = f.consent(&app).await.unwrap();
    assert_eq!((consent.scope.as_str(), consent.client_epoch), ("read write", 5));
    assert!(f.clock.now().since(consent.given_at) < MINUTE_MS);
    // A client that was replaced begins anew.
    assert_eq!(f.remember(&app, 6, "admin").await, Changed::Stored);
    let consent = f.consent(&app).await.unwrap();
    assert_eq!((consent.scope.as_str(), consent.client_epoch), ("admin", 6));
    // The empty scope is a consent as well.
    assert_eq!(f.remember(&client("bare"), 1, "").await, Changed::Stored);
    assert_eq!(f.remember(&client("bare"), 1, "").await, Changed::Stored);
    assert_eq!(f.consent(&client("bare")).await.unwrap().scope, Scope::default());
    let all: Vec<_> = f.store.consents_of(f.id()).await.unwrap().into_iter().map(|consent| consent.client_id).collect();
    assert_eq!(all, [client("app/1"), client("bare")]);
}

async fn a_consent_is_forgotten_on_demand(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    f.remember(&client("app"), 1, "read").await;
    f.remember(&client("other"), 1, "read").await;
    assert_eq!(f.store.forget_consent(f.id(), &client("app")).await.unwrap(), Changed::Stored);
    assert_eq!(f.store.forget_consent(f.id(), &client("app")).await.unwrap(), Changed::NotFound);
    assert_eq!(f.consent(&client("app")).await, None);
    assert!(f.consent(&client("other")).await.is_some());
    f.remember(&client("third"), 1, "read").await;
    assert_eq!(f.store.forget_consents(f.id()).await.unwrap(), 2);
    assert_eq!(f.store.forget_consents(f.id()).await.unwrap(), 0);
    assert!(f.store.consents_of(f.id()).await.unwrap().is_empty());
    // The empty list is no obstacle to a new one.
    assert_eq!(f.remember(&client("app"), 1, "write").await, Changed::Stored);
    assert_eq!(f.consent(&client("app")).await.unwrap().scope.as_str(), "write");
}

async fn a_consent_needs_the_owner_as_authenticated(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    f.store.change_owner(f.id(), OwnerChange::LogOut).await.unwrap();
    assert_eq!(f.remember(&client("app"), 1, "read").await, Changed::NotFound);
    f.store.delete_owner(f.id()).await.unwrap();
    assert_eq!(f.remember(&client("app"), 1, "read").await, Changed::NotFound);
    assert!(f.store.consents_of(f.id()).await.unwrap().is_empty());
}

async fn consents_are_capped(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    for number in 0..MAX_CONSENTS_PER_OWNER {
        assert_eq!(f.remember(&client(&format!("app-{number}")), 1, "read").await, Changed::Stored);
    }
    assert_eq!(f.remember(&client("one-more"), 1, "read").await, Changed::NotFound);
    assert_eq!(f.remember(&client("app-0"), 1, "write").await, Changed::Stored);
    assert_eq!(f.consent(&client("app-0")).await.unwrap().scope.as_str(), "read write");
}

contract! {
    a_session_is_found_by_its_secret_only,
    a_session_needs_the_owner_as_authenticated,
    beginning_the_same_session_again_changes_nothing,
    an_unused_session_ends_and_a_used_one_lives_until_its_end,
    the_use_of_a_session_is_noted_to_the_minute,
    a_session_ends_with_what_its_owner_had,
    a_session_and_a_consent_go_with_their_owner,
    sessions_end_one_by_one_or_all_others_at_once,
    the_oldest_session_ends_beyond_the_cap,
    a_consent_grows_with_what_is_allowed,
    a_consent_is_forgotten_on_demand,
    a_consent_needs_the_owner_as_authenticated,
    consents_are_capped,
}
