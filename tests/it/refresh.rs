//! What a login and its refreshes lead to, over HTTP: the promises of rotation, and the password grant.

use std::{sync::Arc, time::Duration};

use regrant::{
    client::GrantType,
    clock::Clock,
    scope::Scope,
    secret::{SecretText, ServerSecret},
    store::{Changed, GrantStatus, OwnerChange, RevocationReason, RotationPolicy},
};
use serde_json::{Value, json};

use crate::{
    on_both_stores,
    support::{Answer, On, Server, owner_id, redis_url},
};

async fn a_client_has_lifetimes_of_its_own(on: On) {
    let server = Server::start(on).await;
    server.user("anna").await;
    server
        .client_with("short", |client| {
            client.refresh_idle_seconds = Some(3_600);
            client.refresh_absolute_seconds = Some(5_000);
            client.grace_seconds = Some(7);
        })
        .await;
    let login = server.login("short", "anna").await;
    assert_eq!(login.json()["refresh_token_expires_in"], 3_600);
    let grant = server.grant_of("anna").await;
    assert_eq!((grant.idle_ms, grant.grace_ms), (3_600_000, 7_000));
    assert_eq!(grant.absolute_expiry, grant.created_at.plus(5_000_000));
    // Against what the server allows now, the shorter life wins.
    server.user("bert").await;
    server
        .change_client("short", |client| {
            client.refresh_idle_seconds = Some(9_000);
            client.grace_seconds = Some(9_000);
        })
        .await;
    server.login("short", "bert").await.assert_tokens();
    let grant = server.grant_of("bert").await;
    assert_eq!((grant.idle_ms, grant.grace_ms), (5_000_000, 600_000));
}

on_both_stores!(
    a_client_has_lifetimes_of_its_own,
    a68_an_old_token_kills_the_grant_once_its_successor_was_used,
    a69_a_repeated_refresh_gets_the_same_successor,
    a70_a_token_two_generations_back_kills_the_grant,
    a71_many_rotations_within_a_second_are_like_slow_ones,
    a72_a_restart_of_the_server_changes_nothing,
    a73_200_simultaneous_refreshes_have_one_successor,
    a74_the_token_of_another_client_is_invalid_and_unharmed,
    a75_the_client_is_authenticated_on_refresh,
    a76_a_scope_beyond_the_grant_is_refused_and_less_does_not_shrink_it,
    a77_a_scope_that_the_client_lost_is_not_granted_again,
    a77_a_resource_that_the_client_lost_is_not_granted_again,
    a78_an_unused_token_expires,
    a78_the_grace_ends,
    a79_the_end_of_the_grant_never_moves,
    a80_a_client_without_the_grant_gets_no_refresh_token,
    a83_a_refused_refresh_leaves_the_token_good,
    a84_the_token_of_a_repeated_answer_is_accepted_next,
    a85_a_change_of_the_owner_kills_every_older_grant,
    a86_an_access_token_is_what_rfc_9068_asks_for,
    a89_no_access_token_outlives_its_grant,
    two_nodes_on_one_store_agree,
    a_client_that_keeps_its_token_gets_it_back,
    whatever_is_wrong_with_a_login_the_answer_is_the_same,
    a103_20_parallel_logins_succeed,
    a104_an_oversized_password_is_refused,
    changed_password_parameters_lead_to_a_rehash,
    the_scope_of_a_login_is_what_was_asked_for_or_all,
    a_login_says_how_long_its_tokens_live,
    a100_oauth_2_1_has_no_password_grant,
);

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    prepare(&server).await;
    server
}

async fn prepare(server: &Server) {
    server.client("app").await;
    server.user("anna").await;
}

async fn logged_in(server: &Server) -> String {
    server.login("app", "anna").await.refresh_token()
}

/// Refreshes, and returns the next token.
async fn next(server: &Server, token: &str) -> String {
    let answer = server.refresh("app", token).await;
    answer.assert_tokens();
    answer.refresh_token()
}

async fn is_dead(server: &Server, token: &str) {
    server.refresh("app", token).await.assert_error(400, "invalid_grant");
}

