//! What every store must do, run against each of them. No case sleeps: the clock is moved.
//!
//! Not here: that Redis decides as `decide.rs` does on random input, which is the differential test.

use std::{sync::Arc, time::Duration};

use regrant::{
    client::{Client, ClientType, GrantType, WebOrigin},
    clock::{Clock, Timestamp, random_bytes},
    ids::{ClientId, GrantId, Subject, Username},
    scope::Scope,
    store::{
        Changed, Created, Delivery, GrantCreation, GrantRecord, GrantStatus, LiveGrant, LoginAdmission, LoginAttempt,
        MAX_GRANTS_PER_OWNER, NewGrant, Origin, OwnerChange, OwnerRecord, OwnerSearch, OwnerStanding, OwnerStatus,
        Presented, Refusal, RevocationReason, Rotation, RotationPolicy, SealedKey, Store,
    },
};
use tokio::task::JoinSet;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const GRACE_MS: i64 = MINUTE_MS;
const ACCESS_MS: i64 = 10 * MINUTE_MS;
const CLIENT_EPOCH: u64 = 7;

/// A new owner and a new client of a store, and what the tests do with them.
#[derive(Clone)]
struct Fixture {
    store: Arc<dyn Store>,
    clock: Clock,
    owner: OwnerRecord,
    client_id: ClientId,
}

impl Fixture {
    async fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        let owner = new_owner(&clock);
        assert_eq!(store.create_owner(&owner).await.unwrap(), Created::Stored);
        Self { store, clock, owner, client_id: random_client_id() }
    }

    fn advance(&self, milliseconds: i64) {
        self.clock.advance(Duration::from_millis(u64::try_from(milliseconds).unwrap()));
    }

    fn new_grant(&self) -> NewGrant {
        NewGrant {
            settles: None,
            id: GrantId::random(),
            owner: self.owner.id(),
            owner_epoch: self.owner.epoch,
            client_id: self.client_id.clone(),
            client_epoch: CLIENT_EPOCH,
            family_hash: random_bytes(),
            key_id: 3,
            scope: Scope::parse("read write").unwrap(),
            audience: vec!["https://api.example/".to_owned(), "https://b.example/ü\"".to_owned()],
            delivery: Delivery::Body,
            idle_ms: 10 * DAY_MS,
            absolute_ms: 30 * DAY_MS,
            grace_ms: GRACE_MS,
            access_token_lifetime_ms: ACCESS_MS,
            from: origin("192.0.2.1", "an agent"),
            deadline: self.clock.now().plus(MINUTE_MS),
        }
    }

    async fn create(&self, grant: &NewGrant) -> Timestamp {
        match self.store.create_grant(grant).await.unwrap() {
            GrantCreation::Stored { now } => now,
            other => panic!("the grant was not created: {other:?}"),
        }
    }

    async fn grant(&self) -> NewGrant {
        let grant = self.new_grant();
        self.create(&grant).await;
        grant
    }

    fn token(&self, grant: &NewGrant, generation: u32) -> Presented {
        Presented {
            owner: grant.owner,
            grant: grant.id,
            generation,
            family_hash: grant.family_hash,
            client_id: grant.client_id.clone(),
            client_epoch: grant.client_epoch,
            delivery: grant.delivery,
            requested_scope: None,
            requested_audience: vec![],
            rotation: RotationPolicy::Rotate,
            new_key_id: 4,
            access_token_lifetime_ms: ACCESS_MS,
            from: origin("192.0.2.1", "an agent"),
            deadline: self.clock.now().plus(MINUTE_MS),
        }
    }

    async fn rotate(&self, presented: &Presented) -> Rotation {
        self.store.rotate(presented).await.unwrap()
    }

    async fn present(&self, grant: &NewGrant, generation: u32) -> Rotation {
        self.rotate(&self.token(grant, generation)).await
    }

    async fn rotated(&self, grant: &NewGrant, generation: u32) -> LiveGrant {
        match self.present(grant, generation).await {
            Rotation::Rotated(live) => live,
            other => panic!("generation {generation} did not rotate: {other:?}"),
        }
    }

    async fn record(&self, grant: &NewGrant) -> GrantRecord {
        self.store.grant(grant.owner, grant.id).await.unwrap().expect("the grant is stored")
    }

    async fn assert_revoked(&self, grant: &NewGrant, expected: RevocationReason) {
        let record = self.record(grant).await;
        assert!(matches!(record.status, GrantStatus::Revoked { reason, .. } if reason == expected), "{record:?}");
    }

    async fn change(&self, change: OwnerChange) -> Changed {
        self.store.change_owner(self.owner.id(), change).await.unwrap()
    }

    async fn stored_owner(&self) -> OwnerRecord {
        self.store.owner(self.owner.id()).await.unwrap().expect("the owner is stored")
    }

    /// A presentation that only tells whether the token has expired, and changes nothing.
    async fn has_expired(&self, grant: &NewGrant, generation: u32) -> bool {
        let too_large = Some(Scope::parse("admin").unwrap());
        match self.rotate(&Presented { requested_scope: too_large, ..self.token(grant, generation) }).await {
            Rotation::Refused(Refusal::Scope) => false,
            Rotation::Refused(Refusal::Expired) => true,
            other => panic!("neither alive nor expired: {other:?}"),
        }
    }

    /// Moves the clock to just before `expiry` and asks until it has passed: the answer turns with the
    /// millisecond.
    async fn assert_expires_at(&self, grant: &NewGrant, generation: u32, expiry: Timestamp) {
        self.advance(expiry.since(self.clock.now()) - MINUTE_MS);
        assert!(!self.has_expired(grant, generation).await);
        self.advance(expiry.since(self.clock.now()) - 5);
        loop {
            let before = self.clock.now();
            let expired = self.has_expired(grant, generation).await;
            let after = self.clock.now();
            if expired {
                assert!(after >= expiry, "expired {} ms too early", expiry.since(after));
                return;
            }
            assert!(before < expiry, "alive {} ms too long", before.since(expiry));
        }
    }
}

