//! The device authorization grant (RFC 8628) over HTTP. The page that a person visits has tests of its own.

use std::time::Duration;

use regrant::{
    client::{ClientType, GrantType},
    ids::{ClientId, DeviceId, GrantId},
    store::{Changed, DeviceDecided, DeviceDecision, GrantStatus, OwnerChange, RevocationReason},
    token::device_code::UserCode,
};
use serde_json::json;

use crate::{
    on_both_stores,
    support::{Answer, On, Server, owner_id},
};

on_both_stores!(
    a_device_logs_in,
    a_lost_answer_is_repeated_and_a_late_copy_revokes,
    a_repetition_gets_nothing_of_a_grant_that_was_used_or_revoked,
    a98_a_device_is_told_to_wait_to_slow_down_or_to_give_up,
    a99_redemption_asks_again_who_the_owner_is,
    a99_redemption_asks_again_who_the_client_is,
    a_code_belongs_to_its_client,
    the_codes_are_for_what_was_asked,
    only_clients_that_may_start_and_poll,
    the_request_is_read_as_strictly_as_a_token_request,
    nothing_that_the_store_keeps_is_a_code,
);

pub const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A server with the confidential client `tv` and the user `anna`.
async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    server.client_with("tv", |client| client.grant_types.push(GrantType::DeviceCode)).await;
    server.user("anna").await;
    server
}

async fn start(server: &Server, client: &str, form: &[(&str, &str)]) -> Answer {
    let url = format!("{}/oauth2/device_authorization", server.url);
    Answer::of(server.http.post(url).basic_auth(client, Some("secret")).form(form)).await
}

/// A started device: the answer's codes.
struct Device {
    device_code: String,
    id: DeviceId,
}

async fn device(server: &Server, form: &[(&str, &str)]) -> Device {
    let answer = start(server, "tv", form).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    let user_code = UserCode::parse(&text("user_code")).unwrap();
    Device { device_code: text("device_code"), id: server.app.issuer.device_codes().address(&user_code) }
}

async fn poll(server: &Server, client: &str, device_code: &str, more: &[(&str, &str)]) -> Answer {
    let form = [("grant_type", DEVICE_GRANT), ("device_code", device_code)];
    server.token(client, &[form.as_slice(), more].concat()).await
}

async fn decide(server: &Server, device: &Device, approve: bool) {
    let anna = server.store().owner(owner_id("anna")).await.unwrap().unwrap();
    let decision = match approve {
        true => DeviceDecision::Approve { owner: anna.id(), owner_epoch: anna.epoch },
        false => DeviceDecision::Deny,
    };
    let decided = server.store().decide_device(device.id, decision, server.store().deadline()).await.unwrap();
    assert_eq!(decided, DeviceDecided::Stored);
}

async fn approved(server: &Server) -> Device {
    let device = device(server, &[]).await;
    decide(server, &device, true).await;
    device
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn a_device_logs_in(on: On) {
    let server = started(on).await;
    let answer = start(&server, "tv", &[]).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{answer:?}");
    let json = answer.json();
    let mut names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["device_code", "expires_in", "interval", "user_code", "verification_uri", "verification_uri_complete"]
    );
    let (user_code, uri) = (json["user_code"].as_str().unwrap(), format!("{}/device", server.url));
    assert_eq!(json["verification_uri"], uri);
    assert_eq!(json["verification_uri_complete"], format!("{uri}?user_code={user_code}"));
    assert_eq!((&json["expires_in"], &json["interval"]), (&json!(600), &json!(5)));
    assert_eq!(user_code.len(), 9);
    assert!(user_code.bytes().all(|b| b == b'-' || b"BCDFGHJKLMNPQRSTVWXZ".contains(&b)), "{user_code}");

    let device_code = json["device_code"].as_str().unwrap();
    let id = server.app.issuer.device_codes().address(&UserCode::parse(user_code).unwrap());
    let device = Device { device_code: device_code.to_owned(), id };
    poll(&server, "tv", device_code, &[]).await.assert_error(400, "authorization_pending");
    decide(&server, &device, true).await;
    let tokens = poll(&server, "tv", device_code, &[]).await;
    tokens.assert_tokens();
    let anna = server.store().owner(owner_id("anna")).await.unwrap().unwrap();
    assert_eq!(tokens.claims()["sub"], anna.subject.to_string());
    assert_eq!((&tokens.json()["scope"], &tokens.claims()["client_id"]), (&json!("read write"), &json!("tv")));
    server.refresh("tv", &tokens.refresh_token()).await.assert_tokens();

    let metadata = Answer::of(server.http.get(format!("{}/.well-known/oauth-authorization-server", server.url))).await;
    let metadata = metadata.json();
    assert_eq!(metadata["device_authorization_endpoint"], format!("{}/oauth2/device_authorization", server.url));
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(DEVICE_GRANT)));
}