async fn was_revoked(server: &Server, why: RevocationReason) {
    let status = server.grant_of("anna").await.status;
    assert!(matches!(status, GrantStatus::Revoked { reason, .. } if reason == why), "{status:?}");
}

async fn is_alive(server: &Server) {
    assert_eq!(server.grant_of("anna").await.status, GrantStatus::Active);
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// I-06
async fn a68_an_old_token_kills_the_grant_once_its_successor_was_used(on: On) {
    let server = started(on).await;
    let first = logged_in(&server).await;
    let second = next(&server, &first).await;
    assert_ne!(first, second);
    let third = next(&server, &second).await;
    server.clock.advance(seconds(60));
    is_dead(&server, &second).await;
    was_revoked(&server, RevocationReason::Replay).await;
    for token in [first, second, third] {
        is_dead(&server, &token).await;
    }
    // Another grant of the same owner lives on.
    let other = logged_in(&server).await;
    next(&server, &other).await;
}

/// I-02, I-04
async fn a69_a_repeated_refresh_gets_the_same_successor(on: On) {
    let server = started(on).await;
    let first = logged_in(&server).await;
    let answer = server.refresh("app", &first).await;
    answer.assert_tokens();
    for _ in 0..3 {
        server.clock.advance(seconds(15));
        let again = server.refresh("app", &first).await;
        again.assert_tokens();
        assert_eq!(again.refresh_token(), answer.refresh_token());
        for claim in ["jti", "exp", "iat", "sub", "gid"] {
            assert_eq!(again.claims()[claim], answer.claims()[claim], "{claim}");
        }
        assert!(again.json()["expires_in"].as_i64() < answer.json()["expires_in"].as_i64());
    }
    is_alive(&server).await;
    assert_eq!(server.grant_of("anna").await.generation, 2);
}

/// I-06
async fn a70_a_token_two_generations_back_kills_the_grant(on: On) {
    let server = started(on).await;
    let first = logged_in(&server).await;
    let second = next(&server, &first).await;
    let third = next(&server, &second).await;
    is_dead(&server, &first).await;
    was_revoked(&server, RevocationReason::Replay).await;
    is_dead(&server, &second).await;
    is_dead(&server, &third).await;
}

/// I-20: generations decide, not times.
async fn a71_many_rotations_within_a_second_are_like_slow_ones(on: On) {
    let server = started(on).await;
    let mut seen = vec![logged_in(&server).await];
    let mut ids = Vec::new();
    for _ in 0..20 {
        let answer = server.refresh("app", seen.last().unwrap()).await;
        answer.assert_tokens();
        ids.push(answer.claims()["jti"].as_str().unwrap().to_owned());
        seen.push(answer.refresh_token());
    }
    // The newest but one again: its successor is unused, so it is a retry.
    assert_eq!(next(&server, &seen[19]).await, seen[20]);
    is_alive(&server).await;
    is_dead(&server, &seen[18]).await;
    is_dead(&server, &seen[20]).await;
    for list in [&mut seen, &mut ids] {
        let length = list.len();
        list.sort();
        list.dedup();
        assert_eq!(list.len(), length, "each is new");
    }
}

/// I-09
async fn a72_a_restart_of_the_server_changes_nothing(on: On) {
    let shared = tempfile::tempdir().unwrap();
    let url = match on {
        On::Embedded => format!("sqlite:{}", shared.path().join("regrant.db").display()),
        On::Redis => redis_url(),
    };
    let secret = ServerSecret::generate();
    let start = || Server::start_on(&url, &secret, Clock::system(), tempfile::tempdir().unwrap(), |_| {});
    let server = start().await;
    prepare(&server).await;
    let first = logged_in(&server).await;
    drop(server);

    let server = start().await;
    let answer = server.refresh("app", &first).await;
    let second = answer.refresh_token();
    drop(server);

    let server = start().await;
    let again = server.refresh("app", &first).await;
    assert_eq!(again.refresh_token(), second);
    assert_eq!(again.claims()["jti"], answer.claims()["jti"]);
    let third = next(&server, &second).await;
    drop(server);

    let server = start().await;
    is_dead(&server, &first).await;
    drop(server);

    let server = start().await;
    is_dead(&server, &third).await;
}

/// I-01, I-02
async fn a73_200_simultaneous_refreshes_have_one_successor(on: On) {
    let server = Arc::new(started(on).await);
    let first = logged_in(&server).await;
    let requests: Vec<_> = (0..200)
        .map(|_| {
            let (server, first) = (Arc::clone(&server), first.clone());
            tokio::spawn(async move { server.refresh("app", &first).await })
        })
        .collect();
    let mut successors = Vec::new();
    for request in requests {
        let answer = request.await.unwrap();
        answer.assert_tokens();
        successors.push((answer.refresh_token(), answer.claims()["jti"].to_string(), answer.claims()["exp"].as_i64()));
    }
    successors.dedup();
    assert_eq!(successors.len(), 1, "{successors:?}");
    is_alive(&server).await;
    assert_eq!(server.grant_of("anna").await.generation, 2);
    next(&server, &successors[0].0).await;
}

/// I-12
async fn a74_the_token_of_another_client_is_invalid_and_unharmed(on: On) {
    let server = started(on).await;
    server.client("other").await;
    let first = logged_in(&server).await;
    server.refresh("other", &first).await.assert_error(400, "invalid_grant");
    assert_eq!(server.grant_of("anna").await.generation, 1);
    let second = next(&server, &first).await;
    let third = next(&server, &second).await;
    // Not even one that would be a replay from its own client.
    server.refresh("other", &first).await.assert_error(400, "invalid_grant");
    next(&server, &third).await;
}

async fn a75_the_client_is_authenticated_on_refresh(on: On) {
    let server = started(on).await;
    let first = logged_in(&server).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", &first), ("client_id", "app")];
    server.post(&form[..2]).await.assert_error(401, "invalid_client");
    server.post(&form).await.assert_error(401, "invalid_client");
    let wrong = server.http.post(server.token_url()).basic_auth("app", Some("wrong")).form(&form[..2]);
    Answer::of(wrong).await.assert_error(401, "invalid_client");
    assert_eq!(server.grant_of("anna").await.generation, 1);
    next(&server, &first).await;
}

async fn refresh_with_scope(server: &Server, token: &str, scope: &str) -> Answer {
    server.token("app", &[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)]).await
}