pub(crate) fn origin(address: &str, agent: &str) -> Origin {
    Origin { address: address.into(), agent: agent.into() }
}

pub fn new_owner(clock: &Clock) -> OwnerRecord {
    OwnerRecord {
        username: Username::parse(&format!("owner-{}", GrantId::random()).to_lowercase()).unwrap(),
        subject: Subject::random(),
        status: OwnerStatus::Active,
        epoch: (1 << 53) - 1_000,
        sealed_password: vec![0, 1, 255],
        created_at: clock.now(),
        demo: false,
    }
}

fn random_client_id() -> ClientId {
    ClientId::parse(&format!("client-{}", GrantId::random())).unwrap()
}

fn new_client(clock: &Clock) -> Client {
    Client {
        id: random_client_id(),
        name: None,
        client_type: ClientType::Public,
        secrets: Vec::new(),
        grant_types: vec![GrantType::Password, GrantType::RefreshToken],
        scope: Scope::parse("read write").unwrap(),
        redirect_uris: Vec::new(),
        audience: vec!["https://api.example/".to_owned()],
        cookie_mode: true,
        origins: vec![WebOrigin::parse("https://app.example").unwrap()],
        rotation: RotationPolicy::Keep,
        grace_seconds: Some(5),
        refresh_idle_seconds: Some(7),
        refresh_absolute_seconds: Some(9),
        disabled: false,
        epoch: (1 << 53) - 1_000,
        version: 1,
        created_at: clock.now(),
        demo: true,
    }
}

async fn a_grant_settles_the_login_it_comes_of(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let attempt = async || {
        let (address, deadline) = ("home".to_owned(), f.store.deadline());
        let attempt = LoginAttempt { owner: f.owner.id(), address, device: None, deadline };
        f.store.attempt_login(&attempt).await.unwrap()
    };
    let admitted = async || match attempt().await {
        LoginAdmission::Admitted { ticket, .. } => ticket,
        other => panic!("not admitted: {other:?}"),
    };
    let first = admitted().await;
    assert!(!first.trusted);
    let grant = NewGrant { settles: Some(first), ..f.new_grant() };
    f.create(&grant).await;
    let second = admitted().await;
    assert!(second.trusted, "the owner has signed in from there");
    // The same command once more settles nothing: twenty may be under way at once.
    f.create(&grant).await;
    for _ in 1..20 {
        admitted().await;
    }
    assert_eq!(attempt().await, LoginAdmission::Refused { retry_after_ms: 1_000 });
    // The password was right, though there is no grant.
    let too_late = NewGrant { settles: Some(second), owner_epoch: f.owner.epoch + 1, ..f.new_grant() };
    assert_eq!(f.store.create_grant(&too_late).await.unwrap(), GrantCreation::OwnerChanged);
    admitted().await;
}

async fn a_token_of_cookie_mode_is_accepted_from_a_cookie_only(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = NewGrant { delivery: Delivery::Cookie, ..f.new_grant() };
    f.create(&grant).await;
    let stored = f.record(&grant).await;
    assert_eq!(stored.delivery, Delivery::Cookie);
    // Whichever generation it is: a copy in the wrong place neither works nor revokes.
    for generation in [1, 2, 9] {
        let in_body = Presented { delivery: Delivery::Body, ..f.token(&grant, generation) };
        assert_eq!(f.rotate(&in_body).await, Rotation::Refused(Refusal::WrongDelivery));
    }
    assert_eq!(f.record(&grant).await, stored);
    f.rotated(&grant, 1).await;
    assert_eq!(f.record(&grant).await.delivery, Delivery::Cookie);
}

async fn a_grant_is_created_and_read_back(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let before = f.clock.now();
    let grant = f.new_grant();
    let now = f.create(&grant).await;
    assert!(before <= now && now <= f.clock.now(), "{before:?} {now:?}");
    let expected = GrantRecord {
        status: GrantStatus::Active,
        family_hash: grant.family_hash,
        generation: 1,
        key_id: 3,
        current_since: now,
        created_at: now,
        absolute_expiry: now.plus(30 * DAY_MS),
        idle_ms: 10 * DAY_MS,
        grace_ms: GRACE_MS,
        client_id: f.client_id.clone(),
        owner_epoch: f.owner.epoch,
        client_epoch: CLIENT_EPOCH,
        scope: grant.scope.clone(),
        audience: grant.audience.clone(),
        delivery: Delivery::Body,
        access_expires_at: now.plus(ACCESS_MS),
        used_in_place: false,
        repeats: 0,
        last_used_from: grant.from.clone(),
    };
    assert_eq!(f.record(&grant).await, expected);
    assert_eq!(f.store.grants_of(grant.owner).await.unwrap(), [grant.id]);
    assert_eq!(f.store.grant(grant.owner, GrantId::random()).await.unwrap(), None);
    f.store.ping().await.unwrap();
}

async fn the_first_access_token_does_not_outlive_the_grant(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = NewGrant { absolute_ms: 1_000, ..f.new_grant() };
    let now = f.create(&grant).await;
    assert_eq!(f.record(&grant).await.access_expires_at, now.plus(1_000));
}

