//! The stores against the specifications of codes: random authorization codes and device codes, random presentations,
//! random time. Each store must answer and keep exactly what `redeem` and `poll` say (I-30).
//!
//! A store does not tell its time with every answer, so several states are possible after a step; each answer must follow
//! from one of them. Not here: rotation, see `differential.rs`.

use std::{collections::BTreeMap, time::Duration};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use regrant::{
    clock::{Clock, Timestamp, random_bytes},
    ids::{ClientId, DeviceId, GrantId, OwnerId, Subject, Username},
    pkce::CodeChallenge,
    scope::Scope,
    store::{
        self, CodeCreation, CodeRecord, CodeRefusal, DEVICE_REMEMBRANCE_MS, Delivery, DeviceDecided, DeviceDecision,
        DevicePoll, DeviceStart, GrantRecord, GrantStatus, NewCode, NewDevice, Origin, OwnerChange, OwnerRecord,
        OwnerStatus, PresentedCode, PresentedDevice, Redemption, RevocationReason, Store,
        poll::{DeviceDelta, StartedDevice, poll},
        redeem::{CodeDelta, RedeemedGrant, redeem},
    },
};

use crate::support;

/// Random steps of each kind on each store.
const STEPS: usize = 6_000;

/// Random steps, from a seed that a failure prints.
struct Dice {
    seed: [u8; 32],
    runner: TestRunner,
}

impl Dice {
    fn new() -> Self {
        let seed: [u8; 32] = random_bytes();
        println!("seed {seed:?}");
        let config = Config { failure_persistence: None, ..Config::default() };
        Self { seed, runner: TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed)) }
    }

    fn roll<T>(&mut self, strategy: &impl Strategy<Value = T>) -> T {
        strategy.new_tree(&mut self.runner).unwrap().current()
    }
}

/// What may have been the store's time: a millisecond of slack on each side, for its clock is read elsewhere.
fn times(exact: Option<Timestamp>, before: Timestamp, after: Timestamp) -> impl Iterator<Item = Timestamp> + Clone {
    let range = exact.map_or(before.0 - 1..=after.0 + 1, |now| now.0..=now.0);
    range.map(Timestamp)
}

fn add<T: PartialEq>(possible: &mut Vec<T>, state: T) {
    if !possible.contains(&state) {
        possible.push(state);
    }
}

fn assert_all_met(seen: &BTreeMap<&str, usize>, wanted: &[&str]) {
    println!("{seen:?}");
    for outcome in wanted {
        assert!(seen.contains_key(outcome), "no step led to {outcome}: {seen:?}");
    }
}

// Authorization codes

/// What is wrong with a presentation of a code, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    Grant,
    Secret,
    Client,
    ClientEpoch,
    RedirectUri,
    Challenge,
    Deadline,
}

/// What happens before a presentation.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    LogOut,
    Disable,
    Delete,
    Revoke,
}

fn code_step() -> impl Strategy<Value = (Wrong, bool, Event, u64)> {
    let wrong = prop_oneof![
        12 => Just(Wrong::Nothing),
        1 => Just(Wrong::Grant),
        1 => Just(Wrong::Secret),
        1 => Just(Wrong::Client),
        1 => Just(Wrong::ClientEpoch),
        1 => Just(Wrong::RedirectUri),
        1 => Just(Wrong::Challenge),
        1 => Just(Wrong::Deadline),
    ];
    let event = prop_oneof![
        16 => Just(Event::Nothing),
        1 => Just(Event::LogOut),
        1 => Just(Event::Disable),
        1 => Just(Event::Delete),
        1 => Just(Event::Revoke),
    ];
    let wait_ms = prop_oneof![8 => 0..500_u64, 1 => 0..90_000_u64];
    (wrong, any::<bool>(), event, wait_ms)
}

async fn new_owner(store: &dyn Store) -> OwnerRecord {
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
    owner
}

fn new_code(owner: &OwnerRecord, deadline: Timestamp) -> NewCode {
    NewCode {
        grant: GrantId::random(),
        owner: owner.id(),
        owner_epoch: owner.epoch,
        client_id: ClientId::parse("client").unwrap(),
        client_epoch: 3,
        scope: Scope::parse("read write").unwrap(),
        audience: vec!["https://api.example".into()],
        code_hash: random_bytes(),
        challenge: CodeChallenge(random_bytes()),
        redirect_uri_hash: random_bytes(),
        lifetime_ms: 60_000,
        deadline,
    }
}

