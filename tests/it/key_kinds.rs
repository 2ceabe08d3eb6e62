//! No kind of token passes for another: each is presented wherever another kind belongs.

use regrant::{client::GrantType, token::device_code::UserCode};

use crate::{
    device_flow::DEVICE_GRANT,
    on_both_stores,
    person::Person,
    support::{Answer, On, Server},
};

on_both_stores!(no_kind_of_token_passes_for_another);

async fn no_kind_of_token_passes_for_another(on: On) {
    let server = Server::start(on).await;
    server
        .client_with("app", |client| client.grant_types.extend([GrantType::DeviceCode, GrantType::ClientCredentials]))
        .await;
    server.user("anna").await;
    let login = server.login("app", "anna").await;
    let robot = server.token("app", &[("grant_type", "client_credentials")]).await;
    let url = format!("{}/oauth2/device_authorization", server.url);
    let device = Answer::of(server.http.post(url).basic_auth("app", Some("secret")).form(&[("scope", "read")])).await;
    let person = Person::signed_in(&server, "anna").await;
    let text = |answer: &Answer, name: &str| answer.json()[name].as_str().unwrap().to_owned();
    let device_code = text(&device, "device_code");
    let user_code = text(&device, "user_code");
    let session = person.cookies["__Host-regrant-session"].clone();
    let id = server.app.issuer.device_codes().address(&UserCode::parse(&user_code).unwrap());
    let refresh_token = login.refresh_token();
    let kinds = [
        ("access token", text(&login, "access_token")),
        ("access token of a client", text(&robot, "access_token")),
        ("refresh token", refresh_token.clone()),
        ("device code", device_code.clone()),
        ("user code", user_code.clone()),
        ("address of a device", id.to_string()),
        ("browser session", session.clone()),
        ("grant", login.claims()["gid"].as_str().unwrap().to_owned()),
        ("token id", login.claims()["jti"].as_str().unwrap().to_owned()),
    ];
    // Also under another kind's prefix.
    let body_of = |text: &str| text.split_once('_').map_or(text.to_owned(), |(_, body)| body.to_owned());
    let disguised: Vec<(&str, String)> = ["rt_", "dc_", "ac_", "bs_"]
        .iter()
        .flat_map(|prefix| kinds.iter().map(move |(kind, text)| (*kind, format!("{prefix}{}", body_of(text)))))
        .collect();
    let right = [refresh_token.as_str(), &device_code, &session];
    for (kind, text) in kinds.iter().chain(&disguised).filter(|(_, text)| !right.contains(&text.as_str())) {
        let refresh = server.refresh("app", text).await;
        assert_eq!((refresh.status, refresh.json()["error"].as_str()), (400, Some("invalid_grant")), "{kind} {text}");
        let poll = server.token("app", &[("grant_type", DEVICE_GRANT), ("device_code", text)]).await;
        assert_eq!((poll.status, poll.json()["error"].as_str()), (400, Some("invalid_grant")), "{kind} {text}");
        assert_signed_out(&server, text, kind).await;
    }
    // Each where another belongs.
    for (kind, text) in &kinds {
        if *kind != "refresh token" {
            server.refresh("app", text).await.assert_error(400, "invalid_grant");
        }
        if *kind != "device code" {
            let form = [("grant_type", DEVICE_GRANT), ("device_code", text.as_str())];
            server.token("app", &form).await.assert_error(400, "invalid_grant");
        }
        if *kind != "browser session" {
            assert_signed_out(&server, text, kind).await;
        }
        let password = [("grant_type", "password"), ("username", "anna"), ("password", text.as_str())];
        server.token("app", &password).await.assert_error(400, "invalid_grant");
        let secret = server.http.post(server.token_url()).basic_auth("app", Some(text));
        Answer::of(secret.form(&[("grant_type", "client_credentials")])).await.assert_error(401, "invalid_client");
    }
    // Nothing of that used anything up.
    server.refresh("app", &refresh_token).await.assert_tokens();
    server
        .token("app", &[("grant_type", DEVICE_GRANT), ("device_code", &device_code)])
        .await
        .assert_error(400, "authorization_pending");
    let mut person = person;
    assert_eq!(person.open("/account").await.status, 200);
}

async fn assert_signed_out(server: &Server, cookie: &str, kind: &str) {
    let mut stranger = Person::at(server);
    stranger.cookies.insert("__Host-regrant-session".into(), cookie.to_owned());
    let answer = stranger.open("/account").await;
    assert_eq!(answer.status, 303, "{kind}: {answer:?}");
    assert!(answer.header("location").starts_with("/login"), "{kind}: {answer:?}");
}