async fn creating_the_same_grant_again_changes_nothing(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    f.rotated(&grant, 1).await;
    let stored = f.record(&grant).await;
    f.create(&grant).await;
    assert_eq!(f.record(&grant).await, stored);
    assert_eq!(f.store.grants_of(grant.owner).await.unwrap(), [grant.id]);
}

async fn a_grant_needs_the_owner_as_authenticated(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let stranger = NewGrant { owner: new_owner(&f.clock).id(), ..f.new_grant() };
    let other_epoch = NewGrant { owner_epoch: f.owner.epoch - 1, ..f.new_grant() };
    for grant in [&stranger, &other_epoch] {
        assert_eq!(f.store.create_grant(grant).await.unwrap(), GrantCreation::OwnerChanged);
        assert_eq!(f.store.grant(grant.owner, grant.id).await.unwrap(), None);
    }
    f.change(OwnerChange::Disable).await;
    let grant = NewGrant { owner_epoch: f.stored_owner().await.epoch, ..f.new_grant() };
    assert_eq!(f.store.create_grant(&grant).await.unwrap(), GrantCreation::OwnerChanged);
    assert_eq!(f.store.grants_of(f.owner.id()).await.unwrap(), []);
}

/// I-21
async fn a_late_creation_changes_nothing(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = NewGrant { deadline: f.clock.now().plus(-1_000), ..f.new_grant() };
    let creation = f.store.create_grant(&grant).await.unwrap();
    assert!(matches!(creation, GrantCreation::TooLate { now } if now > grant.deadline), "{creation:?}");
    assert_eq!(f.store.grant(grant.owner, grant.id).await.unwrap(), None);
}

async fn rotation_makes_the_next_generation_current(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.new_grant();
    let created = f.create(&grant).await;
    f.advance(DAY_MS);
    let live = f.rotated(&grant, 1).await;
    let expected = LiveGrant {
        now: live.now,
        subject: f.owner.subject.clone(),
        scope: grant.scope.clone(),
        audience: grant.audience.clone(),
        generation: 2,
        key_id: 4,
        current_since: live.now,
        expires_at: live.now.plus(10 * DAY_MS),
        absolute_expiry: created.plus(30 * DAY_MS),
    };
    assert_eq!(live, expected);
    assert!(live.now.since(created) >= DAY_MS);
    let record = f.record(&grant).await;
    assert_eq!((record.generation, record.key_id, record.current_since), (2, 4, live.now));
    assert_eq!((record.access_expires_at, record.used_in_place), (live.now.plus(ACCESS_MS), false));
    assert_eq!(f.rotated(&grant, 2).await.generation, 3);
}

/// I-02
async fn a_retry_within_the_grace_gets_the_same_generation(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    let first = f.rotated(&grant, 1).await;
    f.advance(GRACE_MS / 2);
    for repeats in 1..=3 {
        let Rotation::Repeated(again) = f.present(&grant, 1).await else { panic!("not repeated") };
        assert_eq!(again, LiveGrant { now: again.now, ..first.clone() });
        assert_eq!(f.record(&grant).await.repeats, repeats);
    }
    assert_eq!(f.rotated(&grant, 2).await.generation, 3);
}

/// I-06
async fn a_presentation_after_the_grace_revokes(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    f.rotated(&grant, 1).await;
    f.advance(GRACE_MS);
    let replay = Rotation::Replayed { reason: RevocationReason::Replay, presented: 1, current: 2 };
    assert_eq!(f.present(&grant, 1).await, replay);
    f.assert_revoked(&grant, RevocationReason::Replay).await;
    let refused = Rotation::Refused(Refusal::Revoked(RevocationReason::Replay));
    assert_eq!(f.present(&grant, 2).await, refused);
    assert_eq!(f.present(&grant, 1).await, refused);
}

/// I-06
async fn two_generations_back_revokes_even_within_the_grace(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    f.rotated(&grant, 1).await;
    f.rotated(&grant, 2).await;
    let replay = Rotation::Replayed { reason: RevocationReason::Replay, presented: 1, current: 3 };
    assert_eq!(f.present(&grant, 1).await, replay);
    f.assert_revoked(&grant, RevocationReason::Replay).await;
}

async fn a_scope_beyond_the_grant_is_refused_and_the_token_stays_good(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    let stored = f.record(&grant).await;
    let requested_scope = Some(Scope::parse("read admin").unwrap());
    let too_large = Presented { requested_scope, ..f.token(&grant, 1) };
    assert_eq!(f.rotate(&too_large).await, Rotation::Refused(Refusal::Scope));
    assert_eq!(f.record(&grant).await, stored);
    assert_eq!(f.rotated(&grant, 1).await.generation, 2);
}

async fn a_narrow_scope_does_not_shrink_the_grant(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    let read = Scope::parse("read").unwrap();
    let narrow = Presented { requested_scope: Some(read.clone()), ..f.token(&grant, 1) };
    let Rotation::Rotated(live) = f.rotate(&narrow).await else { panic!("not rotated") };
    assert_eq!(live.scope, read);
    assert_eq!(f.record(&grant).await.scope, grant.scope);
    assert_eq!(f.rotated(&grant, 2).await.scope, grant.scope);
}