fn presented_code(code: &NewCode, wrong: Wrong, request_id: [u8; 16], deadline: Timestamp) -> PresentedCode {
    let is = |this| wrong == this;
    PresentedCode {
        owner: code.owner,
        grant: if is(Wrong::Grant) { GrantId::random() } else { code.grant },
        code_hash: if is(Wrong::Secret) { [9; 32] } else { code.code_hash },
        client_id: if is(Wrong::Client) { ClientId::parse("other").unwrap() } else { code.client_id.clone() },
        client_epoch: if is(Wrong::ClientEpoch) { 4 } else { code.client_epoch },
        redirect_uri_hash: if is(Wrong::RedirectUri) { [9; 32] } else { code.redirect_uri_hash },
        challenge: if is(Wrong::Challenge) { CodeChallenge([9; 32]) } else { code.challenge },
        request_id,
        family_hash: random_bytes(),
        key_id: 2,
        delivery: if request_id[0].is_multiple_of(2) { Delivery::Body } else { Delivery::Cookie },
        // Shorter than the idle life, now and then.
        absolute_ms: if request_id[1].is_multiple_of(2) { 10_000_000 } else { 300_000 },
        idle_ms: 400_000,
        grace_ms: 1_000,
        access_token_lifetime_ms: 350_000,
        from: Origin { address: "192.0.2.1".into(), agent: format!("agent/{}", request_id[2]) },
        deadline: if is(Wrong::Deadline) { Timestamp(1) } else { deadline },
    }
}

/// The grant that a delta leaves behind.
fn grant_after(before: Option<&GrantRecord>, delta: &CodeDelta, from: &Origin) -> Option<GrantRecord> {
    match delta {
        CodeDelta::Unchanged | CodeDelta::Burn => before.cloned(),
        CodeDelta::Grant(grant) => Some(GrantRecord::clone(grant)),
        CodeDelta::Revoke(at) => before.cloned().map(|mut grant| {
            grant.status = GrantStatus::Revoked { reason: RevocationReason::CodeReplay, at: *at, from: from.clone() };
            grant
        }),
    }
}

async fn happen(store: &dyn Store, code: &NewCode, event: Event) {
    match event {
        Event::Nothing => {}
        Event::LogOut => drop(store.change_owner(code.owner, OwnerChange::LogOut).await.unwrap()),
        Event::Disable => drop(store.change_owner(code.owner, OwnerChange::Disable).await.unwrap()),
        Event::Delete => drop(store.delete_owner(code.owner).await.unwrap()),
        Event::Revoke => {
            let reason = RevocationReason::Operator;
            store.revoke_grant(code.owner, code.grant, reason, &Origin::default()).await.unwrap();
        }
    }
}

async fn run_codes(store_url: String) {
    let clock = Clock::system();
    let store = store::open(&store_url, clock.clone()).await.unwrap();
    let store = store.as_ref();
    let (mut dice, strategy) = (Dice::new(), code_step());
    let (mut steps, mut seen) = (0, BTreeMap::new());
    while steps < STEPS {
        let owner = new_owner(store).await;
        let code = new_code(&owner, store.deadline());
        let before = clock.now();
        assert_eq!(store.create_code(&code).await.unwrap(), CodeCreation::Stored);
        let mut codes: Vec<Option<CodeRecord>> = times(None, before, clock.now())
            .map(|now| {
                Some(CodeRecord {
                    code_hash: code.code_hash,
                    challenge: code.challenge,
                    redirect_uri_hash: code.redirect_uri_hash,
                    client_id: code.client_id.clone(),
                    client_epoch: code.client_epoch,
                    owner_epoch: code.owner_epoch,
                    scope: code.scope.clone(),
                    audience: code.audience.clone(),
                    expires_at: now.plus(code.lifetime_ms),
                })
            })
            .collect();
        let mut redeemed_by = None;
        let mut request_id = random_bytes();
        for _ in 0..6 {
            let step @ (wrong, same_request, event, wait_ms) = dice.roll(&strategy);
            clock.advance(Duration::from_millis(wait_ms));
            happen(store, &code, event).await;
            if !same_request {
                request_id = random_bytes();
            }
            let owner = store.owner(code.owner).await.unwrap();
            let record = store.grant(code.owner, code.grant).await.unwrap();
            let presented = presented_code(&code, wrong, request_id, store.deadline());
            let redeemed = record.clone().filter(|_| wrong != Wrong::Grant).map(|record| RedeemedGrant {
                record,
                code_hash: code.code_hash,
                request_id: redeemed_by.unwrap(),
            });
            let before = clock.now();
            let mut answer = store.redeem(&presented).await.unwrap();
            let after = clock.now();
            let kept = store.grant(code.owner, code.grant).await.unwrap();
            // A store may have thrown an expired code away.
            if codes.iter().flatten().any(|code| code.expires_at <= after.plus(1)) {
                codes.push(None);
            }
            let exact = match &mut answer {
                Redemption::Redeemed(live) => Some(live.now),
                Redemption::TooLate { now } => Some(*now),
                Redemption::Replayed | Redemption::Refused(_) => None,
            };
            let mut possible = Vec::new();
            for stored in &codes {
                for now in times(exact, before, after) {
                    let found = stored.as_ref().filter(|_| wrong != Wrong::Grant);
                    let (expected, delta) = redeem(found, redeemed.as_ref(), owner.as_ref(), &presented, now);
                    if expected == answer && grant_after(record.as_ref(), &delta, &presented.from) == kept {
                        let gone = matches!(delta, CodeDelta::Burn | CodeDelta::Grant(_));
                        add(&mut possible, stored.clone().filter(|_| !gone));
                    }
                }
            }
            assert!(
                !possible.is_empty(),
                "seed {:?}\n{step:?}\n{codes:#?}\n{redeemed:#?}\n{owner:#?}\n{presented:#?}\nanswered {answer:#?}\nkept {kept:#?}",
                dice.seed
            );
            codes = possible;
            if record.is_none() && kept.is_some() {
                redeemed_by = Some(request_id);
            }
            *seen.entry(code_outcome(&answer, record.is_some())).or_default() += 1;
            steps += 1;
        }
    }
    assert_all_met(&seen, &CODE_OUTCOMES);
}

