//! The stores against the specification: random grants, random presentations, random time. Each store must
//! answer and keep exactly what `decide` says (I-30).

use std::time::Duration;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use regrant::{
    clock::{Clock, Timestamp, random_bytes},
    ids::{ClientId, GrantId, OwnerId, Subject, Username},
    scope::Scope,
    store::{
        self, Delivery, GrantCreation, GrantRecord, GrantStatus, NewGrant, Origin, OwnerChange, OwnerRecord,
        OwnerStanding, OwnerStatus, Presented, Refusal, RevocationReason, Rotation, RotationPolicy, Store,
        decide::{Delta, decide},
    },
};

use crate::support;

/// Random steps per store, at least; the variable `DIFFERENTIAL_STEPS` asks for another number.
const STEPS: usize = 100_000;
/// Steps on one grant before a new one is made.
const STEPS_PER_GRANT: usize = 16;

/// One step, with everything relative to the grant's state.
#[derive(Clone, Debug)]
struct Step {
    /// Added to the current generation.
    generation: i64,
    wrong_family: bool,
    wrong_client: bool,
    wrong_client_epoch: bool,
    wrong_delivery: bool,
    scope: Option<&'static str>,
    audience: Vec<&'static str>,
    rotation: RotationPolicy,
    address: &'static str,
    late: bool,
    wait_ms: u64,
    owner: Option<OwnerStep>,
    /// A grant that nobody has.
    unknown: bool,
}

#[derive(Clone, Copy, Debug)]
enum OwnerStep {
    LogOut,
    Disable,
    Delete,
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.03)
}

fn step() -> impl Strategy<Value = Step> {
    let generation = prop_oneof![10 => Just(0_i64), 5 => Just(-1), 1 => Just(-2), 1 => -9..9_i64];
    let scope =
        prop_oneof![4 => Just(None), 1 => Just(Some("read")), 1 => Just(Some("read write")), 1 => Just(Some("admin"))];
    let audience = prop_oneof![
        6 => Just(vec![]),
        1 => Just(vec!["https://api.example"]),
        1 => Just(vec!["https://b.example", "https://api.example"]),
        1 => Just(vec!["https://api"]),
    ];
    let rotation = prop_oneof![4 => Just(RotationPolicy::Rotate), 1 => Just(RotationPolicy::Keep)];
    let wait_ms = prop_oneof![8 => 0..200_u64, 2 => 0..2_000_u64, 1 => 0..40_000_u64];
    let owner = prop_oneof![
        60 => Just(None),
        1 => Just(Some(OwnerStep::LogOut)),
        1 => Just(Some(OwnerStep::Disable)),
        1 => Just(Some(OwnerStep::Delete)),
    ];
    let address = prop_oneof![Just("198.51.100.7"), Just("2001:db8::7"), Just("")];
    let wrong = (rarely(), rarely(), rarely(), rarely());
    (generation, wrong, (scope, audience), rotation, address, (rarely(), rarely()), wait_ms, owner).prop_map(
        |(
            generation,
            (wrong_family, wrong_client, wrong_client_epoch, wrong_delivery),
            (scope, audience),
            rotation,
            address,
            (late, unknown),
            wait_ms,
            owner,
        )| Step {
            generation,
            wrong_family,
            wrong_client,
            wrong_client_epoch,
            wrong_delivery,
            scope,
            audience,
            rotation,
            address,
            late,
            wait_ms,
            owner,
            unknown,
        },
    )
}

/// The record that `decide`'s delta leaves behind.
fn apply(record: &GrantRecord, delta: &Delta) -> GrantRecord {
    let mut next = record.clone();
    match delta.clone() {
        Delta::Unchanged => {}
        Delta::CountRepeat => next.repeats += 1,
        Delta::Advance { generation, key_id, current_since, access_expires_at, used_in_place, expires_at: _, from } => {
            next.generation = generation;
            next.key_id = key_id;
            next.current_since = current_since;
            next.access_expires_at = access_expires_at;
            next.used_in_place = used_in_place;
            next.last_used_from = from;
        }
        Delta::Revoke { reason, at, forget_at: _, from } => next.status = GrantStatus::Revoked { reason, at, from },
    }
    next
}

