//! What every store must do with authorization codes, run against each of them: what HTTP alone can't show.
//!
//! Not here: the assertions by HTTP, see `authorization.rs`.

use std::{sync::Arc, time::Duration};

use regrant::{
    clock::{Clock, random_bytes},
    ids::{ClientId, GrantId, OwnerId},
    pkce::CodeChallenge,
    scope::Scope,
    store::{
        CodeCreation, CodeRefusal, Created, Delivery, GrantStatus, LiveGrant, MAX_GRANTS_PER_OWNER, NewCode, Origin,
        OwnerChange, OwnerRecord, PresentedCode, Redemption, RevocationReason, Store,
    },
};
use tokio::task::JoinSet;

use crate::store_contract::{contract, new_owner};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const CODE_MS: i64 = 10 * MINUTE_MS;

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

    fn advance(&self, milliseconds: i64) {
        self.clock.advance(Duration::from_millis(u64::try_from(milliseconds).unwrap()));
    }

    fn new_code(&self) -> NewCode {
        NewCode {
            grant: GrantId::random(),
            owner: self.owner.id(),
            owner_epoch: self.owner.epoch,
            client_id: ClientId::parse("app").unwrap(),
            client_epoch: 7,
            scope: Scope::parse("read write").unwrap(),
            audience: vec!["https://api.example".to_owned()],
            code_hash: random_bytes(),
            challenge: CodeChallenge(random_bytes()),
            redirect_uri_hash: random_bytes(),
            lifetime_ms: CODE_MS,
            deadline: self.clock.now().plus(MINUTE_MS),
        }
    }

    async fn code(&self) -> NewCode {
        let code = self.new_code();
        assert_eq!(self.store.create_code(&code).await.unwrap(), CodeCreation::Stored);
        code
    }

    fn present(&self, code: &NewCode) -> PresentedCode {
        PresentedCode {
            owner: code.owner,
            grant: code.grant,
            code_hash: code.code_hash,
            client_id: code.client_id.clone(),
            client_epoch: code.client_epoch,
            redirect_uri_hash: code.redirect_uri_hash,
            challenge: code.challenge,
            request_id: random_bytes(),
            family_hash: random_bytes(),
            key_id: 3,
            delivery: Delivery::Cookie,
            idle_ms: 10 * DAY_MS,
            absolute_ms: 30 * DAY_MS,
            grace_ms: MINUTE_MS,
            access_token_lifetime_ms: 10 * MINUTE_MS,
            from: Origin::new("192.0.2.1".parse().ok(), b"app/1"),
            deadline: self.clock.now().plus(MINUTE_MS),
        }
    }

    async fn redeem(&self, presented: &PresentedCode) -> Redemption {
        self.store.redeem(presented).await.unwrap()
    }

    async fn redeemed(&self, presented: &PresentedCode) -> LiveGrant {
        match self.redeem(presented).await {
            Redemption::Redeemed(live) => live,
            other => panic!("not redeemed: {other:?}"),
        }
    }
}

async fn a_code_becomes_a_grant_with_all_that_was_consented_to(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let code = f.code().await;
    assert!(f.store.grants_of(code.owner).await.unwrap().is_empty());
    assert_eq!(f.store.grant(code.owner, code.grant).await.unwrap(), None);
    let presented = f.present(&code);
    let live = f.redeemed(&presented).await;
    assert_eq!((live.generation, live.key_id, &live.subject), (1, 3, &f.owner.subject));
    assert_eq!((live.scope.as_str(), live.audience.as_slice()), ("read write", code.audience.as_slice()));
    assert_eq!(live.expires_at, live.now.plus(10 * DAY_MS));
    assert_eq!(live.absolute_expiry, live.now.plus(30 * DAY_MS));
    let record = f.store.grant(code.owner, code.grant).await.unwrap().unwrap();
    assert_eq!((record.status.clone(), record.family_hash), (GrantStatus::Active, presented.family_hash));
    assert_eq!((record.created_at, record.current_since), (live.now, live.now));
    assert_eq!((record.delivery, record.client_epoch, record.owner_epoch), (Delivery::Cookie, 7, f.owner.epoch));
    assert_eq!(record.access_expires_at, live.now.plus(10 * MINUTE_MS));
    assert_eq!(record.last_used_from, presented.from);
    assert_eq!(f.store.grants_of(code.owner).await.unwrap(), [code.grant]);
}

