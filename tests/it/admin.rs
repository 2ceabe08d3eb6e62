//! The API for operators: `/admin/…` (RFC 6750).

use regrant::{
    client::GrantType,
    scope::Scope,
    store::{GrantStatus, RevocationReason},
};
use serde_json::{Value, json};

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
    assert!(no_name.json()["error_description"].as_str().unwrap().ends_with(": username"), "{no_name:?}");
    server.revoke("admin", &admin).await;
    assert_refused(&ask(&admin).await, 401, "invalid_token", invalid);
}

async fn who_asks_is_found_out_before_what_they_ask(on: On) {
    let (server, _) = started(on).await;
    let document = Answer::of(get(&server, "/openapi.json")).await.json();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/admin/") {
            continue;
        }
        for method in operations.as_object().unwrap().keys() {
            let url = format!("{}{}?limit=x", server.url, path.replace(['{', '}'], ""));
            let method = method.to_uppercase().parse::<reqwest::Method>().unwrap();
            let answer = Answer::of(server.http.request(method.clone(), &url).body("{")).await;
            assert_refused(&answer, 401, "invalid_token", r#"Bearer realm="regrant""#);
            let answer = Answer::of(server.http.request(method, &url).bearer_auth("x").body("{")).await;
            assert_refused(&answer, 401, "invalid_token", r#"Bearer realm="regrant", error="invalid_token""#);
            asked += 1;
        }
    }
    assert_eq!(asked, 20);
}

/// An operator with an access token.
struct Admin<'a> {
    server: &'a Server,
    token: &'a str,
}

impl Admin<'_> {
    async fn look(&self, path: &str) -> Value {
        let answer = Answer::of(get(self.server, path).bearer_auth(self.token)).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{answer:?}");
        answer.json()
    }

    async fn send(&self, path: &str, body: Value) -> Answer {
        let request = self.server.http.post(format!("{}{path}", self.server.url)).bearer_auth(self.token);
        Answer::of(request.json(&body)).await
    }

    /// Sends a request without a body.
    async fn act(&self, path: &str) -> Value {
        let request = self.server.http.post(format!("{}{path}", self.server.url)).bearer_auth(self.token);
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{answer:?}");
        answer.json()
    }

    async fn delete(&self, path: &str) {
        let request = self.server.http.delete(format!("{}{path}", self.server.url)).bearer_auth(self.token);
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, answer.text.as_str(), answer.header("cache-control")), (204, "", "no-store"));
    }

    async fn refused(&self, path: &str, body: Value, said: &str) {
        let answer = self.send(path, body).await;
        answer.assert_error(400, "invalid_request");
        assert_eq!(answer.json()["error_description"], said);
    }

    async fn missing(&self, method: reqwest::Method, path: &str) {
        let request = self.server.http.request(method, format!("{}{path}", self.server.url)).bearer_auth(self.token);
        assert_refused(
            &Answer::of(request.json(&json!({ "password": "a good password" }))).await,
            404,
            "not_found",
            "",
        );
    }
}

