//! `POST /oauth2/introspect` (RFC 7662).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use regrant::{
    client::{ClientType, GrantType},
    store::{Origin, OwnerChange, RevocationReason},
};
use serde_json::{Value, json};

use crate::support::{Answer, On, Server, owner_id};

const PATH: &str = "/oauth2/introspect";
const API: &str = "https://api.example";

fn inactive() -> Value {
    json!({ "active": false })
}

async fn furnish(server: &Server) {
    server.client_with("app", |client| client.audience = vec![API.into()]).await;
    server.client("other").await;
    server.client_with("api", |client| client.audience = vec![API.into()]).await;
    server.public_client("mobile").await;
    server.client_with("robot", |client| client.grant_types = vec![GrantType::ClientCredentials]).await;
    server.user("anna").await;
}

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    furnish(&server).await;
    server
}

async fn a_live_access_token_is_told_whole(on: On) {
    let server = started(on).await;
    let login = server.login("app", "anna").await;
    let claims = login.claims();
    let expected = json!({
        "active": true, "scope": "read write", "client_id": "app", "token_type": "Bearer", "exp": claims["exp"],
        "iat": claims["iat"], "sub": claims["sub"], "aud": [API], "iss": server.app.issuer.url(), "jti": claims["jti"],
    });
    for caller in ["app", "api"] {
        assert_eq!(server.introspect(caller, &login.access_token()).await, expected);
    }
}

async fn introspecting_a_refresh_token_does_not_use_it(on: On) {
    let server = started(on).await;
    let login = server.login("app", "anna").await;
    let before = server.grant_of("anna").await;
    let expected = json!({
        "active": true, "scope": "read write", "client_id": "app", "exp": before.expires_at().seconds(),
        "iat": before.current_since.seconds(), "sub": login.claims()["sub"], "iss": server.app.issuer.url(),
    });
    for _ in 0..3 {
        assert_eq!(server.introspect("app", &login.refresh_token()).await, expected);
    }
    // Its client's alone: not even the resource's.
    for caller in ["api", "other"] {
        assert_eq!(server.introspect(caller, &login.refresh_token()).await, inactive());
    }
    assert_eq!(server.grant_of("anna").await, before);
    let next = server.refresh("app", &login.refresh_token()).await.refresh_token();
    // The old one could be sent again until the new one is used.
    assert_eq!(server.introspect("app", &login.refresh_token()).await["active"], true);
    let newest = server.refresh("app", &next).await.refresh_token();
    // Asking about a replayed token is not presenting it.
    assert_eq!(server.introspect("app", &login.refresh_token()).await, inactive());
    assert_eq!(server.introspect("app", &newest).await["active"], true);
    server.refresh("app", &newest).await.assert_tokens();
}

async fn a91_only_the_client_and_the_audience_may_know(on: On) {
    let server = started(on).await;
    let access = server.login("app", "anna").await.access_token();
    assert_eq!(server.introspect("other", &access).await, inactive());
    // Without a resource of its own, a client's tokens are for the issuer.
    let own = server.login("other", "anna").await.access_token();
    assert_eq!(server.introspect("other", &own).await["active"], true);
    assert_eq!(server.introspect("api", &own).await, inactive());
    let issuer = server.app.issuer.url().to_owned();
    server.client_with("issuer-api", |client| client.audience = vec![issuer]).await;
    assert_eq!(server.introspect("issuer-api", &own).await["active"], true);
    // A resource server that is named by its client_id.
    server.client_with("by-name", |client| client.audience = vec!["api".into()]).await;
    let named = server.login("by-name", "anna").await.access_token();
    assert_eq!(server.introspect("api", &named).await["active"], true);
    assert_eq!(server.introspect("other", &named).await, inactive());
}

async fn a91_nobody_asks_without_a_secret(on: On) {
    let server = started(on).await;
    let access = server.login("app", "anna").await.access_token();
    let token = ("token", access.as_str());
    let url = format!("{}{PATH}", server.url);
    let post = |form: &[(&str, &str)]| Answer::of(server.http.post(&url).form(form));
    post(&[token]).await.assert_error(401, "invalid_client");
    post(&[token, ("client_id", "app")]).await.assert_error(401, "invalid_client");
    post(&[token, ("client_id", "app"), ("client_secret", "wrong")]).await.assert_error(401, "invalid_client");
    post(&[token, ("client_id", "mobile")]).await.assert_error(401, "invalid_client");
    Answer::of(server.http.post(&url).bearer_auth(&access).form(&[token])).await.assert_error(401, "invalid_client");
    server.send(PATH, "app", &[]).await.assert_error(400, "invalid_request");
    let in_query = server.http.post(format!("{url}?token=x")).basic_auth("app", Some("secret")).form(&[token]);
    Answer::of(in_query).await.assert_error(400, "invalid_request");
    let by_get = Answer::of(server.http.get(&url)).await;
    by_get.assert_error(405, "invalid_request");
    //
    server.change_client("app", |client| client.disabled = true).await;
    server.send(PATH, "app", &[token]).await.assert_error(401, "invalid_client");
    assert_eq!(server.introspect("api", &access).await, inactive());
}

