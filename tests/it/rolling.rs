//! Two nodes that are restarted in turn under load, and keys that change meanwhile: no refresh fails, and every access token
//! verifies.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use serde_json::Value;
use tokio::{sync::Mutex, task::JoinSet};

use crate::{
    command_line::{fit, regrant, run},
    deployments::Port,
    support::{redis_url, wait_for},
};

/// Two nodes of one deployment.
struct Pair {
    folder: tempfile::TempDir,
    store: String,
    ports: [Port; 2],
    nodes: [Option<Child>; 2],
}

impl Pair {
    fn start() -> Self {
        let ports = [Port::reserve(), Port::reserve()];
        let mut pair = Self { folder: tempfile::tempdir().unwrap(), store: redis_url(), ports, nodes: [None, None] };
        let create = ["client", "create", "--id", "app", "--type", "public", "--scope", "read", "--grant-types"];
        run(pair.command(&[create.as_slice(), &["password,refresh_token"]].concat()), "").assert(0);
        run(pair.command(&["user", "create", "--username", "anna"]), "a good password\n").assert(0);
        run(pair.command(&["key", "rotate"]), "").assert(0);
        (0..2).for_each(|node| pair.begin(node));
        pair
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = regrant(self.folder.path(), arguments);
        command.envs(fit(self.folder.path())).env("REGRANT_STORE", &self.store);
        command
    }

