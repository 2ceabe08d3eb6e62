//! What every store must do with device authorizations, run against each of them.

use std::{sync::Arc, time::Duration};

use regrant::{
    clock::{Clock, Timestamp, random_bytes},
    ids::{ClientId, DeviceId, OwnerId},
    scope::Scope,
    store::{
        ApprovedDevice, CLAIM_GRACE_MS, DEVICE_REMEMBRANCE_MS, DeviceDecided, DeviceDecision, DevicePoll, DeviceRecord,
        DeviceStart, NewDevice, Origin, PresentedDevice, Store,
    },
};
use tokio::task::JoinSet;

use crate::store_contract::contract;

const LIFETIME_MS: i64 = 600_000;
const INTERVAL_MS: i64 = 5_000;

struct Fixture {
    store: Arc<dyn Store>,
    clock: Clock,
    device: NewDevice,
}

impl Fixture {
    async fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        let device = NewDevice {
            id: DeviceId(random_bytes()),
            secret_hash: random_bytes(),
            client_id: ClientId::parse("tv").unwrap(),
            client_epoch: 3,
            scope: Scope::parse("read write").unwrap(),
            audience: vec!["https://a.example".into(), "https://b.example".into()],
            origin: Origin::new("192.0.2.7".parse().ok(), b"TV/1.0"),
            lifetime_ms: LIFETIME_MS,
            interval_ms: INTERVAL_MS,
            deadline: clock.now().plus(LIFETIME_MS),
        };
        assert_eq!(store.start_device(&device).await.unwrap(), DeviceStart::Stored);
        Self { store, clock, device }
    }

    fn advance(&self, milliseconds: i64) {
        self.clock.advance(Duration::from_millis(u64::try_from(milliseconds).unwrap()));
    }

    fn deadline(&self) -> Timestamp {
        self.clock.now().plus(60_000)
    }

    fn presented(&self) -> PresentedDevice {
        PresentedDevice {
            id: self.device.id,
            secret_hash: self.device.secret_hash,
            client_id: self.device.client_id.clone(),
            deadline: self.deadline(),
        }
    }

    async fn poll(&self) -> DevicePoll {
        self.store.poll_device(&self.presented()).await.unwrap()
    }

    async fn decide(&self, decision: DeviceDecision) -> DeviceDecided {
        self.store.decide_device(self.device.id, decision, self.deadline()).await.unwrap()
    }

    async fn record(&self) -> Option<DeviceRecord> {
        self.store.device(self.device.id).await.unwrap()
    }

    fn approved(&self, owner: OwnerId, repeated: bool) -> DevicePoll {
        DevicePoll::Approved(ApprovedDevice {
            owner,
            owner_epoch: 9,
            client_epoch: 3,
            scope: self.device.scope.clone(),
            audience: self.device.audience.clone(),
            repeated,
        })
    }
}

fn owner() -> OwnerId {
    OwnerId(random_bytes())
}

const fn yes(owner: OwnerId) -> DeviceDecision {
    DeviceDecision::Approve { owner, owner_epoch: 9 }
}

async fn a_device_is_started_and_read_back(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let record = f.record().await.unwrap();
    assert_eq!(record.expires_at.since(record.started_at), LIFETIME_MS);
    assert!(f.clock.now().since(record.started_at) < 60_000, "{record:?}");
    let expected = DeviceRecord {
        client_id: f.device.client_id.clone(),
        client_epoch: 3,
        scope: f.device.scope.clone(),
        audience: f.device.audience.clone(),
        origin: f.device.origin.clone(),
        decided: false,
        started_at: record.started_at,
        expires_at: record.expires_at,
    };
    assert_eq!(record, expected);
    assert_eq!(f.store.device(DeviceId(random_bytes())).await.unwrap(), None);
}