/// I-13
async fn a76_a_scope_beyond_the_grant_is_refused_and_less_does_not_shrink_it(on: On) {
    let server = started(on).await;
    server.change_client("app", |client| client.scope = Scope::parse("read write admin").unwrap()).await;
    let form = [("grant_type", "password"), ("username", "anna"), ("password", "a good password")];
    let login = server.token("app", &[form.as_slice(), &[("scope", "write read")]].concat()).await;
    let first = login.refresh_token();
    for beyond in ["admin", "read write admin", "rea", "read  write", "re\"ad"] {
        refresh_with_scope(&server, &first, beyond).await.assert_error(400, "invalid_scope");
    }
    assert_eq!(server.grant_of("anna").await.generation, 1);

    let less = refresh_with_scope(&server, &first, "read").await;
    less.assert_tokens();
    assert_eq!((&less.json()["scope"], &less.claims()["scope"]), (&json!("read"), &json!("read")));
    let whole = server.refresh("app", &less.refresh_token()).await;
    let granted: Scope = Scope::parse("read write").unwrap();
    assert_eq!(Scope::parse(whole.json()["scope"].as_str().unwrap()).unwrap(), granted);
    assert_eq!(Scope::parse(whole.claims()["scope"].as_str().unwrap()).unwrap(), granted);
}

/// I-13
async fn a77_a_scope_that_the_client_lost_is_not_granted_again(on: On) {
    let server = started(on).await;
    let first = logged_in(&server).await;
    server.change_client("app", |client| client.scope = Scope::parse("read").unwrap()).await;
    let answer = server.refresh("app", &first).await;
    answer.assert_tokens();
    assert_eq!((&answer.json()["scope"], &answer.claims()["scope"]), (&json!("read"), &json!("read")));
    let asked = refresh_with_scope(&server, &answer.refresh_token(), "read write").await;
    asked.assert_tokens();
    assert_eq!((&asked.json()["scope"], &asked.claims()["scope"]), (&json!("read"), &json!("read")));
}

