//! `resource` and `audience` (RFC 8707) at the token endpoint.

use regrant::client::GrantType;
use serde_json::{Value, json};

use crate::{
    on_both_stores,
    support::{Answer, On, Server},
};

on_both_stores!(
    a90_a_token_is_for_the_resources_that_were_asked_for,
    a90_a_resource_beyond_the_client_is_invalid_target,
    a90_a_refresh_narrows_and_never_widens,
    a90_the_same_refresh_again_is_the_same_token_for_the_same_resource,
    a90_a_client_without_resources_may_name_the_servers,
);

const A: &str = "https://a.example";
const B: &str = "https://b.example/v1?tenant=1";
const C: &str = "urn:example:c";
const NAME: &str = "urn:legacy";

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    server
        .client_with("app", |client| {
            client.grant_types.push(GrantType::ClientCredentials);
            client.audience = [A, B, C, NAME].map(str::to_owned).to_vec();
        })
        .await;
    server.user("anna").await;
    server
}

async fn login(server: &Server, more: &[(&str, &str)]) -> Answer {
    let form = [("grant_type", "password"), ("username", "anna"), ("password", "a good password")];
    server.token("app", &[form.as_slice(), more].concat()).await
}

async fn refresh(server: &Server, token: &str, more: &[(&str, &str)]) -> Answer {
    server.token("app", &[[("grant_type", "refresh_token"), ("refresh_token", token)].as_slice(), more].concat()).await
}

fn audience(answer: &Answer) -> Value {
    answer.assert_tokens();
    answer.claims()["aud"].clone()
}

async fn a90_a_token_is_for_the_resources_that_were_asked_for(on: On) {
    let server = started(on).await;
    let client = async |more: &[(&str, &str)]| {
        audience(&server.token("app", &[[("grant_type", "client_credentials")].as_slice(), more].concat()).await)
    };
    for (asked, expected) in [
        (vec![], json!([A, B, C, NAME])),
        (vec![("resource", B)], json!(B)),
        (vec![("resource", B), ("resource", A), ("resource", B)], json!([A, B])),
        (vec![("audience", NAME)], json!(NAME)),
        (vec![("resource", C), ("audience", NAME)], json!([C, NAME])),
        (vec![("resource", ""), ("audience", "")], json!([A, B, C, NAME])),
    ] {
        assert_eq!(audience(&login(&server, &asked).await), expected, "{asked:?}");
        assert_eq!(client(&asked).await, expected, "{asked:?}");
    }
}

async fn a90_a_resource_beyond_the_client_is_invalid_target(on: On) {
    let server = started(on).await;
    let own = server.url.clone();
    for beyond in [
        [("resource", "https://evil.example")].as_slice(),
        &[("resource", "https://a.example/")],
        &[("resource", "HTTPS://a.example")],
        &[("resource", "https://a.example#fragment")],
        &[("resource", "a.example")],
        &[("resource", "/")],
        &[("resource", A), ("resource", "https://evil.example")],
        &[("audience", "evil")],
        &[("resource", A), ("audience", "evil")],
        &[("resource", &own)],
    ] {
        login(&server, beyond).await.assert_error(400, "invalid_target");
        let form = [[("grant_type", "client_credentials")].as_slice(), beyond].concat();
        server.token("app", &form).await.assert_error(400, "invalid_target");
    }
    // Only `resource` may be repeated.
    login(&server, &[("audience", NAME), ("audience", NAME)]).await.assert_error(400, "invalid_request");
    assert!(server.store().grants_of(crate::support::owner_id("anna")).await.unwrap().is_empty());
    let page = server.http.get(format!("{}/docs/errors/invalid_target", server.url)).send().await.unwrap();
    assert_eq!(page.status(), 200);
}

async fn a90_a_refresh_narrows_and_never_widens(on: On) {
    let server = started(on).await;
    let first = login(&server, &[("resource", A), ("resource", B)]).await;
    assert_eq!(audience(&first), json!([A, B]));
    let narrow = refresh(&server, &first.refresh_token(), &[("resource", B)]).await;
    assert_eq!(audience(&narrow), json!(B));
    // The grant did not shrink.
    let whole = refresh(&server, &narrow.refresh_token(), &[]).await;
    assert_eq!(audience(&whole), json!([A, B]));
    // The client may have C, the grant may not; nobody may have the last one. The token stays good.
    for beyond in [[("resource", C)].as_slice(), &[("resource", A), ("resource", C)], &[("resource", "urn:evil")]] {
        refresh(&server, &whole.refresh_token(), beyond).await.assert_error(400, "invalid_target");
    }
    let after = refresh(&server, &whole.refresh_token(), &[("audience", A)]).await;
    assert_eq!(audience(&after), json!(A));
    assert_eq!(server.grant_of("anna").await.generation, 4);
    // What the client lost it can't ask for, and asking used nothing up.
    server.change_client("app", |client| client.audience.retain(|resource| resource != A)).await;
    refresh(&server, &after.refresh_token(), &[("resource", A)]).await.assert_error(400, "invalid_target");
    assert_eq!(audience(&refresh(&server, &after.refresh_token(), &[]).await), json!(B));
}

async fn a90_the_same_refresh_again_is_the_same_token_for_the_same_resource(on: On) {
    let server = started(on).await;
    let first = login(&server, &[]).await.refresh_token();
    let (one, again) =
        (refresh(&server, &first, &[("resource", A)]).await, refresh(&server, &first, &[("resource", A)]).await);
    assert_eq!(one.claims(), again.claims());
    assert_eq!(one.refresh_token(), again.refresh_token());
    // Another resource is another token, whose identifier must not be the same.
    let other = refresh(&server, &first, &[("resource", B)]).await;
    assert_eq!(audience(&other), json!(B));
    assert_ne!(other.claims()["jti"], one.claims()["jti"]);
    assert_eq!(other.refresh_token(), one.refresh_token());
}

async fn a90_a_client_without_resources_may_name_the_servers(on: On) {
    let server = Server::start(on).await;
    server.client("app").await;
    server.user("anna").await;
    let answer = login(&server, &[("resource", &server.url)]).await;
    assert_eq!(audience(&answer), json!(server.url));
    let next = refresh(&server, &answer.refresh_token(), &[("resource", &server.url)]).await;
    assert_eq!(audience(&next), json!(server.url));
    refresh(&server, &next.refresh_token(), &[("resource", A)]).await.assert_error(400, "invalid_target");
    login(&server, &[("resource", A)]).await.assert_error(400, "invalid_target");
}