async fn the_same_request_sent_again_is_no_replay(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let code = f.code().await;
    let presented = f.present(&code);
    let first = f.redeemed(&presented).await;
    f.advance(1000);
    let again = PresentedCode { deadline: f.clock.now().plus(MINUTE_MS), ..presented.clone() };
    let second = f.redeemed(&again).await;
    assert_eq!(LiveGrant { now: first.now, ..second }, first);
    let another = PresentedCode { request_id: random_bytes(), ..again };
    assert_eq!(f.redeem(&another).await, Redemption::Replayed);
    let revoked = Redemption::Refused(CodeRefusal::Revoked(RevocationReason::CodeReplay));
    assert_eq!(f.redeem(&presented).await, revoked);
    let record = f.store.grant(code.owner, code.grant).await.unwrap().unwrap();
    let GrantStatus::Revoked { reason, from, .. } = record.status else { panic!("{record:?}") };
    assert_eq!((reason, from), (RevocationReason::CodeReplay, presented.from));
}

async fn a_code_that_does_not_fit_is_refused_and_burned_by_its_own_client_only(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let other = ClientId::parse("other").unwrap();
    let app = ClientId::parse("app").unwrap();
    type Change = fn(&mut PresentedCode);
    let cases: [(Change, CodeRefusal, bool); 7] = [
        (|p| p.grant = GrantId::random(), CodeRefusal::Unknown, false),
        (|p| p.owner = OwnerId(random_bytes()), CodeRefusal::Unknown, false),
        (|p| p.code_hash = random_bytes(), CodeRefusal::WrongSecret, false),
        (|p| p.client_id = ClientId::parse("other").unwrap(), CodeRefusal::WrongClient { issued_to: app }, false),
        (|p| p.client_epoch = 8, CodeRefusal::ClientChanged, true),
        (|p| p.redirect_uri_hash = random_bytes(), CodeRefusal::RedirectUri, true),
        (|p| p.challenge = CodeChallenge([0; 32]), CodeRefusal::Challenge, true),
    ];
    for (change, refusal, burns) in cases {
        let code = f.code().await;
        let mut wrong = f.present(&code);
        change(&mut wrong);
        assert_eq!(f.redeem(&wrong).await, Redemption::Refused(refusal.clone()));
        match f.redeem(&f.present(&code)).await {
            Redemption::Redeemed { .. } => assert!(!burns, "{refusal:?}"),
            Redemption::Refused(CodeRefusal::Unknown) => assert!(burns, "{refusal:?}"),
            unexpected => panic!("{unexpected:?} after {refusal:?}"),
        }
    }
    // After the redemption too: another client, or another secret, revokes nothing.
    let code = f.code().await;
    let presented = f.present(&code);
    f.redeemed(&presented).await;
    let thief = PresentedCode { client_id: other, request_id: random_bytes(), ..presented.clone() };
    assert!(matches!(f.redeem(&thief).await, Redemption::Refused(CodeRefusal::WrongClient { .. })));
    let guess = PresentedCode { code_hash: random_bytes(), request_id: random_bytes(), ..presented };
    assert_eq!(f.redeem(&guess).await, Redemption::Refused(CodeRefusal::WrongSecret));
    let record = f.store.grant(code.owner, code.grant).await.unwrap().unwrap();
    assert_eq!(record.status, GrantStatus::Active);
}