/// The store's time of an outcome, when it tells it.
fn time_of(rotation: &Rotation) -> Option<Timestamp> {
    match rotation {
        Rotation::Rotated(live) | Rotation::Repeated(live) | Rotation::Repaired(live) => Some(live.now),
        Rotation::TooLate { now } => Some(*now),
        Rotation::Replayed { .. } | Rotation::Refused(_) => None,
    }
}

async fn new_grant(store: &dyn Store, delivery: Delivery) -> (NewGrant, OwnerRecord) {
    let owner = OwnerRecord {
        username: Username::parse(&support::unique("owner")).unwrap(),
        subject: Subject::random(),
        status: OwnerStatus::Active,
        epoch: 7,
        sealed_password: vec![1],
        created_at: store.now(),
        demo: false,
    };
    store.create_owner(&owner).await.unwrap();
    let grant = NewGrant {
        settles: None,
        id: GrantId::random(),
        owner: owner.id(),
        owner_epoch: owner.epoch,
        client_id: ClientId::parse("client").unwrap(),
        client_epoch: 3,
        family_hash: random_bytes(),
        key_id: 1,
        scope: Scope::parse("read write").unwrap(),
        audience: vec!["https://api.example".into(), "https://b.example".into()],
        delivery,
        idle_ms: 60_000,
        absolute_ms: 200_000,
        grace_ms: 1_000,
        access_token_lifetime_ms: 5_000,
        from: Origin { address: "192.0.2.1".into(), agent: "the login's agent".into() },
        deadline: store.deadline(),
    };
    assert!(matches!(store.create_grant(&grant).await.unwrap(), GrantCreation::Stored { .. }));
    (grant, owner)
}

fn presentation(grant: &NewGrant, record: &GrantRecord, step: &Step, deadline: Timestamp) -> Presented {
    let generation = i64::from(record.generation).saturating_add(step.generation);
    Presented {
        owner: grant.owner,
        grant: grant.id,
        generation: u32::try_from(generation).unwrap_or(0),
        family_hash: if step.wrong_family { [9; 32] } else { grant.family_hash },
        client_id: ClientId::parse(if step.wrong_client { "other" } else { "client" }).unwrap(),
        client_epoch: if step.wrong_client_epoch { 4 } else { 3 },
        delivery: if step.wrong_delivery == (grant.delivery == Delivery::Body) {
            Delivery::Cookie
        } else {
            Delivery::Body
        },
        requested_audience: step.audience.iter().map(|text| (*text).to_owned()).collect(),
        requested_scope: step.scope.map(|text| Scope::parse(text).unwrap()),
        rotation: step.rotation,
        new_key_id: 2,
        access_token_lifetime_ms: 5_000,
        from: Origin { address: step.address.into(), agent: format!("agent/{generation}") },
        deadline: if step.late { Timestamp(1) } else { deadline },
    }
}

async fn change_owner(store: &dyn Store, id: OwnerId, step: OwnerStep) {
    match step {
        OwnerStep::LogOut => drop(store.change_owner(id, OwnerChange::LogOut).await.unwrap()),
        OwnerStep::Disable => drop(store.change_owner(id, OwnerChange::Disable).await.unwrap()),
        OwnerStep::Delete => drop(store.delete_owner(id).await.unwrap()),
    }
}

/// Whether `decide` gives this answer and this record for some time between `before` and `after`: the store
/// does not tell its time with a refusal.
fn agrees(
    (record, unknown): (&GrantRecord, bool),
    owner: Option<&OwnerStanding>,
    presented: &Presented,
    (before, after): (Timestamp, Timestamp),
    rotation: &Rotation,
    kept: &GrantRecord,
) -> bool {
    let times = match time_of(rotation) {
        Some(now) => now.0..=now.0,
        None => before.0..=after.0,
    };
    times.map(Timestamp).any(|now| {
        let decision = decide((!unknown).then_some(record), owner, presented, now);
        // A grant's clock never runs backwards, so the answer may carry a later time than the store's.
        decision.rotation == *rotation && apply(record, &decision.delta) == *kept
    })
}