async fn a_resource_beyond_the_grant_is_refused_and_the_token_stays_good(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let resources = ["https://a.example", "https://b.example"].map(str::to_owned).to_vec();
    let grant = NewGrant { audience: resources.clone(), ..f.new_grant() };
    f.create(&grant).await;
    let stored = f.record(&grant).await;
    let asks = |text: &str| Presented { requested_audience: vec![text.to_owned()], ..f.token(&grant, 1) };
    // No part of a name is the name.
    for beyond in ["https://c.example", "https://a.exampl", "https://a.example/", "example"] {
        assert_eq!(f.rotate(&asks(beyond)).await, Rotation::Refused(Refusal::Audience), "{beyond}");
    }
    assert_eq!(f.record(&grant).await, stored);
    let Rotation::Rotated(live) = f.rotate(&asks("https://b.example")).await else { panic!("not rotated") };
    assert_eq!(live.audience, ["https://b.example"]);
    assert_eq!(f.record(&grant).await.audience, resources);
    assert_eq!(f.rotated(&grant, 2).await.audience, resources);
}

/// I-12
async fn a_token_that_does_not_fit_the_grant_has_no_effect(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    f.rotated(&grant, 1).await;
    f.rotated(&grant, 2).await;
    let stored = f.record(&grant).await;
    // Even a generation that would be a replay: a stranger must not be able to revoke.
    let token = f.token(&grant, 1);
    let cases = [
        (
            Presented { client_id: random_client_id(), ..token.clone() },
            Refusal::WrongClient { issued_to: f.client_id.clone() },
        ),
        (Presented { family_hash: random_bytes(), ..token.clone() }, Refusal::WrongFamily),
        (Presented { delivery: Delivery::Cookie, ..token.clone() }, Refusal::WrongDelivery),
        (Presented { grant: GrantId::random(), ..token.clone() }, Refusal::Unknown),
        (Presented { owner: new_owner(&f.clock).id(), ..token }, Refusal::Unknown),
    ];
    for (presented, refusal) in cases {
        assert_eq!(f.rotate(&presented).await, Rotation::Refused(refusal));
    }
    assert_eq!(f.record(&grant).await, stored);
    assert_eq!(f.rotated(&grant, 3).await.generation, 4);
}

/// I-03
async fn an_unused_token_expires_to_the_millisecond(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    let live = f.rotated(&grant, 1).await;
    assert_eq!(live.expires_at, live.now.plus(10 * DAY_MS));
    f.assert_expires_at(&grant, 2, live.expires_at).await;
    assert_eq!(f.present(&grant, 2).await, Rotation::Refused(Refusal::Expired));
}

/// I-03
async fn a_grant_ends_to_the_millisecond(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = NewGrant { absolute_ms: 15 * DAY_MS, ..f.new_grant() };
    let created = f.create(&grant).await;
    f.advance(9 * DAY_MS);
    let live = f.rotated(&grant, 1).await;
    assert_eq!(live.expires_at, created.plus(15 * DAY_MS));
    f.assert_expires_at(&grant, 2, live.absolute_expiry).await;
}

/// I-04
async fn a_thousand_rotations_do_not_move_the_end_of_the_grant(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.new_grant();
    let created = f.create(&grant).await;
    for generation in 1..=1_000 {
        f.advance(MINUTE_MS);
        let live = f.rotated(&grant, generation).await;
        assert_eq!((live.generation, live.absolute_expiry), (generation + 1, created.plus(30 * DAY_MS)));
    }
    let record = f.record(&grant).await;
    assert_eq!((record.generation, record.absolute_expiry), (1_001, created.plus(30 * DAY_MS)));
    assert_eq!(record.created_at, created);
}

/// I-14
async fn a_new_password_kills_the_grants(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    assert_eq!(f.change(OwnerChange::SetPassword { sealed: b"new".to_vec() }).await, Changed::Stored);
    let expected = OwnerRecord { epoch: f.owner.epoch + 1, sealed_password: b"new".to_vec(), ..f.owner.clone() };
    assert_eq!(f.stored_owner().await, expected);
    let refused = Rotation::Refused(Refusal::Revoked(RevocationReason::OwnerEpoch));
    assert_eq!(f.present(&grant, 1).await, refused);
    f.assert_revoked(&grant, RevocationReason::OwnerEpoch).await;
}

/// I-14
async fn logging_out_kills_the_grants_and_allows_new_ones(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    assert_eq!(f.change(OwnerChange::LogOut).await, Changed::Stored);
    let owner = f.stored_owner().await;
    assert_eq!(owner, OwnerRecord { epoch: f.owner.epoch + 1, ..f.owner.clone() });
    let refused = Rotation::Refused(Refusal::Revoked(RevocationReason::OwnerEpoch));
    assert_eq!(f.present(&grant, 1).await, refused);
    let newer = NewGrant { owner_epoch: owner.epoch, ..f.new_grant() };
    f.create(&newer).await;
    f.rotated(&newer, 1).await;
}

async fn enabling_an_owner_revives_no_grant(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let (used, unused) = (f.grant().await, f.grant().await);
    assert_eq!(f.change(OwnerChange::Disable).await, Changed::Stored);
    assert_eq!(f.stored_owner().await.status, OwnerStatus::Disabled);
    let refused = Rotation::Refused(Refusal::Revoked(RevocationReason::OwnerEpoch));
    assert_eq!(f.present(&used, 1).await, refused);
    assert_eq!(f.change(OwnerChange::Enable).await, Changed::Stored);
    let owner = f.stored_owner().await;
    assert_eq!(owner.status, OwnerStatus::Active);
    assert!(owner.epoch > f.owner.epoch);
    assert_eq!(f.present(&used, 1).await, refused);
    assert_eq!(f.present(&unused, 1).await, refused);
}

