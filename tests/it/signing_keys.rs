//! The keys change and nobody notices: signing keys (security.md A-96, I-23, F18) and the server's secret.

use std::{collections::BTreeSet, time::Duration};

use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use regrant::{
    clock::{Clock, Timestamp},
    secret::ServerSecret,
    store::Created,
    token::keys::PUBLISHED_AHEAD_MS,
};
use serde_json::Value;

use crate::{
    on_both_stores,
    support::{Answer, On, Server, redis_url},
};

on_both_stores!(
    f18_keys_rotate_under_load_and_every_access_token_verifies,
    two_nodes_that_rotate_at_once_publish_one_key,
    a96_a_retired_key_stays_until_its_tokens_are_gone,
    a_compromised_key_is_gone_at_once,
    a_node_that_does_not_know_a_key_yet_asks_the_store_before_it_denies_it,
    a_key_is_published_longer_ahead_than_its_set_is_cached,
    f18_the_secret_changes_node_by_node_and_nobody_is_logged_out,
);

/// A resource server, which keeps the key set as long as it is told.
struct Verifier {
    keys: JwkSet,
    fetched_at: Timestamp,
    seen: BTreeSet<String>,
}

impl Verifier {
    async fn new(node: &Server) -> Self {
        Self { keys: key_set(node).await, fetched_at: node.clock.now(), seen: BTreeSet::new() }
    }

