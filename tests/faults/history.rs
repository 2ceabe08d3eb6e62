//! What happened, as the clients saw it: each operation with the times of its begin and end, and each fault.
//!
//! Not here: what is right and wrong about it, see `checker.rs`.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;
use tokio::time::Instant;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Role {
    /// The client that the grant was given to.
    Owner,
    /// Somebody with a copy of one of its tokens.
    Thief,
    /// The client, with a token of a grant that was revoked, to see whether it is.
    Ghost,
    /// Who ends a grant.
    Revoker,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Asked {
    Login,
    /// The presented token: its generation, and its text as a hash.
    Refresh {
        generation: u32,
        token: u64,
    },
    /// The end of one grant.
    Revoke,
    /// The end of all grants of an owner.
    LogOut,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// Tokens.
    Tokens(Tokens),
    /// A revocation was confirmed.
    Confirmed,
    /// A 4xx: the server says no.
    Refused { status: u16, code: String },
    /// A 5xx, or a login's 429: the server can't say.
    Unavailable { status: u16 },
    /// No connection: nothing was sent.
    Unreachable,
    /// No answer, or not all of it: it may have happened or not.
    Unknown { why: String },
}

/// A token response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// The grant that the refresh token names, and the one that the access token names.
    pub grant: String,
    pub access_grant: String,
    pub subject: String,
    pub client_id: String,
    pub generation: u32,
    /// The refresh token's text, as a hash.
    pub token: u64,
    /// The access token's id and expiry.
    pub jti: String,
    pub exp: i64,
}

/// One operation. Times are in microseconds from the start.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    pub began: u64,
    pub ended: u64,
    pub client: usize,
    pub node: usize,
    pub role: Role,
    /// The grant that it was about; of a login, the one that it made.
    pub grant: Option<String>,
    pub asked: Asked,
    pub outcome: Outcome,
}

/// What we did to the processes and the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Fault {
    ServerKilled,
    RedisKilled,
    RedisStopped,
    ScriptsFlushed,
    CommandsHeld,
    ConnectionsCut,
    Delayed,
    SlotMoved,
    /// A master died, and a replica will take its place.
    MasterKilled,
    AnswerLost,
}

impl Fault {
    pub const fn is_a_kill(self) -> bool {
        matches!(self, Self::ServerKilled | Self::RedisKilled | Self::MasterKilled)
    }
}

#[derive(Default)]
pub struct Events {
    pub operations: Vec<Operation>,
    pub faults: Vec<(u64, Fault)>,
}

/// Where everybody writes what they did.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    events: Arc<Mutex<Events>>,
    /// Those that were answered with tokens.
    pub refreshes: Arc<AtomicU64>,
    pub kills: Arc<AtomicU64>,
}

impl Recorder {
    pub fn new() -> Self {
        Self { start: Instant::now(), events: Arc::default(), refreshes: Arc::default(), kills: Arc::default() }
    }

    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap()
    }

    pub fn operation(&self, operation: Operation) {
        if operation.outcome == Outcome::Unreachable {
            return; // Nothing happened.
        }
        if matches!((&operation.asked, &operation.outcome), (Asked::Refresh { .. }, Outcome::Tokens(_))) {
            self.refreshes.fetch_add(1, Ordering::Relaxed);
        }
        self.events.lock().unwrap().operations.push(operation);
    }

    pub fn fault(&self, fault: Fault) {
        if fault.is_a_kill() {
            self.kills.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.now();
        self.events.lock().unwrap().faults.push((now, fault));
    }

    /// How many clients have signed in.
    pub fn signed_in(&self) -> usize {
        let events = self.events.lock().unwrap();
        let logins = events
            .operations
            .iter()
            .filter(|operation| operation.asked == Asked::Login && matches!(operation.outcome, Outcome::Tokens(_)));
        logins.map(|operation| operation.client).collect::<BTreeSet<_>>().len()
    }

    pub fn take(&self) -> Events {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

impl Events {
    /// Writes one JSON object a line.
    pub fn save(&self, file: &Path) {
        let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
        for operation in &self.operations {
            serde_json::to_writer(&mut out, operation).unwrap();
            out.write_all(b"\n").unwrap();
        }
        for fault in &self.faults {
            serde_json::to_writer(&mut out, fault).unwrap();
            out.write_all(b"\n").unwrap();
        }
        out.flush().unwrap();
    }
}

/// A token's text as a number: the history holds no tokens.
pub fn digest(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
