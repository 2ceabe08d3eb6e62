//! Tests of the session layer against a live server. REGRANT_URL names it; LOSSY_PROXY is tests/sdk/lossy_proxy.py.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use regrant_client::{
    apis::{
        configuration::Configuration,
        tokens_api::{issue_token, IssueTokenParams},
    },
    models::TokenResponse,
    session::{Error, Options, Session},
};

const CALLERS: usize = 100;
const LIFETIMES: usize = 50;
const LIFETIME: Duration = Duration::from_secs(600);

fn url() -> String {
    std::env::var("REGRANT_URL").unwrap()
}

fn server(url: &str) -> Configuration {
    Configuration { base_path: url.into(), ..Configuration::default() }
}

/// A clock that the test turns.
#[derive(Clone)]
struct Clock(Arc<Mutex<Instant>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn turn(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

async fn sign_in(url: &str) -> TokenResponse {
    let form = IssueTokenParams {
        grant_type: "password".into(),
        username: Some("demo".into()),
        password: Some("demo-password".into()),
        client_id: Some("demo".into()),
        client_secret: Some("demo-secret".into()),
        ..Default::default()
    };
    issue_token(&server(url), form).await.unwrap()
}

fn session(url: &str, first: &TokenResponse, clock: &Clock) -> Session {
    let clock = clock.clone();
    let options = Options {
        client_secret: Some("demo-secret".into()),
        patience: Duration::from_millis(if url == NOWHERE { 200 } else { 20_000 }),
        now: Box::new(move || *clock.0.lock().unwrap()),
        ..Options::new("demo")
    };
    Session::new(server(url), first, options).unwrap()
}

const NOWHERE: &str = "http://127.0.0.1:1";

fn over(outcome: Result<String, Error>) -> bool {
    matches!(outcome, Err(Error::SignInAgain(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_refresh_once_a_lifetime_though_answers_are_lost() {
    let mut proxy = Command::new("python3")
        .args([std::env::var("LOSSY_PROXY").unwrap(), url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut through = String::new();
    BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut through).unwrap();
    let through = through.trim();
    let clock = Clock::new();
    let session = session(through, &sign_in(through).await, &clock);
    let mut known = HashSet::new();
    for _ in 0..LIFETIMES {
        clock.turn(LIFETIME);
        let calls: Vec<_> = (0..CALLERS)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move { session.access_token().await })
            })
            .collect();
        let mut answers = HashSet::new();
        for call in calls {
            answers.insert(call.await.unwrap().unwrap());
        }
        assert_eq!(answers.len(), 1, "all callers got the one new token");
        assert!(answers.into_iter().all(|token| known.insert(token)), "it is a new one");
    }
    let seen = reqwest::get(format!("{through}/-/seen")).await.unwrap().text().await.unwrap();
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    println!("{CALLERS} callers, {LIFETIMES} lifetimes: {seen}");
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    let count = |name: &str| usize::try_from(seen[name].as_u64().unwrap()).unwrap();
    assert_eq!(count("tokens"), LIFETIMES, "one refresh a lifetime");
    assert_eq!(count("refreshes") - count("lost"), LIFETIMES, "and its retries");
    assert_ne!(count("lost"), 0);
}

#[tokio::test]
async fn a_server_out_of_reach_does_not_end_the_session() {
    let (first, clock) = (sign_in(&url()).await, Clock::new());
    let session = session(NOWHERE, &first, &clock);
    clock.turn(LIFETIME.mul_f64(0.95));
    assert_eq!(session.access_token().await.unwrap(), first.access_token, "still good");
    assert!(matches!(session.sign_out().await, Err(Error::Unavailable(_))));
    clock.turn(LIFETIME);
    for _ in 0..2 {
        assert!(matches!(session.access_token().await, Err(Error::Unavailable(_))));
    }
}

#[tokio::test]
async fn a_revoked_grant_asks_for_a_new_sign_in_once_and_for_all() {
    let (first, clock) = (sign_in(&url()).await, Clock::new());
    let [thief, owner] = [(); 2].map(|()| session(&url(), &first, &clock));
    for _ in 0..2 {
        clock.turn(LIFETIME);
        thief.access_token().await.unwrap();
    }
    assert!(over(owner.access_token().await));
    assert!(over(owner.access_token().await));
}

#[tokio::test]
async fn a_wrong_client_is_refused() {
    let clock = Clock::new();
    let session = Session::new(server(&url()), &sign_in(&url()).await, Options {
        client_secret: Some("wrong".into()),
        now: Box::new({
            let clock = clock.clone();
            move || *clock.0.lock().unwrap()
        }),
        ..Options::new("demo")
    });
    let session = session.unwrap();
    assert!(matches!(session.sign_out().await, Err(Error::Refused { code, .. }) if code == "invalid_client"));
    clock.turn(LIFETIME);
    assert!(matches!(session.access_token().await, Err(Error::Refused { code, .. }) if code == "invalid_client"));
}

#[tokio::test]
async fn signing_out_revokes_the_grant() {
    let (first, clock) = (sign_in(&url()).await, Clock::new());
    let [session, copy] = [(); 2].map(|()| session(&url(), &first, &clock));
    session.sign_out().await.unwrap();
    session.sign_out().await.unwrap();
    assert!(over(session.access_token().await));
    clock.turn(LIFETIME);
    assert!(over(copy.access_token().await));
}
