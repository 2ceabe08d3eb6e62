//! `POST /oauth2/revoke` (RFC 7009).

use regrant::{
    client::GrantType,
    clock::Clock,
    config::Config,
    ids::GrantId,
    secret::ServerSecret,
    store::{GrantStatus, RevocationReason},
};

use crate::support::{Answer, On, Redis, Server, owner_id, redis_url};

const PATH: &str = "/oauth2/revoke";

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    server.client("app").await;
    server.client("other").await;
    server.public_client("mobile").await;
    server.user("anna").await;
    server
}

async fn assert_revoked_by_client(server: &Server, login: &Answer) {
    let id = GrantId::parse(login.claims()["gid"].as_str().unwrap()).unwrap();
    let status = server.store().grant(owner_id("anna"), id).await.unwrap().unwrap().status;
    assert!(
        matches!(&status, GrantStatus::Revoked { reason: RevocationReason::Client, from, .. } if from.address == "127.0.0.1"),
        "{status:?}"
    );
}

async fn a94_revoking_the_refresh_token_kills_the_grant_and_its_access_tokens(on: On) {
    let server = started(on).await;
    let login = server.login("app", "anna").await;
    let refreshed = server.refresh("app", &login.refresh_token()).await;
    server.revoke("app", &refreshed.refresh_token()).await;
    assert_revoked_by_client(&server, &login).await;
    server.refresh("app", &refreshed.refresh_token()).await.assert_error(400, "invalid_grant");
    for answer in [&login, &refreshed] {
        assert_eq!(server.introspect("app", &answer.access_token()).await, serde_json::json!({ "active": false }));
    }
}

async fn a94_a_revocation_survives_a_restart(on: On) {
    let (secret, folder) = (ServerSecret::generate(), tempfile::tempdir().unwrap());
    let url = match on {
        On::Embedded => format!("sqlite:{}", folder.path().join("regrant.db").display()),
        On::Redis => redis_url(),
    };
    let start = async || {
        let issuer = |config: &mut Config| config.issuer = "http://regrant.test".into();
        Server::start_on(&url, &secret, Clock::system(), tempfile::tempdir().unwrap(), issuer).await
    };
    let before = start().await;
    before.client("app").await;
    before.user("anna").await;
    let (login, kept) = (before.login("app", "anna").await, before.login("app", "anna").await);
    before.revoke("app", &login.refresh_token()).await;
    drop(before);
    let after = start().await;
    after.refresh("app", &login.refresh_token()).await.assert_error(400, "invalid_grant");
    assert_eq!(after.introspect("app", &login.access_token()).await, serde_json::json!({ "active": false }));
    assert_eq!(after.introspect("app", &kept.access_token()).await["active"], true);
    after.refresh("app", &kept.refresh_token()).await.assert_tokens();
}

async fn an_older_refresh_token_revokes_too_and_so_does_an_access_token(on: On) {
    for with_access_token in [false, true] {
        let server = started(on).await;
        let login = server.login("app", "anna").await;
        let next = server.refresh("app", &login.refresh_token()).await;
        let token = if with_access_token { next.access_token() } else { login.refresh_token() };
        server.revoke("app", &token).await;
        assert_revoked_by_client(&server, &login).await;
        server.refresh("app", &next.refresh_token()).await.assert_error(400, "invalid_grant");
    }
}

async fn a93_unknown_tokens_and_those_of_others_read_the_same_and_change_nothing(on: On) {
    let server = started(on).await;
    let login = server.login("app", "anna").await;
    let before = server.grant_of("anna").await;
    let (refresh, access) = (login.refresh_token(), login.access_token());
    for token in ["nonsense", "rt_AAAA", "a.b.c", &format!("{refresh}x"), &refresh[1..]] {
        server.revoke("app", token).await;
    }
    for token in [&refresh, &access] {
        server.revoke("other", token).await;
        let url = format!("{}{PATH}", server.url);
        let form = [("client_id", "mobile"), ("token", token.as_str())];
        Answer::of(server.http.post(url).form(&form)).await.assert_revoked();
    }
    assert_eq!(server.grant_of("anna").await, before);
    server.refresh("app", &refresh).await.assert_tokens();
    // Twice is once, whatever the hint.
    for hint in ["access_token", "refresh_token", "something"] {
        server.send(PATH, "app", &[("token", &refresh), ("token_type_hint", hint)]).await.assert_revoked();
    }
    assert_revoked_by_client(&server, &login).await;
}