async fn deleting_an_owner_kills_the_grants(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let (grant, unused) = (f.grant().await, f.grant().await);
    let id = f.owner.id();
    assert_eq!(f.store.delete_owner(id).await.unwrap(), Changed::Stored);
    assert_eq!(f.store.delete_owner(id).await.unwrap(), Changed::NotFound);
    assert_eq!(f.store.owner(id).await.unwrap(), None);
    let refused = Rotation::Refused(Refusal::Revoked(RevocationReason::OwnerEpoch));
    assert_eq!(f.present(&grant, 1).await, refused);
    for change in [OwnerChange::Disable, OwnerChange::Enable, OwnerChange::LogOut] {
        assert_eq!(f.change(change).await, Changed::NotFound);
    }
    // Somebody of the same name, with another epoch, as every new owner has.
    let namesake = OwnerRecord { epoch: 5, subject: Subject::random(), ..f.owner.clone() };
    assert_eq!(f.store.create_owner(&namesake).await.unwrap(), Created::Stored);
    assert_eq!(f.present(&unused, 1).await, refused);
}

async fn a_grant_is_read_with_its_owners_standing(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let (grant, id) = (f.grant().await, f.owner.id());
    let standing = async || f.store.standing(id, grant.id).await.unwrap();
    let record = f.record(&grant).await;
    assert_eq!(standing().await, Some((record.clone(), Some(f.owner.clone().into()))));
    assert_eq!(f.change(OwnerChange::Disable).await, Changed::Stored);
    let disabled: OwnerStanding = f.stored_owner().await.into();
    assert!(disabled.status == OwnerStatus::Disabled && disabled.epoch > f.owner.epoch, "{disabled:?}");
    assert_eq!(standing().await, Some((record.clone(), Some(disabled))));
    assert_eq!(f.store.delete_owner(id).await.unwrap(), Changed::Stored);
    assert_eq!(standing().await, Some((record, None)));
    assert_eq!(f.store.standing(id, GrantId::random()).await.unwrap(), None);
}

async fn owners_are_created_once_and_listed(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let namesake = OwnerRecord { subject: Subject::random(), demo: true, ..f.owner.clone() };
    assert_eq!(f.store.create_owner(&namesake).await.unwrap(), Created::Exists);
    assert_eq!(f.stored_owner().await, f.owner);
    let second = OwnerRecord { demo: true, status: OwnerStatus::Disabled, ..new_owner(&f.clock) };
    assert_eq!(f.store.create_owner(&second).await.unwrap(), Created::Stored);
    let owners = f.store.owners().await.unwrap();
    assert!(owners.contains(&f.owner) && owners.contains(&second));
    assert!(owners.is_sorted_by(|a, b| a.username.as_str() < b.username.as_str()), "{owners:?}");
}