async fn a77_a_resource_that_the_client_lost_is_not_granted_again(on: On) {
    let server = started(on).await;
    let resources = ["https://a.example", "https://b.example"].map(str::to_owned);
    server.change_client("app", |client| client.audience = resources.to_vec()).await;
    let first = logged_in(&server).await;
    server.change_client("app", |client| client.audience = resources[1..].to_vec()).await;
    let answer = server.refresh("app", &first).await;
    assert_eq!(answer.claims()["aud"], "https://b.example");
    server.change_client("app", |client| client.audience.clear()).await;
    server.refresh("app", &answer.refresh_token()).await.assert_error(400, "invalid_grant");
}

/// I-03
async fn a78_an_unused_token_expires(on: On) {
    let server = started(on).await;
    let first = logged_in(&server).await;
    server.clock.advance(seconds(1_209_600 - 20));
    let answer = server.refresh("app", &first).await;
    answer.assert_tokens();
    assert_eq!(answer.json()["refresh_token_expires_in"], 1_209_600);
    server.clock.advance(seconds(1_209_600));
    is_dead(&server, &answer.refresh_token()).await;
    // Expiry is no theft.
    if let Some(grant) = server.store().grant(owner_id("anna"), grant_id(&answer)).await.unwrap() {
        assert_eq!(grant.status, GrantStatus::Active);
    }
}

fn grant_id(answer: &Answer) -> regrant::ids::GrantId {
    regrant::ids::GrantId::parse(answer.claims()["gid"].as_str().unwrap()).unwrap()
}

/// I-06
async fn a78_the_grace_ends(on: On) {
    let server = started(on).await;
    let first = logged_in(&server).await;
    let second = next(&server, &first).await;
    server.clock.advance(seconds(50));
    assert_eq!(next(&server, &first).await, second);
    // A repeat does not prolong the grace.
    server.clock.advance(seconds(10));
    is_dead(&server, &first).await;
    was_revoked(&server, RevocationReason::Replay).await;
    is_dead(&server, &second).await;
}

/// I-04
async fn a79_the_end_of_the_grant_never_moves(on: On) {
    /// 996 of them are 7,200 s less than 90 days.
    const STEP: u64 = 7800;
    let server = started(on).await;
    let mut token = logged_in(&server).await;
    let end = server.grant_of("anna").await.absolute_expiry;
    assert_eq!(end, server.grant_of("anna").await.created_at.plus(90 * 24 * 3600 * 1000));
    for count in 1..=996_u64 {
        server.clock.advance(seconds(STEP));
        let answer = server.refresh("app", &token).await;
        answer.assert_tokens();
        let left = answer.json()["refresh_token_expires_in"].as_u64().unwrap();
        assert!(left <= (90 * 24 * 3600 - count * STEP).min(1_209_600), "{count}: {left}");
        token = answer.refresh_token();
    }
    let grant = server.grant_of("anna").await;
    assert_eq!((grant.absolute_expiry, grant.generation), (end, 997));
    server.clock.advance(seconds(STEP));
    is_dead(&server, &token).await;
}

async fn a80_a_client_without_the_grant_gets_no_refresh_token(on: On) {
    let server = started(on).await;
    server.client_with("once", |client| client.grant_types = vec![GrantType::Password]).await;
    let answer = server.login("once", "anna").await;
    answer.assert_tokens();
    assert_eq!(answer.json().get("refresh_token"), None);
    assert_eq!(answer.json().get("refresh_token_expires_in"), None);
    assert_eq!(answer.json()["expires_in"], 600);
}

