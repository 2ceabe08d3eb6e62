//! Replays a history, grant by grant, against what Regrant promises. The invariants' numbers are those of the design.
//!
//! Every client of ours keeps the documented rule: it presents one token until it is answered, and uses an answer only
//! when what it had abandoned can no longer take effect. So an owner's own presentation is never a cause to end a grant.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Asked, Events, Fault, Operation, Outcome, Role, Tokens};

/// Writes that came so shortly before a master died may not have reached a replica: 2 seconds, in microseconds.
const LOSS_WINDOW: u64 = 2_000_000;

#[derive(Debug, Default)]
pub struct Verdict {
    /// Presentations that were answered with tokens.
    pub refreshes: u64,
    pub grants: u64,
    pub logged_out: u64,
    pub branches: u64,
    pub undone: u64,
    /// Grants whose creation an asynchronous failover lost.
    pub lost_grants: u64,
    pub revocations: u64,
    pub thieves: u64,
    pub violations: Vec<String>,
}

/// Everything about one grant.
#[derive(Default)]
struct Grant<'h> {
    login: Option<&'h Operation>,
    operations: Vec<&'h Operation>,
}

pub fn check(events: &Events) -> Verdict {
    let mut verdict = Verdict::default();
    let mut grants: BTreeMap<&str, Grant<'_>> = BTreeMap::new();
    for operation in &events.operations {
        match (&operation.asked, &operation.outcome) {
            (Asked::Login, Outcome::Tokens(tokens)) => {
                grants.entry(&tokens.grant).or_default().login = Some(operation);
                if tokens.generation != 1 || tokens.grant != tokens.access_grant {
                    verdict.violations.push(format!("I-27 a login was answered with another's tokens: {operation:?}"));
                }
            }
            (Asked::Login, Outcome::Refused { .. }) => {
                verdict.violations.push(format!("I-08 a login with the right password was refused: {operation:?}"));
            }
            (Asked::Login, _) => {}
            _ => grants.entry(operation.grant.as_deref().unwrap_or_default()).or_default().operations.push(operation),
        }
    }
    let deaths: Vec<u64> =
        events.faults.iter().filter(|(_, fault)| *fault == Fault::MasterKilled).map(|(at, _)| *at).collect();
    for (name, grant) in &mut grants {
        grant.operations.sort_by_key(|operation| operation.began);
        verdict.grants += 1;
        check_grant(name, grant, &deaths, &mut verdict);
    }
    verdict.branches = verdict.branches.max(u64::from(verdict.grants > 0));
    verdict
}

fn check_grant(name: &str, grant: &Grant<'_>, deaths: &[u64], verdict: &mut Verdict) {
    let Some(Operation { outcome: Outcome::Tokens(login), .. }) = grant.login else {
        verdict.violations.push(format!("{name}: operations on a grant that nobody was given"));
        return;
    };
    successors(name, login, grant, !deaths.is_empty(), verdict);
    revocations(name, grant, verdict);
    thieves(name, grant, verdict);
    refusals(name, grant, deaths, verdict);
}

/// The generation that a refresh presented, and what it was answered with.
fn accepted(operation: &Operation) -> Option<(u32, &Tokens)> {
    match (&operation.asked, &operation.outcome) {
        (Asked::Refresh { generation, .. }, Outcome::Tokens(tokens)) => Some((*generation, tokens)),
        _ => None,
    }
}

fn presented(operation: &Operation) -> Option<u32> {
    match operation.asked {
        Asked::Refresh { generation, .. } => Some(generation),
        _ => None,
    }
}