async fn a_client_is_registered_shut_out_let_in_and_deleted(on: On) {
    let (server, token) = started(on).await;
    let admin = Admin { server: &server, token: &token };
    let registration = json!({
        "client_id": "shop/1", "name": "The Shop", "type": "confidential", "grant_types": ["password", "refresh_token"],
        "scope": "read write", "grace_seconds": 30, "audience": ["https://api.example.com"], "redirect_uris": null,
    });
    let created = admin.send("/admin/clients", registration.clone()).await;
    assert_eq!((created.status, created.header("cache-control")), (201, "no-store"), "{created:?}");
    let mut view = created.json();
    let secret = view.as_object_mut().unwrap().remove("client_secret").unwrap().as_str().unwrap().to_owned();
    for (name, value) in registration.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()) {
        assert_eq!(view[name], *value, "{view}");
    }
    let path = "/admin/clients/shop%2F1";
    assert_eq!(admin.look(path).await, view);
    let all = admin.look("/admin/clients").await;
    assert_eq!(all["clients"].as_array().unwrap().len(), 3);
    assert!(all["clients"].as_array().unwrap().contains(&view) && !all.to_string().contains("secret"), "{all}");
    let again = admin.send("/admin/clients", registration).await;
    assert_refused(&again, 409, "already_exists", "");

    let login = async |secret: &str| {
        let form = [("grant_type", "password"), ("username", "anna"), ("password", "a good password")];
        Answer::of(server.http.post(server.token_url()).basic_auth("shop%2F1", Some(secret)).form(&form)).await
    };
    let refresh = async |secret: &str, token: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        Answer::of(server.http.post(server.token_url()).basic_auth("shop%2F1", Some(secret)).form(&form)).await
    };
    let first = login(&secret).await;
    let rotated = admin.act(&format!("{path}/rotate-secret")).await;
    let newer = rotated["client_secret"].as_str().unwrap().to_owned();
    assert_ne!(newer, secret);
    let second = refresh(&secret, &first.refresh_token()).await;
    second.assert_tokens();
    let third = refresh(&newer, &second.refresh_token()).await;
    third.assert_tokens();

    assert_eq!(admin.act(&format!("{path}/disable")).await["disabled"], true);
    refresh(&newer, &third.refresh_token()).await.assert_error(401, "invalid_client");
    assert_eq!(admin.act(&format!("{path}/enable")).await["disabled"], false);
    refresh(&newer, &third.refresh_token()).await.assert_error(400, "invalid_grant");
    login(&newer).await.assert_tokens();
    admin.delete(path).await;
    login(&newer).await.assert_error(401, "invalid_client");
    admin.missing(reqwest::Method::GET, path).await;
    admin.missing(reqwest::Method::DELETE, path).await;
    for act in ["disable", "enable", "rotate-secret"] {
        admin.missing(reqwest::Method::POST, &format!("{path}/{act}")).await;
    }
}