/// I-07
async fn a83_a_refused_refresh_leaves_the_token_good(on: On) {
    let server = started(on).await;
    server.client("other").await;
    let token = logged_in(&server).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    let in_query = reqwest::Url::parse_with_params(&server.token_url(), form).unwrap();
    let with = |more: (&'static str, String)| {
        let form: Vec<(&str, String)> =
            form.iter().map(|(name, value)| (*name, (*value).to_owned())).chain([more]).collect();
        server.http.post(server.token_url()).basic_auth("app", Some("secret")).form(&form)
    };
    server.post(&form).await.assert_error(401, "invalid_client");
    server.token("nobody", &form).await.assert_error(401, "invalid_client");
    server.token("other", &form).await.assert_error(400, "invalid_grant");
    Answer::of(with(("scope", "admin".into()))).await.assert_error(400, "invalid_scope");
    Answer::of(with(("scope", "\u{e9}".into()))).await.assert_error(400, "invalid_scope");
    Answer::of(with(("refresh_token", token.clone()))).await.assert_error(400, "invalid_request");
    Answer::of(with(("client_id", "other".into()))).await.assert_error(400, "invalid_request");
    Answer::of(with(("client_secret", "secret".into()))).await.assert_error(400, "invalid_request");
    Answer::of(with(("padding", "x".repeat(17_000)))).await.assert_error(413, "invalid_request");
    let posted = server.http.post(in_query.clone()).basic_auth("app", Some("secret")).form(&form);
    Answer::of(posted).await.assert_error(400, "invalid_request");
    let plain =
        server.http.post(server.token_url()).basic_auth("app", Some("secret")).header("content-type", "text/plain");
    let text = format!("grant_type=refresh_token&refresh_token={token}");
    Answer::of(plain.body(text)).await.assert_error(400, "invalid_request");
    Answer::of(server.http.get(in_query)).await.assert_error(405, "invalid_request");
    server.token("app", &[("grant_type", "refresh"), form[1]]).await.assert_error(400, "unsupported_grant_type");
    server.change_client("app", |client| client.grant_types = vec![GrantType::Password]).await;
    server.token("app", &form).await.assert_error(400, "unauthorized_client");
    server.change_client("app", |client| client.grant_types.push(GrantType::RefreshToken)).await;
    // Every character but the last few is covered by the MAC, and so is the length.
    for at in [0, 2, 3, 10, 40, 60, 80, token.len() - 1] {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        is_dead(&server, std::str::from_utf8(&forged).unwrap()).await;
    }
    for forged in [&token[..token.len() - 1], &format!("{token}A"), &format!("{token}="), &format!(" {token}"), "x"] {
        is_dead(&server, forged).await;
    }
    assert_eq!(server.grant_of("anna").await.generation, 1);
    next(&server, &token).await;
}

/// I-09
async fn a84_the_token_of_a_repeated_answer_is_accepted_next(on: On) {
    let server = started(on).await;
    let mut token = logged_in(&server).await;
    for _ in 0..5 {
        let lost = next(&server, &token).await;
        let repeated = next(&server, &token).await;
        assert_eq!(lost, repeated);
        token = repeated;
    }
    is_alive(&server).await;
}

/// I-14
async fn a85_a_change_of_the_owner_kills_every_older_grant(on: On) {
    let server = started(on).await;
    let anna = owner_id("anna");
    let password = SecretText::new("another password".into());
    let new_password = server.app.passwords.new_password(anna, &password).await.unwrap();
    for change in [OwnerChange::LogOut, OwnerChange::Disable, new_password] {
        let tokens = [logged_in(&server).await, logged_in(&server).await];
        let used = next(&server, &tokens[1]).await;
        let disabled = matches!(change, OwnerChange::Disable);
        assert_eq!(server.store().change_owner(anna, change).await.unwrap(), Changed::Stored);
        for token in tokens.iter().chain([&used]) {
            is_dead(&server, token).await;
        }
        if disabled {
            server.login("app", "anna").await.assert_error(400, "invalid_grant");
            assert_eq!(server.store().change_owner(anna, OwnerChange::Enable).await.unwrap(), Changed::Stored);
            for token in &tokens {
                is_dead(&server, token).await;
            }
        }
    }
    server.login("app", "anna").await.assert_error(400, "invalid_grant");
    let form = [("grant_type", "password"), ("username", "anna"), ("password", "another password")];
    let token = server.token("app", &form).await.refresh_token();
    assert_eq!(server.store().delete_owner(anna).await.unwrap(), Changed::Stored);
    is_dead(&server, &token).await;
    // A recreated user revives nothing.
    server.user("anna").await;
    is_dead(&server, &token).await;
}

