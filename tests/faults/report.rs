//! The table, and whether it is good enough.

use std::{fmt::Write as _, path::Path};

use crate::{
    checker::Verdict,
    history::{Events, Fault},
    scenarios::Scenario,
};

/// What the whole proof must have seen.
const LEAST_REFRESHES: u64 = 100_000;
const LEAST_KILLS: u64 = 500;
/// Violations that are shown; the rest is in the history.
const SHOWN: usize = 5;

pub struct Row {
    name: &'static str,
    what: &'static str,
    seconds: u64,
    verdict: Verdict,
    kills: u64,
    other_faults: u64,
    lost_answers: u64,
    repaired: u64,
}

impl Row {
    pub fn new(scenario: &Scenario, seconds: u64, verdict: Verdict, events: &Events, repaired: usize) -> Self {
        let count = |of: fn(Fault) -> bool| events.faults.iter().filter(|(_, fault)| of(*fault)).count() as u64;
        Self {
            name: scenario.name,
            what: scenario.what,
            seconds,
            verdict,
            kills: count(Fault::is_a_kill),
            other_faults: count(|fault| !fault.is_a_kill() && fault != Fault::AnswerLost),
            lost_answers: count(|fault| fault == Fault::AnswerLost),
            repaired: repaired as u64,
        }
    }

    pub fn print_violations(&self) {
        for violation in self.verdict.violations.iter().take(SHOWN) {
            println!("  VIOLATION {violation}");
        }
        let more = self.verdict.violations.len().saturating_sub(SHOWN);
        if more > 0 {
            println!("  and {more} more");
        }
        println!(
            "  {} s: {} refreshes, {} kills, {} violations",
            self.seconds,
            self.verdict.refreshes,
            self.kills,
            self.verdict.violations.len()
        );
    }
}

/// Prints the table, and keeps it. Says whether everything held.
pub fn print(rows: &[Row], whole: bool, folder: &Path) -> bool {
    let mut table = String::new();
    let header = [
        "scenario",
        "refreshes",
        "kills",
        "other faults",
        "answers lost",
        "thieves",
        "logged out without cause",
        "branches per grant, at most",
        "revocations",
        "of them undone",
        "lost by failover: rotations (repaired)",
        "grants",
    ];
    writeln!(table, "| {} |", header.join(" | ")).unwrap();
    writeln!(table, "|---|{}", "---:|".repeat(header.len() - 1)).unwrap();
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    for row in rows {
        let v = &row.verdict;
        let cells = [
            v.refreshes,
            row.kills,
            row.other_faults,
            row.lost_answers,
            v.thieves,
            v.logged_out,
            v.branches,
            v.revocations,
            v.undone,
            row.repaired,
            v.lost_grants,
        ];
        let cells = cells.map(|cell| cell.to_string()).join(" | ");
        writeln!(table, "| {}: {} | {cells} |", row.name, row.what).unwrap();
    }
    let totals = [
        sum(|row| row.verdict.refreshes),
        sum(|row| row.kills),
        sum(|row| row.other_faults),
        sum(|row| row.lost_answers),
        sum(|row| row.verdict.thieves),
        sum(|row| row.verdict.logged_out),
        rows.iter().map(|row| row.verdict.branches).max().unwrap_or(0),
        sum(|row| row.verdict.revocations),
        sum(|row| row.verdict.undone),
        sum(|row| row.repaired),
        sum(|row| row.verdict.lost_grants),
    ];
    writeln!(table, "| all | {} |", totals.map(|total| total.to_string()).join(" | ")).unwrap();
    println!("\n{table}");
    std::fs::write(folder.join("table.md"), table).unwrap();

    let mut held = true;
    let mut require = |holds: bool, text: &str| {
        if !holds {
            println!("FAILED: {text}");
            held = false;
        }
    };
    require(rows.iter().all(|row| row.verdict.violations.is_empty()), "an invariant was violated, see above");
    require(rows.iter().all(|row| row.verdict.refreshes > 0), "a scenario refreshed nothing");
    if whole {
        require(totals[0] >= LEAST_REFRESHES, "fewer than 100,000 refreshes");
        require(totals[1] >= LEAST_KILLS, "fewer than 500 kills");
    }
    if held {
        println!("everything held");
    }
    held
}