async fn a_code_ends_with_its_life_and_with_what_its_owner_had(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let code = f.code().await;
    f.advance(CODE_MS);
    // One store has forgotten it already, the other says why.
    let refused = f.redeem(&f.present(&code)).await;
    let expired = [CodeRefusal::Expired, CodeRefusal::Unknown].map(Redemption::Refused);
    assert!(expired.contains(&refused), "{refused:?}");
    let code = f.code().await;
    f.store.change_owner(code.owner, OwnerChange::LogOut).await.unwrap();
    assert_eq!(f.redeem(&f.present(&code)).await, Redemption::Refused(CodeRefusal::OwnerChanged));
    assert_eq!(f.redeem(&f.present(&code)).await, Redemption::Refused(CodeRefusal::Unknown));
    assert_eq!(f.store.create_code(&f.new_code()).await.unwrap(), CodeCreation::OwnerChanged);
}

async fn late_commands_change_nothing(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let past = f.clock.now().plus(-MINUTE_MS);
    let late = NewCode { deadline: past, ..f.new_code() };
    assert!(matches!(f.store.create_code(&late).await.unwrap(), CodeCreation::TooLate { .. }));
    assert_eq!(f.redeem(&f.present(&late)).await, Redemption::Refused(CodeRefusal::Unknown));
    let code = f.code().await;
    let late = PresentedCode { deadline: past, ..f.present(&code) };
    assert!(matches!(f.redeem(&late).await, Redemption::TooLate { .. }));
    f.redeemed(&f.present(&code)).await;
}

async fn a61_a_hundred_parallel_redemptions_have_one_winner_and_a_dead_grant(store: Arc<dyn Store>, clock: Clock) {
    let f = Arc::new(Fixture::new(store, clock).await);
    let code = f.code().await;
    let mut tries = JoinSet::new();
    for _ in 0..100 {
        let (f, presented) = (Arc::clone(&f), f.present(&code));
        tries.spawn(async move { f.redeem(&presented).await });
    }
    let outcomes = tries.join_all().await;
    let count = |wanted: fn(&Redemption) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
    let revoked = |outcome: &Redemption| {
        matches!(outcome, Redemption::Refused(CodeRefusal::Revoked(RevocationReason::CodeReplay)))
    };
    assert_eq!(count(|outcome| matches!(outcome, Redemption::Redeemed(_))), 1, "{outcomes:?}");
    assert_eq!(count(|outcome| matches!(outcome, Redemption::Replayed)), 1, "{outcomes:?}");
    assert_eq!(count(revoked), 98, "{outcomes:?}");
    let record = f.store.grant(code.owner, code.grant).await.unwrap().unwrap();
    assert!(matches!(record.status, GrantStatus::Revoked { .. }), "{record:?}");
}

async fn grants_of_codes_count_for_the_cap(store: Arc<dyn Store>, clock: Clock) {
    let f = Fixture::new(store, clock).await;
    let mut first = None;
    for _ in 0..MAX_GRANTS_PER_OWNER {
        f.advance(10);
        let code = f.code().await;
        f.redeemed(&f.present(&code)).await;
        first.get_or_insert(code.grant);
    }
    f.advance(10);
    let code = f.code().await;
    f.redeemed(&f.present(&code)).await;
    let oldest = f.store.grant(code.owner, first.unwrap()).await.unwrap().unwrap();
    assert!(matches!(oldest.status, GrantStatus::Revoked { reason: RevocationReason::Overflow, .. }), "{oldest:?}");
}

contract! {
    a_code_becomes_a_grant_with_all_that_was_consented_to,
    the_same_request_sent_again_is_no_replay,
    a_code_that_does_not_fit_is_refused_and_burned_by_its_own_client_only,
    a_code_ends_with_its_life_and_with_what_its_owner_had,
    late_commands_change_nothing,
    a61_a_hundred_parallel_redemptions_have_one_winner_and_a_dead_grant,
    grants_of_codes_count_for_the_cap,
}