async fn a86_an_access_token_is_what_rfc_9068_asks_for(on: On) {
    let server = started(on).await;
    server.client_with("api", |client| client.audience = vec!["https://a.test".into(), "https://b.test".into()]).await;
    let jwks = Answer::of(server.http.get(format!("{}/.well-known/jwks.json", server.url))).await.json();
    for (client, audience) in [("app", json!(server.url)), ("api", json!(["https://a.test", "https://b.test"]))] {
        let login = server.login(client, "anna").await;
        let refreshed = server.refresh(client, &login.refresh_token()).await;
        for answer in [login, refreshed] {
            let token = answer.json()["access_token"].as_str().unwrap().to_owned();
            let header = jsonwebtoken::decode_header(&token).unwrap();
            assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), jsonwebtoken::Algorithm::ES256));
            let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == json!(header.kid)).unwrap();
            for private in ["d", "p", "q", "k"] {
                assert_eq!(key.get(private), None);
            }
            let key = serde_json::from_value::<jsonwebtoken::jwk::Jwk>(key.clone()).unwrap();
            let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
            rules.set_audience(&[server.url.as_str(), "https://a.test"]);
            rules.set_issuer(&[&server.url]);
            rules.set_required_spec_claims(&["iss", "exp", "aud", "sub"]);
            let key = jsonwebtoken::DecodingKey::from_jwk(&key).unwrap();
            let claims = jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap().claims;
            assert_eq!(claims["aud"], audience);
            assert_eq!(claims["client_id"], client);
            let owner = server.store().owner(owner_id("anna")).await.unwrap().unwrap();
            assert_eq!(claims["sub"], owner.subject.0);
            assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
            assert!(claims["jti"].as_str().unwrap().len() >= 22);
            let mut names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["aud", "client_id", "exp", "gid", "iat", "iss", "jti", "scope", "sub"]);
        }
    }
}

/// I-04
async fn a89_no_access_token_outlives_its_grant(on: On) {
    let server = Server::start_with(on, |config| config.lifetimes.refresh_absolute_seconds = 1_209_600).await;
    prepare(&server).await;
    let first = logged_in(&server).await;
    let end = server.grant_of("anna").await.absolute_expiry;
    server.clock.advance(seconds(1_209_600 - 300));
    let answer = server.refresh("app", &first).await;
    answer.assert_tokens();
    assert_eq!(answer.claims()["exp"], end.seconds());
    for member in ["expires_in", "refresh_token_expires_in"] {
        let left = answer.json()[member].as_i64().unwrap();
        assert!((270..=300).contains(&left), "{member}: {left}");
    }
    server.clock.advance(seconds(300));
    is_dead(&server, &answer.refresh_token()).await;
}

/// I-02, I-20
async fn two_nodes_on_one_store_agree(on: On) {
    let (one, other, _folder) = Server::pair(on).await;
    prepare(&one).await;
    let first = logged_in(&one).await;
    let answer = other.refresh("app", &first).await;
    answer.assert_tokens();
    let repeated = one.refresh("app", &first).await;
    assert_eq!(repeated.refresh_token(), answer.refresh_token());
    assert_eq!(repeated.claims(), answer.claims());

    // Both at once, many times: one chain.
    let mut token = answer.refresh_token();
    for _ in 0..20 {
        let (here, there) = tokio::join!(one.refresh("app", &token), other.refresh("app", &token));
        here.assert_tokens();
        assert_eq!(here.refresh_token(), there.refresh_token());
        assert_eq!(here.claims(), there.claims());
        token = here.refresh_token();
    }
    // What one node revokes is dead on the other.
    is_dead(&one, &first).await;
    is_dead(&other, &token).await;
    let keys = |server: &Server| server.http.get(format!("{}/.well-known/jwks.json", server.url));
    assert_eq!(Answer::of(keys(&one)).await.text, Answer::of(keys(&other)).await.text);
}

