//! `/admin/grants` (RFC 6750).

use regrant::{
    client::GrantType,
    scope::Scope,
    store::{GrantStatus, RevocationReason},
};

use crate::support::{Answer, On, Server};

async fn started(on: On) -> (Server, String) {
    let server = Server::start(on).await;
    server.client("app").await;
    server.user("anna").await;
    server
        .client_with("admin", |client| {
            client.grant_types = vec![GrantType::ClientCredentials];
            client.scope = Scope::parse("regrant:admin read").unwrap();
        })
        .await;
    let token = server.token("admin", &[("grant_type", "client_credentials")]).await.access_token();
    (server, token)
}

fn get(server: &Server, path: &str) -> reqwest::RequestBuilder {
    server.http.get(format!("{}{path}", server.url))
}

fn assert_refused(answer: &Answer, status: u16, code: &str, challenge: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), challenge);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(!answer.header("x-request-id").is_empty());
}

async fn an_operator_sees_where_a_replay_came_from_and_revokes(on: On) {
    let (server, admin) = started(on).await;
    let login = server.login("app", "anna").await;
    let id = login.claims()["gid"].as_str().unwrap().to_owned();
    let path = format!("/admin/grants/{id}");
    let look = async |path: &str| {
        let answer = Answer::of(get(&server, path).bearer_auth(&admin)).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{answer:?}");
        answer.json()
    };
    let view = look(&path).await;
    assert_eq!((&view["grant_id"], &view["state"]), (&id.as_str().into(), &"active".into()));
    assert_eq!(look("/admin/grants?username=anna").await, serde_json::json!({ "grants": [view] }));
    let second = server.refresh("app", &login.refresh_token()).await.refresh_token();
    server.refresh("app", &second).await.assert_tokens();
    let replay = server.http.post(server.token_url()).basic_auth("app", Some("secret")).header("user-agent", "thief/1");
    let replay = replay.form(&[("grant_type", "refresh_token"), ("refresh_token", &login.refresh_token())]);
    Answer::of(replay).await.assert_error(400, "invalid_grant");
    let view = look(&format!("{path}?username=anna")).await;
    assert_eq!((&view["state"], &view["revoked_from_agent"]), (&"revoked".into(), &"thief/1".into()), "{view}");
    assert_eq!(view["revoked_from_address"], "127.0.0.1");
    assert!(view["revoked_because"].as_str().unwrap().contains("presented again"));
    assert!(view["revoked_at"].as_i64().is_some() && view["last_refreshed_at"].as_i64().is_some());

    server.user("bert").await;
    let other = server.login("app", "bert").await;
    let id = other.claims()["gid"].as_str().unwrap().to_owned();
    let url = format!("{}/admin/grants/{id}/revoke", server.url);
    let revoked = Answer::of(server.http.post(url).bearer_auth(&admin)).await.json();
    assert_eq!((&revoked["state"], &revoked["revoked_because"]), (&"revoked".into(), &"an operator revoked it".into()));
    server.refresh("app", &other.refresh_token()).await.assert_error(400, "invalid_grant");
    let (id, owner) = (regrant::ids::GrantId::parse(&id).unwrap(), crate::support::owner_id("bert"));
    let status = server.store().grant(owner, id).await.unwrap().unwrap().status;
    assert!(matches!(status, GrantStatus::Revoked { reason: RevocationReason::Operator, .. }));
}

async fn only_a_live_token_of_the_scope_and_the_audience_opens(on: On) {
    let (server, admin) = started(on).await;
    server.client_with("both", |client| client.scope = Scope::parse("regrant:admin").unwrap()).await;
    let login = server.login("app", "anna").await;
    let path = format!("/admin/grants/{}", login.claims()["gid"].as_str().unwrap());
    let ask = async |token: &str| Answer::of(get(&server, &path).bearer_auth(token)).await;
    let invalid = r#"Bearer realm="regrant", error="invalid_token""#;
    assert_refused(&Answer::of(get(&server, &path)).await, 401, "invalid_token", r#"Bearer realm="regrant""#);
    for token in ["x", "a.b.c", &login.refresh_token(), &admin[1..]] {
        assert_refused(&ask(token).await, 401, "invalid_token", invalid);
    }
    let basic = Answer::of(get(&server, &path).basic_auth("admin", Some("secret"))).await;
    assert_refused(&basic, 401, "invalid_token", invalid);
    let in_query = Answer::of(get(&server, &format!("{path}?access_token={admin}"))).await;
    assert_eq!(in_query.status, 401);
    let scope = r#"Bearer realm="regrant", error="insufficient_scope", scope="regrant:admin""#;
    assert_refused(&ask(&login.access_token()).await, 403, "insufficient_scope", scope);
    let narrow = [("grant_type", "client_credentials"), ("scope", "read")];
    let narrow = server.token("admin", &narrow).await.access_token();
    assert_refused(&ask(&narrow).await, 403, "insufficient_scope", scope);
    let person = server.login("both", "anna").await;
    assert_eq!(person.json()["scope"], "regrant:admin");
    assert_refused(&ask(&person.access_token()).await, 403, "insufficient_scope", scope);
    server
        .client_with("elsewhere", |client| {
            client.grant_types = vec![GrantType::ClientCredentials];
            client.scope = Scope::parse("regrant:admin").unwrap();
            client.audience = vec!["https://api.example".into()];
        })
        .await;
    let elsewhere = server.token("elsewhere", &[("grant_type", "client_credentials")]).await.access_token();
    assert_refused(&ask(&elsewhere).await, 401, "invalid_token", invalid);
    assert_eq!(ask(&admin).await.status, 200);
    for path in ["/admin/grants/nothing", "/admin/grants/AAAAAAAAAAAAAAAAAAAAAA", "/admin/grants?username=nobody"] {
        let answer = Answer::of(get(&server, path).bearer_auth(&admin)).await;
        assert_refused(&answer, 404, "not_found", "");
    }
    let no_name = Answer::of(get(&server, "/admin/grants").bearer_auth(&admin)).await;
    assert_refused(&no_name, 400, "invalid_request", "");
    server.revoke("admin", &admin).await;
    assert_refused(&ask(&admin).await, 401, "invalid_token", invalid);
}

crate::on_both_stores!(
    an_operator_sees_where_a_replay_came_from_and_revokes,
    only_a_live_token_of_the_scope_and_the_audience_opens,
);