async fn a_public_client_revokes_its_own_tokens(on: On) {
    let server = started(on).await;
    let form =
        [("grant_type", "password"), ("client_id", "mobile"), ("username", "anna"), ("password", "a good password")];
    let login = server.post(&form).await;
    let url = format!("{}{PATH}", server.url);
    let form = [("client_id", "mobile"), ("token", &login.refresh_token())];
    Answer::of(server.http.post(url).form(&form)).await.assert_revoked();
    assert_revoked_by_client(&server, &login).await;
}

async fn a_client_revokes_a_token_of_its_own_and_no_other(on: On) {
    let server = started(on).await;
    server.client_with("robot", |client| client.grant_types = vec![GrantType::ClientCredentials]).await;
    let form = [("grant_type", "client_credentials")];
    let (one, two) = (server.token("robot", &form).await, server.token("robot", &form).await);
    server.revoke("other", &one.access_token()).await;
    assert_eq!(server.introspect("robot", &one.access_token()).await["active"], true);
    server.revoke("robot", &one.access_token()).await;
    assert_eq!(server.introspect("robot", &one.access_token()).await, serde_json::json!({ "active": false }));
    assert_eq!(server.introspect("robot", &two.access_token()).await["active"], true);
}

async fn who_asks_is_settled_first(on: On) {
    let server = started(on).await;
    let url = format!("{}{PATH}", server.url);
    let refresh = server.login("app", "anna").await.refresh_token();
    let token = ("token", refresh.as_str());
    let post = |form: &[(&str, &str)]| Answer::of(server.http.post(&url).form(form));
    post(&[token]).await.assert_error(401, "invalid_client");
    post(&[token, ("client_id", "app")]).await.assert_error(401, "invalid_client");
    post(&[token, ("client_id", "app"), ("client_secret", "wrong")]).await.assert_error(401, "invalid_client");
    post(&[token, ("client_id", "mobile"), ("client_secret", "x")]).await.assert_error(401, "invalid_client");
    post(&[("client_id", "app"), ("client_secret", "secret")]).await.assert_error(400, "invalid_request");
    server.send(PATH, "app", &[("token", "")]).await.assert_error(400, "invalid_request");
    let in_query = server.http.post(format!("{url}?token=x")).basic_auth("app", Some("secret")).form(&[token]);
    Answer::of(in_query).await.assert_error(400, "invalid_request");
    let json =
        server.http.post(&url).basic_auth("app", Some("secret")).body("{}").header("content-type", "application/json");
    Answer::of(json).await.assert_error(400, "invalid_request");
    let large = "x".repeat(17 * 1024);
    server.send(PATH, "app", &[("token", &large)]).await.assert_error(413, "invalid_request");
    //
    server.change_client("app", |client| client.disabled = true).await;
    server.send(PATH, "app", &[token]).await.assert_error(401, "invalid_client");
    assert_eq!(server.grant_of("anna").await.status, GrantStatus::Active);
}

async fn a01_the_endpoint_answers_post_only(on: On) {
    let server = started(on).await;
    let answer = Answer::of(server.http.get(format!("{}{PATH}", server.url))).await;
    answer.assert_error(405, "invalid_request");
    assert_eq!(answer.header("allow"), "POST");
}

crate::on_both_stores!(
    a94_revoking_the_refresh_token_kills_the_grant_and_its_access_tokens,
    a94_a_revocation_survives_a_restart,
    an_older_refresh_token_revokes_too_and_so_does_an_access_token,
    a93_unknown_tokens_and_those_of_others_read_the_same_and_change_nothing,
    a_public_client_revokes_its_own_tokens,
    a_client_revokes_a_token_of_its_own_and_no_other,
    who_asks_is_settled_first,
    a01_the_endpoint_answers_post_only,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a93_a_store_that_fails_is_503_and_never_200() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let secret = ServerSecret::generate();
    let server = Server::start_on(&redis.url(), &secret, Clock::system(), folder, |_| {}).await;
    server.client("app").await;
    server.user("anna").await;
    let login = server.login("app", "anna").await;
    drop(redis);
    for token in [login.refresh_token(), login.access_token()] {
        let answer = server.send(PATH, "app", &[("token", &token)]).await;
        answer.assert_error(503, "temporarily_unavailable");
        let answer = server.send("/oauth2/introspect", "app", &[("token", &token)]).await;
        answer.assert_error(503, "temporarily_unavailable");
    }
}
