//! An exhaustive search over one grant: an owner, a thief, lost and stuck and repeated messages, failovers that
//! lose writes. The store in it is `decide` itself, the function that both real stores are held equal to.
//!
//! Time is in ticks. A tick is the deadline of a command: a stuck command takes effect within the tick in which
//! it was sent, or never. An owner uses a new refresh token in a later tick than the one it was received in;
//! retries may come at any time. The grace is [`GRACE`] ticks.
//!
//! Not here: whether the stores do what `decide` says, see `differential.rs`.

use std::sync::OnceLock;

use regrant::{
    clock::Timestamp,
    ids::{ClientId, GrantId, OwnerId, Subject},
    scope::Scope,
    store::{
        Delivery, GrantRecord, GrantStatus, Origin, OwnerStanding, OwnerStatus, Presented, RevocationReason, Rotation,
        RotationPolicy,
        decide::{Decision, Delta, decide},
    },
};
use stateright::{Checker, Model, Property};

const TICK_MS: i64 = 1_000;
const GRACE: u8 = 2;
/// Generations that a search can reach: one for each tick and party, and those that a failover repairs.
const GENERATIONS: usize = 12;

/// What may go wrong in a search.
#[derive(Clone, Copy)]
struct Scenario {
    ticks: u8,
    thief: bool,
    failovers: u8,
    /// Whether commands carry a deadline; without it a stuck one takes effect whenever it arrives.
    deadline: bool,
    /// Whether a command may get stuck on its way.
    stuck: bool,
    /// Whether the owner may come back with a lost request after the grace.
    late_retries: bool,
}

/// What a store keeps of the grant.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Kept {
    generation: u32,
    since: u8,
    revoked: bool,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct World {
    now: u8,
    primary: Kept,
    replica: Kept,
    owner: Party,
    thief: Option<Party>,
    /// A command on its way: the generation it presents, and the tick it was sent in.
    stuck: Option<(u32, u8)>,
    failovers: u8,
    /// The owner was told that their token is no good.
    logged_out: bool,
    /// Some presentation was answered with another successor than the one.
    forked: bool,
    /// Acceptances of a generation that the other party had used before, outside the grace.
    stale: u8,
}

/// Somebody who holds a refresh token.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Party {
    holds: u32,
    received: u8,
    /// Since when an answer is missing.
    waiting: Option<u8>,
    /// When each generation was first accepted from this party.
    used: [Option<u8>; GENERATIONS],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Tick,
    OwnerPresents { answer_lost: bool },
    OwnerGetsStuck,
    StuckArrives,
    Steal,
    ThiefPresents { answer_lost: bool },
    Replicate,
    Failover,
}

impl Party {
    fn new(holds: u32, received: u8) -> Self {
        Self { holds, received, waiting: None, used: [None; GENERATIONS] }
    }

    fn used(&self, generation: u32) -> Option<u8> {
        self.used.get(generation as usize).copied().flatten()
    }
}

fn time(tick: u8) -> Timestamp {
    Timestamp(i64::from(tick) * TICK_MS)
}

/// Everything about the grant that no action changes.
fn fixed() -> &'static (GrantRecord, OwnerStanding, Presented) {
    static FIXED: OnceLock<(GrantRecord, OwnerStanding, Presented)> = OnceLock::new();
    FIXED.get_or_init(|| {
        let client_id = ClientId::parse("client").unwrap();
        let record = GrantRecord {
            status: GrantStatus::Active,
            family_hash: [1; 32],
            generation: 1,
            key_id: 1,
            current_since: time(0),
            created_at: time(0),
            absolute_expiry: time(200),
            idle_ms: 200 * TICK_MS,
            grace_ms: i64::from(GRACE) * TICK_MS,
            client_id: client_id.clone(),
            owner_epoch: 1,
            client_epoch: 1,
            scope: Scope::default(),
            audience: vec![],
            delivery: Delivery::Body,
            access_expires_at: time(1),
            used_in_place: false,
            repeats: 0,
            last_used_from: Origin::default(),
        };
        let owner = OwnerStanding { subject: Subject("sub".into()), status: OwnerStatus::Active, epoch: 1 };
        let presented = Presented {
            owner: OwnerId([0; 16]),
            grant: GrantId([0; 16]),
            generation: 1,
            family_hash: [1; 32],
            client_id,
            client_epoch: 1,
            delivery: Delivery::Body,
            requested_scope: None,
            requested_audience: vec![],
            rotation: RotationPolicy::Rotate,
            new_key_id: 1,
            access_token_lifetime_ms: TICK_MS,
            from: Origin::default(),
            deadline: time(0),
        };
        (record, owner, presented)
    })
}

