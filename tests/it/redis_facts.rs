//! What Redis sees and what its failures lead to. Each test has a redis-server of its own.

use std::{process::Command, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::{Connection, FromRedisValue, cmd};
use regrant::{
    clock::Clock,
    config::Config,
    secret::{ClientSecretHash, SecretText, ServerSecret},
};

use crate::support::{Answer, Redis, Server, eventually, owner_id};

async fn node(redis: &Redis, secret: &ServerSecret) -> Server {
    let issuer = |config: &mut Config| config.issuer = "http://regrant.test".into();
    Server::start_on(&redis.url(), secret, Clock::system(), tempfile::tempdir().unwrap(), issuer).await
}

async fn started() -> (Redis, Server) {
    let redis = Redis::start();
    let server = node(&redis, &ServerSecret::generate()).await;
    server.client("app").await;
    server.user("anna").await;
    (redis, server)
}

fn ask<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> T {
    let mut command = cmd(words[0]);
    command.arg(&words[1..]).query(connection).unwrap()
}

fn key_of(answer: &Answer) -> String {
    format!("as:g:{{{}}}:{}", owner_id("anna"), answer.claims()["gid"].as_str().unwrap())
}

/// An answer, which must come within two seconds.
async fn soon(answer: impl Future<Output = Answer>) -> Answer {
    tokio::time::timeout(Duration::from_secs(2), answer).await.expect("an answer within two seconds")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_lives_in_redis_exactly_as_long_as_its_refresh_token() {
    let (redis, server) = started().await;
    let mut connection = redis.connection();
    let login = server.login("app", "anna").await;
    assert_life(&server, &mut connection, &login).await;
    assert_eq!(login.json()["refresh_token_expires_in"], 1_209_600);
    let refreshed = server.refresh("app", &login.refresh_token()).await;
    assert_life(&server, &mut connection, &refreshed).await;
    assert_eq!(refreshed.json()["refresh_token_expires_in"], 1_209_600);
    // A repeated answer gains no life.
    let before: i64 = ask(&mut connection, &["PEXPIRETIME", &key_of(&login)]);
    let repeated = server.refresh("app", &login.refresh_token()).await;
    assert_life(&server, &mut connection, &repeated).await;
    assert_eq!(before, ask::<i64>(&mut connection, &["PEXPIRETIME", &key_of(&login)]));
}

/// The key's expiry is the refresh token's to the millisecond, and its remaining life within 50 ms.
async fn assert_life(server: &Server, connection: &mut Connection, answer: &Answer) {
    answer.assert_tokens();
    let expires_at = server.grant_of("anna").await.expires_at();
    assert_eq!(expires_at.0, ask::<i64>(connection, &["PEXPIRETIME", &key_of(answer)]));
    let before = expires_at.since(server.store().now());
    let left: i64 = ask(connection, &["PTTL", &key_of(answer)]);
    let after = expires_at.since(server.store().now());
    assert!((after - 50..=before + 50).contains(&left), "{left} is not between {after} and {before}");
}

/// I-18
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_but_clients_owners_and_signing_keys_expires() {
    let (redis, server) = started().await;
    server.client_with("once", |client| client.grant_types = vec![regrant::client::GrantType::Password]).await;
    server.login("once", "anna").await.assert_tokens();
    let first = server.login("app", "anna").await.refresh_token();
    let second = server.refresh("app", &first).await.refresh_token();
    server.refresh("app", &second).await.assert_tokens();
    // A revoked one too.
    server.refresh("app", &first).await.assert_error(400, "invalid_grant");
    let mut connection = redis.connection();
    let keys: Vec<String> = ask(&mut connection, &["KEYS", "*"]);
    let mut transient = 0;
    for key in &keys {
        let left: i64 = ask(&mut connection, &["PTTL", key]);
        if key.starts_with("as:c:") || key.starts_with("as:u:") || key == "as:jk" {
            assert_eq!(left, -1, "{key}");
        } else {
            transient += 1;
            assert!(left > 0, "{key}: {left}");
        }
    }
    // Two grants, the owner's index of them and the count of logins; two clients, an owner, the signing keys.
    assert_eq!((transient, keys.len()), (4, 8), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a78_a_grant_expires_also_when_its_key_lost_the_ttl() {
    let (redis, server) = started().await;
    let login = server.login("app", "anna").await;
    let kept: i64 = ask(&mut redis.connection(), &["PERSIST", &key_of(&login)]);
    assert_eq!(kept, 1);
    server.clock.advance(Duration::from_secs(1_209_600));
    server.refresh("app", &login.refresh_token()).await.assert_error(400, "invalid_grant");
}

/// Calls of each command since the last `CONFIG RESETSTAT`; those inside scripts are counted as well.
fn calls(connection: &mut Connection) -> Vec<(String, u64)> {
    let info: String = ask(connection, &["INFO", "commandstats"]);
    let mut calls: Vec<_> = info
        .lines()
        .filter_map(|line| {
            let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), numbers.split(',').next()?.parse().unwrap()))
        })
        .filter(|(name, _)| name != "config|resetstat")
        .collect();
    calls.sort();
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_is_one_command() {
    let (redis, server) = started().await;
    // Every thread that serves connections has its own to Redis by then.
    futures_util::future::join_all((0..2 * regrant::lane::number()).map(|_| server.login("app", "anna"))).await;
    let mut token = server.login("app", "anna").await.refresh_token();
    token = server.refresh("app", &token).await.refresh_token();
    let mut connection = redis.connection();
    let () = ask(&mut connection, &["CONFIG", "RESETSTAT"]);
    for _ in 0..50 {
        token = server.refresh("app", &token).await.refresh_token();
    }
    // The script itself reads the time, the grant and the owner, and writes the grant with its expiry. Beside it, the
    // server looks for new signing keys now and then.
    let expected = [("evalsha", 50), ("get", 50), ("hmget", 50), ("set", 50), ("time", 50)];
    let mut counted = calls(&mut connection);
    counted.retain(|(name, _)| name != "hvals");
    assert_eq!(counted, expected.map(|(name, count)| (name.to_owned(), count)));
}

/// I-15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_redis_can_be_used_to_get_in() {
    let (redis, server) = started().await;
    let hash = ClientSecretHash::of(&SecretText::new("a client secret of its own".into()));
    server
        .client_with("other", |client| {
            client.secrets = vec![regrant::client::RegisteredSecret { hash, expires_at: None }];
        })
        .await;
    let mut secrets: Vec<Vec<u8>> =
        vec![b"a client secret".to_vec(), b"a good password".to_vec(), b"argon2id".to_vec()];
    let mut answers = Vec::new();
    for _ in 0..5 {
        let login = server.login("app", "anna").await;
        answers.push(server.refresh("app", &login.refresh_token()).await);
        answers.push(login);
    }
    for answer in &answers {
        let token = answer.refresh_token();
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix("rt_").unwrap()).unwrap();
        assert_eq!(bytes.len(), 78);
        // The family secret, and the MAC.
        secrets.extend([bytes[38..62].to_vec(), bytes[62..78].to_vec(), token.as_bytes()[3..40].to_vec()]);
        secrets.push(URL_SAFE_NO_PAD.encode(&bytes[38..62]).into_bytes());
        secrets.push(answer.json()["access_token"].as_str().unwrap().rsplit('.').next().unwrap().as_bytes().to_vec());
    }
    // Compressed, nothing would be found whatever is there.
    let () = ask(&mut redis.connection(), &["CONFIG", "SET", "rdbcompression", "no"]);
    let saved = redis.saved();
    let holds = |needle: &[u8]| saved.windows(needle.len()).any(|window| window == needle);
    let gid = answers[0].claims()["gid"].as_str().unwrap().to_owned();
    assert!(holds(b"anna") && holds(b"read write") && holds(gid.as_bytes()), "the control");
    for secret in secrets {
        assert!(!holds(&secret), "{secret:?} {}", String::from_utf8_lossy(&secret));
    }
}