const CODE_OUTCOMES: [&str; 13] = [
    "redeemed",
    "repeated",
    "replayed",
    "unknown",
    "wrong secret",
    "wrong client",
    "revoked",
    "expired",
    "owner changed",
    "client changed",
    "redirect uri",
    "challenge",
    "too late",
];

fn code_outcome(answer: &Redemption, was_redeemed: bool) -> &'static str {
    match answer {
        Redemption::Redeemed { .. } if was_redeemed => "repeated",
        Redemption::Redeemed { .. } => "redeemed",
        Redemption::Replayed => "replayed",
        Redemption::TooLate { .. } => "too late",
        Redemption::Refused(refusal) => match refusal {
            CodeRefusal::Unknown => "unknown",
            CodeRefusal::WrongSecret => "wrong secret",
            CodeRefusal::WrongClient { .. } => "wrong client",
            CodeRefusal::Revoked(_) => "revoked",
            CodeRefusal::Expired => "expired",
            CodeRefusal::OwnerChanged => "owner changed",
            CodeRefusal::ClientChanged => "client changed",
            CodeRefusal::RedirectUri => "redirect uri",
            CodeRefusal::Challenge => "challenge",
        },
    }
}

// Device codes

#[derive(Clone, Copy, Debug)]
struct DeviceStep {
    wrong_secret: bool,
    wrong_client: bool,
    late: bool,
    unknown: bool,
    decision: Option<DeviceDecision>,
    wait_ms: u64,
}

fn device_step() -> impl Strategy<Value = DeviceStep> {
    let rarely = || prop::bool::weighted(0.04);
    let owner = any::<[u8; 16]>().prop_map(OwnerId);
    let decision = prop_oneof![
        12 => Just(None),
        2 => owner.prop_map(|owner| Some(DeviceDecision::Approve { owner, owner_epoch: 9 })),
        1 => Just(Some(DeviceDecision::Deny)),
    ];
    // Around the interval and its leeway, around the grace of a claim, and beyond the codes' life.
    let wait_ms = prop_oneof![10 => 0..12_000_u64, 3 => 0..90_000_u64, 1 => 0..400_000_u64];
    (rarely(), rarely(), rarely(), rarely(), decision, wait_ms).prop_map(
        |(wrong_secret, wrong_client, late, unknown, decision, wait_ms)| DeviceStep {
            wrong_secret,
            wrong_client,
            late,
            unknown,
            decision,
            wait_ms,
        },
    )
}

fn new_device(deadline: Timestamp) -> NewDevice {
    NewDevice {
        id: DeviceId(random_bytes()),
        secret_hash: random_bytes(),
        client_id: ClientId::parse("tv").unwrap(),
        client_epoch: 3,
        scope: Scope::parse("read").unwrap(),
        audience: vec!["https://api.example".into()],
        origin: Origin::default(),
        lifetime_ms: 300_000,
        interval_ms: 5_000,
        deadline,
    }
}