/// I-01, I-02, I-04, I-20, I-27: every accepted presentation of a generation leads to the one next generation, in the
/// same words.
fn successors(name: &str, login: &Tokens, grant: &Grant<'_>, failovers: bool, verdict: &mut Verdict) {
    let mut next: HashMap<u32, Vec<&Tokens>> = HashMap::new();
    for operation in &grant.operations {
        let Some((generation, tokens)) = accepted(operation) else { continue };
        verdict.refreshes += 1;
        let mine = tokens.grant == name
            && tokens.access_grant == name
            && tokens.subject == login.subject
            && tokens.client_id == login.client_id;
        if !mine {
            verdict.violations.push(format!("I-27 {name}: answered with another grant's tokens: {operation:?}"));
        }
        if tokens.generation != generation + 1 {
            verdict.violations.push(format!(
                "I-20 {name}: generation {generation} was answered with generation {}: {operation:?}",
                tokens.generation
            ));
        }
        let answers = next.entry(generation).or_default();
        if !answers.iter().any(|seen| seen.token == tokens.token) {
            answers.push(tokens);
        }
        // A failover that loses a rotation lets it happen a second time, at another time.
        let first = answers[0];
        if !failovers && first.token == tokens.token && (&first.jti, first.exp) != (&tokens.jti, tokens.exp) {
            verdict
                .violations
                .push(format!("I-02 I-04 {name}: generation {generation} has two access tokens: {operation:?}"));
        }
    }
    for (generation, answers) in next {
        verdict.branches = verdict.branches.max(answers.len() as u64);
        if answers.len() > 1 {
            verdict
                .violations
                .push(format!("I-01 I-02 {name}: generation {generation} has {} successors", answers.len()));
        }
    }
}

/// I-05, I-14: once a revocation was confirmed, nothing is accepted any more.
fn revocations(name: &str, grant: &Grant<'_>, verdict: &mut Verdict) {
    let confirmed = grant.operations.iter().filter(|operation| operation.outcome == Outcome::Confirmed);
    let Some(ended) = confirmed.map(|operation| operation.ended).min() else { return };
    verdict.revocations += 1;
    let undone = grant.operations.iter().find(|operation| operation.began > ended && accepted(operation).is_some());
    if let Some(operation) = undone {
        verdict.undone += 1;
        verdict.violations.push(format!("I-05 I-14 {name}: accepted after a confirmed revocation: {operation:?}"));
    }
}

/// Whether this presentation is a replay: somebody had used a later generation.
fn is_replay(replay: &Operation, grant: &Grant<'_>) -> bool {
    presented(replay).is_some_and(|generation| {
        grant
            .operations
            .iter()
            .any(|other| other.ended < replay.began && accepted(other).is_some_and(|(later, _)| later > generation))
    })
}

/// I-06: a replay is refused, and the grant is dead when it was answered.
fn thieves(name: &str, grant: &Grant<'_>, verdict: &mut Verdict) {
    verdict.thieves += u64::from(grant.operations.iter().any(|operation| operation.role == Role::Thief));
    let mut dead = None;
    for operation in &grant.operations {
        if operation.role == Role::Thief && is_replay(operation, grant) {
            if accepted(operation).is_some() {
                verdict.violations.push(format!("I-06 {name}: a replay was accepted: {operation:?}"));
            } else if matches!(operation.outcome, Outcome::Refused { .. }) {
                dead = Some(dead.map_or(operation.ended, |earlier: u64| earlier.min(operation.ended)));
            }
        }
    }
    let survivor = grant.operations.iter().find(|op| dead.is_some_and(|at| op.began > at) && accepted(op).is_some());
    if let Some(operation) = survivor {
        verdict.violations.push(format!("I-06 {name}: accepted after a replay was seen: {operation:?}"));
    }
}

/// I-07, I-08, I-09: nobody is refused without a cause, faults or not.
fn refusals(name: &str, grant: &Grant<'_>, deaths: &[u64], verdict: &mut Verdict) {
    // A revocation may have happened even if it was not confirmed; a thief who was there may have set off the alarm.
    let cause = grant
        .operations
        .iter()
        .filter(|operation| matches!(operation.asked, Asked::Revoke | Asked::LogOut) || operation.role == Role::Thief)
        .map(|operation| operation.began)
        .min();
    for operation in &grant.operations {
        let Outcome::Refused { status, code } = &operation.outcome else { continue };
        if *status == 400 && code == "invalid_grant" {
            if cause.is_some_and(|at| at < operation.ended) {
                continue;
            }
            if creation_was_lost(grant, operation, deaths) {
                verdict.lost_grants += 1;
                return;
            }
        }
        verdict.logged_out += 1;
        verdict.violations.push(format!("I-07 I-08 I-09 {name}: refused without a cause: {operation:?}"));
        return;
    }
}

