//! The clients: each keeps one grant alive and acts on nothing but what it received. It keeps the rule of the README:
//! the same token until there is an answer; the answer's token only when nothing abandoned can take effect any more.
//!
//! Some have a thief beside them, and each is logged out with cause now and then.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use regrant::{
    ids::{OwnerId, Username},
    secret::SecretText,
    store::{Origin, OwnerChange, RevocationReason, Store},
    token::refresh_token::{RefreshToken, RefreshTokenKeys},
};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    dice::Dice,
    history::{Asked, Fault, Operation, Outcome, Recorder, Role, Tokens, digest},
    wire::{Loss, Reply, Wire},
};

pub const PASSWORD: &str = "correct horse battery staple";

/// After a request without an answer, the time in which its command could still take effect: its deadline of half a
/// second, and some for the clocks.
const ABANDONED: Duration = Duration::from_millis(750);
/// The same after hanging up on a server that lives: it may not even have begun.
const HUNG_UP: Duration = Duration::from_millis(2_500);
/// Revoked tokens that each client keeps to try them again.
const GHOSTS: usize = 8;

/// How often a client meets what; 0 for never.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub lose_one_in: u64,
    pub double_one_in: u64,
    pub revoke_one_in: u64,
    pub steal_one_in: u64,
    /// The pause between two refreshes, in milliseconds: at least, at most.
    pub think_ms: (u64, u64),
    /// Whether a command of a dead server may still take effect.
    pub commands_outlive_servers: bool,
}

/// What all clients of a scenario share.
pub struct World {
    pub nodes: Vec<SocketAddr>,
    pub recorder: Recorder,
    pub store: Arc<dyn Store>,
    pub keys: RefreshTokenKeys,
    /// The client's credentials, as HTTP Basic.
    pub authorization: String,
    pub habits: Habits,
    pub ending: AtomicBool,
    /// With thieves in the audit: not where a failover may have hidden one.
    pub audit_thieves: bool,
}

pub struct Client {
    world: Arc<World>,
    index: usize,
    dice: Dice,
    wires: Vec<Wire>,
    /// When nothing that was abandoned can take effect any more.
    settled: Instant,
    /// The tokens of the grant, the newest last.
    tokens: Vec<String>,
    ghosts: Vec<String>,
}

/// The name of a client's user.
pub fn username(index: usize) -> Username {
    Username::parse(&format!("owner-{index}")).unwrap()
}

impl Client {
    pub fn new(world: Arc<World>, index: usize, dice: Dice) -> Self {
        // Two connections at least, for requests at the same time.
        let wires = (0..world.nodes.len().max(2)).map(|wire| Wire::new(world.nodes[wire % world.nodes.len()]));
        let wires = wires.collect();
        Self { world, index, dice, wires, settled: Instant::now(), tokens: vec![], ghosts: vec![] }
    }

    /// Signs in and refreshes until the scenario ends; then shows that what it holds is good.
    pub async fn run(mut self) {
        while !self.world.ending.load(Ordering::Relaxed) {
            if self.tokens.is_empty() {
                self.log_in().await;
            }
            let think = self.dice.between(self.world.habits.think_ms.0, self.world.habits.think_ms.1);
            tokio::time::sleep(Duration::from_millis(think)).await;
            if self.tokens.len() >= 3 && self.dice.one_in(self.world.habits.steal_one_in) {
                self.be_robbed().await;
            } else if self.dice.one_in(self.world.habits.revoke_one_in) {
                self.end_the_grant().await;
            } else {
                self.refresh().await;
            }
            if !self.ghosts.is_empty() && self.dice.one_in(60) {
                let ghost = self.dice.pick(&self.ghosts).clone();
                self.present(&ghost, Role::Ghost).await;
            }
        }
        self.audit().await;
    }

    /// After the last fault: the token that the client holds is good, a replay ends it, and revoked ones stay revoked.
    async fn audit(&mut self) {
        if self.tokens.is_empty() {
            self.log_in().await;
        }
        for ghost in std::mem::take(&mut self.ghosts) {
            self.present(&ghost, Role::Ghost).await;
        }
        self.refresh().await;
        self.refresh().await;
        if self.world.audit_thieves && self.tokens.len() >= 3 {
            self.replay().await;
        }
    }

    async fn log_in(&mut self) {
        let form = format!(
            "grant_type=password&username={}&password={}",
            username(self.index).as_str(),
            PASSWORD.replace(' ', "+")
        );
        loop {
            let wire = self.any_wire();
            match self.ask(wire, Role::Owner, Asked::Login, None, &form, Loss::No).await {
                (Outcome::Tokens(_), Some(token)) => {
                    self.tokens = vec![token];
                    return;
                }
                (Outcome::Refused { .. }, _) => return,
                _ => self.pause().await,
            }
        }
    }

