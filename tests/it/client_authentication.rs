//! Who the client is: RFC 6749 §2.3, with every way that must not work.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regrant::{
    client::{GrantType, RegisteredSecret},
    secret::{ClientSecretHash, SecretText},
};

use crate::{
    on_both_stores,
    support::{Answer, On, Server, owner_id},
};

on_both_stores!(
    a18_a_confidential_client_without_credentials_is_refused,
    a19_two_mechanisms_at_once_are_invalid_request,
    a20_the_mechanism_must_be_the_registered_one,
    a21_another_client_id_in_the_body_is_invalid_request,
    a22_both_halves_of_basic_are_form_encoded,
    a23_an_unknown_client_looks_like_a_wrong_secret,
    a24_two_secrets_overlap_until_one_expires,
    a25_a_disabled_client_is_out_and_its_grants_are_dead,
    a26_a_public_client_gets_no_client_credentials,
    a_secret_in_the_body_works,
    a_public_client_works_without_a_secret,
);

const LOGIN: [(&str, &str); 3] = [("grant_type", "password"), ("username", "anna"), ("password", "a good password")];

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    server.client("app").await;
    server.user("anna").await;
    server
}

/// A login with these parameters besides, and no header.
async fn login(server: &Server, more: &[(&str, &str)]) -> Answer {
    server.post(&[LOGIN.as_slice(), more].concat()).await
}