async fn a_lost_answer_is_repeated_and_a_late_copy_revokes(on: On) {
    let server = started(on).await;
    let device = approved(&server).await;
    let first = poll(&server, "tv", &device.device_code, &[]).await;
    first.assert_tokens();
    server.clock.advance(seconds(30));
    let again = poll(&server, "tv", &device.device_code, &[]).await;
    again.assert_tokens();
    assert_eq!(again.refresh_token(), first.refresh_token());
    assert_eq!(again.claims(), first.claims());
    assert!(again.json()["expires_in"].as_i64().unwrap() <= 570, "{again:?}");
    assert_eq!(server.store().grants_of(owner_id("anna")).await.unwrap().len(), 1);

    server.clock.advance(seconds(31));
    poll(&server, "tv", &device.device_code, &[]).await.assert_error(400, "invalid_grant");
    let grant = GrantId::parse(first.claims()["gid"].as_str().unwrap()).unwrap();
    let status = server.store().grant(owner_id("anna"), grant).await.unwrap().unwrap().status;
    assert!(matches!(status, GrantStatus::Revoked { reason: RevocationReason::Replay, .. }), "{status:?}");
    server.refresh("tv", &first.refresh_token()).await.assert_error(400, "invalid_grant");
}

async fn a_repetition_gets_nothing_of_a_grant_that_was_used_or_revoked(on: On) {
    let server = started(on).await;
    let used = approved(&server).await;
    let tokens = poll(&server, "tv", &used.device_code, &[]).await;
    server.refresh("tv", &tokens.refresh_token()).await.assert_tokens();
    poll(&server, "tv", &used.device_code, &[]).await.assert_error(400, "invalid_grant");

    let revoked = approved(&server).await;
    poll(&server, "tv", &revoked.device_code, &[]).await.assert_tokens();
    assert_eq!(server.store().change_owner(owner_id("anna"), OwnerChange::LogOut).await.unwrap(), Changed::Stored);
    poll(&server, "tv", &revoked.device_code, &[]).await.assert_error(400, "invalid_grant");
}

async fn a98_a_device_is_told_to_wait_to_slow_down_or_to_give_up(on: On) {
    let server = started(on).await;
    let waiting = device(&server, &[]).await;
    poll(&server, "tv", &waiting.device_code, &[]).await.assert_error(400, "authorization_pending");
    poll(&server, "tv", &waiting.device_code, &[]).await.assert_error(400, "slow_down");
    server.clock.advance(seconds(6));
    poll(&server, "tv", &waiting.device_code, &[]).await.assert_error(400, "slow_down");
    server.clock.advance(seconds(15));
    poll(&server, "tv", &waiting.device_code, &[]).await.assert_error(400, "authorization_pending");

    let denied = device(&server, &[]).await;
    decide(&server, &denied, false).await;
    poll(&server, "tv", &denied.device_code, &[]).await.assert_error(400, "access_denied");

    server.clock.advance(seconds(600));
    poll(&server, "tv", &waiting.device_code, &[]).await.assert_error(400, "expired_token");
    // Long forgotten, but ours by its MAC.
    server.clock.advance(seconds(86_400));
    poll(&server, "tv", &waiting.device_code, &[]).await.assert_error(400, "expired_token");
    for garbage in ["dc_", "dc_garbage", "garbage", &waiting.device_code[..80], &format!("{}A", waiting.device_code)] {
        poll(&server, "tv", garbage, &[]).await.assert_error(400, "invalid_grant");
    }
    assert!(server.store().grants_of(owner_id("anna")).await.unwrap().is_empty());
}