    /// Verifies without asking for the keys again before the hour is over, also when it doesn't know one.
    async fn verify(&mut self, access_token: &str, node: &Server) {
        if node.clock.now().since(self.fetched_at) > 3_600_000 {
            (self.keys, self.fetched_at) = (key_set(node).await, node.clock.now());
        }
        let header = jsonwebtoken::decode_header(access_token).unwrap();
        let id = header.kid.unwrap();
        let key = self.keys.find(&id).unwrap_or_else(|| panic!("a token under {id}, which was not published"));
        let mut validation = Validation::new(header.alg);
        (validation.validate_exp, validation.validate_aud) = (false, false);
        jsonwebtoken::decode::<Value>(access_token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap();
        self.seen.insert(id);
    }
}

async fn key_set(node: &Server) -> JwkSet {
    let answer = Answer::of(node.http.get(format!("{}/.well-known/jwks.json", node.url))).await;
    serde_json::from_str(&answer.text).unwrap()
}

async fn maintain(node: &Server) {
    node.app.issuer.signing().maintain(node.store()).await.unwrap();
}

async fn f18_keys_rotate_under_load_and_every_access_token_verifies(on: On) {
    let (one, other, _shared) = Server::pair_with(on, |config| config.signing_key_days = 1).await;
    one.client("app").await;
    one.user("anna").await;
    let mut verifier = Verifier::new(&one).await;
    let mut tokens = one.login("app", "anna").await;
    let mut before = tokens.access_token();
    // Two days and a half in steps of four minutes, which is how late a node may hear of a key.
    for step in 0..900 {
        one.clock.advance(Duration::from_secs(240));
        let (early, late) = if step % 2 == 0 { (&one, &other) } else { (&other, &one) };
        maintain(early).await;
        let (node, peer) = if step % 3 == 0 { (&one, &other) } else { (&other, &one) };
        verifier.verify(&before, late).await;
        maintain(late).await;
        tokens = node.refresh("app", &tokens.refresh_token()).await;
        tokens.assert_tokens();
        before = tokens.access_token();
        verifier.verify(&before, peer).await;
        assert_eq!(peer.introspect("app", &before).await["active"], true, "step {step}");
    }
    assert!((3..=4).contains(&verifier.seen.len()), "{:?}", verifier.seen);
    let left = one.store().signing_keys().await.unwrap().len();
    assert!(left <= 3, "{left} keys are left");
}

async fn two_nodes_that_rotate_at_once_publish_one_key(on: On) {
    let (one, other, _shared) = Server::pair(on).await;
    let rotate = async |node: &Server| node.app.issuer.signing().rotate(node.store()).await.unwrap();
    let outcomes = tokio::join!(rotate(&one), rotate(&other));
    assert!([outcomes.0, outcomes.1].contains(&Created::Stored));
    maintain(&one).await;
    maintain(&other).await;
    let (of_one, of_other) = (key_set(&one).await, key_set(&other).await);
    assert_eq!(of_one.keys.len(), 2);
    assert_eq!(of_one, of_other);
}

async fn a96_a_retired_key_stays_until_its_tokens_are_gone(on: On) {
    let server = Server::start(on).await;
    let signing = server.app.issuer.signing();
    let first = key_set(&server).await;
    assert_eq!(signing.rotate(server.store()).await.unwrap(), Created::Stored);
    assert_eq!(signing.rotate(server.store()).await.unwrap(), Created::Exists);
    let advance = |milliseconds: i64| server.clock.advance(Duration::from_millis(milliseconds.try_into().unwrap()));
    advance(PUBLISHED_AHEAD_MS + 24 * 3_600_000);
    maintain(&server).await;
    let both = key_set(&server).await;
    assert_eq!((both.keys.len(), &both.keys[0]), (2, &first.keys[0]));
    // Nothing private in it.
    let answer = Answer::of(server.http.get(format!("{}/.well-known/jwks.json", server.url))).await;
    for key in answer.json()["keys"].as_array().unwrap() {
        assert!(["d", "p", "q", "dp", "dq", "qi", "k"].iter().all(|private| key.get(private).is_none()), "{key}");
    }
    advance(300_000);
    assert_eq!(key_set(&server).await.keys, both.keys[1..]);
    maintain(&server).await;
    assert_eq!(server.store().signing_keys().await.unwrap().len(), 1);
}

async fn a_compromised_key_is_gone_at_once(on: On) {
    let server = Server::start(on).await;
    server.client("app").await;
    server.user("anna").await;
    let tokens = server.login("app", "anna").await;
    let before = key_set(&server).await;
    server.app.issuer.signing().replace_compromised(server.store()).await.unwrap();
    assert_eq!(server.introspect("app", &tokens.access_token()).await, serde_json::json!({ "active": false }));
    let now = key_set(&server).await;
    assert!(now.keys.len() == 1 && now != before);
    let refreshed = server.refresh("app", &tokens.refresh_token()).await;
    assert_eq!(server.introspect("app", &refreshed.access_token()).await["active"], true);
}

async fn a_node_that_does_not_know_a_key_yet_asks_the_store_before_it_denies_it(on: On) {
    let (one, other, _shared) = Server::pair(on).await;
    one.client("app").await;
    one.user("anna").await;
    let before = key_set(&other).await;
    one.app.issuer.signing().replace_compromised(one.store()).await.unwrap();
    let by_the_new_key = one.login("app", "anna").await;
    // The other node has heard nothing: nobody but `maintain` tells it.
    one.clock.advance(Duration::from_secs(1));
    assert_eq!(other.introspect("app", &by_the_new_key.access_token()).await["active"], true);
    one.app.issuer.signing().replace_compromised(one.store()).await.unwrap();
    one.clock.advance(Duration::from_secs(1));
    let asked = key_set(&other).await;
    assert!(asked == key_set(&one).await && asked != before);
}

async fn a_key_is_published_longer_ahead_than_its_set_is_cached(on: On) {
    let (one, other, _shared) = Server::pair(on).await;
    one.client("app").await;
    one.user("anna").await;
    let answer = Answer::of(one.http.get(format!("{}/.well-known/jwks.json", one.url))).await;
    let cached: u64 = answer.header("cache-control").rsplit_once('=').unwrap().1.parse().unwrap();
    one.app.issuer.signing().rotate(one.store()).await.unwrap();
    // A node that could not reach the store for four minutes gives the old set to somebody, who keeps it as long as they may.
    one.clock.advance(Duration::from_secs(240));
    let set = other.app.issuer.signing().jwks(other.store().now());
    let mut late =
        Verifier { keys: serde_json::from_value(set).unwrap(), fetched_at: one.clock.now(), seen: BTreeSet::new() };
    // A minute less, so that it is not over meanwhile.
    one.clock.advance(Duration::from_secs(cached - 60));
    late.verify(&one.login("app", "anna").await.access_token(), &one).await;
}

async fn f18_the_secret_changes_node_by_node_and_nobody_is_logged_out(on: On) {
    let shared = tempfile::tempdir().unwrap();
    let url = match on {
        On::Embedded => format!("sqlite:{}", shared.path().join("regrant.db").display()),
        On::Redis => redis_url(),
    };
    let clock = Clock::system();
    let read = |text: &str| ServerSecret::parse(text).unwrap();
    // Two secrets whose tokens can be told apart.
    let (old, new) = loop {
        let (old, new) = (ServerSecret::generate(), ServerSecret::generate());
        if old.key_id() != new.key_id() {
            break (old.to_text(), new.to_text());
        }
    };
    let (old, new) = (old.expose(), new.expose());
    let node = async |secret: ServerSecret| {
        let folder = tempfile::tempdir().unwrap();
        Server::start_on(&url, &secret, clock.clone(), folder, |config| config.issuer = "http://regrant.test".into())
            .await
    };
    let accepting = |secret: &str, other: &str| read(secret).accepting(vec![read(other)]).unwrap();

    let first = node(read(old)).await;
    first.client("app").await;
    first.user("anna").await;
    let mut tokens = first.login("app", "anna").await;
    // First every node learns to accept the new one, then every node uses it, then none accepts the old one.
    for stage in 0..3 {
        let (one, other) = match stage {
            0 => (node(read(old)).await, node(accepting(old, new)).await),
            1 => (node(accepting(old, new)).await, node(accepting(new, old)).await),
            _ => {
                let last = node(accepting(new, old)).await;
                // Password hashes are sealed anew when their owners log in, signing keys when they are replaced.
                last.login("app", "anna").await.assert_tokens();
                let owner = last.store().owner(crate::support::owner_id("anna")).await.unwrap().unwrap();
                assert!(last.app.passwords.reseal(&owner).unwrap().is_none());
                last.app.issuer.signing().replace_compromised(last.store()).await.unwrap();
                (last, node(read(new)).await)
            }
        };
        let (one, other) = (&one, &other);
        for turn in 0..8 {
            let (node, peer) = if turn % 2 == 0 { (one, other) } else { (other, one) };
            let again = tokens.refresh_token();
            tokens = node.refresh("app", &again).await;
            tokens.assert_tokens();
            let repeated = peer.refresh("app", &again).await;
            assert_eq!(repeated.refresh_token(), tokens.refresh_token(), "stage {stage}, turn {turn}");
            assert_eq!(peer.introspect("app", &tokens.access_token()).await["active"], true, "stage {stage}");
            node.login("app", "anna").await.assert_tokens();
        }
    }
}