async fn a_client_that_keeps_its_token_gets_it_back(on: On) {
    let server = started(on).await;
    server.change_client("app", |client| client.rotation = RotationPolicy::Keep).await;
    let first = logged_in(&server).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        server.clock.advance(seconds(1000));
        let answer = server.refresh("app", &first).await;
        answer.assert_tokens();
        assert_eq!(answer.refresh_token(), first);
        assert_eq!(answer.json()["refresh_token_expires_in"], 1_209_600);
        ids.push(answer.claims()["jti"].to_string());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

async fn password_login(server: &Server, username: &str, password: &str) -> Answer {
    let form = [("grant_type", "password"), ("username", username), ("password", password)];
    server.token("app", &form).await
}

async fn whatever_is_wrong_with_a_login_the_answer_is_the_same(on: On) {
    let server = started(on).await;
    server.user("disabled").await;
    server.store().change_owner(owner_id("disabled"), OwnerChange::Disable).await.unwrap();
    // From an address that she has signed in from, she may be wrong more often. RFC 8265: the name is compared without case.
    password_login(&server, "ANNA", "a good password").await.assert_tokens();
    let wrong = password_login(&server, "anna", "wrong").await;
    wrong.assert_error(400, "invalid_grant");
    for (username, password) in [
        ("nobody", "a good password"),
        ("disabled", "a good password"),
        ("disabled", "wrong"),
        ("anna", "a good password "),
        ("anna", "A good password"),
        ("not\u{7}a name", "a good password"),
        ("anna", "control\u{7}"),
        ("anna ", "a good password"),
        (&"x".repeat(2000), "a good password"),
        ("anna", &"x".repeat(300)),
    ] {
        let answer = password_login(&server, username, password).await;
        assert_eq!(answer.likeness(), wrong.likeness(), "{username} {password}");
    }
}

async fn a103_20_parallel_logins_succeed(on: On) {
    let server = Arc::new(started(on).await);
    let logins: Vec<_> = (0..20)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.login("app", "anna").await })
        })
        .collect();
    let mut tokens = Vec::new();
    for login in logins {
        let answer = login.await.unwrap();
        answer.assert_tokens();
        tokens.push(answer.refresh_token());
    }
    for token in &tokens {
        next(&server, token).await;
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 20);
}

async fn a104_an_oversized_password_is_refused(on: On) {
    let server = started(on).await;
    password_login(&server, "anna", &"x".repeat(257)).await.assert_error(400, "invalid_grant");
    password_login(&server, "anna", &"x".repeat(16_000)).await.assert_error(400, "invalid_grant");
    password_login(&server, "anna", &"x".repeat(1024 * 1024)).await.assert_error(413, "invalid_request");
    server.login("app", "anna").await.assert_tokens();
}

async fn changed_password_parameters_lead_to_a_rehash(on: On) {
    let shared = tempfile::tempdir().unwrap();
    let url = match on {
        On::Embedded => format!("sqlite:{}", shared.path().join("regrant.db").display()),
        On::Redis => redis_url(),
    };
    let secret = ServerSecret::generate();
    let start = |memory_kib| {
        let folder = tempfile::tempdir().unwrap();
        Server::start_on(&url, &secret, Clock::system(), folder, move |config| config.passwords.memory_kib = memory_kib)
    };
    let (old, new) = (start(64).await, start(128).await);
    prepare(&old).await;
    let sealed = async || old.store().owner(owner_id("anna")).await.unwrap().unwrap().sealed_password;
    let before = sealed().await;
    let token = logged_in(&old).await;
    assert_eq!(sealed().await, before);

    password_login(&new, "anna", "wrong").await.assert_error(400, "invalid_grant");
    assert_eq!(sealed().await, before);
    logged_in(&new).await;
    let after = sealed().await;
    assert_ne!(after, before);
    logged_in(&new).await;
    assert_eq!(sealed().await, after);
    // The same password: no grant dies of it.
    next(&new, &token).await;
}