    async fn refresh(&mut self) {
        let Some(token) = self.tokens.last().cloned() else { return };
        if let Some(next) = self.present(&token, Role::Owner).await {
            self.tokens.push(next);
            if self.tokens.len() > 4 {
                self.tokens.remove(0);
            }
        } else {
            // Logged out; the checker asks why.
            self.tokens.clear();
        }
    }

    /// Presents one token until there is an answer: the next token, or none for a refusal.
    async fn present(&mut self, token: &str, role: Role) -> Option<String> {
        tokio::time::sleep_until(self.settled).await;
        let decoded = self.decode(token);
        let asked = Asked::Refresh { generation: decoded.generation, token: digest(token) };
        let grant = Some(decoded.grant.to_string());
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        loop {
            let wire = self.any_wire();
            if role == Role::Owner && self.dice.one_in(self.world.habits.double_one_in) {
                if let Some(answer) = self.ask_twice(&asked, grant.as_ref(), &form).await {
                    return answer;
                }
                self.pause().await;
                continue;
            }
            let loss = if role == Role::Owner { self.loss() } else { Loss::No };
            let (outcome, next) = self.ask(wire, role, asked.clone(), grant.clone(), &form, loss).await;
            match outcome {
                // Received whole, and thrown away.
                Outcome::Tokens(_) if loss != Loss::No => self.world.recorder.fault(Fault::AnswerLost),
                Outcome::Tokens(_) => return next,
                Outcome::Refused { .. } => return None,
                _ => self.pause().await,
            }
        }
    }

    /// Two tabs refresh at the same moment.
    async fn ask_twice(&mut self, asked: &Asked, grant: Option<&String>, form: &str) -> Option<Option<String>> {
        let world = Arc::clone(&self.world);
        let [one, other, ..] = self.wires.as_mut_slice() else { return None };
        let ask = async |wire: &mut Wire, node: usize| {
            let began = world.recorder.now();
            let reply = wire.post("/oauth2/token", &world.authorization, form, Loss::No).await;
            (began, world.recorder.now(), node, reply)
        };
        let (one, other) = tokio::join!(ask(one, 0), ask(other, 1));
        let mut answered = None;
        for (began, ended, node, reply) in [one, other] {
            let (outcome, next) = self.understand(reply, Loss::No);
            match outcome {
                Outcome::Tokens(_) => answered = Some(next),
                Outcome::Refused { .. } => answered = answered.or(Some(None)),
                _ => {}
            }
            let (asked, grant, client, role) = (asked.clone(), grant.cloned(), self.index, Role::Owner);
            world.recorder.operation(Operation { began, ended, client, node, role, grant, asked, outcome });
        }
        answered
    }

    /// Which way the answer gets lost this time, if it does.
    fn loss(&mut self) -> Loss {
        if !self.dice.one_in(self.world.habits.lose_one_in) {
            return Loss::No;
        }
        match self.dice.below(8) {
            0 => Loss::HangUp(self.dice.below(30)),
            1..=4 => Loss::Cut(usize::try_from(self.dice.between(1, 1_200)).unwrap()),
            _ => Loss::Cut(usize::MAX),
        }
    }

    async fn ask(
        &mut self,
        wire: usize,
        role: Role,
        asked: Asked,
        grant: Option<String>,
        form: &str,
        loss: Loss,
    ) -> (Outcome, Option<String>) {
        let world = Arc::clone(&self.world);
        let began = world.recorder.now();
        let reply = self.wires[wire].post("/oauth2/token", &world.authorization, form, loss).await;
        let ended = world.recorder.now();
        let (mut outcome, next) = self.understand(reply, loss);
        // Logins that died with their servers look like guesses for some seconds: it says when to come back, not no.
        if let (Asked::Login, Outcome::Refused { status: status @ 429, .. }) = (&asked, &outcome) {
            outcome = Outcome::Unavailable { status: *status };
        }
        let grant = match &outcome {
            Outcome::Tokens(tokens) if asked == Asked::Login => Some(tokens.grant.clone()),
            _ => grant,
        };
        let node = wire % world.nodes.len();
        let recorded = Operation { began, ended, client: self.index, node, role, grant, asked, outcome };
        let outcome = recorded.outcome.clone();
        world.recorder.operation(recorded);
        (outcome, next)
    }