async fn owners_are_searched_by_the_beginning_of_their_names_page_by_page(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    // Characters of several bytes, and what would be a pattern elsewhere.
    let names = ["zoe-%", "zoe-a", "zoe-b", "zoe-c", "zoe-\u{e4}", "zoe_d", "zof"];
    for name in names.into_iter().chain(["a-zoe-a"]) {
        let owner = OwnerRecord { username: Username::parse(name).unwrap(), ..new_owner(&f.clock) };
        assert_eq!(f.store.create_owner(&owner).await.unwrap(), Created::Stored);
    }
    let search = async |prefix: &str, after: &str, limit: usize| {
        let search = OwnerSearch { prefix: prefix.into(), after: after.into(), limit };
        let found = f.store.search_owners(&search).await.unwrap();
        found.into_iter().map(|owner| owner.username.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(search("zoe-", "", 9).await, names[..5]);
    assert_eq!(search("zoe-", "", 2).await, names[..2]);
    assert_eq!(search("zoe-", "zoe-a", 2).await, names[2..4]);
    assert_eq!(search("zoe-", "zoe-c", 2).await, names[4..5]);
    assert_eq!(search("zo", "zoe-c", 9).await, names[4..]);
    assert_eq!(search("zoe-%", "", 9).await, names[..1]);
    assert!(search("zoe-x", "", 9).await.is_empty() && search("zoe-", "zoe-\u{e4}", 9).await.is_empty());
    let all: Vec<String> = search("", "", usize::MAX).await;
    let listed: Vec<String> =
        f.store.owners().await.unwrap().iter().map(|owner| owner.username.as_str().to_owned()).collect();
    assert_eq!(all, listed);
}

async fn a_rehash_does_not_undo_a_new_password(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let rehash =
        |expected: &[u8], sealed: &[u8]| OwnerChange::Rehash { expected: expected.to_vec(), sealed: sealed.to_vec() };
    assert_eq!(f.change(rehash(&f.owner.sealed_password, b"rehashed")).await, Changed::Stored);
    let expected = OwnerRecord { sealed_password: b"rehashed".to_vec(), ..f.owner.clone() };
    assert_eq!(f.stored_owner().await, expected);
    f.change(OwnerChange::SetPassword { sealed: b"new".to_vec() }).await;
    assert_eq!(f.change(rehash(b"rehashed", b"old again")).await, Changed::NotFound);
    assert_eq!(f.stored_owner().await.sealed_password, b"new");
}

async fn a_newer_client_epoch_kills_the_grants(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    let token = Presented { client_epoch: CLIENT_EPOCH + 1, ..f.token(&grant, 1) };
    let refused = Rotation::Refused(Refusal::Revoked(RevocationReason::ClientEpoch));
    assert_eq!(f.rotate(&token).await, refused);
    f.assert_revoked(&grant, RevocationReason::ClientEpoch).await;
    assert_eq!(f.present(&grant, 1).await, refused);
}

/// I-09
async fn a_lost_write_is_repaired(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    for ahead in [1, 2] {
        let grant = f.grant().await;
        f.rotated(&grant, 1).await;
        let Rotation::Repaired(live) = f.present(&grant, 2 + ahead).await else { panic!("{ahead} not repaired") };
        assert_eq!((live.generation, live.key_id, live.current_since), (3 + ahead, 4, live.now));
        assert_eq!(f.record(&grant).await.generation, 3 + ahead);
        assert_eq!(f.rotated(&grant, 3 + ahead).await.generation, 4 + ahead);
    }
}

async fn a_token_from_the_future_revokes(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    for presented in [4, u32::MAX] {
        let grant = f.grant().await;
        let future = Rotation::Replayed { reason: RevocationReason::FromTheFuture, presented, current: 1 };
        assert_eq!(f.present(&grant, presented).await, future);
        f.assert_revoked(&grant, RevocationReason::FromTheFuture).await;
    }
}

/// I-21
async fn a_late_rotation_changes_nothing(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    let stored = f.record(&grant).await;
    let late = f.token(&grant, 1);
    f.advance(2 * MINUTE_MS);
    let rotation = f.rotate(&late).await;
    assert!(matches!(rotation, Rotation::TooLate { now } if now > late.deadline), "{rotation:?}");
    assert_eq!(f.record(&grant).await, stored);
    f.rotated(&grant, 1).await;
}

async fn under_keep_the_token_lives_on(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    f.rotated(&grant, 1).await;
    for _ in 0..2 {
        f.advance(DAY_MS);
        let kept = Presented { rotation: RotationPolicy::Keep, ..f.token(&grant, 2) };
        let Rotation::Rotated(live) = f.rotate(&kept).await else { panic!("not accepted") };
        assert_eq!((live.generation, live.key_id, live.current_since), (2, 4, live.now));
        assert_eq!(live.expires_at, live.now.plus(10 * DAY_MS));
        let record = f.record(&grant).await;
        assert_eq!((record.generation, record.used_in_place, record.current_since), (2, true, live.now));
    }
    // Generation 2 was used, so generation 1 is a replay whatever the grace says.
    let replay = Rotation::Replayed { reason: RevocationReason::Replay, presented: 1, current: 2 };
    assert_eq!(f.present(&grant, 1).await, replay);
}

/// I-01, I-02
async fn concurrent_presentations_have_one_successor(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (store, token) = (Arc::clone(&f.store), f.token(&grant, 1));
        tasks.spawn(async move { store.rotate(&token).await.unwrap() });
    }
    let mut rotated = 0;
    while let Some(rotation) = tasks.join_next().await {
        match rotation.unwrap() {
            Rotation::Rotated(live) => {
                rotated += 1;
                assert_eq!(live.generation, 2);
            }
            Rotation::Repeated(live) => assert_eq!(live.generation, 2),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rotated, 1);
    let record = f.record(&grant).await;
    assert_eq!((record.status, record.generation, record.repeats), (GrantStatus::Active, 2, 63));
    f.rotated(&grant, 2).await;
}

/// I-05
async fn revoking_keeps_the_first_reason(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    let elsewhere = origin("2001:db8::1", "another agent");
    let revoke = |reason| f.store.revoke_grant(grant.owner, grant.id, reason, &elsewhere);
    assert_eq!(revoke(RevocationReason::Client).await.unwrap(), Changed::Stored);
    let revoked = f.record(&grant).await;
    f.assert_revoked(&grant, RevocationReason::Client).await;
    assert!(matches!(&revoked.status, GrantStatus::Revoked { from, .. } if *from == elsewhere), "{revoked:?}");
    f.advance(MINUTE_MS);
    assert_eq!(revoke(RevocationReason::Operator).await.unwrap(), Changed::Stored);
    assert_eq!(f.record(&grant).await, revoked);
    let refused = Rotation::Refused(Refusal::Revoked(RevocationReason::Client));
    assert_eq!(f.present(&grant, 1).await, refused);
    let unknown =
        f.store.revoke_grant(grant.owner, GrantId::random(), RevocationReason::Client, &elsewhere).await.unwrap();
    assert_eq!(unknown, Changed::NotFound);
}

async fn a_grant_tells_where_it_was_last_used_and_revoked_from(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let grant = f.grant().await;
    assert_eq!(f.record(&grant).await.last_used_from, grant.from);
    let from = |name: &str| origin("2001:db8::7", name);
    let present = |generation, name: &str| Presented { from: from(name), ..f.token(&grant, generation) };
    assert!(matches!(f.rotate(&present(1, "rotates")).await, Rotation::Rotated(_)));
    assert_eq!(f.record(&grant).await.last_used_from, from("rotates"));
    // The same answer once more, and a refusal, are no use.
    assert!(matches!(f.rotate(&present(1, "repeats")).await, Rotation::Repeated(_)));
    let stranger = Presented { client_id: random_client_id(), ..present(2, "is refused") };
    assert!(matches!(f.rotate(&stranger).await, Rotation::Refused(_)));
    assert_eq!(f.record(&grant).await.last_used_from, from("rotates"));
    let kept = Presented { rotation: RotationPolicy::Keep, ..present(2, "keeps") };
    assert!(matches!(f.rotate(&kept).await, Rotation::Rotated(_)));
    assert_eq!(f.record(&grant).await.last_used_from, from("keeps"));
    assert!(matches!(f.rotate(&present(1, "replays")).await, Rotation::Replayed { .. }));
    let record = f.record(&grant).await;
    assert_eq!(record.last_used_from, from("keeps"));
    assert!(
        matches!(&record.status, GrantStatus::Revoked { from: thief, .. } if *thief == from("replays")),
        "{record:?}"
    );
    assert!(matches!(f.rotate(&present(2, "comes too late")).await, Rotation::Refused(_)));
    assert_eq!(f.record(&grant).await, record);
}

async fn the_oldest_grants_beyond_the_cap_are_revoked(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let mut grants = Vec::new();
    for _ in 0..MAX_GRANTS_PER_OWNER {
        f.advance(1);
        grants.push(f.grant().await);
    }
    assert!(matches!(f.record(&grants[0]).await.status, GrantStatus::Active));
    f.advance(1);
    // It ends first, and is not the oldest for that.
    let beyond = NewGrant { absolute_ms: DAY_MS, from: origin("192.0.2.9", "one too many"), ..f.new_grant() };
    let now = f.create(&beyond).await;
    let revoked = GrantStatus::Revoked { reason: RevocationReason::Overflow, at: now, from: beyond.from.clone() };
    assert_eq!(f.record(&grants[0]).await.status, revoked);
    for kept in [&grants[1], &beyond] {
        f.rotated(kept, 1).await;
    }
    // Whoever lost the answer asks again, and nobody else has to go for that.
    f.create(&beyond).await;
    assert!(matches!(f.record(&grants[1]).await.status, GrantStatus::Active));
}

async fn a_client_is_replaced_only_by_its_next_version(store: Arc<dyn Store>, clock: Clock) {
    let first = new_client(&clock);
    assert_eq!(store.replace_client(&Client { version: 2, ..first.clone() }).await.unwrap(), Changed::NotFound);
    assert_eq!(store.create_client(&first).await.unwrap(), Created::Stored);
    assert_eq!(store.create_client(&Client { demo: false, ..first.clone() }).await.unwrap(), Created::Exists);
    assert_eq!(store.client(&first.id).await.unwrap().as_deref(), Some(&first));
    let second = Client { version: 2, disabled: true, epoch: first.epoch + 1, ..first.clone() };
    assert_eq!(store.replace_client(&second).await.unwrap(), Changed::Stored);
    for version in [1, 2, 4] {
        let stale = Client { version, demo: false, ..first.clone() };
        assert_eq!(store.replace_client(&stale).await.unwrap(), Changed::NotFound, "{version}");
    }
    assert_eq!(store.client(&first.id).await.unwrap().as_deref(), Some(&second));
}

async fn clients_are_listed_and_deleted(store: Arc<dyn Store>, clock: Clock) {
    let (one, two) = (new_client(&clock), new_client(&clock));
    for client in [&one, &two] {
        assert_eq!(store.create_client(client).await.unwrap(), Created::Stored);
    }
    let clients = store.clients().await.unwrap();
    assert!([&one, &two].iter().all(|client| clients.iter().any(|c| **client == **c)));
    assert!(clients.is_sorted_by(|a, b| a.id < b.id), "{clients:?}");
    assert_eq!(store.delete_client(&one.id).await.unwrap(), Changed::Stored);
    assert_eq!(store.delete_client(&one.id).await.unwrap(), Changed::NotFound);
    assert_eq!(store.client(&one.id).await.unwrap(), None);
    assert!(store.clients().await.unwrap().iter().all(|client| client.id != one.id));
    assert_eq!(store.client(&two.id).await.unwrap().as_deref(), Some(&two));
}

async fn a_signing_key_takes_a_free_slot(store: Arc<dyn Store>, clock: Clock) {
    let taken = store.signing_keys().await.unwrap().len();
    let key = |number: usize| SealedKey {
        slot: u32::try_from(taken + number).unwrap(),
        algorithm: "ES256".to_owned(),
        sealed: vec![0, 255, u8::try_from(number).unwrap()],
        created_at: clock.now(),
        active_from: clock.now().plus(i64::try_from(number).unwrap()),
    };
    let keys: Vec<SealedKey> = (1..=12).map(key).collect();
    for key in &keys {
        assert_eq!(store.add_signing_key(key).await.unwrap(), Created::Stored);
    }
    let second = SealedKey { sealed: vec![1], ..keys[0].clone() };
    assert_eq!(store.add_signing_key(&second).await.unwrap(), Created::Exists);
    // The tenth comes after the ninth, not after the first.
    assert_eq!(store.signing_keys().await.unwrap()[taken..], keys);
    for key in &keys {
        assert_eq!(store.remove_signing_key(key.slot).await.unwrap(), Changed::Stored);
        assert_eq!(store.remove_signing_key(key.slot).await.unwrap(), Changed::NotFound);
    }
    assert_eq!(store.signing_keys().await.unwrap().len(), taken);
}

async fn all_living_grants_are_revoked_at_once(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let (first, second, third) = (f.new_grant(), f.new_grant(), f.new_grant());
    for grant in [&first, &second, &third] {
        f.create(grant).await;
    }
    let other = Fixture::new(Arc::clone(&f.store), f.clock.clone()).await;
    let others = other.new_grant();
    other.create(&others).await;
    let nowhere = Origin::default();
    f.store.revoke_grant(first.owner, first.id, RevocationReason::Client, &nowhere).await.unwrap();
    f.rotated(&second, 1).await;
    let from = Origin::new("192.0.2.9".parse().ok(), b"Browser/1");
    let revoke = async || f.store.revoke_grants(first.owner, RevocationReason::ResourceOwner, &from).await.unwrap();
    let before = f.clock.now();
    assert_eq!(revoke().await, 2);
    for grant in [&second, &third] {
        let GrantStatus::Revoked { reason, at, from: whence } = f.record(grant).await.status else { panic!() };
        assert_eq!((reason, &whence), (RevocationReason::ResourceOwner, &from));
        assert!((before..=f.clock.now().plus(1)).contains(&at), "{at:?}");
    }
    assert_eq!(f.present(&second, 2).await, Rotation::Refused(Refusal::Revoked(RevocationReason::ResourceOwner)));
    // The first reason stays, nobody else's grant is touched, and there is nothing left to do.
    let GrantStatus::Revoked { reason, .. } = f.record(&first).await.status else { panic!() };
    assert_eq!(reason, RevocationReason::Client);
    other.rotated(&others, 1).await;
    assert_eq!(revoke().await, 0);
    let next = f.new_grant();
    f.create(&next).await;
    f.rotated(&next, 1).await;
}

async fn a_denied_token_stays_denied_until_it_expires(store: Arc<dyn Store>, clock: Clock) {
    let jti = GrantId::random().to_string();
    assert!(!store.is_denied(&jti).await.unwrap());
    for _ in 0..2 {
        store.deny(&jti, clock.now().plus(MINUTE_MS)).await.unwrap();
        assert!(store.is_denied(&jti).await.unwrap());
    }
    assert!(!store.is_denied(&GrantId::random().to_string()).await.unwrap());
    // One that has expired already is nobody's trouble.
    store.deny(&GrantId::random().to_string(), clock.now().plus(-MINUTE_MS)).await.unwrap();
}

async fn concurrent_claims_of_one_name_have_one_winner(store: Arc<dyn Store>, clock: Clock) {
    let (owner, client) = (new_owner(&clock), new_client(&clock));
    let mut tasks = JoinSet::new();
    for number in 0..16_u8 {
        let store = Arc::clone(&store);
        let owner = OwnerRecord { sealed_password: vec![number], ..owner.clone() };
        let client = Client { grace_seconds: Some(number.into()), ..client.clone() };
        tasks.spawn(async move {
            let owner = store.create_owner(&owner).await.unwrap();
            (owner, store.create_client(&client).await.unwrap())
        });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|(owner, _)| *owner == Created::Stored).count(), 1);
    assert_eq!(outcomes.iter().filter(|(_, client)| *client == Created::Stored).count(), 1);
}

/// Makes one test of each case for each store.
macro_rules! contract {
    ($($case:ident,)*) => {
        /// Runs every case, one after the other, on one store that is emptied before each.
        pub async fn all_on(url: &str, empty: impl Fn()) {
            $(
                empty();
                println!("{}", stringify!($case));
                let clock = Clock::system();
                $case(regrant::store::open(url, clock.clone()).await.unwrap(), clock).await;
            )*
        }

        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().join("regrant.db").display());
                let clock = super::Clock::system();
                super::$case(regrant::store::open(&url, clock.clone()).await.unwrap(), clock).await;
            })*
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let url = crate::support::redis_url();
                let clock = super::Clock::system();
                super::$case(regrant::store::open(&url, clock.clone()).await.unwrap(), clock).await;
            })*
        }
    };
}