async fn one_address_is_for_one_device(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    // The same command once more is no second device; another one finds the address taken, even after its end.
    assert_eq!(f.store.start_device(&f.device).await.unwrap(), DeviceStart::Stored);
    let other = NewDevice { secret_hash: random_bytes(), ..f.device.clone() };
    assert_eq!(f.store.start_device(&other).await.unwrap(), DeviceStart::Taken);
    let late = NewDevice { id: DeviceId(random_bytes()), deadline: Timestamp(1), ..f.device.clone() };
    assert_eq!(f.store.start_device(&late).await.unwrap(), DeviceStart::TooLate);
    assert_eq!(f.store.device(late.id).await.unwrap(), None);
    assert_eq!(f.poll().await, DevicePoll::Pending);
}

async fn a98_a_poll_that_comes_too_early_slows_down_for_good(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    assert_eq!(f.poll().await, DevicePoll::Pending);
    assert_eq!(f.poll().await, DevicePoll::SlowDown);
    // 10 s now, kept.
    for _ in 0..2 {
        f.advance(10_000);
        assert_eq!(f.poll().await, DevicePoll::Pending);
    }
    f.advance(5_000);
    assert_eq!(f.poll().await, DevicePoll::SlowDown);
    f.advance(10_000);
    assert_eq!(f.poll().await, DevicePoll::SlowDown);
    // 20 s now; one that was a little faster on its way is not too early.
    f.advance(20_000 - 400);
    assert_eq!(f.poll().await, DevicePoll::Pending);
}

async fn an_approval_is_claimed_once_and_repeated_within_the_grace(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let anna = owner();
    assert_eq!(f.decide(yes(anna)).await, DeviceDecided::Stored);
    assert!(f.record().await.unwrap().decided);
    assert_eq!(f.poll().await, f.approved(anna, false));
    assert_eq!(f.poll().await, f.approved(anna, true));
    f.advance(CLAIM_GRACE_MS - 5_000);
    assert_eq!(f.poll().await, f.approved(anna, true));
    f.advance(5_000);
    assert_eq!(f.poll().await, DevicePoll::Used { owner: anna });
    f.advance(LIFETIME_MS);
    assert_eq!(f.poll().await, DevicePoll::Used { owner: anna });
}

async fn the_first_decision_stays(store: Arc<dyn Store>, clock: Clock) {
    let (anna, bert) = (owner(), owner());
    let f = Fixture::new(Arc::clone(&store), clock.clone()).await;
    for (decision, outcome) in [
        (yes(anna), DeviceDecided::Stored),
        (yes(anna), DeviceDecided::Stored),
        (yes(bert), DeviceDecided::Already),
        (DeviceDecision::Deny, DeviceDecided::Already),
    ] {
        assert_eq!(f.decide(decision).await, outcome, "{decision:?}");
    }
    assert_eq!(f.poll().await, f.approved(anna, false));

    let f = Fixture::new(store, clock).await;
    for (decision, outcome) in [
        (DeviceDecision::Deny, DeviceDecided::Stored),
        (DeviceDecision::Deny, DeviceDecided::Stored),
        (yes(anna), DeviceDecided::Already),
    ] {
        assert_eq!(f.decide(decision).await, outcome, "{decision:?}");
    }
    assert_eq!(f.poll().await, DevicePoll::Denied);
    assert_eq!(f.poll().await, DevicePoll::Denied);
}

async fn a_decision_that_comes_late_has_no_effect(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let late = f.store.decide_device(f.device.id, yes(owner()), Timestamp(1)).await.unwrap();
    assert_eq!(late, DeviceDecided::TooLate);
    let poll = f.store.poll_device(&PresentedDevice { deadline: Timestamp(1), ..f.presented() }).await.unwrap();
    assert_eq!(poll, DevicePoll::TooLate);
    // Neither counted as anything: the first poll that counts is not too early.
    assert_eq!(f.poll().await, DevicePoll::Pending);
    assert_eq!(
        f.store.decide_device(DeviceId(random_bytes()), yes(owner()), f.deadline()).await.unwrap(),
        DeviceDecided::Gone
    );
}