/// I-08, I-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_answer_is_503_and_with_it_all_is_well_again() {
    let (mut redis, server) = started().await;
    let token = server.login("app", "anna").await.refresh_token();
    redis.kill();
    for _ in 0..3 {
        soon(server.refresh("app", &token)).await.assert_error(503, "temporarily_unavailable");
        let login = soon(server.login("app", "anna")).await;
        login.assert_error(503, "temporarily_unavailable");
        let text = login.text.to_lowercase();
        for inside in ["redis", "refused", "broken", "os error", "connection"] {
            assert!(!text.contains(inside), "{text}");
        }
    }
    for path in ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server"] {
        assert_eq!(Answer::of(server.http.get(format!("{}{path}", server.url))).await.status, 200);
    }
    redis.restart();
    eventually("Redis is back", async || server.store().ping().await.is_ok()).await;
    server.login("app", "anna").await.assert_error(401, "invalid_client");
    server.client("app").await;
    server.user("anna").await;
    let again = server.login("app", "anna").await;
    again.assert_tokens();
    server.refresh("app", &again.refresh_token()).await.assert_tokens();
    // Redis came back empty, so the old grant is gone.
    server.refresh("app", &token).await.assert_error(400, "invalid_grant");
}

/// I-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a72_a_restart_of_redis_that_saved_changes_nothing() {
    let (mut redis, server) = started().await;
    let first = server.login("app", "anna").await.refresh_token();
    let second = server.refresh("app", &first).await;
    redis.saved();
    redis.kill();
    server.refresh("app", &first).await.assert_error(503, "temporarily_unavailable");
    redis.restart();
    eventually("Redis is back", async || server.store().ping().await.is_ok()).await;
    let again = server.refresh("app", &first).await;
    assert_eq!(again.refresh_token(), second.refresh_token());
    assert_eq!(again.claims()["jti"], second.claims()["jti"]);
    let third = server.refresh("app", &second.refresh_token()).await.refresh_token();
    server.refresh("app", &first).await.assert_error(400, "invalid_grant");
    server.refresh("app", &third).await.assert_error(400, "invalid_grant");
}