async fn a99_redemption_asks_again_who_the_owner_is(on: On) {
    let server = started(on).await;
    let change = async |change| {
        assert_eq!(server.store().change_owner(owner_id("anna"), change).await.unwrap(), Changed::Stored);
    };
    let device = approved(&server).await;
    change(OwnerChange::Disable).await;
    poll(&server, "tv", &device.device_code, &[]).await.assert_error(400, "invalid_grant");
    // Enabling somebody revives nothing.
    change(OwnerChange::Enable).await;
    poll(&server, "tv", &device.device_code, &[]).await.assert_error(400, "invalid_grant");

    let device = approved(&server).await;
    change(OwnerChange::LogOut).await;
    poll(&server, "tv", &device.device_code, &[]).await.assert_error(400, "invalid_grant");

    let device = approved(&server).await;
    server.store().delete_owner(owner_id("anna")).await.unwrap();
    poll(&server, "tv", &device.device_code, &[]).await.assert_error(400, "invalid_grant");
    server.user("anna").await;
    poll(&server, "tv", &device.device_code, &[]).await.assert_error(400, "invalid_grant");
    assert!(server.store().grants_of(owner_id("anna")).await.unwrap().is_empty());
}

async fn a99_redemption_asks_again_who_the_client_is(on: On) {
    let server = started(on).await;
    let device = approved(&server).await;
    server.change_client("tv", |client| client.epoch += 1).await;
    poll(&server, "tv", &device.device_code, &[]).await.assert_error(400, "invalid_grant");
    let device = approved(&server).await;
    server.change_client("tv", |client| client.disabled = true).await;
    poll(&server, "tv", &device.device_code, &[]).await.assert_error(401, "invalid_client");
    server.change_client("tv", |client| (client.disabled, client.grant_types) = (false, vec![])).await;
    poll(&server, "tv", &device.device_code, &[]).await.assert_error(400, "unauthorized_client");
    let less = |client: &mut regrant::client::Client| {
        client.grant_types = vec![GrantType::DeviceCode];
        client.scope = regrant::scope::Scope::parse("read").unwrap();
    };
    server.change_client("tv", less).await;
    // What the client lost meanwhile is not granted; no refresh token without the right to one.
    let tokens = poll(&server, "tv", &device.device_code, &[]).await;
    tokens.assert_tokens();
    assert_eq!(tokens.json()["scope"], "read");
    assert!(tokens.json().get("refresh_token").is_none(), "{tokens:?}");
}

async fn a_code_belongs_to_its_client(on: On) {
    let server = started(on).await;
    server.client_with("other", |client| client.grant_types.push(GrantType::DeviceCode)).await;
    let device = approved(&server).await;
    poll(&server, "other", &device.device_code, &[]).await.assert_error(400, "invalid_grant");
    // And was not used up by that.
    poll(&server, "tv", &device.device_code, &[]).await.assert_tokens();
    poll(&server, "other", &device.device_code, &[]).await.assert_error(400, "invalid_grant");
    assert_eq!(server.grant_of("anna").await.status, GrantStatus::Active);
}

