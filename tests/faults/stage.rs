//! One scenario, from the first process to the verdict.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use regrant::{
    clock::Clock,
    config::Passwords,
    resource_owner::PasswordKeeper,
    secret::{SecretText, ServerSecret},
    store,
    token::refresh_token::RefreshTokenKeys,
};
use serde_json::Value;
use tokio::{process::Command, time::Instant};

use crate::{
    actors::{self, Client, World},
    checker,
    dice::Dice,
    driver::{self, Redis},
    fleet::{self, Server, Start},
    history::Recorder,
    proxy::{Mode, Proxy},
    report::Row,
    scenarios::{Attack, On, Scenario},
};

/// Long enough for every outage that we make: what is proved is what holds inside it.
const GRACE_SECONDS: u32 = 600;
/// How long the clients may take to come to rest.
const REST: Duration = Duration::from_secs(120);

pub async fn run(scenario: &Scenario, seed: u64, folder: &Path) -> Row {
    let mut dice = Dice::new(seed);
    let folder = folder.join(scenario.name);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    let recorder = Recorder::new();
    let on = scenario.on;
    let redis = tokio::task::spawn_blocking(move || Redis::start(on)).await.unwrap();
    let url = match &redis {
        Some(redis) => redis.url(),
        None => format!("sqlite:{}", folder.join("regrant.db").display()),
    };
    let secret = ServerSecret::generate();
    let mut environment = vec![
        ("REGRANT_SECRET", secret.to_text().expose().to_owned()),
        ("REGRANT_ISSUER", "http://127.0.0.1:1".to_owned()),
        ("REGRANT_LIFETIMES__GRACE_SECONDS", GRACE_SECONDS.to_string()),
        ("REGRANT_STORE", url.clone()),
    ];
    let authorization = register_client(&environment).await;

    let mut proxies = Vec::new();
    let (mut servers, mut logs) = (Vec::new(), Vec::new());
    for node in 0..scenario.nodes {
        if scenario.attacks.contains(&Attack::HoldCommands) {
            let proxy = Proxy::start(url.trim_start_matches("redis://").to_owned()).await;
            environment.retain(|(name, _)| *name != "REGRANT_STORE");
            environment.push(("REGRANT_STORE", format!("redis://{}", proxy.address)));
            proxies.push(proxy);
        }
        let log = folder.join(format!("server-{node}.log"));
        logs.push(log.clone());
        let start =
            Start { environment: environment.clone(), one_in: scenario.failpoint_one_in, steps: scenario.steps, log };
        servers.push(Server::start(start, recorder.clone(), dice.fork()));
    }
    for server in &servers {
        server.wait_until_it_answers().await;
    }

    let store = store::open(&url, Clock::system()).await.unwrap();
    // Hashes are remade at the first login, by the server and with its settings.
    let settings = Passwords { memory_kib: 64, iterations: 1, threads: 1, ..Passwords::default() };
    let passwords = PasswordKeeper::start(&settings, &secret).unwrap();
    for index in 0..scenario.clients {
        let password = SecretText::new(actors::PASSWORD.into());
        let owner = passwords.new_owner(actors::username(index), &password, store.now()).await.unwrap();
        store.create_owner(&owner).await.unwrap();
    }

    let world = Arc::new(World {
        nodes: servers.iter().map(|server| server.address).collect(),
        recorder: recorder.clone(),
        store,
        keys: RefreshTokenKeys::new(&secret),
        authorization,
        habits: scenario.habits,
        ending: AtomicBool::new(false),
        audit_thieves: matches!(on, On::Embedded | On::Standalone),
    });
    let began = Instant::now();
    let clients: Vec<_> = (0..scenario.clients)
        .map(|index| tokio::spawn(Client::new(Arc::clone(&world), index, dice.fork()).run()))
        .collect();
    // Everybody is in, and the servers that start from now on are mortal.
    while recorder.signed_in() < scenario.clients && began.elapsed() < REST {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if scenario.failpoint_one_in > 0 {
        for server in &servers {
            server.arm(true);
            server.kill();
        }
    }
    let attacked = driver::attack(scenario, redis, &servers, &proxies, &world, &mut dice, began).await;

    // The faults end, and everybody comes to rest.
    for proxy in &proxies {
        proxy.set(Mode::Pass);
    }
    if scenario.failpoint_one_in > 0 {
        for server in &servers {
            server.arm(false);
            server.kill();
            // Killed for good reason: the new one has no failpoint.
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.wait_until_it_answers().await;
        }
    }
    world.ending.store(true, Ordering::Relaxed);
    let mut stuck = 0;
    let end = Instant::now() + REST;
    for client in clients {
        match tokio::time::timeout_at(end, client).await {
            Ok(done) => done.unwrap(),
            Err(_) => stuck += 1,
        }
    }
    let seconds = began.elapsed().as_secs();
    let events = recorder.take();
    events.save(&folder.join("history.jsonl"));
    let mut verdict = checker::check(&events);
    if stuck > 0 {
        verdict.violations.push(format!("I-26 {stuck} clients had no answer {REST:?} after the last fault"));
    }
    if let Some(redis) = &attacked {
        verdict.violations.extend(driver::keys_without_end(redis));
    }
    drop(servers);
    let repaired = fleet::repaired(&logs);
    Row::new(scenario, seconds, verdict, &events, repaired)
}

/// Registers the client with the command line, as an operator does.
async fn register_client(environment: &[(&'static str, String)]) -> String {
    let mut command = Command::new(fleet::program());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.args(["client", "create", "--id", "proof", "--type", "confidential", "--json"]);
    command.args(["--grant-types", "password,refresh_token", "--scope", "read write"]);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let created: Value = serde_json::from_slice(&output.stdout).unwrap();
    actors::basic("proof", &SecretText::new(created["client_secret"].as_str().unwrap().to_owned()))
}
