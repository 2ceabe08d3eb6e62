//! The attacks on a running scenario.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    actors::World,
    deployments::{Cluster, Deployment, Sentinel, Standalone},
    dice::Dice,
    fleet::Server,
    history::{Fault, Recorder},
    proxy::{Mode, Proxy},
    scenarios::{Attack, On, Scenario},
};

/// A deployment of redis-servers; its methods block.
#[derive(Clone)]
pub struct Redis(Arc<Mutex<Shape>>);

enum Shape {
    Standalone(Standalone),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

impl Shape {
    fn deployment(&mut self) -> &mut dyn Deployment {
        match self {
            Self::Standalone(deployment) => deployment,
            Self::Sentinel(deployment) => deployment,
            Self::Cluster(deployment) => deployment,
        }
    }
}

impl Redis {
    pub fn start(on: On) -> Option<Self> {
        let shape = match on {
            On::Embedded => return None,
            // `everysec` may lose what it answered, when it is killed while the disk is slow.
            On::Standalone => Shape::Standalone(Standalone::start_with(&["--appendfsync", "always"])),
            On::Sentinel => Shape::Sentinel(Sentinel::start()),
            On::Cluster => Shape::Cluster(Cluster::start()),
        };
        Some(Self(Arc::new(Mutex::new(shape))))
    }

    pub fn url(&self) -> String {
        self.0.lock().unwrap().deployment().url()
    }

    /// Does something to it on a thread that may block.
    async fn with(&self, act: impl FnOnce(&mut Shape) + Send + 'static) {
        let shape = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || act(&mut shape.lock().unwrap())).await.unwrap();
    }
}

/// Attacks until the scenario has seen enough, and heals what is broken then.
pub async fn attack(
    scenario: &Scenario,
    redis: Option<Redis>,
    servers: &[Server],
    proxies: &[Proxy],
    world: &World,
    dice: &mut Dice,
    began: Instant,
) -> Option<Redis> {
    let recorder = &world.recorder;
    let enough = || {
        let seen = recorder.refreshes.load(Ordering::Relaxed) >= scenario.least_refreshes
            && recorder.kills.load(Ordering::Relaxed) >= scenario.least_kills
            && began.elapsed() >= scenario.least;
        seen || began.elapsed() >= scenario.most
    };
    let mut number = 0;
    // The first round is in order, so that the shortest run has seen them all.
    while number < scenario.attacks.len() || !enough() {
        let (least, most) = scenario.every_ms;
        tokio::time::sleep(Duration::from_millis(dice.between(least, most))).await;
        if scenario.attacks.is_empty() {
            continue;
        }
        let attack = match scenario.attacks.get(number) {
            Some(attack) => *attack,
            None => *dice.pick(scenario.attacks),
        };
        number += 1;
        match (attack, &redis) {
            (Attack::KillServer, _) => dice.pick(servers).kill(),
            (Attack::HoldCommands | Attack::CutConnections | Attack::DelayCommands, _) => {
                trouble_the_network(attack, dice.pick(proxies), recorder, dice).await;
            }
            (_, Some(redis)) => trouble_redis(attack, redis, recorder, dice).await,
            (_, None) => {}
        }
    }
    redis
}

async fn trouble_the_network(attack: Attack, proxy: &Proxy, recorder: &Recorder, dice: &mut Dice) {
    match attack {
        Attack::HoldCommands => {
            recorder.fault(Fault::CommandsHeld);
            proxy.set(Mode::Hold);
            tokio::time::sleep(Duration::from_millis(dice.between(300, 4_000))).await;
            proxy.set(Mode::Pass);
        }
        Attack::DelayCommands => {
            recorder.fault(Fault::Delayed);
            proxy.set(Mode::Delay(dice.between(5, 300)));
            tokio::time::sleep(Duration::from_millis(dice.between(300, 1_500))).await;
            proxy.set(Mode::Pass);
        }
        _ => {
            recorder.fault(Fault::ConnectionsCut);
            proxy.cut_after(dice.between(0, 5_000));
        }
    }
}

async fn trouble_redis(attack: Attack, redis: &Redis, recorder: &Recorder, dice: &mut Dice) {
    let recorder = recorder.clone();
    let pause = Duration::from_millis(dice.between(20, 400));
    let stop = Duration::from_millis(dice.between(100, 2_500));
    let random = dice.next();
    redis
        .with(move |shape| match attack {
            Attack::KillRedis => {
                recorder.fault(Fault::RedisKilled);
                let dead = shape.deployment().kill_master();
                std::thread::sleep(pause);
                shape.deployment().revive(dead);
            }
            Attack::StopRedis => {
                recorder.fault(Fault::RedisStopped);
                let deployment = shape.deployment();
                let master = deployment.masters()[0];
                deployment.nodes()[master].stop();
                std::thread::sleep(stop);
                deployment.nodes()[master].cont();
            }
            Attack::FlushScripts => {
                recorder.fault(Fault::ScriptsFlushed);
                shape.deployment().flush_scripts();
            }
            Attack::FailOver => {
                recorder.fault(Fault::MasterKilled);
                let dead = shape.deployment().kill_master();
                shape.deployment().wait_for_failover(dead);
                shape.deployment().revive(dead);
            }
            Attack::FailOverWithLoss => {
                let Shape::Sentinel(sentinel) = shape else { return };
                // One that still catches up with an earlier failover lacks seconds, and what only the other one confirmed.
                sentinel.wait_until_whole();
                let master = &sentinel.nodes()[sentinel.master()];
                for command in [
                    &["CONFIG", "SET", "min-replicas-to-write", "0"][..],
                    // The replicas are turned away, as by a network that fails.
                    &["ACL", "SETUSER", "default", "-psync", "-sync"],
                    &["CLIENT", "KILL", "TYPE", "replica"],
                ] {
                    master.ask::<redis::Value>(command).unwrap();
                }
                std::thread::sleep(Duration::from_millis(300));
                recorder.fault(Fault::MasterKilled);
                let dead = sentinel.kill_master();
                sentinel.wait_for_failover(dead);
                sentinel.revive(dead);
            }
            Attack::MoveSlot => {
                if let Shape::Cluster(cluster) = shape {
                    move_a_slot(cluster, &recorder, random);
                }
            }
            _ => {}
        })
        .await;
}

/// Moves the slot of some grant to the next master.
fn move_a_slot(cluster: &Cluster, recorder: &Recorder, random: u64) {
    let masters = cluster.masters();
    let from = masters[usize::try_from(random % masters.len() as u64).unwrap()];
    let Ok(key) = cluster.nodes()[from].ask::<Option<String>>(&["RANDOMKEY"]) else { return };
    let Some(key) = key.filter(|key| key.starts_with("as:g:") || key.starts_with("as:u:")) else { return };
    let slot = cluster.slot_of(&key);
    let to = masters.into_iter().find(|master| *master != from).unwrap();
    if cluster.owner_of(slot) == from {
        recorder.fault(Fault::SlotMoved);
        cluster.migrate_slot(slot, to);
    }
}

/// I-18: every grant's key has an end.
pub fn keys_without_end(redis: &Redis) -> Vec<String> {
    let mut shape = redis.0.lock().unwrap();
    let deployment = shape.deployment();
    let mut endless = Vec::new();
    for master in deployment.masters() {
        let node = &deployment.nodes()[master];
        let keys: Vec<String> = node.ask(&["KEYS", "as:g:*"]).unwrap_or_default();
        for key in keys {
            if node.ask::<i64>(&["PTTL", &key]).is_ok_and(|left| left == -1) {
                endless.push(format!("I-18 {key} never ends"));
            }
        }
    }
    endless
}