async fn the_codes_are_for_what_was_asked(on: On) {
    let server = started(on).await;
    let resources = ["https://a.example", "https://b.example", "https://c.example"].map(str::to_owned);
    server.change_client("tv", |client| client.audience = resources.to_vec()).await;
    let asked = [("scope", "read"), ("resource", "https://a.example"), ("resource", "https://b.example")];
    let device = device(&server, &asked).await;
    decide(&server, &device, true).await;
    // Narrower than allowed, never wider; a refused poll can be sent again.
    let wider = [("resource", "https://c.example")];
    poll(&server, "tv", &device.device_code, &wider).await.assert_error(400, "invalid_target");
    let unknown = [("resource", "https://evil.example")];
    poll(&server, "tv", &device.device_code, &unknown).await.assert_error(400, "invalid_target");
    let tokens = poll(&server, "tv", &device.device_code, &[("resource", "https://b.example")]).await;
    tokens.assert_tokens();
    assert_eq!((&tokens.claims()["scope"], &tokens.claims()["aud"]), (&json!("read"), &json!("https://b.example")));
    let grant = server.grant_of("anna").await;
    assert_eq!((grant.audience.as_slice(), grant.scope.as_str()), (&resources[..2], "read"));
    for (refused, code) in [
        (("scope", "read admin"), "invalid_scope"),
        (("scope", "\""), "invalid_scope"),
        (("resource", "https://evil.example"), "invalid_target"),
        (("resource", "nonsense"), "invalid_target"),
    ] {
        start(&server, "tv", &[refused]).await.assert_error(400, code);
    }
}

async fn only_clients_that_may_start_and_poll(on: On) {
    let server = started(on).await;
    server.client("app").await;
    start(&server, "app", &[]).await.assert_error(400, "unauthorized_client");
    start(&server, "nobody", &[]).await.assert_error(401, "invalid_client");
    let device = approved(&server).await;
    poll(&server, "app", &device.device_code, &[]).await.assert_error(400, "unauthorized_client");
    let url = format!("{}/oauth2/device_authorization", server.url);
    Answer::of(server.http.post(&url).form(&[("scope", "read")])).await.assert_error(401, "invalid_client");
    Answer::of(server.http.post(&url).form(&[("client_id", "tv")])).await.assert_error(401, "invalid_client");
    server
        .client_with("public-tv", |client| {
            client.client_type = ClientType::Public;
            client.secrets.clear();
            client.grant_types = vec![GrantType::DeviceCode];
        })
        .await;
    let answer = Answer::of(server.http.post(&url).form(&[("client_id", "public-tv")])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = ClientId::parse("public-tv").unwrap();
    assert!(server.store().client(&id).await.unwrap().unwrap().may_use(GrantType::DeviceCode));
}

async fn the_request_is_read_as_strictly_as_a_token_request(on: On) {
    let server = started(on).await;
    let url = format!("{}/oauth2/device_authorization", server.url);
    let get = Answer::of(server.http.get(&url)).await;
    get.assert_error(405, "invalid_request");
    assert_eq!(get.header("allow"), "POST");
    let post = || server.http.post(&url).basic_auth("tv", Some("secret"));
    for body in ["scope=read&scope=write", "scope=%zz", "client_id=other"] {
        let form = post().header("content-type", "application/x-www-form-urlencoded").body(body);
        Answer::of(form).await.assert_error(400, "invalid_request");
    }
    Answer::of(post().json(&json!({}))).await.assert_error(400, "invalid_request");
    let query = server.http.post(format!("{url}?client_id=tv&client_secret=secret")).form(&[("scope", "read")]);
    Answer::of(query).await.assert_error(400, "invalid_request");
    let large = [("x", "x".repeat(20_000))];
    Answer::of(post().form(&large)).await.assert_error(413, "invalid_request");
    poll(&server, "tv", "", &[]).await.assert_error(400, "invalid_request");
}

async fn nothing_that_the_store_keeps_is_a_code(on: On) {
    let server = started(on).await;
    let answer = start(&server, "tv", &[]).await.json();
    let user_code = UserCode::parse(answer["user_code"].as_str().unwrap()).unwrap();
    let id = server.app.issuer.device_codes().address(&user_code);
    let kept = format!("{:?} {id}", server.store().device(id).await.unwrap().unwrap());
    assert!(!kept.contains(&user_code.text()) && !kept.contains(&user_code.text().replace('-', "")), "{kept}");
    // Another server's secret gives another address, so a stolen store doesn't lead to one.
    let other = Server::start(On::Embedded).await;
    assert_ne!(other.app.issuer.device_codes().address(&user_code), id);
}