async fn run_devices(store_url: String) {
    let clock = Clock::system();
    let store = store::open(&store_url, clock.clone()).await.unwrap();
    let store = store.as_ref();
    let (mut dice, strategy) = (Dice::new(), device_step());
    let (mut steps, mut seen) = (0, BTreeMap::new());
    while steps < STEPS {
        let new = new_device(store.deadline());
        assert_eq!(store.start_device(&new).await.unwrap(), DeviceStart::Stored);
        let record = store.device(new.id).await.unwrap().unwrap();
        let mut devices = vec![Some(StartedDevice {
            secret_hash: new.secret_hash,
            interval_ms: new.interval_ms,
            next_poll_at: record.started_at,
            decision: None,
            claimed_at: None,
            record,
        })];
        for _ in 0..12 {
            let step = dice.roll(&strategy);
            clock.advance(Duration::from_millis(step.wait_ms));
            if let Some(decision) = step.decision
                && store.decide_device(new.id, decision, store.deadline()).await.unwrap() == DeviceDecided::Stored
            {
                for device in devices.iter_mut().flatten() {
                    device.record.decided = true;
                    device.decision.get_or_insert(decision);
                }
            }
            let presented = PresentedDevice {
                id: if step.unknown { DeviceId(random_bytes()) } else { new.id },
                secret_hash: if step.wrong_secret { [9; 32] } else { new.secret_hash },
                client_id: if step.wrong_client { ClientId::parse("other").unwrap() } else { new.client_id.clone() },
                deadline: if step.late { Timestamp(1) } else { store.deadline() },
            };
            let before = clock.now();
            let answer = store.poll_device(&presented).await.unwrap();
            let after = clock.now();
            // A store may have forgotten one that is long over.
            let remembered = |device: &StartedDevice| after < device.record.expires_at.plus(DEVICE_REMEMBRANCE_MS - 1);
            if !devices.iter().flatten().all(remembered) {
                devices.push(None);
            }
            let mut possible = Vec::new();
            for device in &devices {
                for now in times(None, before, after) {
                    let found = device.as_ref().filter(|_| !step.unknown);
                    let (expected, delta) = poll(found, &presented, now);
                    if expected == answer {
                        add(&mut possible, device.clone().map(|device| device_after(device, delta, now)));
                    }
                }
            }
            assert!(
                !possible.is_empty(),
                "seed {:?}\n{step:?}\n{devices:#?}\n{presented:#?}\nanswered {answer:#?}",
                dice.seed
            );
            devices = possible;
            *seen.entry(device_outcome(&answer)).or_default() += 1;
            steps += 1;
        }
    }
    assert_all_met(&seen, &DEVICE_OUTCOMES);
}

fn device_after(device: StartedDevice, delta: DeviceDelta, now: Timestamp) -> StartedDevice {
    match delta {
        DeviceDelta::Unchanged => device,
        DeviceDelta::Claim => StartedDevice { claimed_at: Some(now), ..device },
        DeviceDelta::Wait { interval_ms } => {
            StartedDevice { interval_ms, next_poll_at: now.plus(interval_ms), ..device }
        }
    }
}

const DEVICE_OUTCOMES: [&str; 10] = [
    "pending",
    "slow down",
    "denied",
    "expired",
    "approved",
    "repeated",
    "used",
    "foreign",
    "wrong client",
    "too late",
];

fn device_outcome(answer: &DevicePoll) -> &'static str {
    match answer {
        DevicePoll::Pending => "pending",
        DevicePoll::SlowDown => "slow down",
        DevicePoll::Denied => "denied",
        DevicePoll::Expired => "expired",
        DevicePoll::Approved(approved) if approved.repeated => "repeated",
        DevicePoll::Approved(_) => "approved",
        DevicePoll::Used { .. } => "used",
        DevicePoll::Foreign => "foreign",
        DevicePoll::WrongClient { .. } => "wrong client",
        DevicePoll::TooLate => "too late",
    }
}

fn embedded(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("regrant.db").display())
}

#[tokio::test(flavor = "multi_thread")]
async fn i30_the_embedded_store_does_what_redeem_says() {
    let folder = tempfile::tempdir().unwrap();
    run_codes(embedded(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i30_redis_does_what_redeem_says() {
    run_codes(support::redis_url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i30_the_embedded_store_does_what_poll_says() {
    let folder = tempfile::tempdir().unwrap();
    run_devices(embedded(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i30_redis_does_what_poll_says() {
    run_devices(support::redis_url()).await;
}