async fn a98_codes_expire(store: Arc<dyn Store>, clock: Clock) {
    let anna = owner();
    let (waiting, approved) = (Fixture::new(Arc::clone(&store), clock.clone()).await, Fixture::new(store, clock).await);
    approved.decide(yes(anna)).await;
    waiting.advance(LIFETIME_MS - 2_000);
    assert_eq!(waiting.poll().await, DevicePoll::Pending);
    assert!(waiting.record().await.is_some());
    waiting.advance(2_000);
    assert_eq!(waiting.poll().await, DevicePoll::Expired);
    assert_eq!(approved.poll().await, DevicePoll::Expired);
    assert_eq!(waiting.record().await, None);
    assert_eq!(waiting.decide(yes(anna)).await, DeviceDecided::Gone);
    waiting.advance(DEVICE_REMEMBRANCE_MS + 1);
    assert_eq!(waiting.poll().await, DevicePoll::Expired);
}

async fn a_code_that_does_not_fit_has_no_effect(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let anna = owner();
    f.decide(yes(anna)).await;
    let foreign = PresentedDevice { secret_hash: random_bytes(), ..f.presented() };
    assert_eq!(f.store.poll_device(&foreign).await.unwrap(), DevicePoll::Foreign);
    let other = PresentedDevice { client_id: ClientId::parse("other").unwrap(), ..f.presented() };
    let issued_to = f.device.client_id.clone();
    assert_eq!(f.store.poll_device(&other).await.unwrap(), DevicePoll::WrongClient { issued_to });
    assert_eq!(f.poll().await, f.approved(anna, false));
}

async fn a99_concurrent_polls_claim_once(store: Arc<dyn Store>, clock: Clock) {
    let f = Arc::new(Fixture::new(store, clock).await);
    let anna = owner();
    f.decide(yes(anna)).await;
    let mut polls = JoinSet::new();
    for _ in 0..50 {
        let f = Arc::clone(&f);
        polls.spawn(async move { f.poll().await });
    }
    let polls = polls.join_all().await;
    assert_eq!(polls.iter().filter(|poll| **poll == f.approved(anna, false)).count(), 1);
    assert_eq!(polls.iter().filter(|poll| **poll == f.approved(anna, true)).count(), 49);
}

async fn concurrent_decisions_have_one_winner(store: Arc<dyn Store>, clock: Clock) {
    let f = Arc::new(Fixture::new(store, clock).await);
    let mut decisions = JoinSet::new();
    for number in 0..20_u8 {
        let f = Arc::clone(&f);
        let decision = if number % 2 == 0 { yes(owner()) } else { yes(OwnerId([number; 16])) };
        decisions.spawn(async move { f.decide(decision).await });
    }
    let decisions = decisions.join_all().await;
    assert_eq!(decisions.iter().filter(|decided| **decided == DeviceDecided::Stored).count(), 1, "{decisions:?}");
}

async fn attempts_are_counted_until_their_time_is_over(store: Arc<dyn Store>, clock: Clock) {
    const WINDOW_MS: i64 = 600_000;
    // To the beginning of a stretch, so that none ends within the test.
    let to_next = WINDOW_MS - store.now().0.rem_euclid(WINDOW_MS) + 1_000;
    clock.advance(Duration::from_millis(u64::try_from(to_next).unwrap()));
    let (one, other) = (random_bytes(), random_bytes());
    for number in 1..=5 {
        assert_eq!(store.count_attempt(one, WINDOW_MS).await.unwrap(), number);
    }
    assert_eq!(store.count_attempt(other, WINDOW_MS).await.unwrap(), 1);
    clock.advance(Duration::from_millis(u64::try_from(WINDOW_MS).unwrap()));
    assert_eq!(store.count_attempt(one, WINDOW_MS).await.unwrap(), 1);
}

contract! {
    a_device_is_started_and_read_back,
    one_address_is_for_one_device,
    a98_a_poll_that_comes_too_early_slows_down_for_good,
    an_approval_is_claimed_once_and_repeated_within_the_grace,
    the_first_decision_stays,
    a_decision_that_comes_late_has_no_effect,
    a98_codes_expire,
    a_code_that_does_not_fit_has_no_effect,
    a99_concurrent_polls_claim_once,
    concurrent_decisions_have_one_winner,
    attempts_are_counted_until_their_time_is_over,
}