    /// Starts a node, and once more when it could not start, as systemd does: a store that is late refuses the start.
    fn begin(&mut self, node: usize) {
        let port = self.ports[node].number();
        let log = self.folder.path().join(format!("log{node}"));
        let start = || {
            let mut command = self.command(&["serve"]);
            command.env("REGRANT_LISTEN", format!("127.0.0.1:{port}")).stdout(Stdio::null());
            command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap()
        };
        let (mut child, mut starts) = (start(), 1);
        wait_for("serve", || {
            if child.try_wait().unwrap().is_some() {
                let why = std::fs::read_to_string(&log).unwrap();
                assert!(starts < 3, "{why}");
                (child, starts) = (start(), starts + 1);
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        self.nodes[node] = Some(child);
    }

    /// As an operator stops it: SIGTERM, and it drains.
    fn end(&mut self, node: usize) {
        let mut child = self.nodes[node].take().unwrap();
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        wait_for("the end of serve", || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }

    fn urls(&self) -> [String; 2] {
        [0, 1].map(|node| format!("http://127.0.0.1:{}", self.ports[node].number()))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Sends a request to one node, and to the other when nobody listens at the first, the answer is cut or is 503: then the same
/// again, which is what the server promises to be safe. On a machine that is busy with something else a store can be late.
async fn ask(urls: &[String; 2], first: usize, request: impl Fn(&str) -> reqwest::RequestBuilder) -> (u16, String) {
    for attempt in 0..16 {
        let Ok(response) = request(&urls[(first + attempt) % 2]).send().await else { continue };
        let status = response.status().as_u16();
        if status == 503 {
            continue;
        }
        if let Ok(text) = response.text().await {
            return (status, text);
        }
    }
    panic!("neither node answers");
}

/// A resource server: it keeps the key set until it meets a key that is not in it.
struct Verifier {
    http: reqwest::Client,
    urls: [String; 2],
    keys: Mutex<JwkSet>,
    fetched: AtomicUsize,
}

impl Verifier {
    fn known(keys: &JwkSet, token: &str) -> bool {
        let header = jsonwebtoken::decode_header(token).unwrap();
        let Some(key) = keys.find(&header.kid.unwrap()) else { return false };
        let mut validation = Validation::new(header.alg);
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap();
        true
    }

    /// Whether the token verifies, after asking one node for its keys when that is needed.
    async fn verify(&self, token: &str) -> bool {
        let mut keys = self.keys.lock().await;
        if Self::known(&keys, token) {
            return true;
        }
        let at = self.fetched.fetch_add(1, Ordering::Relaxed);
        let get = |url: &str| self.http.get(format!("{url}/.well-known/jwks.json"));
        let (status, text) = ask(&self.urls, at % 2, get).await;
        assert_eq!(status, 200);
        *keys = serde_json::from_str(&text).unwrap();
        Self::known(&keys, token)
    }
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    refreshes: AtomicUsize,
    refused: Mutex<Vec<String>>,
    /// Access tokens that nobody could verify, by the key that they name.
    unverifiable: Mutex<BTreeMap<String, usize>>,
    signed_by: Mutex<BTreeMap<String, usize>>,
}

/// Clients that refresh all the time through both nodes, while `operate` does its work.
async fn under_load(pair: &mut Pair, operate: impl AsyncFnOnce(&mut Pair, &Seen)) -> Arc<Seen> {
    let (urls, seen) = (pair.urls(), Arc::new(Seen::default()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let verifier = Arc::new(Verifier {
        http: http.clone(),
        urls: urls.clone(),
        keys: Mutex::new(JwkSet { keys: vec![] }),
        fetched: AtomicUsize::new(0),
    });
    let stop = tokio::sync::watch::Sender::new(false);
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (http, urls, seen, verifier, stopped) =
            (http.clone(), urls.clone(), Arc::clone(&seen), Arc::clone(&verifier), stop.subscribe());
        clients.spawn(async move {
            let post = |form: &[(&'static str, &str)]| {
                let named = [("client_id", "app")].into_iter().chain(form.iter().copied());
                let form: Vec<(&str, String)> = named.map(|(name, value)| (name, value.to_owned())).collect();
                let http = http.clone();
                move |url: &str| http.post(format!("{url}/oauth2/token")).form(&form)
            };
            let login = [("grant_type", "password"), ("username", "anna"), ("password", "a good password")];
            let (status, mut text) = ask(&urls, client, post(&login)).await;
            assert_eq!(status, 200, "{text}");
            for turn in client.. {
                let answer: Value = serde_json::from_str(&text).unwrap();
                let access_token = answer["access_token"].as_str().unwrap();
                let kid = jsonwebtoken::decode_header(access_token).unwrap().kid.unwrap();
                if !verifier.verify(access_token).await {
                    *seen.unverifiable.lock().await.entry(kid.clone()).or_default() += 1;
                }
                *seen.signed_by.lock().await.entry(kid).or_default() += 1;
                if *stopped.borrow() {
                    return;
                }
                let refresh =
                    [("grant_type", "refresh_token"), ("refresh_token", answer["refresh_token"].as_str().unwrap())];
                let (status, next) = ask(&urls, turn, post(&refresh)).await;
                if status != 200 {
                    seen.refused.lock().await.push(format!("{status}: {next}"));
                    return;
                }
                seen.refreshes.fetch_add(1, Ordering::Relaxed);
                text = next;
            }
        });
    }
    operate(pair, &seen).await;
    stop.send_replace(true);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    seen
}

impl Seen {
    /// Waits until so many more refreshes were answered.
    async fn more(&self, refreshes: usize) {
        let goal = self.refreshes.load(Ordering::Relaxed) + refreshes;
        crate::support::eventually("more refreshes", async || {
            self.refreshes.load(Ordering::Relaxed) >= goal || !self.refused.lock().await.is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_restart_in_turn_and_a_key_rotates_and_no_client_notices() {
    let mut pair = Pair::start();
    let seen = under_load(&mut pair, async |pair, seen| {
        for round in 0..4 {
            let node = round % 2;
            seen.more(40).await;
            pair.end(node);
            seen.more(40).await;
            if round == 1 {
                // Published, and known to nobody who runs yet; the node that starts now knows it.
                run(pair.command(&["key", "rotate"]), "").assert(0);
            }
            pair.begin(node);
        }
        seen.more(40).await;
    })
    .await;
    assert!(seen.refused.lock().await.is_empty(), "{:?}", seen.refused.lock().await);
    assert!(seen.unverifiable.lock().await.is_empty(), "{:?}", seen.unverifiable.lock().await);
    println!(
        "{} refreshes through 4 restarts, signed by {:?}",
        seen.refreshes.load(Ordering::Relaxed),
        seen.signed_by.lock().await
    );
}

/// The one key that is somebody else's dies at once; what the new one signs verifies from its first token on, whichever node
/// is asked, and no node signs with the old one any more once a verifier has asked it for its keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compromised_key_is_replaced_under_load_and_each_client_loses_one_access_token_at_most() {
    let mut pair = Pair::start();
    let listed = run(pair.command(&["key", "list", "--json"]), "").assert(0).json();
    let old = listed[0]["kid"].as_str().unwrap().to_owned();
    let seen = under_load(&mut pair, async |pair, seen| {
        seen.more(40).await;
        run(pair.command(&["key", "rotate", "--compromised"]), "").assert(0);
        // A node that starts knows the new key; with its first token all verifiers ask for the keys.
        pair.end(0);
        pair.begin(0);
        seen.more(200).await;
    })
    .await;
    assert!(seen.refused.lock().await.is_empty(), "{:?}", seen.refused.lock().await);
    let signed_by = seen.signed_by.lock().await;
    assert_eq!(signed_by.len(), 2, "{signed_by:?}");
    let lost = seen.unverifiable.lock().await;
    assert!(lost.keys().all(|kid| *kid == old) && lost.values().sum::<usize>() <= 8, "{lost:?} of {signed_by:?}");
    println!("signed by {signed_by:?}, lost {lost:?}");
}
