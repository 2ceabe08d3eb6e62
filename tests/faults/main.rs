//! The proof: real servers, real Redis deployments, faults, and clients whose histories are checked against what
//! Regrant promises. `tests/proof` builds and starts it; the README says what it shows.
//!
//! `--seed N` chooses the faults, `--scenario NAME` runs one, `--quick` a small version of all.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a proof stops where it fails")]

mod actors;
mod checker;
#[path = "../it/deployments.rs"]
mod deployments;
mod dice;
mod driver;
mod fleet;
mod history;
mod proxy;
mod report;
mod scenarios;
mod stage;
mod wire;

use std::{path::PathBuf, process::ExitCode};

use report::Row;
use scenarios::Scenario;

struct Arguments {
    seed: u64,
    quick: bool,
    scenario: Option<String>,
}

fn arguments() -> Arguments {
    let mut words = std::env::args().skip(1);
    let mut arguments = Arguments { seed: random_seed(), quick: false, scenario: None };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => arguments.seed = words.next().and_then(|text| text.parse().ok()).expect("--seed N"),
            "--scenario" => arguments.scenario = Some(words.next().expect("--scenario NAME")),
            "--quick" => arguments.quick = true,
            other => panic!("unknown argument {other}: use --seed N, --scenario NAME, --quick"),
        }
    }
    arguments
}

fn random_seed() -> u64 {
    u64::from_be_bytes(regrant::clock::random_bytes()) % 1_000_000
}

/// Where histories and logs stay.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/proof")
}

fn main() -> ExitCode {
    let Arguments { seed, quick, scenario } = arguments();
    let folder = folder();
    std::fs::create_dir_all(&folder).unwrap();
    println!("seed {seed}; histories and logs in {}", folder.display());
    println!("the checker sees {} of {0} planted violations", checker::check_the_checker());
    let chosen: Vec<Scenario> = scenarios::ALL
        .into_iter()
        .filter(|known| scenario.as_deref().is_none_or(|name| name == known.name))
        .map(|known| if quick { scenarios::quick(known) } else { known })
        .collect();
    assert!(!chosen.is_empty(), "no such scenario; there are: {:?}", scenarios::ALL.map(|known| known.name));
    let whole = scenario.is_none() && !quick;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rows: Vec<Row> = Vec::new();
    for (number, scenario) in chosen.iter().enumerate() {
        println!("\n{}: {}", scenario.name, scenario.what);
        let row = runtime.block_on(stage::run(scenario, seed.wrapping_add(number as u64), &folder));
        row.print_violations();
        rows.push(row);
    }
    if report::print(&rows, whole, &folder) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