async fn a_registration_that_cannot_be_is_refused_by_the_name_of_its_field(on: On) {
    let (server, token) = started(on).await;
    let admin = Admin { server: &server, token: &token };
    let good = json!({ "client_id": "new", "type": "confidential", "grant_types": ["password", "refresh_token"] });
    for (field, value, said) in [
        ("client_id", json!("a b"), "client_id: a client_id is 1 to 128 visible ASCII characters"),
        ("client_id", json!(7), "client_id: must be a string"),
        ("client_id", json!(null), "client_id: is required"),
        ("type", json!("secret"), "type: must be one of confidential, public"),
        ("type", json!(null), "type: is required"),
        ("grant_types", json!([]), "grant_types: name at least one"),
        ("grant_types", json!("password"), "grant_types: must be an array of strings"),
        (
            "grant_types",
            json!(["password", "implicit"]),
            "grant_types[1]: use authorization_code, refresh_token, client_credentials, device_code or password",
        ),
        ("grant_types", json!(["authorization_code"]), "redirect_uris: authorization_code needs at least one"),
        (
            "redirect_uris",
            json!(["https://app.example/", "http://app.example/"]),
            "redirect_uris[1]: plain http is for http://127.0.0.1 and http://[::1] only; use https",
        ),
        ("audience", json!(["api"]), "audience[0]: a resource is an absolute URI without a fragment"),
        ("cookie_mode", json!(true), "cookie_mode: is for public clients with the refresh_token grant"),
        ("cookie_mode", json!("yes"), "cookie_mode: must be true or false"),
        ("grace_seconds", json!(601), "grace_seconds: must be at most 600"),
        ("grace_seconds", json!(-1), "grace_seconds: must be a number of seconds"),
        ("rotation", json!("never"), "rotation: must be one of rotate, keep"),
        (
            "refresh_idle_seconds",
            json!(8_000_000),
            "refresh_idle_seconds: must be at most the life of the grant (7776000)",
        ),
        ("grace_second", json!(1), "grace_second: there is no such field"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        admin.refused("/admin/clients", body, said).await;
    }
    let public = json!({ "client_id": "new", "type": "public", "grant_types": ["client_credentials"] });
    let said = "grant_types: a public client cannot use client_credentials (RFC 6749 section 4.4)";
    admin.refused("/admin/clients", public, said).await;
    admin.refused("/admin/clients", json!([good]), "body: must be one JSON object").await;
    let url = format!("{}/admin/clients", server.url);
    let form = server.http.post(&url).bearer_auth(&token).form(&[("client_id", "new")]);
    let form = Answer::of(form).await;
    form.assert_error(400, "invalid_request");
    assert_eq!(form.json()["error_description"], "Content-Type: must be application/json");
    let long = json!({ "client_id": "new", "name": "x".repeat(17_000) });
    assert_refused(&admin.send("/admin/clients", long).await, 413, "invalid_request", "");
    assert_eq!(admin.look("/admin/clients").await["clients"].as_array().unwrap().len(), 2);
    let spa = json!({ "client_id": "spa", "type": "public", "grant_types": ["password", "refresh_token"] });
    admin.send("/admin/clients", spa).await;
    let said = "client_id: this client is public and has no secret";
    admin.refused("/admin/clients/spa/rotate-secret", json!({}), said).await;
}

async fn a_user_is_created_shut_out_let_in_and_deleted(on: On) {
    let (server, token) = started(on).await;
    let admin = Admin { server: &server, token: &token };
    let login = async |password: &str| {
        server.token("app", &[("grant_type", "password"), ("username", "zoë"), ("password", password)]).await
    };
    let created = admin.send("/admin/users", json!({ "username": "Zoë", "password": "a first password" })).await;
    assert_eq!((created.status, created.header("cache-control")), (201, "no-store"), "{created:?}");
    let view = created.json();
    assert_eq!((&view["username"], &view["status"]), (&"zoë".into(), &"active".into()));
    let path = "/admin/users/ZO%C3%8B";
    assert_eq!(admin.look(path).await, view);
    let again = admin.send("/admin/users", json!({ "username": "zoë", "password": "another password" })).await;
    assert_refused(&again, 409, "already_exists", "");

    let first = login("a first password").await;
    let changed = admin.send(&format!("{path}/set-password"), json!({ "password": "a second password" })).await;
    assert_eq!(changed.json(), view);
    server.refresh("app", &first.refresh_token()).await.assert_error(400, "invalid_grant");
    login("a first password").await.assert_error(400, "invalid_grant");
    let second = login("a second password").await;
    assert_eq!(admin.act(&format!("{path}/logout")).await, view);
    server.refresh("app", &second.refresh_token()).await.assert_error(400, "invalid_grant");
    assert_eq!(admin.act(&format!("{path}/disable")).await["status"], "disabled");
    login("a second password").await.assert_error(400, "invalid_grant");
    assert_eq!(admin.act(&format!("{path}/enable")).await, view);
    login("a second password").await.assert_tokens();
    admin.delete(path).await;
    login("a second password").await.assert_error(400, "invalid_grant");

    for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
        admin.missing(method, path).await;
    }
    for act in ["set-password", "disable", "enable", "logout"] {
        admin.missing(reqwest::Method::POST, &format!("{path}/{act}")).await;
    }
    let short = "password: a password needs at least 8 characters";
    admin.refused("/admin/users", json!({ "username": "bert", "password": "short" }), short).await;
    admin.refused("/admin/users/anna/set-password", json!({ "password": "short" }), short).await;
    let number = json!({ "username": "bert", "password": 12_345_678 });
    admin.refused("/admin/users", number, "password: must be a string").await;
    let name = "username: a username is 1 to 128 characters that RFC 8265 section 3.3 allows";
    admin.refused("/admin/users", json!({ "username": "a b", "password": "a good password" }), name).await;
    let more = json!({ "username": "bert", "password": "a good password", "admin": true });
    admin.refused("/admin/users", more, "admin: there is no such field").await;
}