async fn the_scope_of_a_login_is_what_was_asked_for_or_all(on: On) {
    let server = started(on).await;
    let login = async |client: &str, scope: &str| {
        let form =
            [("grant_type", "password"), ("username", "anna"), ("password", "a good password"), ("scope", scope)];
        server.token(client, &form).await
    };
    for (asked, granted) in [("", "read write"), ("read", "read"), ("write", "write"), ("read write", "read write")] {
        let answer = login("app", asked).await;
        answer.assert_tokens();
        assert_eq!((&answer.json()["scope"], &answer.claims()["scope"]), (&json!(granted), &json!(granted)));
    }
    for refused in ["admin", "read admin", "READ", "read,write", "read\twrite", " read", "read  write", "\"", "é"] {
        login("app", refused).await.assert_error(400, "invalid_scope");
    }
    server.client_with("plain", |client| client.scope = Scope::parse("").unwrap()).await;
    let answer = login("plain", "").await;
    answer.assert_tokens();
    assert_eq!((answer.json().get("scope"), answer.claims().get("scope")), (None, None));
    login("plain", "read").await.assert_error(400, "invalid_scope");
}

async fn a_login_says_how_long_its_tokens_live(on: On) {
    let server = started(on).await;
    let login = server.login("app", "anna").await;
    login.assert_tokens();
    assert_eq!(login.json()["expires_in"], 600);
    assert_eq!(login.json()["refresh_token_expires_in"], 1_209_600);
    let claims = login.claims();
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
}

async fn a100_oauth_2_1_has_no_password_grant(on: On) {
    let shared = tempfile::tempdir().unwrap();
    let url = match on {
        On::Embedded => format!("sqlite:{}", shared.path().join("regrant.db").display()),
        On::Redis => redis_url(),
    };
    let secret = ServerSecret::generate();
    let start = |oauth21| {
        let folder = tempfile::tempdir().unwrap();
        Server::start_on(&url, &secret, Clock::system(), folder, move |config| config.oauth21 = oauth21)
    };
    let (old, new) = (start(false).await, start(true).await);
    prepare(&old).await;
    let token = logged_in(&old).await;
    new.login("app", "anna").await.assert_error(400, "unsupported_grant_type");
    // Those who are signed in stay so.
    next(&new, &token).await;

    let get =
        async |server: &Server, path: &str| Answer::of(server.http.get(format!("{}{path}", server.url))).await.json();
    let metadata = "/.well-known/oauth-authorization-server";
    let without_password = |grants: &Value| -> Vec<Value> {
        let grants = grants.as_array().unwrap();
        assert!(grants.contains(&json!("password")), "{grants:?}");
        grants.iter().filter(|grant| **grant != "password").cloned().collect()
    };
    let supported = async |server| get(server, metadata).await["grant_types_supported"].clone();
    assert_eq!(supported(&new).await, Value::Array(without_password(&supported(&old).await)));
    let parameter = |document: &Value| {
        document["components"]["schemas"]["TokenRequest"]["properties"]["grant_type"]["enum"].clone()
    };
    let (before, after) = (get(&old, "/openapi.json").await, get(&new, "/openapi.json").await);
    assert_eq!(parameter(&after), Value::Array(without_password(&parameter(&before))));
    let sorted = |grants: Value| {
        let mut names: Vec<String> = serde_json::from_value(grants).unwrap();
        names.sort();
        names
    };
    assert_eq!(sorted(parameter(&before)), sorted(supported(&old).await));
    let flows = |document: &Value| document["components"]["securitySchemes"]["OAuth2"]["flows"].clone();
    assert!(flows(&before).get("password").is_some());
    assert!(flows(&after).get("password").is_none());
    let examples = after["paths"]["/oauth2/token"]["post"]["requestBody"].to_string();
    assert!(!examples.contains(r#""grant_type":"password""#), "{examples}");
}