/// A login with this Authorization header.
async fn login_as(server: &Server, authorization: &str, more: &[(&str, &str)]) -> Answer {
    let form = [LOGIN.as_slice(), more].concat();
    Answer::of(server.http.post(server.token_url()).header("authorization", authorization).form(&form)).await
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

async fn no_grant_was_made(server: &Server) {
    assert_eq!(server.store().grants_of(owner_id("anna")).await.unwrap(), []);
}

async fn a18_a_confidential_client_without_credentials_is_refused(on: On) {
    let server = started(on).await;
    login(&server, &[]).await.assert_error(401, "invalid_client");
    login(&server, &[("client_id", "app")]).await.assert_error(401, "invalid_client");
    login(&server, &[("client_id", "app"), ("client_secret", "")]).await.assert_error(401, "invalid_client");
    login_as(&server, &basic("app:"), &[]).await.assert_error(401, "invalid_client");
    no_grant_was_made(&server).await;
}

async fn a19_two_mechanisms_at_once_are_invalid_request(on: On) {
    let server = started(on).await;
    let good = basic("app:secret");
    let more = [("client_id", "app"), ("client_secret", "secret")];
    login_as(&server, &good, &more).await.assert_error(400, "invalid_request");
    login_as(&server, &good, &more[1..]).await.assert_error(400, "invalid_request");
    login_as(&server, "Bearer abc", &more).await.assert_error(400, "invalid_request");
    let twice = server.http.post(server.token_url()).header("authorization", &good).header("authorization", &good);
    Answer::of(twice.form(&LOGIN)).await.assert_error(400, "invalid_request");
    no_grant_was_made(&server).await;
}

async fn a20_the_mechanism_must_be_the_registered_one(on: On) {
    let server = started(on).await;
    server.public_client("public").await;
    // A secret that nobody checks is not authentication.
    login_as(&server, &basic("public:secret"), &[]).await.assert_error(401, "invalid_client");
    let in_body = [("client_id", "public"), ("client_secret", "secret")];
    login(&server, &in_body).await.assert_error(401, "invalid_client");
    for scheme in ["Bearer abc", "Digest abc", "Basic", "Basic !", "abc"] {
        login_as(&server, scheme, &[]).await.assert_error(401, "invalid_client");
        login_as(&server, scheme, &[("client_id", "public")]).await.assert_error(401, "invalid_client");
    }
    no_grant_was_made(&server).await;
    // RFC 6749 §2.3.1: an empty secret is none at all.
    login_as(&server, &basic("public:"), &[]).await.assert_tokens();
}

async fn a21_another_client_id_in_the_body_is_invalid_request(on: On) {
    let server = started(on).await;
    server.client("other").await;
    let good = basic("app:secret");
    login_as(&server, &good, &[("client_id", "other")]).await.assert_error(400, "invalid_request");
    login_as(&server, &good, &[("client_id", "APP")]).await.assert_error(400, "invalid_request");
    no_grant_was_made(&server).await;
    login_as(&server, &good, &[("client_id", "app")]).await.assert_tokens();
}

async fn a22_both_halves_of_basic_are_form_encoded(on: On) {
    let server = started(on).await;
    let hash = ClientSecretHash::of(&SecretText::new("p:q+r %é".into()));
    server.client_with("a:b+c%", |client| client.secrets = vec![RegisteredSecret { hash, expires_at: None }]).await;
    for good in [
        "a%3Ab%2Bc%25:p%3Aq%2Br+%25%C3%A9",
        // A colon after the first is part of the secret, and %20 is as good as +.
        "a%3ab%2bc%25:p:q%2Br%20%25%c3%a9",
    ] {
        let answer = login_as(&server, &basic(good), &[]).await;
        answer.assert_tokens();
        assert_eq!(answer.claims()["client_id"], "a:b+c%");
    }
    for bad in ["a:b+c%:p:q+r %é", "a%3Ab%2Bc%25:p%3Aq+r+%25%C3%A9", "a%3Ab%2Bc%:p", "a%3Ab%2Bc%25:%00", "a%3Ab%2Bc%25"]
    {
        login_as(&server, &basic(bad), &[]).await.assert_error(401, "invalid_client");
    }
    login_as(&server, &basic("app:secret").replacen("Basic", "bAsIc", 1), &[]).await.assert_tokens();
}

async fn a23_an_unknown_client_looks_like_a_wrong_secret(on: On) {
    let server = started(on).await;
    let wrong = login_as(&server, &basic("app:wrong"), &[]).await;
    wrong.assert_error(401, "invalid_client");
    for unknown in ["nobody:secret", "not\u{a0}an\u{a0}id:secret", ":secret"] {
        let answer = login_as(&server, &basic(unknown), &[]).await;
        assert_eq!(answer.likeness(), wrong.likeness(), "{unknown}");
    }
    let in_body = login(&server, &[("client_id", "nobody"), ("client_secret", "secret")]).await;
    assert_eq!(in_body.likeness(), wrong.likeness());
    assert_eq!(login(&server, &[("client_id", "nobody")]).await.likeness(), wrong.likeness());
}

async fn a24_two_secrets_overlap_until_one_expires(on: On) {
    let server = started(on).await;
    let secret = |text: &str, expires_at| RegisteredSecret {
        hash: ClientSecretHash::of(&SecretText::new(text.into())),
        expires_at,
    };
    let end = server.store().now().plus(3_600_000);
    server.client_with("two", |client| client.secrets = vec![secret("old", Some(end)), secret("new", None)]).await;
    login_as(&server, &basic("two:old"), &[]).await.assert_tokens();
    login_as(&server, &basic("two:new"), &[]).await.assert_tokens();
    server.clock.advance(Duration::from_secs(3570));
    login_as(&server, &basic("two:old"), &[]).await.assert_tokens();
    server.clock.advance(Duration::from_secs(30));
    login_as(&server, &basic("two:old"), &[]).await.assert_error(401, "invalid_client");
    login_as(&server, &basic("two:new"), &[]).await.assert_tokens();
}

async fn a25_a_disabled_client_is_out_and_its_grants_are_dead(on: On) {
    let server = started(on).await;
    let token = server.login("app", "anna").await.refresh_token();
    server
        .change_client("app", |client| {
            client.disabled = true;
            client.epoch += 1;
        })
        .await;
    let out = server.login("app", "anna").await;
    out.assert_error(401, "invalid_client");
    assert_eq!(out.likeness(), login_as(&server, &basic("nobody:x"), &[]).await.likeness());
    server.refresh("app", &token).await.assert_error(401, "invalid_client");

    server.change_client("app", |client| client.disabled = false).await;
    server.refresh("app", &token).await.assert_error(400, "invalid_grant");
    let again = server.login("app", "anna").await;
    again.assert_tokens();
    server.refresh("app", &again.refresh_token()).await.assert_tokens();
}

async fn a26_a_public_client_gets_no_client_credentials(on: On) {
    let server = started(on).await;
    server
        .client_with("public", |client| {
            client.client_type = regrant::client::ClientType::Public;
            client.secrets.clear();
            client.grant_types.push(GrantType::ClientCredentials);
        })
        .await;
    let form = [("grant_type", "client_credentials"), ("client_id", "public")];
    server.post(&form).await.assert_error(400, "unauthorized_client");
    // A secret makes no confidential client of a public one.
    server.token("public", &form[..1]).await.assert_error(401, "invalid_client");
    server.token("app", &form[..1]).await.assert_error(400, "unauthorized_client");
}

async fn a_secret_in_the_body_works(on: On) {
    let server = started(on).await;
    let credentials = [("client_id", "app"), ("client_secret", "secret")];
    let answer = login(&server, &credentials).await;
    answer.assert_tokens();
    let token = answer.refresh_token();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &token), credentials[0], credentials[1]];
    server.post(&refresh).await.assert_tokens();
    login(&server, &[("client_id", "app"), ("client_secret", "wrong")]).await.assert_error(401, "invalid_client");
    login(&server, &[("client_secret", "secret")]).await.assert_error(400, "invalid_request");
}

async fn a_public_client_works_without_a_secret(on: On) {
    let server = started(on).await;
    server.public_client("public").await;
    let answer = login(&server, &[("client_id", "public")]).await;
    answer.assert_tokens();
    assert_eq!(answer.claims()["client_id"], "public");
    let token = answer.refresh_token();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &token), ("client_id", "public")];
    let next = server.post(&refresh).await;
    next.assert_tokens();
    assert_ne!(next.refresh_token(), token);
}