impl World {
    /// Presents a generation to the primary; the generation of the answer, or `None` for a refusal.
    fn present(&mut self, generation: u32, deadline: Option<u8>) -> Option<u32> {
        let (record, owner, presented) = fixed();
        let status = if self.primary.revoked {
            GrantStatus::Revoked { reason: RevocationReason::Replay, at: time(0), from: Origin::default() }
        } else {
            GrantStatus::Active
        };
        let record = GrantRecord {
            status,
            generation: self.primary.generation,
            current_since: time(self.primary.since),
            ..record.clone()
        };
        let deadline = time(deadline.unwrap_or(u8::MAX));
        let presented = Presented { generation, deadline, ..presented.clone() };
        let Decision { rotation, delta } = decide(Some(&record), Some(owner), &presented, time(self.now));
        match delta {
            Delta::Advance { generation, current_since, .. } => {
                self.primary.generation = generation;
                self.primary.since = u8::try_from(current_since.0 / TICK_MS).unwrap();
            }
            Delta::Revoke { .. } => self.primary.revoked = true,
            Delta::Unchanged | Delta::CountRepeat => {}
        }
        match rotation {
            Rotation::Rotated(live) | Rotation::Repeated(live) | Rotation::Repaired(live) => {
                self.forked |= live.generation != generation + 1;
                Some(live.generation)
            }
            Rotation::Replayed { .. } | Rotation::Refused(_) | Rotation::TooLate { .. } => None,
        }
    }

    /// Counts an acceptance that a thief and an owner should not both have had.
    fn note_use(&mut self, by_owner: bool, generation: u32) {
        let now = self.now;
        let Some(thief) = &mut self.thief else { return };
        let (user, other) = if by_owner { (&mut self.owner, &*thief) } else { (thief, &self.owner) };
        let outside_grace = other.used(generation).is_some_and(|used| now - used >= GRACE);
        let unheard_of = user.used(generation).is_none();
        if unheard_of && (outside_grace || other.used(generation + 1).is_some()) {
            self.stale += 1;
        }
        if let Some(first @ None) = user.used.get_mut(generation as usize) {
            *first = Some(now);
        }
    }

    fn owner_presents(&mut self, answer_lost: bool) {
        let generation = self.owner.holds;
        let answer = self.present(generation, None);
        if answer.is_some() {
            self.note_use(true, generation);
        }
        match answer {
            _ if answer_lost => self.owner.waiting = self.owner.waiting.or(Some(self.now)),
            Some(next) => {
                self.owner.holds = next;
                self.owner.received = self.now;
                self.owner.waiting = None;
            }
            None => self.logged_out = true,
        }
    }

    fn thief_presents(&mut self, answer_lost: bool) {
        let Some(generation) = self.thief.as_ref().map(|thief| thief.holds) else { return };
        let answer = self.present(generation, None);
        if answer.is_some() {
            self.note_use(false, generation);
        }
        let now = self.now;
        let Some(thief) = &mut self.thief else { return };
        match answer {
            _ if answer_lost => thief.waiting = thief.waiting.or(Some(now)),
            Some(next) => {
                thief.holds = next;
                thief.received = now;
                thief.waiting = None;
            }
            None => {}
        }
    }
}