async fn run(store_url: String) {
    let clock = Clock::system();
    let store = store::open(&store_url, clock.clone()).await.unwrap();
    let store = store.as_ref();
    let seed: [u8; 32] = random_bytes();
    println!("seed {seed:?}");
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let strategy = step();
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();

    let (mut number, mut steps) = (0, 0);
    let wanted = std::env::var("DIFFERENTIAL_STEPS").map_or(STEPS, |text| text.parse().unwrap());
    while steps < wanted {
        number += 1;
        let delivery = if number % 2 == 0 { Delivery::Body } else { Delivery::Cookie };
        let (grant, _) = new_grant(store, delivery).await;
        for _ in 0..STEPS_PER_GRANT {
            let step = strategy.new_tree(&mut runner).unwrap().current();
            clock.advance(Duration::from_millis(step.wait_ms));
            if let Some(change) = step.owner {
                change_owner(store, grant.owner, change).await;
            }
            let Some((record, owner)) = store.standing(grant.owner, grant.id).await.unwrap() else { break };
            let mut presented = presentation(&grant, &record, &step, store.deadline());
            if step.unknown {
                presented.grant = GrantId::random();
            }
            steps += 1;
            // A millisecond of slack on each side: the store's clock is read elsewhere.
            let before = clock.now().plus(-1);
            let rotation = store.rotate(&presented).await.unwrap();
            let after = clock.now().plus(1);
            let Some(kept) = store.grant(grant.owner, grant.id).await.unwrap() else { break };
            assert!(
                agrees((&record, step.unknown), owner.as_ref(), &presented, (before, after), &rotation, &kept),
                "seed {seed:?}\n{step:?}\n{record:#?}\n{owner:#?}\n{presented:#?}\nanswered {rotation:#?}\nkept {kept:#?}"
            );
            *seen.entry(outcome(&rotation)).or_default() += 1;
        }
    }
    println!("{steps} steps: {seen:?}");
    for wanted in OUTCOMES {
        assert!(seen.contains_key(wanted), "no step led to {wanted}: {seen:?}");
    }
}

/// The rows of `decide` that every run must meet; an expiry is met now and then, and has tests of its own.
const OUTCOMES: [&str; 14] = [
    "rotated",
    "repeated",
    "repaired",
    "replay",
    "future",
    "unknown",
    "wrong family",
    "wrong client",
    "wrong delivery",
    "revoked before",
    "owner changed",
    "client changed",
    "too large",
    "too late",
];

fn outcome(rotation: &Rotation) -> &'static str {
    match rotation {
        Rotation::Rotated(_) => "rotated",
        Rotation::Repeated(_) => "repeated",
        Rotation::Repaired(_) => "repaired",
        Rotation::Replayed { reason: RevocationReason::Replay, .. } => "replay",
        Rotation::Replayed { .. } => "future",
        Rotation::Refused(refusal) => match refusal {
            Refusal::Unknown => "unknown",
            Refusal::WrongFamily => "wrong family",
            Refusal::WrongClient { .. } => "wrong client",
            Refusal::WrongDelivery => "wrong delivery",
            Refusal::Revoked(RevocationReason::OwnerEpoch) => "owner changed",
            Refusal::Revoked(RevocationReason::ClientEpoch) => "client changed",
            Refusal::Revoked(_) => "revoked before",
            Refusal::Expired => "expired",
            Refusal::Scope | Refusal::Audience => "too large",
        },
        Rotation::TooLate { .. } => "too late",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i30_the_embedded_store_does_what_decide_says() {
    let folder = tempfile::tempdir().unwrap();
    run(format!("sqlite:{}", folder.path().join("regrant.db").display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i30_redis_does_what_decide_says() {
    run(support::redis_url()).await;
}