pub(crate) use contract;

contract! {
    a_grant_settles_the_login_it_comes_of,
    a_grant_is_created_and_read_back,
    a_token_of_cookie_mode_is_accepted_from_a_cookie_only,
    the_first_access_token_does_not_outlive_the_grant,
    creating_the_same_grant_again_changes_nothing,
    a_grant_needs_the_owner_as_authenticated,
    a_late_creation_changes_nothing,
    rotation_makes_the_next_generation_current,
    a_retry_within_the_grace_gets_the_same_generation,
    a_presentation_after_the_grace_revokes,
    two_generations_back_revokes_even_within_the_grace,
    a_scope_beyond_the_grant_is_refused_and_the_token_stays_good,
    a_narrow_scope_does_not_shrink_the_grant,
    a_resource_beyond_the_grant_is_refused_and_the_token_stays_good,
    a_token_that_does_not_fit_the_grant_has_no_effect,
    an_unused_token_expires_to_the_millisecond,
    a_grant_ends_to_the_millisecond,
    a_thousand_rotations_do_not_move_the_end_of_the_grant,
    a_new_password_kills_the_grants,
    logging_out_kills_the_grants_and_allows_new_ones,
    enabling_an_owner_revives_no_grant,
    deleting_an_owner_kills_the_grants,
    a_grant_is_read_with_its_owners_standing,
    owners_are_created_once_and_listed,
    owners_are_searched_by_the_beginning_of_their_names_page_by_page,
    a_rehash_does_not_undo_a_new_password,
    a_newer_client_epoch_kills_the_grants,
    a_lost_write_is_repaired,
    a_token_from_the_future_revokes,
    a_late_rotation_changes_nothing,
    under_keep_the_token_lives_on,
    concurrent_presentations_have_one_successor,
    revoking_keeps_the_first_reason,
    all_living_grants_are_revoked_at_once,
    a_denied_token_stays_denied_until_it_expires,
    a_grant_tells_where_it_was_last_used_and_revoked_from,
    the_oldest_grants_beyond_the_cap_are_revoked,
    a_client_is_replaced_only_by_its_next_version,
    clients_are_listed_and_deleted,
    a_signing_key_takes_a_free_slot,
    concurrent_claims_of_one_name_have_one_winner,
}