/// Asynchronous replication lost the login itself: a master died within [`LOSS_WINDOW`] after it, before anything about
/// the grant is known to have been replicated.
fn creation_was_lost(grant: &Grant<'_>, refused: &Operation, deaths: &[u64]) -> bool {
    let Some(login) = grant.login else { return false };
    deaths.iter().any(|&death| {
        login.began < death
            && death < login.ended + LOSS_WINDOW
            && death < refused.ended
            // Nothing was accepted after that death, so the new master never had the grant.
            && !grant.operations.iter().any(|other| other.began > death + LOSS_WINDOW && accepted(other).is_some())
    })
}

/// Shows that the checker sees: small histories, each wrong in one way. Returns how many.
pub fn check_the_checker() -> usize {
    let tokens = |generation: u32, token: u64| {
        Outcome::Tokens(Tokens {
            grant: "g".into(),
            access_grant: "g".into(),
            subject: "s".into(),
            client_id: "c".into(),
            generation,
            token,
            jti: format!("jti {token}"),
            exp: 1,
        })
    };
    let refused = || Outcome::Refused { status: 400, code: "invalid_grant".into() };
    let history = |steps: Vec<(Role, Asked, Outcome)>| {
        let operations = steps.into_iter().enumerate().map(|(index, (role, asked, outcome))| {
            let began = 10 * index as u64;
            Operation { began, ended: began + 5, client: 0, node: 0, role, grant: Some("g".into()), asked, outcome }
        });
        Events { operations: operations.collect(), faults: vec![] }
    };
    let login = || (Role::Owner, Asked::Login, tokens(1, 1));
    let refresh = |role, generation, outcome| (role, Asked::Refresh { generation, token: 0 }, outcome);
    let owner = |generation, outcome| refresh(Role::Owner, generation, outcome);
    let thief = |generation, outcome| refresh(Role::Thief, generation, outcome);
    let lost = || Outcome::Unknown { why: String::new() };
    let right = [
        vec![login(), owner(1, tokens(2, 2)), owner(1, tokens(2, 2)), owner(2, lost()), owner(2, tokens(3, 3))],
        vec![login(), owner(1, tokens(2, 2)), owner(2, tokens(3, 3)), thief(1, refused()), owner(3, refused())],
        vec![login(), (Role::Revoker, Asked::Revoke, Outcome::Confirmed), owner(1, refused())],
    ];
    for steps in right {
        let verdict = check(&history(steps));
        assert!(verdict.violations.is_empty(), "the checker sees what is not there: {verdict:?}");
    }
    let wrong = [
        ("I-01", vec![login(), owner(1, tokens(2, 2)), owner(1, tokens(2, 7))]),
        ("I-20", vec![login(), owner(1, tokens(2, 2)), owner(2, tokens(3, 3)), owner(1, tokens(3, 3))]),
        ("I-09", vec![login(), owner(1, refused())]),
        ("I-07", vec![login(), owner(1, lost()), owner(1, refused())]),
        ("I-05", vec![login(), (Role::Revoker, Asked::Revoke, Outcome::Confirmed), owner(1, tokens(2, 2))]),
        ("I-14", vec![login(), (Role::Revoker, Asked::LogOut, Outcome::Confirmed), owner(1, tokens(2, 2))]),
        ("I-06", vec![login(), owner(1, tokens(2, 2)), owner(2, tokens(3, 3)), thief(1, tokens(2, 2))]),
        (
            "I-06",
            vec![login(), owner(1, tokens(2, 2)), owner(2, tokens(3, 3)), thief(1, refused()), owner(3, tokens(4, 4))],
        ),
    ];
    let count = wrong.len();
    for (invariant, steps) in wrong {
        let verdict = check(&history(steps));
        assert!(
            verdict.violations.iter().any(|violation| violation.contains(invariant)),
            "the checker does not see a violation of {invariant}: {verdict:?}"
        );
    }
    count
}