async fn a92_what_does_not_count_reads_exactly_inactive(on: On) {
    let server = started(on).await;
    let login = server.login("app", "anna").await;
    let (access, refresh) = (login.access_token(), login.refresh_token());
    let malformed =
        ["x", "a.b", "a.b.c", "a.b.c.d", "...", "rt_", &refresh[..20], &access[..access.len() - 4], &access[1..]];
    for token in malformed {
        assert_eq!(server.introspect("app", token).await, inactive(), "{token}");
    }
    assert_eq!(server.introspect("app", &"x".repeat(12_000)).await, inactive());
    // Another deployment's token of the same issuer, with good keys of its own.
    let foreign = started(on).await;
    let foreign_token = foreign.login("app", "anna").await;
    assert_eq!(server.introspect("app", &foreign_token.access_token()).await, inactive());
    assert_eq!(server.introspect("app", &foreign_token.refresh_token()).await, inactive());
    // To the second.
    server.clock.advance(Duration::from_secs(598));
    assert_eq!(server.introspect("app", &access).await["active"], true);
    server.clock.advance(Duration::from_secs(2));
    assert_eq!(server.introspect("app", &access).await, inactive());
    assert_eq!(server.introspect("app", &refresh).await["active"], true);
    server.clock.advance(Duration::from_secs(15 * 24 * 3600));
    assert_eq!(server.introspect("app", &refresh).await, inactive());
}

async fn a31_no_forged_header_gets_through(on: On) {
    let server = started(on).await;
    let access = server.login("app", "anna").await.access_token();
    let parts: Vec<&str> = access.split('.').collect();
    let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let url = format!("{}/.well-known/jwks.json", server.url);
    let jwks: Value = server.http.get(url).send().await.unwrap().json().await.unwrap();
    let with = |name: &str, value: Value| {
        let mut changed = head.clone();
        changed[name] = value;
        URL_SAFE_NO_PAD.encode(changed.to_string())
    };
    let public = jwks["keys"][0].to_string();
    let hmac = |head: &str| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_bytes());
        URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, format!("{head}.{}", parts[1]).as_bytes()))
    };
    let (none, hs256) = (with("alg", json!("none")), with("alg", json!("HS256")));
    let forged = [
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{hs256}.{}.{}", parts[1], hmac(&hs256)),
        format!("{}.{}.", parts[0], parts[1]),
        // ECDSA with r = s = 0.
        format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([0; 64])),
    ];
    let changed = [("typ", json!("JWT")), ("kid", json!("other")), ("alg", json!("RS256")), ("crit", json!(["x"]))];
    let keyed = [("jwk", jwks["keys"][0].clone()), ("jku", json!("https://evil.example")), ("b64", json!(false))];
    let rewritten = changed.into_iter().chain(keyed).map(|(name, value)| {
        let head = with(name, value);
        format!("{head}.{}.{}", parts[1], parts[2])
    });
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["scope"] = "admin".into();
    let reclaimed = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2]);
    for token in forged.into_iter().chain(rewritten).chain([reclaimed]) {
        assert_eq!(server.introspect("app", &token).await, inactive(), "{token}");
        server.revoke("app", &token).await;
    }
    assert_eq!(server.introspect("app", &access).await["active"], true);
}

/// Each way to end a grant: the next request on the other node knows.
async fn a_revoked_grant_is_inactive_at_once_on_another_node(on: On) {
    for way in 0..8 {
        let (one, other, _folder) = Server::pair(on).await;
        furnish(&one).await;
        let login = one.login("app", "anna").await;
        let robot = one.token("robot", &[("grant_type", "client_credentials")]).await.access_token();
        let next = other.refresh("app", &login.refresh_token()).await;
        let tokens = [login.access_token(), next.access_token(), next.refresh_token()];
        for token in &tokens {
            assert_eq!(other.introspect("app", token).await["active"], true);
        }
        let owner = owner_id("anna");
        match way {
            0 => drop(one.store().change_owner(owner, OwnerChange::LogOut).await.unwrap()),
            1 => drop(one.store().change_owner(owner, OwnerChange::SetPassword { sealed: vec![1] }).await.unwrap()),
            2 => drop(one.store().change_owner(owner, OwnerChange::Disable).await.unwrap()),
            3 => drop(one.store().delete_owner(owner).await.unwrap()),
            4 => one.revoke("app", &login.access_token()).await,
            5 => one.refresh("app", &login.refresh_token()).await.assert_tokens(),
            6 => one.change_client("app", |client| client.epoch += 1).await,
            _ => {
                let id = one.store().grants_of(owner).await.unwrap()[0];
                let nowhere = Origin::default();
                one.store().revoke_grant(owner, id, RevocationReason::Operator, &nowhere).await.unwrap();
            }
        }
        if way == 5 {
            // A retry is no replay; the successor's use makes it one.
            one.refresh("app", &next.refresh_token()).await.assert_tokens();
            one.refresh("app", &login.refresh_token()).await.assert_error(400, "invalid_grant");
        }
        for token in &tokens {
            if way == 6 {
                // The other node learns of a client's change from the store's message.
                crate::support::eventually("inactive", async || other.introspect("app", token).await == inactive())
                    .await;
            }
            assert_eq!(other.introspect("app", token).await, inactive(), "way {way}");
        }
        other.refresh("app", &next.refresh_token()).await.assert_error(400, "invalid_grant");
        assert_eq!(other.introspect("robot", &robot).await["active"], true, "way {way}");
    }
}