async fn users_and_clients_are_listed_page_by_page(on: On) {
    let (server, token) = started(on).await;
    let admin = Admin { server: &server, token: &token };
    for name in ["bea", "bert", "béa", "carl"] {
        server.user(name).await;
    }
    let names = |page: &Value, of: &str, name: &str| -> Vec<String> {
        page[of].as_array().unwrap().iter().map(|one| one[name].as_str().unwrap().to_owned()).collect()
    };
    let mut pages = vec![];
    let mut path = "/admin/users?limit=2".to_owned();
    loop {
        let page = admin.look(&path).await;
        pages.push(names(&page, "users", "username"));
        let Some(cursor) = page.get("next_cursor") else { break };
        path = format!("/admin/users?limit=2&cursor={}", cursor.as_str().unwrap());
    }
    assert_eq!(pages, [vec!["anna", "bea"], vec!["bert", "béa"], vec!["carl"]]);
    assert_eq!(names(&admin.look("/admin/users?prefix=BE").await, "users", "username"), ["bea", "bert"]);
    assert_eq!(names(&admin.look("/admin/users?prefix=x").await, "users", "username"), [""; 0]);
    let page = admin.look("/admin/clients?limit=1").await;
    assert_eq!(names(&page, "clients", "client_id"), ["admin"]);
    let next = format!("/admin/clients?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let page = admin.look(&next).await;
    assert_eq!((names(&page, "clients", "client_id"), page.get("next_cursor")), (vec!["app".to_owned()], None));
    for (path, said) in [
        ("/admin/users?limit=0", "limit: must be 1 to 1000"),
        ("/admin/clients?limit=1001", "limit: must be 1 to 1000"),
        ("/admin/users?limit=x", "a parameter is missing or malformed: limit"),
        ("/admin/users?cursor=!", "cursor: is not one of this server"),
        ("/admin/users?prefix=a%20b", "prefix: a username is 1 to 128 characters that RFC 8265 section 3.3 allows"),
    ] {
        let answer = Answer::of(get(&server, path).bearer_auth(&token)).await;
        answer.assert_error(400, "invalid_request");
        assert_eq!(answer.json()["error_description"], said);
    }
}

async fn signing_keys_are_listed_and_replaced(on: On) {
    let (server, token) = started(on).await;
    let admin = Admin { server: &server, token: &token };
    let states = |keys: &Value| -> Vec<String> {
        keys["keys"].as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
    };
    let before = admin.look("/admin/keys").await;
    assert_eq!(states(&before), ["active"]);
    let rotated = admin.send("/admin/keys/rotate", json!({})).await;
    assert_eq!((rotated.status, states(&rotated.json())), (200, vec!["active".to_owned(), "next".to_owned()]));
    assert_eq!(admin.look("/admin/keys").await, rotated.json());
    let published = Answer::of(get(&server, "/.well-known/jwks.json")).await.json();
    assert_eq!(published["keys"][1]["kid"], rotated.json()["keys"][1]["kid"]);
    let again = admin.send("/admin/keys/rotate", json!({ "compromised": false })).await;
    assert_refused(&again, 409, "already_exists", "");
    admin.refused("/admin/keys/rotate", json!({ "compromised": 1 }), "compromised: must be true or false").await;
    let replaced = admin.send("/admin/keys/rotate", json!({ "compromised": true })).await.json();
    assert_eq!(states(&replaced), ["active"]);
    assert_ne!(replaced["keys"][0]["kid"], before["keys"][0]["kid"]);
    // The operator's own token was signed with one of the old keys.
    let invalid = r#"Bearer realm="regrant", error="invalid_token""#;
    assert_refused(&admin.send("/admin/keys/rotate", json!({})).await, 401, "invalid_token", invalid);
}

crate::on_both_stores!(
    an_operator_sees_where_a_replay_came_from_and_revokes,
    only_a_live_token_of_the_scope_and_the_audience_opens,
    who_asks_is_found_out_before_what_they_ask,
    a_client_is_registered_shut_out_let_in_and_deleted,
    a_registration_that_cannot_be_is_refused_by_the_name_of_its_field,
    a_user_is_created_shut_out_let_in_and_deleted,
    users_and_clients_are_listed_page_by_page,
    signing_keys_are_listed_and_replaced,
);
