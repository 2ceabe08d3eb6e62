//! What is run: stores, clients, faults, and how much of each.

use std::time::Duration;

use crate::{
    actors::Habits,
    fleet::{EMBEDDED_STEPS, REDIS_STEPS},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Embedded,
    Standalone,
    Sentinel,
    Cluster,
}

/// What the driver does to the processes and the network, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// kill -9 of a server, at any time.
    KillServer,
    /// kill -9 of the redis-server, and a start with what its append-only file holds.
    KillRedis,
    /// SIGSTOP for up to 2.5 s, then SIGCONT.
    StopRedis,
    FlushScripts,
    /// One server's commands wait on their way for up to 3 s, and then arrive.
    HoldCommands,
    CutConnections,
    DelayCommands,
    /// kill -9 of a master, until a replica has taken its place.
    FailOver,
    /// The same, after 300 ms in which the replicas heard nothing: what the master answered then is lost.
    FailOverWithLoss,
    /// A slot with grants in it moves to another master.
    MoveSlot,
}

#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    pub on: On,
    /// Servers.
    pub nodes: usize,
    pub clients: usize,
    pub habits: Habits,
    /// In each server one pass in so many through one of its steps kills it; 0 for never.
    pub failpoint_one_in: u64,
    pub steps: &'static [&'static str],
    pub attacks: &'static [Attack],
    /// The pause between two attacks, in milliseconds.
    pub every_ms: (u64, u64),
    /// It goes on until it has seen so much,
    pub least_refreshes: u64,
    pub least_kills: u64,
    /// for at least so long,
    pub least: Duration,
    /// and not longer than this, so that a slow machine ends it too; what is missing then fails the proof's totals.
    pub most: Duration,
}

const CALM: Habits = Habits {
    lose_one_in: 20,
    double_one_in: 30,
    revoke_one_in: 250,
    steal_one_in: 0,
    think_ms: (0, 40),
    commands_outlive_servers: true,
};

const BASE: Scenario = Scenario {
    name: "",
    what: "",
    on: On::Standalone,
    nodes: 2,
    clients: 48,
    habits: CALM,
    failpoint_one_in: 0,
    steps: &REDIS_STEPS,
    attacks: &[],
    every_ms: (500, 1_500),
    least_refreshes: 12_000,
    least_kills: 0,
    least: Duration::from_secs(30),
    most: Duration::from_secs(240),
};

pub const ALL: [Scenario; 9] = [
    Scenario {
        name: "embedded",
        what: "embedded store; the server dies at every step of a refresh",
        on: On::Embedded,
        nodes: 1,
        habits: Habits { commands_outlive_servers: false, ..CALM },
        failpoint_one_in: 60,
        steps: &EMBEDDED_STEPS,
        attacks: &[Attack::KillServer],
        every_ms: (300, 900),
        least_refreshes: 18_000,
        least_kills: 160,
        ..BASE
    },
    Scenario {
        name: "servers",
        what: "Redis; two servers die at every step of a refresh",
        failpoint_one_in: 120,
        attacks: &[Attack::KillServer, Attack::FlushScripts],
        every_ms: (300, 900),
        least_refreshes: 18_000,
        least_kills: 200,
        ..BASE
    },
    Scenario {
        name: "retries",
        what: "Redis; 64 clients lose one answer in ten and retry on another server",
        clients: 64,
        habits: Habits { lose_one_in: 10, revoke_one_in: 0, double_one_in: 0, ..CALM },
        least_refreshes: 15_000,
        least: Duration::from_secs(60),
        ..BASE
    },
    Scenario {
        name: "redis",
        what: "Redis (appendfsync always) is killed, stopped, loses its scripts",
        attacks: &[Attack::KillRedis, Attack::KillRedis, Attack::StopRedis, Attack::FlushScripts],
        every_ms: (200, 900),
        least_kills: 60,
        ..BASE
    },
    Scenario {
        name: "stuck",
        what: "Redis behind a network that delays, holds and cuts",
        attacks: &[Attack::HoldCommands, Attack::HoldCommands, Attack::CutConnections, Attack::DelayCommands],
        every_ms: (50, 400),
        least_refreshes: 10_000,
        ..BASE
    },
    Scenario {
        name: "thieves",
        what: "Redis; thieves two generations behind, and inside the grace",
        habits: Habits { steal_one_in: 25, ..CALM },
        failpoint_one_in: 300,
        attacks: &[Attack::KillServer],
        every_ms: (1_500, 3_000),
        least_refreshes: 12_000,
        least_kills: 30,
        ..BASE
    },
    Scenario {
        name: "sentinel",
        what: "Sentinel; masters and servers die",
        on: On::Sentinel,
        failpoint_one_in: 400,
        attacks: &[Attack::FailOver, Attack::FlushScripts, Attack::KillServer],
        every_ms: (500, 2_000),
        least_kills: 40,
        ..BASE
    },
    Scenario {
        name: "lossy",
        what: "Sentinel without min-replicas; masters die with writes that no replica has",
        on: On::Sentinel,
        // Slow enough that no failover loses more than two rotations of a grant.
        habits: Habits { revoke_one_in: 25, think_ms: (300, 600), ..CALM },
        attacks: &[Attack::FailOverWithLoss],
        every_ms: (500, 1_500),
        least_refreshes: 3_000,
        least_kills: 6,
        ..BASE
    },
    Scenario {
        name: "cluster",
        what: "Cluster; masters and servers die, slots move",
        on: On::Cluster,
        failpoint_one_in: 400,
        attacks: &[Attack::FailOver, Attack::MoveSlot, Attack::MoveSlot, Attack::FlushScripts, Attack::KillServer],
        every_ms: (500, 2_000),
        least_kills: 40,
        ..BASE
    },
];

/// The same in small: for every change, not for the claim.
pub fn quick(scenario: Scenario) -> Scenario {
    Scenario {
        clients: scenario.clients.min(24),
        least_refreshes: scenario.least_refreshes / 20,
        least_kills: scenario.least_kills / 20,
        least: Duration::from_secs(4),
        most: Duration::from_secs(30),
        ..scenario
    }
}