    fn understand(&mut self, reply: Reply, loss: Loss) -> (Outcome, Option<String>) {
        match reply {
            Reply::Answer { status: 200, body } => {
                let json: Value = serde_json::from_str(&body).unwrap();
                let next = json["refresh_token"].as_str().unwrap().to_owned();
                (Outcome::Tokens(self.tokens_of(&json, &next)), Some(next))
            }
            Reply::Answer { status, .. } if status >= 500 => (Outcome::Unavailable { status }, None),
            Reply::Answer { status, body } => {
                let json: Value = serde_json::from_str(&body).unwrap_or_default();
                (Outcome::Refused { status, code: json["error"].as_str().unwrap_or_default().to_owned() }, None)
            }
            Reply::Cut => {
                self.world.recorder.fault(Fault::AnswerLost);
                (Outcome::Unknown { why: "cut".into() }, None)
            }
            Reply::Nothing(why) => {
                if let Loss::HangUp(_) = loss {
                    self.world.recorder.fault(Fault::AnswerLost);
                    self.settle(HUNG_UP);
                } else if why == "hung up" {
                    self.settle(HUNG_UP);
                } else if self.world.habits.commands_outlive_servers {
                    self.settle(ABANDONED);
                }
                (Outcome::Unknown { why }, None)
            }
            Reply::Unreachable => (Outcome::Unreachable, None),
        }
    }

    fn settle(&mut self, time: Duration) {
        self.settled = self.settled.max(Instant::now() + time);
    }

    fn tokens_of(&self, json: &Value, refresh_token: &str) -> Tokens {
        let decoded = self.decode(refresh_token);
        let payload = json["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        Tokens {
            grant: decoded.grant.to_string(),
            access_grant: text("gid"),
            subject: text("sub"),
            client_id: text("client_id"),
            generation: decoded.generation,
            token: digest(refresh_token),
            jti: text("jti"),
            exp: claims["exp"].as_i64().unwrap_or_default(),
        }
    }

    fn decode(&self, token: &str) -> RefreshToken {
        self.world.keys.decode(token).expect("a token of this deployment")
    }

    /// A thief comes, in one of two ways.
    async fn be_robbed(&mut self) {
        if self.dice.one_in(2) {
            self.replay().await;
            return;
        }
        // Inside the grace: the thief gets what the owner has, and no branch of their own.
        let stolen = self.tokens[self.tokens.len() - 2].clone();
        let Some(gotten) = self.present(&stolen, Role::Thief).await else {
            self.tokens.clear();
            return;
        };
        self.refresh().await;
        self.present(&gotten, Role::Thief).await;
        self.refresh().await;
        self.refresh().await;
        // Out of step with the owner: a replay.
        self.present(&gotten, Role::Thief).await;
        self.refresh().await;
    }

    /// A thief presents a token two generations old, and the owner finds out.
    async fn replay(&mut self) {
        let stolen = self.tokens[self.tokens.len() - 3].clone();
        self.present(&stolen, Role::Thief).await;
        self.refresh().await;
    }

    /// Somebody revokes the grant, or logs its owner out everywhere, until that is confirmed. Then it must stay so.
    async fn end_the_grant(&mut self) {
        let Some(token) = self.tokens.last().cloned() else { return };
        tokio::time::sleep_until(self.settled).await;
        let decoded = self.decode(&token);
        let asked = if self.dice.one_in(2) { Asked::Revoke } else { Asked::LogOut };
        loop {
            let began = self.world.recorder.now();
            let confirmed = self.revoke(&asked, &decoded).await;
            let outcome = if confirmed { Outcome::Confirmed } else { Outcome::Unknown { why: "the store".into() } };
            self.world.recorder.operation(Operation {
                began,
                ended: self.world.recorder.now(),
                client: self.index,
                node: 0,
                role: Role::Revoker,
                grant: Some(decoded.grant.to_string()),
                asked: asked.clone(),
                outcome,
            });
            if confirmed {
                break;
            }
            self.pause().await;
        }
        self.refresh().await;
        self.ghosts.push(token);
        if self.ghosts.len() > GHOSTS {
            self.ghosts.remove(0);
        }
    }

    async fn revoke(&self, asked: &Asked, token: &RefreshToken) -> bool {
        let store = &self.world.store;
        match asked {
            Asked::LogOut => {
                let owner = OwnerId::of(&username(self.index));
                store.change_owner(owner, OwnerChange::LogOut).await.is_ok()
            }
            _ => store
                .revoke_grant(token.owner, token.grant, RevocationReason::Operator, &Origin::default())
                .await
                .is_ok(),
        }
    }

    fn any_wire(&mut self) -> usize {
        usize::try_from(self.dice.below(self.wires.len() as u64)).unwrap()
    }

    async fn pause(&mut self) {
        let milliseconds = self.dice.between(10, 80);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

/// The credentials of a client as HTTP Basic.
pub fn basic(id: &str, secret: &SecretText) -> String {
    use base64::engine::general_purpose::STANDARD;
    format!("Basic {}", STANDARD.encode(format!("{id}:{}", secret.expose())))
}