impl Model for Scenario {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let kept = Kept { generation: 1, since: 0, revoked: false };
        vec![World {
            now: 1,
            primary: kept.clone(),
            replica: kept,
            owner: Party::new(1, 0),
            thief: None,
            stuck: None,
            failovers: 0,
            logged_out: false,
            forked: false,
            stale: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.logged_out {
            return;
        }
        let patience_ends = world.owner.waiting.is_some_and(|since| world.now + 1 - since >= GRACE);
        if world.now < self.ticks && (self.late_retries || !patience_ends) {
            actions.push(Action::Tick);
        }
        if world.owner.waiting.is_some() || world.owner.received < world.now {
            actions.extend([true, false].map(|answer_lost| Action::OwnerPresents { answer_lost }));
            if self.stuck && world.stuck.is_none() {
                actions.push(Action::OwnerGetsStuck);
            }
        }
        if world.stuck.is_some() {
            actions.push(Action::StuckArrives);
        }
        if self.thief {
            match &world.thief {
                None => actions.push(Action::Steal),
                // A thief, too, uses a new token in a later tick: without that the search has no end.
                Some(thief) if thief.waiting.is_some() || thief.received < world.now => {
                    actions.extend([true, false].map(|answer_lost| Action::ThiefPresents { answer_lost }));
                }
                Some(_) => {}
            }
        }
        if self.failovers > 0 && world.primary != world.replica {
            actions.push(Action::Replicate);
            // A failover loses at most two rotations of a grant: replication lags for less than that.
            let lost = world.primary.generation.saturating_sub(world.replica.generation);
            if world.failovers < self.failovers && lost <= 2 {
                actions.push(Action::Failover);
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Tick => next.now += 1,
            Action::OwnerPresents { answer_lost } => next.owner_presents(answer_lost),
            Action::OwnerGetsStuck => {
                next.stuck = Some((next.owner.holds, next.now));
                next.owner.waiting = next.owner.waiting.or(Some(next.now));
            }
            Action::StuckArrives => {
                let (generation, sent) = next.stuck.take()?;
                let accepted = next.present(generation, self.deadline.then_some(sent));
                if accepted.is_some() {
                    next.note_use(true, generation);
                }
            }
            Action::Steal => next.thief = Some(Party::new(next.owner.holds, 0)),
            Action::ThiefPresents { answer_lost } => next.thief_presents(answer_lost),
            Action::Replicate => next.replica = next.primary.clone(),
            Action::Failover => {
                next.primary = next.replica.clone();
                next.failovers += 1;
            }
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one successor", |_, world: &World| !world.forked),
            Property::always("nobody is logged out", |_, world: &World| !world.logged_out && !world.primary.revoked),
            Property::always("a failover hides a thief for at most two uses", |_, world: &World| {
                world.stale <= 2 * world.failovers
            }),
            Property::sometimes("a thief is caught", |_, world: &World| world.thief.is_some() && world.primary.revoked),
        ]
    }
}

const CALM: Scenario =
    Scenario { ticks: 6, thief: false, failovers: 0, deadline: true, stuck: true, late_retries: false };

/// Searches all states; the names of the properties that a state was found for: violations of `always`,
/// examples of `sometimes`.
fn search(name: &str, scenario: Scenario) -> Vec<&'static str> {
    let checker = scenario.checker().spawn_bfs().join();
    let mut found: Vec<&str> = checker.discoveries().keys().copied().collect();
    found.sort_unstable();
    println!("{name}: {} states, found {found:?}", checker.unique_state_count());
    found
}

/// I-01, I-07, I-09, I-21
#[test]
fn without_a_thief_nobody_is_ever_logged_out() {
    assert_eq!(search("lost, stuck and repeated messages", CALM), [""; 0]);
}

/// I-09, I-20
#[test]
fn failovers_that_lose_rotations_log_nobody_out() {
    let scenario = Scenario { failovers: 2, ..CALM };
    assert_eq!(search("the same with 2 failovers", scenario), [""; 0]);
}

/// I-21 is what keeps I-07.
#[test]
fn without_the_deadline_a_stuck_command_looks_like_a_thief() {
    let scenario = Scenario { deadline: false, ..CALM };
    assert_eq!(search("no deadline", scenario), ["nobody is logged out"]);
}

#[test]
fn a_retry_after_the_grace_counts_as_a_replay() {
    let scenario = Scenario { late_retries: true, ..CALM };
    assert_eq!(search("late retries", scenario), ["nobody is logged out"]);
}

/// I-06
#[test]
fn a_thief_outside_the_grace_is_never_accepted() {
    let scenario = Scenario { ticks: 5, thief: true, stuck: false, ..CALM };
    assert_eq!(search("a thief", scenario), ["a thief is caught", "nobody is logged out"]);
}

/// I-06, as far as failovers leave it.
#[test]
fn each_failover_hides_a_thief_for_at_most_two_uses() {
    for failovers in 1..=2 {
        let scenario = Scenario { ticks: 4, thief: true, stuck: false, failovers, ..CALM };
        let found = search(&format!("a thief and {failovers} failovers"), scenario);
        assert_eq!(found, ["a thief is caught", "nobody is logged out"]);
    }
}