/// Whichever of the two came first: both are counters, and no time is compared.
async fn a95_what_ended_a_clients_grants_and_what_ended_a_users_both_hold(on: On) {
    for client_first in [true, false] {
        let server = started(on).await;
        server.user("bob").await;
        let end_the_clients = async || server.change_client("app", |client| client.epoch += 1).await;
        let end_annas = async || {
            server.store().change_owner(owner_id("anna"), OwnerChange::LogOut).await.unwrap();
        };
        let assert_dead = async |login: &Answer| {
            assert_eq!(server.introspect("app", &login.access_token()).await, inactive());
            server.refresh("app", &login.refresh_token()).await.assert_error(400, "invalid_grant");
        };
        let (annas, bobs) = (server.login("app", "anna").await, server.login("app", "bob").await);
        let elsewhere = server.login("other", "anna").await;
        if client_first {
            end_the_clients().await
        } else {
            end_annas().await
        }
        let between = server.login("app", "anna").await;
        assert_eq!(server.introspect("app", &between.access_token()).await["active"], true);
        if client_first {
            end_annas().await
        } else {
            end_the_clients().await
        }
        let after = server.login("app", "anna").await;
        for login in [&annas, &between, &bobs] {
            assert_dead(login).await;
        }
        assert_eq!(server.introspect("other", &elsewhere.access_token()).await, inactive());
        server.refresh("other", &elsewhere.refresh_token()).await.assert_error(400, "invalid_grant");
        assert_eq!(server.introspect("app", &after.access_token()).await["active"], true);
        server.refresh("app", &after.refresh_token()).await.assert_tokens();
    }
}

async fn enabling_again_revives_nothing(on: On) {
    let server = started(on).await;
    let login = server.login("app", "anna").await;
    let robot = server.token("robot", &[("grant_type", "client_credentials")]).await.access_token();
    server.store().change_owner(owner_id("anna"), OwnerChange::Disable).await.unwrap();
    server.store().change_owner(owner_id("anna"), OwnerChange::Enable).await.unwrap();
    assert_eq!(server.introspect("app", &login.access_token()).await, inactive());
    server
        .change_client("robot", |client| {
            client.disabled = true;
            client.epoch += 1;
        })
        .await;
    server.change_client("robot", |client| client.disabled = false).await;
    assert_eq!(server.introspect("robot", &robot).await, inactive());
}

async fn a_client_learns_about_its_own_tokens(on: On) {
    let server = started(on).await;
    let answer = server.token("robot", &[("grant_type", "client_credentials"), ("scope", "read")]).await;
    let claims = answer.claims();
    let expected = json!({
        "active": true, "scope": "read", "client_id": "robot", "token_type": "Bearer", "exp": claims["exp"],
        "iat": claims["iat"], "sub": "client:robot", "aud": [server.app.issuer.url()], "iss": server.app.issuer.url(),
        "jti": claims["jti"],
    });
    assert_eq!(server.introspect("robot", &answer.access_token()).await, expected);
    assert_eq!(server.introspect("other", &answer.access_token()).await, inactive());
    server.change_client("robot", |client| client.client_type = ClientType::Public).await;
    server.send(PATH, "robot", &[("token", "x")]).await.assert_error(401, "invalid_client");
}

async fn the_metadata_names_both_endpoints(on: On) {
    let server = started(on).await;
    let url = format!("{}/.well-known/oauth-authorization-server", server.url);
    let metadata: Value = server.http.get(url).send().await.unwrap().json().await.unwrap();
    let issuer = server.app.issuer.url();
    assert_eq!(metadata["revocation_endpoint"], format!("{issuer}/oauth2/revoke"));
    assert_eq!(metadata["introspection_endpoint"], format!("{issuer}/oauth2/introspect"));
    let methods = json!(["client_secret_basic", "client_secret_post", "none"]);
    assert_eq!(metadata["revocation_endpoint_auth_methods_supported"], methods);
    let methods = json!(["client_secret_basic", "client_secret_post"]);
    assert_eq!(metadata["introspection_endpoint_auth_methods_supported"], methods);
}

crate::on_both_stores!(
    a_live_access_token_is_told_whole,
    introspecting_a_refresh_token_does_not_use_it,
    a91_only_the_client_and_the_audience_may_know,
    a91_nobody_asks_without_a_secret,
    a92_what_does_not_count_reads_exactly_inactive,
    a31_no_forged_header_gets_through,
    a_revoked_grant_is_inactive_at_once_on_another_node,
    a95_what_ended_a_clients_grants_and_what_ended_a_users_both_hold,
    enabling_again_revives_nothing,
    a_client_learns_about_its_own_tokens,
    the_metadata_names_both_endpoints,
);
