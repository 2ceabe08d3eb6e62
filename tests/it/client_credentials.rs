//! The client credentials grant (RFC 6749 §4.4), and what a client cannot say about itself.

use regrant::{client::GrantType, clock::Clock, secret::ServerSecret};

use crate::{
    on_both_stores,
    support::{Answer, On, Redis, Server, owner_id},
};

on_both_stores!(
    a_client_gets_a_token_for_itself,
    a80_no_refresh_token_without_the_right_to_one,
    a87_the_subject_of_a_client_is_no_users,
    a88_a_client_does_not_choose_its_claims,
    a_client_that_lost_the_right_gets_nothing,
);

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    server.client_with("robot", |client| client.grant_types.push(GrantType::ClientCredentials)).await;
    server.user("anna").await;
    server
}

async fn a_client_gets_a_token_for_itself(on: On) {
    let server = started(on).await;
    let answer = server.token("robot", &[GRANT]).await;
    answer.assert_tokens();
    assert_eq!((&answer.json()["scope"], &answer.json()["expires_in"]), (&"read write".into(), &600.into()));
    let claims = answer.claims();
    let mut names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub"]);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&"client:robot".into(), &"robot".into()));
    assert_eq!((&claims["iss"], &claims["aud"]), (&server.url.clone().into(), &server.url.clone().into()));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);

    let less = server.token("robot", &[GRANT, ("scope", "read")]).await;
    less.assert_tokens();
    assert_eq!((&less.json()["scope"], &less.claims()["scope"]), (&"read".into(), &"read".into()));
    assert_ne!(less.claims()["jti"], claims["jti"]);
    assert_ne!(server.token("robot", &[GRANT]).await.claims()["jti"], claims["jti"]);
    server.token("robot", &[GRANT, ("scope", "read admin")]).await.assert_error(400, "invalid_scope");
    server.token("robot", &[GRANT, ("scope", "read,write")]).await.assert_error(400, "invalid_scope");

    let metadata = server.http.get(format!("{}/.well-known/oauth-authorization-server", server.url));
    let supported = Answer::of(metadata).await.json()["grant_types_supported"].clone();
    assert!(supported.as_array().unwrap().contains(&GRANT.1.into()), "{supported}");
}

async fn a80_no_refresh_token_without_the_right_to_one(on: On) {
    let server = started(on).await;
    // RFC 6749 §4.4.3, also for a client that refreshes elsewhere.
    let answer = server.token("robot", &[GRANT]).await;
    assert!(answer.json().get("refresh_token").is_none(), "{answer:?}");
    server.client_with("no-refresh", |client| client.grant_types = vec![GrantType::Password]).await;
    let answer = server.login("no-refresh", "anna").await;
    answer.assert_tokens();
    assert!(answer.json().get("refresh_token").is_none(), "{answer:?}");
    // The control: with the right there is one.
    server.login("robot", "anna").await.refresh_token();
}

async fn a87_the_subject_of_a_client_is_no_users(on: On) {
    let server = started(on).await;
    let anna = server.store().owner(owner_id("anna")).await.unwrap().unwrap().subject;
    // A client whose identifier is somebody's subject, and users with the names of clients.
    let imitation = anna.to_string();
    server.client_with(&imitation, |client| client.grant_types = vec![GrantType::ClientCredentials]).await;
    let claims = server.token(&imitation, &[GRANT]).await.claims();
    assert_eq!(claims["sub"], format!("client:{anna}"));
    assert_eq!(claims["client_id"], imitation);
    for name in ["client:robot", "robot"] {
        server.user(name).await;
        let subject = server.login("robot", name).await.claims()["sub"].as_str().unwrap().to_owned();
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert!(subject.bytes().all(base64url), "{subject}");
    }
}

async fn a88_a_client_does_not_choose_its_claims(on: On) {
    let server = started(on).await;
    let chosen = [
        ("sub", "admin"),
        ("iss", "https://evil.test"),
        ("aud", "https://evil.test"),
        ("exp", "9999999999"),
        ("iat", "1"),
        ("jti", "mine"),
        ("gid", "mine"),
        ("claims", r#"{"sub":"admin"}"#),
        ("act", "admin"),
        ("kid", "mine"),
        ("alg", "none"),
    ];
    let plain = server.token("robot", &[GRANT]).await.claims();
    let answer = server.token("robot", &[[GRANT].as_slice(), &chosen].concat()).await;
    answer.assert_tokens();
    let claims = answer.claims();
    for name in ["sub", "iss", "aud", "client_id", "scope"] {
        assert_eq!(claims[name], plain[name], "{name}");
    }
    assert_eq!(claims.as_object().unwrap().len(), plain.as_object().unwrap().len(), "{claims}");
    assert!(!claims.to_string().contains("mine"), "{claims}");
    // Another client's name beside this one's credentials is no choice either.
    server.token("robot", &[GRANT, ("client_id", "other")]).await.assert_error(400, "invalid_request");

    let form = [("grant_type", "password"), ("username", "anna"), ("password", "a good password")];
    let answer = server.token("robot", &[form.as_slice(), &chosen].concat()).await;
    let subject = server.store().owner(owner_id("anna")).await.unwrap().unwrap().subject.to_string();
    assert_eq!((&answer.claims()["sub"], &answer.claims()["client_id"]), (&subject.into(), &"robot".into()));
    assert_eq!(answer.claims()["iss"], server.url);
}

async fn a_client_that_lost_the_right_gets_nothing(on: On) {
    let server = started(on).await;
    server.token("robot", &[GRANT]).await.assert_tokens();
    server.change_client("robot", |client| client.grant_types = vec![GrantType::Password]).await;
    server.token("robot", &[GRANT]).await.assert_error(400, "unauthorized_client");
    server.change_client("robot", |client| client.disabled = true).await;
    server.token("robot", &[GRANT]).await.assert_error(401, "invalid_client");
}

/// I-29, and more: a store that takes no writes is no reason to refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stored_for_a_client_that_acts_for_itself() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(&redis.url(), &ServerSecret::generate(), Clock::system(), folder, |_| {}).await;
    server.client_with("robot", |client| client.grant_types.push(GrantType::ClientCredentials)).await;
    server.user("anna").await;
    let mut connection = redis.connection();
    let () = ::redis::cmd("CONFIG").arg("SET").arg("min-replicas-to-write").arg(1).query(&mut connection).unwrap();
    server.login("robot", "anna").await.assert_error(503, "temporarily_unavailable");
    let before: u64 = ::redis::cmd("DBSIZE").query(&mut connection).unwrap();
    server.token("robot", &[GRANT]).await.assert_tokens();
    assert_eq!(::redis::cmd("DBSIZE").query::<u64>(&mut connection).unwrap(), before);
}