fn signal(redis: &Redis, signal: &str) {
    let status = Command::new("kill").args([signal, &redis.pid().to_string()]).status().unwrap();
    assert!(status.success());
}

/// I-08, I-21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_hangs_the_answer_is_503_and_no_token_is_lost() {
    let (redis, server) = started().await;
    let first = server.login("app", "anna").await.refresh_token();
    let other = server.login("app", "anna").await.refresh_token();
    signal(&redis, "-STOP");
    // Both at once: a stuck command that fires later must not count as a use.
    let (one, two) = tokio::join!(soon(server.refresh("app", &first)), soon(server.refresh("app", &first)));
    one.assert_error(503, "temporarily_unavailable");
    two.assert_error(503, "temporarily_unavailable");
    soon(server.login("app", "anna")).await.assert_error(503, "temporarily_unavailable");
    signal(&redis, "-CONT");
    eventually("Redis answers", async || server.store().ping().await.is_ok()).await;
    let mut token = first;
    for _ in 0..3 {
        let answer = server.refresh("app", &token).await;
        answer.assert_tokens();
        token = answer.refresh_token();
    }
    server.refresh("app", &other).await.assert_tokens();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_small() {
    let redis = Redis::start();
    let trusting = |config: &mut Config| {
        config.issuer = "http://regrant.test".into();
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(&redis.url(), &ServerSecret::generate(), Clock::system(), folder, trusting).await;
    server.client("app").await;
    server.user("anna").await;
    let from_afar = async |form: &[(&str, &str)]| {
        let request = server.http.post(server.token_url()).basic_auth("app", Some("secret")).form(form);
        let request = request.header("x-forwarded-for", "2001:db8:85a3:1234:5678:8a2e:4370:7334");
        Answer::of(request.header("user-agent", "Mozilla/5.0 ".repeat(20))).await
    };
    let login = from_afar(&[("grant_type", "password"), ("username", "anna"), ("password", "a good password")]).await;
    let mut connection = redis.connection();
    from_afar(&[("grant_type", "refresh_token"), ("refresh_token", &login.refresh_token())]).await.assert_tokens();
    let from = server.grant_of("anna").await.last_used_from;
    assert_eq!((from.address.len(), from.agent.len()), (38, 64), "{from:?}");
    let bytes: u64 = ask(&mut connection, &["MEMORY", "USAGE", &key_of(&login)]);
    assert!(bytes <= 500, "{bytes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_forget_the_scripts() {
    let (redis, server) = started().await;
    let mut connection = redis.connection();
    let mut token = server.login("app", "anna").await.refresh_token();
    for _ in 0..10 {
        let () = ask(&mut connection, &["SCRIPT", "FLUSH"]);
        token = server.refresh("app", &token).await.refresh_token();
    }
    let () = ask(&mut connection, &["SCRIPT", "FLUSH"]);
    server.login("app", "anna").await.assert_tokens();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_disabled_on_one_node_is_out_on_the_other() {
    let (redis, one) = started().await;
    drop(one);
    let secret = ServerSecret::generate();
    let () = ask(&mut redis.connection(), &["FLUSHALL"]);
    let (one, other) = (node(&redis, &secret).await, node(&redis, &secret).await);
    one.client("app").await;
    one.user("anna").await;
    // Both have a copy now.
    let token = one.login("app", "anna").await.refresh_token();
    let token = other.refresh("app", &token).await.refresh_token();
    for _ in 0..5 {
        one.change_client("app", |client| client.disabled = true).await;
        one.refresh("app", &token).await.assert_error(401, "invalid_client");
        let refused = async || other.login("app", "anna").await.status == 401;
        tokio::time::timeout(Duration::from_secs(2), eventually("refused", refused)).await.expect("within two seconds");
        other.refresh("app", &token).await.assert_error(401, "invalid_client");
        one.change_client("app", |client| client.disabled = false).await;
        let accepted = async || other.login("app", "anna").await.status == 200;
        tokio::time::timeout(Duration::from_secs(2), eventually("accepted", accepted))
            .await
            .expect("within two seconds");
    }
    let next = other.refresh("app", &token).await;
    next.assert_tokens();
    assert_eq!(
        one.store().delete_client(&regrant::ids::ClientId::parse("app").unwrap()).await.unwrap(),
        regrant::store::Changed::Stored
    );
    let gone = async || other.refresh("app", &next.refresh_token()).await.status == 401;
    tokio::time::timeout(Duration::from_secs(2), eventually("gone", gone)).await.expect("within two seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_refuses_logins_and_still_refreshes() {
    let (redis, server) = started().await;
    let mut token = server.login("app", "anna").await.refresh_token();
    let mut connection = redis.connection();
    let () = ask(&mut connection, &["CONFIG", "SET", "maxmemory", "1"]);
    server.login("app", "anna").await.assert_error(503, "temporarily_unavailable");
    for _ in 0..3 {
        token = server.refresh("app", &token).await.refresh_token();
    }
    let () = ask(&mut connection, &["CONFIG", "SET", "maxmemory", "0"]);
    server.login("app", "anna").await.assert_tokens();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_redis_conf_that_is_shipped_is_fit_for_production() {
    let redis = Redis::start_with(&[concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis.conf")]);
    let store = regrant::store::open(&redis.url(), regrant::clock::Clock::system()).await.unwrap();
    assert_eq!(store.warnings().await.unwrap(), Vec::<String>::new());
    let mut connection = redis.connection();
    let policy: Vec<String> = ask(&mut connection, &["CONFIG", "GET", "appendonly"]);
    assert_eq!(policy, ["appendonly", "yes"]);
}
