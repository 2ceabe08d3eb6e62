//! The authorization endpoint and the authorization code grant, through real HTTP, by the numbers of the assertions.

use std::time::Duration;

use base64::Engine as _;
use regrant::{
    client::{Client, ClientType, GrantType, RedirectUri},
    secret::sha256,
    store::{GrantStatus, OwnerChange, RevocationReason},
};
use tokio::task::JoinSet;

use crate::{
    on_both_stores,
    person::{Person, assert_page},
    support::{Answer, On, Server, owner_id},
};

on_both_stores!(
    a_code_becomes_tokens_that_refresh,
    a35_only_the_port_of_a_loopback_redirect_uri_may_differ,
    a36_a_redirect_uri_that_is_not_the_same_string_is_refused,
    a41_a42_a_wrong_client_or_redirect_uri_is_a_page_and_never_a_redirect,
    a43_to_a46_what_a_request_must_say,
    a47_a48_the_answer_names_its_issuer_and_brings_the_state_back,
    a49_to_a51_pages_are_not_framed_not_shared_and_answer_with_303,
    a53_a54_consent_is_bound_to_the_browser_and_the_request,
    a55_prompt_none_shows_nothing,
    prompts_ask_again_and_a_hint_fills_the_name_in,
    a_denied_request_says_so_and_stores_nothing,
    a_remembered_consent_is_not_asked_for_again,
    the_consent_to_an_app_that_any_app_can_pass_for_is_not_remembered,
    a56_request_objects_are_refused,
    what_oxide_auth_would_answer_stays_behind_the_border,
    a_request_in_a_form_is_the_same_request,
    a59_a_code_is_bound_to_its_redirect_uri_and_challenge,
    a60_a_code_works_once_and_its_second_use_revokes_everything,
    a61_a_hundred_parallel_redemptions_have_one_winner_and_a_dead_grant,
    a62_a_code_expires_after_a_minute,
    a63_a64_the_verifier_is_required_well_formed_and_tried_once,
    a65_another_client_does_not_burn_a_code,
    a66_a_changed_code_is_refused,
    a67_a_code_dies_with_the_owners_epoch_and_the_clients,
    a_public_client_gets_no_refresh_token_unless_it_may_have_one,
    a_code_is_not_a_refresh_token_nor_the_other_way_round,
    a_code_redeemed_in_cookie_mode_leads_to_a_cookie,
);

const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
const CALLBACK: &str = "https://app.example/cb";

fn challenge() -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()))
}

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    server.user("anna").await;
    server.client_with("app", for_codes).await;
    server
}

fn for_codes(client: &mut Client) {
    client.grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    client.redirect_uris = vec![RedirectUri::parse(CALLBACK).unwrap()];
}

fn public(client: &mut Client) {
    for_codes(client);
    client.client_type = ClientType::Public;
    client.secrets.clear();
    client.redirect_uris = vec![RedirectUri::parse("http://127.0.0.1/cb").unwrap()];
}

/// The path of a good request, with some parameters changed; an empty value leaves one out.
fn request(changes: &[(&str, &str)]) -> String {
    let challenge = challenge();
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", CALLBACK),
        ("scope", "read"),
        ("state", "s"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for change in changes {
        parameters.retain(|(name, _)| name != &change.0);
        parameters.extend((!change.1.is_empty()).then_some(*change));
    }
    format!("/oauth2/authorize?{}", query(&parameters))
}

fn query(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// The parameters of a redirect to a client.
fn answered(answer: &Answer, to: &str) -> Vec<(String, String)> {
    assert_eq!(answer.status, 303, "{answer:?}");
    let location = answer.header("location");
    assert!(location.starts_with(to), "{location}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    url::Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

fn value(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

/// The error that a request is answered with by redirect.
async fn refused(person: &mut Person, path: &str) -> (String, String) {
    let pairs = answered(&person.open(path).await, CALLBACK);
    assert!(value(&pairs, "code").is_none());
    assert!(value(&pairs, "iss").is_some());
    (value(&pairs, "error").unwrap(), value(&pairs, "error_description").unwrap())
}

/// Goes through consent and returns the code.
async fn code(person: &mut Person, path: &str) -> String {
    let mut answer = person.open(path).await;
    if answer.status == 200 {
        answer = person.submit(&answer, &[("decision", "allow")]).await;
    }
    assert_eq!(answer.status, 303, "{answer:?}");
    let location = answer.header("location").to_owned();
    let pairs: Vec<_> = url::Url::parse(&location).unwrap().query_pairs().into_owned().collect();
    value(&pairs, "code").unwrap_or_else(|| panic!("no code in {location}"))
}

async fn redeem(server: &Server, code: &str) -> Answer {
    redeem_with(server, code, &[]).await
}

async fn redeem_with(server: &Server, code: &str, changes: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    for change in changes {
        form.retain(|(name, _)| name != &change.0);
        form.extend((!change.1.is_empty()).then_some(*change));
    }
    server.token("app", &form).await
}

async fn a_code_becomes_tokens_that_refresh(on: On) {
    let server = started(on).await;
    let mut anna = Person::at(&server);
    // Nobody is signed in: first the sign-in page, which says for which app.
    server.change_client("app", |client| client.name = regrant::client::ClientName::parse("Zoë <Photos>").ok()).await;
    let sign_in = anna.open(&request(&[])).await;
    let page = anna.follow(&sign_in).await;
    assert_page(&page, 200);
    assert!(page.text.contains("to continue to Zoë &#60;Photos&#62;"), "{page:?}");
    assert!(page.header("content-security-policy").contains("form-action 'self' https://app.example;"), "{page:?}");
    let back = anna.sign_in(&page, "anna").await;
    let consent = anna.follow(&back).await;
    assert_page(&consent, 200);
    assert!(consent.text.contains("Allow Zoë &#60;Photos&#62; access to your account?"), "{consent:?}");
    assert!(consent.text.contains("<code>read</code>") && !consent.text.contains("write"), "{consent:?}");
    assert!(consent.text.contains("app.example") && consent.text.contains("signed in as anna"), "{consent:?}");
    assert!(consent.header("content-security-policy").contains("form-action 'self' https://app.example;"));
    let pairs = answered(&anna.submit(&consent, &[("decision", "allow")]).await, CALLBACK);
    let code = value(&pairs, "code").unwrap();
    assert!(code.starts_with("ac_") && code.len() == 107, "{code}");

    let answer = redeem(&server, &code).await;
    answer.assert_tokens();
    let (json, claims) = (answer.json(), answer.claims());
    assert_eq!(json["scope"], "read");
    assert_eq!((&claims["client_id"], &claims["scope"]), (&"app".into(), &"read".into()));
    let stored = server.grant_of("anna").await;
    assert_eq!((stored.generation, stored.status), (1, GrantStatus::Active));
    assert_eq!(stored.last_used_from.address, "127.0.0.1");
    let refreshed = server.refresh("app", &answer.refresh_token()).await;
    refreshed.assert_tokens();
    assert_eq!(refreshed.claims()["gid"], claims["gid"]);
}

async fn a35_only_the_port_of_a_loopback_redirect_uri_may_differ(on: On) {
    let server = started(on).await;
    server.client_with("native", public).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    for uri in ["http://127.0.0.1/cb", "http://127.0.0.1:51234/cb"] {
        let page = anna.open(&request(&[("client_id", "native"), ("redirect_uri", uri)])).await;
        assert_page(&page, 200);
        let pairs = answered(&anna.submit(&page, &[("decision", "deny")]).await, &format!("{uri}?"));
        assert_eq!(value(&pairs, "error").unwrap(), "access_denied");
    }
    for uri in ["http://127.0.0.1:51234/cb/", "http://localhost:51234/cb", "http://127.0.0.1:51234/CB"] {
        assert_page(&anna.open(&request(&[("client_id", "native"), ("redirect_uri", uri)])).await, 400);
    }
    // The code is bound to the port that was asked for.
    let uri = "http://127.0.0.1:51234/cb";
    let code = code(&mut anna, &request(&[("client_id", "native"), ("redirect_uri", uri)])).await;
    let form = |uri| {
        [
            ("grant_type", "authorization_code"),
            ("client_id", "native"),
            ("code", code.as_str()),
            ("redirect_uri", uri),
            ("code_verifier", VERIFIER),
        ]
    };
    server.post(&form(uri)).await.assert_tokens();
}

/// The whole table is a unit test of `authorization/redirect.rs`; here a request of each kind.
async fn a36_a_redirect_uri_that_is_not_the_same_string_is_refused(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    for uri in [
        "https://app.example/cb/x",
        "https://app.example/..;/cb",
        "https://app.example/%63b",
        "https://APP.example/cb",
        "https://app.example@evil.test/cb",
        "https://app.example\\@evil.test",
        "https://app.example./cb",
        "https://app.example/cb?x=1",
        "https://app.example/cb#x",
        "javascript:alert(1)",
        "not a uri",
        "//app.example/cb",
    ] {
        assert_page(&anna.open(&request(&[("redirect_uri", uri)])).await, 400);
    }
}

async fn a41_a42_a_wrong_client_or_redirect_uri_is_a_page_and_never_a_redirect(on: On) {
    let server = started(on).await;
    server
        .client_with("two", |client| {
            for_codes(client);
            client.redirect_uris.push(RedirectUri::parse("https://app.example/other").unwrap());
        })
        .await;
    server
        .client_with("off", |client| {
            for_codes(client);
            client.disabled = true;
        })
        .await;
    let mut anna = Person::signed_in(&server, "anna").await;
    for path in [
        request(&[("client_id", "")]),
        request(&[("client_id", "nobody")]),
        request(&[("client_id", "n o b o d y")]),
        request(&[("client_id", "off")]),
        request(&[("redirect_uri", "https://evil.test/cb")]),
        request(&[("client_id", "two"), ("redirect_uri", "")]),
        // Whatever else is wrong, nobody is told.
        request(&[("redirect_uri", "https://evil.test/cb"), ("response_type", ""), ("prompt", "none")]),
        format!("{}&client_id=app", request(&[])),
        format!("{}&redirect_uri=https%3A%2F%2Fevil.test", request(&[])),
        format!("{}&state=%ff", request(&[])),
    ] {
        let answer = anna.open(&path).await;
        assert_page(&answer, 400);
        assert!(answer.headers.get("location").is_none() && !answer.text.contains("evil.test"), "{path}: {answer:?}");
    }
    // The only one that there is need not be named.
    let path = request(&[("redirect_uri", "")]);
    let code = code(&mut anna, &path).await;
    redeem_with(&server, &code, &[("redirect_uri", "")]).await.assert_tokens();
}

async fn a43_to_a46_what_a_request_must_say(on: On) {
    let server = started(on).await;
    server
        .client_with("other", |client| {
            for_codes(client);
            client.grant_types = vec![GrantType::Password];
        })
        .await;
    let mut anna = Person::signed_in(&server, "anna").await;
    for (changes, error) in [
        (vec![("response_type", "")], "invalid_request"),
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "code token")], "unsupported_response_type"),
        (vec![("response_type", "id_token")], "unsupported_response_type"),
        (vec![("code_challenge", "")], "invalid_request"),
        (vec![("code_challenge_method", "")], "invalid_request"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("code_challenge_method", "s256")], "invalid_request"),
        (vec![("code_challenge", "x")], "invalid_request"),
        (vec![("code_challenge", VERIFIER)], "invalid_request"),
        (vec![("response_mode", "fragment")], "invalid_request"),
        (vec![("prompt", "none login")], "invalid_request"),
        (vec![("prompt", "create")], "invalid_request"),
        (vec![("max_age", "-1")], "invalid_request"),
        (vec![("scope", "read admin")], "invalid_scope"),
        (vec![("scope", "re\"ad")], "invalid_scope"),
        (vec![("resource", "https://api.example")], "invalid_target"),
        (vec![("resource", "no uri")], "invalid_target"),
        (vec![("client_id", "other")], "unauthorized_client"),
    ] {
        assert_eq!(refused(&mut anna, &request(&changes)).await.0, error, "{changes:?}");
    }
    let twice = format!("{}&scope=read", request(&[]));
    assert_eq!(refused(&mut anna, &twice).await, ("invalid_request".into(), "a parameter is repeated".into()));
    // A state that came twice does not come back.
    let twice = format!("{}&state=t", request(&[]));
    let pairs = answered(&anna.open(&twice).await, CALLBACK);
    assert_eq!((value(&pairs, "error").unwrap().as_str(), value(&pairs, "state")), ("invalid_request", None));
    // What nobody knows is ignored, and no scope means all of the client's.
    let page =
        anna.open(&format!("{}&nonce=1&nonce=2&x=%3C", request(&[("scope", ""), ("response_mode", "query")]))).await;
    assert_eq!(page.status, 303, "a repeated unknown parameter is repeated all the same");
    let page = anna.open(&format!("{}&nonce=1&x=%3C", request(&[("scope", ""), ("response_mode", "query")]))).await;
    assert_page(&page, 200);
    assert!(page.text.contains("<code>read</code>") && page.text.contains("<code>write</code>"));
}

async fn a47_a48_the_answer_names_its_issuer_and_brings_the_state_back(on: On) {
    let server = started(on).await;
    let metadata: serde_json::Value =
        Answer::of(server.http.get(format!("{}/.well-known/oauth-authorization-server", server.url))).await.json();
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert_eq!(metadata["authorization_endpoint"], format!("{}/oauth2/authorize", server.url));
    assert_eq!(metadata["response_types_supported"], serde_json::json!(["code"]));
    assert_eq!(metadata["code_challenge_methods_supported"], serde_json::json!(["S256"]));
    let mut anna = Person::signed_in(&server, "anna").await;
    for state in ["a b+c%20&d=e#f\"<>'é漢\n\u{1f600}", "x", &"long".repeat(500), "%00%"] {
        let page = anna.open(&request(&[("state", state)])).await;
        assert!(!page.text.contains("\"<>"), "a state is escaped on the page as well");
        for decision in ["allow", "deny"] {
            let answer = anna.submit(&page, &[("decision", decision)]).await;
            let pairs = answered(&answer, &format!("{CALLBACK}?"));
            assert_eq!(value(&pairs, "state").as_deref(), Some(state));
            assert_eq!(value(&pairs, "iss").as_deref(), Some(server.url.as_str()));
            assert!(answer.header("location").is_ascii() && !answer.header("location").contains('#'));
        }
    }
    let page = anna.open(&request(&[("state", "")])).await;
    let pairs = answered(&anna.submit(&page, &[("decision", "allow")]).await, CALLBACK);
    assert_eq!(value(&pairs, "state"), None);
    assert_eq!(pairs.len(), 2, "{pairs:?}");
}

async fn a49_to_a51_pages_are_not_framed_not_shared_and_answer_with_303(on: On) {
    let server = started(on).await;
    let mut anna = Person::at(&server);
    anna.headers = vec![("origin", "https://evil.test".into()), ("sec-fetch-site", "cross-site".into())];
    let sign_in = anna.open(&request(&[])).await;
    assert_eq!(sign_in.status, 303);
    assert!(sign_in.headers.get("access-control-allow-origin").is_none());
    // assert_page looks for the headers against framing and for the absence of CORS.
    assert_page(&anna.follow(&sign_in).await, 200);
    assert_page(&anna.open(&request(&[("client_id", "nobody")])).await, 400);
    anna.headers.clear();
    let page = anna.follow(&sign_in).await;
    let back = anna.sign_in(&page, "anna").await;
    let consent = anna.follow(&back).await;
    assert_page(&consent, 200);
    let allowed = anna.submit(&consent, &[("decision", "allow")]).await;
    assert_eq!((allowed.status, allowed.text.as_str()), (303, ""));
    let options = server.http.request(reqwest::Method::OPTIONS, format!("{}/oauth2/authorize", server.url));
    let preflight = Answer::of(options.header("origin", "https://evil.test")).await;
    assert_eq!(preflight.status, 405);
    assert!(preflight.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{preflight:?}");
}

async fn a53_a54_consent_is_bound_to_the_browser_and_the_request(on: On) {
    let server = started(on).await;
    server.user("mallory").await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let mut mallory = Person::signed_in(&server, "mallory").await;
    let narrow = anna.open(&request(&[])).await;
    let her = mallory.open(&request(&[])).await;
    // The page that another browser saw.
    assert_page(&anna.submit(&her, &[("decision", "allow")]).await, 403);
    // The page of another request: consent to `read` is none to `read write`.
    let wide = request(&[("scope", "read write")]).replace("/oauth2/authorize", "/consent");
    let hidden = crate::person::hidden_fields(&narrow.text);
    let fields = [("form_token", hidden[0].1.as_str()), ("decision", "allow"), ("remember", "yes")];
    assert_page(&anna.post(&wide, &fields).await, 403);
    // Another site.
    anna.headers = vec![("sec-fetch-site", "cross-site".into())];
    assert_page(&anna.submit(&narrow, &[("decision", "allow")]).await, 403);
    anna.headers.clear();
    // No token, no decision.
    let path = request(&[]).replace("/oauth2/authorize", "/consent");
    assert_page(&anna.post(&path, &[("decision", "allow")]).await, 403);
    assert_page(&anna.submit(&narrow, &[]).await, 400);
    // A GET consents to nothing, and the sessions that have ended consent to nothing either.
    assert_page(&anna.open(&request(&[])).await, 200);
    assert_eq!(server.store().consents_of(owner_id("anna")).await.unwrap(), []);
    server.store().change_owner(owner_id("anna"), OwnerChange::LogOut).await.unwrap();
    let answer = anna.submit(&narrow, &[("decision", "allow")]).await;
    assert!(answer.header("location").starts_with("/login?"), "{answer:?}");
}

async fn a55_prompt_none_shows_nothing(on: On) {
    let server = started(on).await;
    let mut anna = Person::at(&server);
    let path = request(&[("prompt", "none")]);
    assert_eq!(refused(&mut anna, &path).await.0, "login_required");
    assert!(anna.cookies.is_empty());
    let mut anna = Person::signed_in(&server, "anna").await;
    assert_eq!(refused(&mut anna, &path).await.0, "consent_required");
    let page = anna.open(&request(&[])).await;
    anna.submit(&page, &[("decision", "allow"), ("remember", "yes")]).await;
    let pairs = answered(&anna.open(&path).await, CALLBACK);
    assert!(value(&pairs, "code").is_some());
    // Too long ago.
    server.clock.advance(Duration::from_secs(100));
    let path = request(&[("prompt", "none"), ("max_age", "60")]);
    assert_eq!(refused(&mut anna, &path).await.0, "login_required");
    assert!(
        value(&answered(&anna.open(&request(&[("prompt", "none"), ("max_age", "900")])).await, CALLBACK), "code")
            .is_some()
    );
}

async fn prompts_ask_again_and_a_hint_fills_the_name_in(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let page = anna.open(&request(&[])).await;
    anna.submit(&page, &[("decision", "allow"), ("remember", "yes")]).await;
    // Consent is remembered, and asked for all the same.
    assert_page(&anna.open(&request(&[("prompt", "consent")])).await, 200);
    for changes in [
        vec![("prompt", "login"), ("login_hint", "ann\"a")],
        vec![("prompt", "select_account consent"), ("login_hint", "ann\"a")],
        vec![("max_age", "60"), ("login_hint", "ann\"a")],
        vec![("max_age", "0"), ("login_hint", "ann\"a")],
    ] {
        server.clock.advance(Duration::from_secs(100));
        let before = anna.cookies.clone();
        let path = request(&changes);
        let sign_in = anna.open(&path).await;
        let page = anna.follow(&sign_in).await;
        let name = crate::person::attribute(&page.text, "name=\"username\"", "value");
        assert_eq!(name.as_deref(), Some("ann\"a"), "{page:?}");
        // A55: who goes away here has the session of before, and no newer one.
        assert_eq!(anna.cookies["__Host-regrant-session"], before["__Host-regrant-session"]);
        assert!(anna.open(&path).await.header("location").starts_with("/login?"));
        // Signing in is enough: it is not asked for twice.
        let back = anna.sign_in(&page, "anna").await;
        let answer = anna.follow(&back).await;
        if changes[0].1.contains("consent") {
            assert_page(&answer, 200);
        } else {
            assert!(value(&answered(&answer, CALLBACK), "code").is_some());
        }
    }
}

async fn a_denied_request_says_so_and_stores_nothing(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let page = anna.open(&request(&[])).await;
    let pairs = answered(&anna.submit(&page, &[("decision", "deny"), ("remember", "yes")]).await, CALLBACK);
    assert_eq!(value(&pairs, "error").as_deref(), Some("access_denied"));
    assert_eq!(value(&pairs, "state").as_deref(), Some("s"));
    assert_eq!(server.store().consents_of(owner_id("anna")).await.unwrap(), []);
    assert_page(&anna.open(&request(&[])).await, 200);
}

async fn a_remembered_consent_is_not_asked_for_again(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let page = anna.open(&request(&[])).await;
    anna.submit(&page, &[("decision", "allow")]).await;
    let page = anna.open(&request(&[])).await;
    assert_page(&page, 200);
    anna.submit(&page, &[("decision", "allow"), ("remember", "yes")]).await;
    assert!(value(&answered(&anna.open(&request(&[])).await, CALLBACK), "code").is_some());
    // More than was allowed is asked for.
    let page = anna.open(&request(&[("scope", "read write")])).await;
    assert_page(&page, 200);
    anna.submit(&page, &[("decision", "allow"), ("remember", "yes")]).await;
    assert_eq!(anna.open(&request(&[("scope", "write")])).await.status, 303);
    // A client that was replaced must ask anew, and so must one whose consent was taken back.
    server.change_client("app", |client| client.epoch += 1).await;
    let page = anna.open(&request(&[])).await;
    assert_page(&page, 200);
    anna.submit(&page, &[("decision", "allow"), ("remember", "yes")]).await;
    assert_eq!(anna.open(&request(&[])).await.status, 303);
    let app = regrant::ids::ClientId::parse("app").unwrap();
    server.store().forget_consent(owner_id("anna"), &app).await.unwrap();
    assert_page(&anna.open(&request(&[])).await, 200);
}

/// RFC 8252 §8.6: any app on the device can listen on a loopback port or claim a private scheme.
async fn the_consent_to_an_app_that_any_app_can_pass_for_is_not_remembered(on: On) {
    const REMEMBER: &str = "name=\"remember\"";
    let server = started(on).await;
    let uris = ["http://127.0.0.1:51234/cb", "http://[::1]:7/cb", "com.example.app:/cb", CALLBACK];
    let registered = || uris.map(|uri| RedirectUri::parse(uri).unwrap()).to_vec();
    server
        .client_with("native", |client| {
            public(client);
            client.redirect_uris = registered();
        })
        .await;
    server
        .client_with("with-a-secret", |client| {
            for_codes(client);
            client.redirect_uris = registered();
        })
        .await;
    let mut anna = Person::signed_in(&server, "anna").await;
    for uri in uris {
        let certain = uri == CALLBACK;
        let path = request(&[("client_id", "native"), ("redirect_uri", uri)]);
        let page = anna.open(&path).await;
        assert_page(&page, 200);
        assert_eq!(page.text.contains(REMEMBER), certain, "{uri}");
        // Nor does it help to send the field that the page lacks.
        let allowed = anna.submit(&page, &[("decision", "allow"), ("remember", "yes")]).await;
        assert!(allowed.header("location").contains("code=ac_"), "{allowed:?}");
        assert_eq!(server.store().consents_of(owner_id("anna")).await.unwrap().len(), usize::from(certain), "{uri}");
        if certain {
            assert_eq!(anna.open(&path).await.status, 303);
        } else {
            assert_page(&anna.open(&path).await, 200);
        }
    }
    // What was allowed to its own address is not allowed to the others, and a page that shows nothing can't ask.
    for uri in &uris[..3] {
        let path = request(&[("client_id", "native"), ("redirect_uri", uri)]);
        assert_page(&anna.open(&path).await, 200);
        let pairs = answered(&anna.open(&format!("{path}&prompt=none")).await, uri);
        assert_eq!(value(&pairs, "error").as_deref(), Some("consent_required"));
    }
    // A client that proves itself with its secret gets nothing from a code that another app has caught.
    let path = request(&[("client_id", "with-a-secret"), ("redirect_uri", uris[0])]);
    let page = anna.open(&path).await;
    assert!(page.text.contains(REMEMBER));
    anna.submit(&page, &[("decision", "allow"), ("remember", "yes")]).await;
    assert_eq!(anna.open(&path).await.status, 303);
}

async fn a56_request_objects_are_refused(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    for (name, error) in [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")] {
        // A port where nobody listens: a server that fetched it would say something else.
        let path = request(&[(name, "http://127.0.0.1:9/x")]);
        assert_eq!(refused(&mut anna, &path).await.0, error);
    }
}

/// Each defect that was found in the library (shown by its own tests in version 0.6), and that no client of ours meets.
async fn what_oxide_auth_would_answer_stays_behind_the_border(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    // It names the text of an error `description`.
    let pairs = answered(&anna.open(&request(&[("response_type", "token")])).await, CALLBACK);
    let names: Vec<_> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["error", "error_description", "state", "iss"]);
    // It takes a missing response_type for an unsupported one.
    assert_eq!(refused(&mut anna, &request(&[("response_type", "")])).await.0, "invalid_request");
    // Its PKCE takes a challenge of one character.
    assert_eq!(refused(&mut anna, &request(&[("code_challenge", "x")])).await.0, "invalid_request");
    // It ignores the port of localhost only, and a code of it that is unknown or replayed is invalid_request.
    assert_page(&anna.open(&request(&[("redirect_uri", "http://localhost:1/cb")])).await, 400);
    redeem(&server, "ac_unknown").await.assert_error(400, "invalid_grant");
    // It serialises the redirection URI anew, and the scope in any order.
    server
        .change_client("app", |client| {
            client.redirect_uris = vec![RedirectUri::parse("https://app.example/cb?x=a%20b~").unwrap()];
            client.scope = regrant::scope::Scope::parse("e d c b a").unwrap();
        })
        .await;
    let path = request(&[("redirect_uri", "https://app.example/cb?x=a%20b~"), ("scope", "")]);
    let page = anna.open(&path).await;
    let answer = anna.submit(&page, &[("decision", "allow")]).await;
    assert!(answer.header("location").starts_with("https://app.example/cb?x=a%20b~&code=ac_"), "{answer:?}");
    let code = value(&answered(&answer, "https://app.example/cb?x=a%20b~&"), "code").unwrap();
    let answer = redeem_with(&server, &code, &[("redirect_uri", "https://app.example/cb?x=a%20b~")]).await;
    assert_eq!((&answer.json()["scope"], &answer.json()["token_type"]), (&"a b c d e".into(), &"Bearer".into()));
    assert_eq!(answer.json()["expires_in"], 600);
}

async fn a_request_in_a_form_is_the_same_request(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let challenge = challenge();
    let fields = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", CALLBACK),
        ("state", "ä&b"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("resource", "https://api.example"),
    ];
    server
        .change_client("app", |client| client.audience = vec!["https://api.example".into(), "https://b.example".into()])
        .await;
    let moved = anna.post("/oauth2/authorize", &fields).await;
    let page = anna.follow(&moved).await;
    assert_page(&page, 200);
    let pairs = answered(&anna.submit(&page, &[("decision", "allow")]).await, CALLBACK);
    assert_eq!(value(&pairs, "state").as_deref(), Some("ä&b"));
    let answer = redeem(&server, &value(&pairs, "code").unwrap()).await;
    assert_eq!(answer.claims()["aud"], "https://api.example");
    let empty = anna.post("/oauth2/authorize", &[]).await;
    assert_page(&anna.follow(&empty).await, 400);
}

async fn a59_a_code_is_bound_to_its_redirect_uri_and_challenge(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let other = "another-verifier-of-at-least-forty-three-chars";
    for changes in [
        [("redirect_uri", "https://app.example/other")],
        [("redirect_uri", "")],
        [("code_verifier", other)],
        [("code_verifier", "")],
    ] {
        let code = code(&mut anna, &request(&[])).await;
        redeem_with(&server, &code, &changes).await.assert_error(400, "invalid_grant");
        // It was tried once, and that was that.
        redeem(&server, &code).await.assert_error(400, "invalid_grant");
    }
    assert!(server.store().grants_of(owner_id("anna")).await.unwrap().is_empty());
}

async fn a60_a_code_works_once_and_its_second_use_revokes_everything(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let code = code(&mut anna, &request(&[])).await;
    let tokens = redeem(&server, &code).await;
    let refreshed = server.refresh("app", &tokens.refresh_token()).await;
    // Long after the code's life: it is known all the same.
    server.clock.advance(Duration::from_secs(3600));
    redeem(&server, &code).await.assert_error(400, "invalid_grant");
    server.refresh("app", &refreshed.refresh_token()).await.assert_error(400, "invalid_grant");
    let gid = regrant::ids::GrantId::parse(refreshed.claims()["gid"].as_str().unwrap()).unwrap();
    let record = server.store().grant(owner_id("anna"), gid).await.unwrap().unwrap();
    assert!(matches!(record.status, GrantStatus::Revoked { reason: RevocationReason::CodeReplay, .. }), "{record:?}");
    redeem(&server, &code).await.assert_error(400, "invalid_grant");
}

async fn a61_a_hundred_parallel_redemptions_have_one_winner_and_a_dead_grant(on: On) {
    let server = std::sync::Arc::new(started(on).await);
    let mut anna = Person::signed_in(&server, "anna").await;
    let code = code(&mut anna, &request(&[])).await;
    let mut tries = JoinSet::new();
    for _ in 0..100 {
        let (server, code) = (std::sync::Arc::clone(&server), code.clone());
        tries.spawn(async move { redeem(&server, &code).await });
    }
    let answers = tries.join_all().await;
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(winners.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.assert_error(400, "invalid_grant");
    }
    server.refresh("app", &winners[0].refresh_token()).await.assert_error(400, "invalid_grant");
}

async fn a62_a_code_expires_after_a_minute(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let late = code(&mut anna, &request(&[])).await;
    server.clock.advance(Duration::from_secs(60));
    redeem(&server, &late).await.assert_error(400, "invalid_grant");
    let early = code(&mut anna, &request(&[])).await;
    server.clock.advance(Duration::from_secs(55));
    redeem(&server, &early).await.assert_tokens();
}

async fn a63_a64_the_verifier_is_required_well_formed_and_tried_once(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let code_text = code(&mut anna, &request(&[])).await;
    for verifier in ["short", &"a".repeat(129), &format!("{}ä", "a".repeat(43)), &format!("{} ", "a".repeat(43))] {
        redeem_with(&server, &code_text, &[("code_verifier", verifier)]).await.assert_error(400, "invalid_request");
    }
    // None of these has reached the store.
    redeem(&server, &code_text).await.assert_tokens();
    let code_text = code(&mut anna, &request(&[])).await;
    redeem_with(&server, &code_text, &[("code_verifier", "")]).await.assert_error(400, "invalid_grant");
    redeem(&server, &code_text).await.assert_error(400, "invalid_grant");
    server.token("app", &[("grant_type", "authorization_code")]).await.assert_error(400, "invalid_request");
}

async fn a65_another_client_does_not_burn_a_code(on: On) {
    let server = started(on).await;
    server.client_with("thief", for_codes).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let code = code(&mut anna, &request(&[])).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    server.token("thief", &form).await.assert_error(400, "invalid_grant");
    let tokens = redeem(&server, &code).await;
    tokens.assert_tokens();
    // Nor does it revoke what came of the code.
    server.token("thief", &form).await.assert_error(400, "invalid_grant");
    server.refresh("app", &tokens.refresh_token()).await.assert_tokens();
}

/// That any bit matters is a unit test of `token/envelope.rs`.
async fn a66_a_changed_code_is_refused(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let code = code(&mut anna, &request(&[])).await;
    for at in [3, 10, 50, 90, 106] {
        let mut changed = code.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        redeem(&server, std::str::from_utf8(&changed).unwrap()).await.assert_error(400, "invalid_grant");
    }
    redeem(&server, &code).await.assert_tokens();
}

async fn a67_a_code_dies_with_the_owners_epoch_and_the_clients(on: On) {
    let server = started(on).await;
    for change in [OwnerChange::LogOut, OwnerChange::Disable] {
        let mut anna = Person::signed_in(&server, "anna").await;
        let code = code(&mut anna, &request(&[])).await;
        server.store().change_owner(owner_id("anna"), change).await.unwrap();
        redeem(&server, &code).await.assert_error(400, "invalid_grant");
        server.store().change_owner(owner_id("anna"), OwnerChange::Enable).await.unwrap();
        redeem(&server, &code).await.assert_error(400, "invalid_grant");
    }
    let mut anna = Person::signed_in(&server, "anna").await;
    let code = code(&mut anna, &request(&[])).await;
    server.change_client("app", |client| client.epoch += 1).await;
    redeem(&server, &code).await.assert_error(400, "invalid_grant");
}

async fn a_public_client_gets_no_refresh_token_unless_it_may_have_one(on: On) {
    let server = started(on).await;
    server
        .client_with("native", |client| {
            public(client);
            client.grant_types = vec![GrantType::AuthorizationCode];
        })
        .await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let uri = "http://127.0.0.1:7/cb";
    let code = code(&mut anna, &request(&[("client_id", "native"), ("redirect_uri", uri)])).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "native"),
        ("code", code.as_str()),
        ("redirect_uri", uri),
        ("code_verifier", VERIFIER),
    ];
    let answer = server.post(&form).await;
    answer.assert_tokens();
    assert!(answer.json().get("refresh_token").is_none());
    let grant = server.grant_of("anna").await;
    assert_eq!(grant.expires_at(), grant.access_expires_at);
}

async fn a_code_is_not_a_refresh_token_nor_the_other_way_round(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let code_text = code(&mut anna, &request(&[])).await;
    let as_refresh_token = code_text.replacen("ac_", "rt_", 1);
    for token in [&code_text, &as_refresh_token] {
        server.refresh("app", token).await.assert_error(400, "invalid_grant");
    }
    let tokens = redeem(&server, &code_text).await;
    let as_code = tokens.refresh_token().replacen("rt_", "ac_", 1);
    redeem(&server, &as_code).await.assert_error(400, "invalid_grant");
    server.refresh("app", &tokens.refresh_token()).await.assert_tokens();
}

async fn a_code_redeemed_in_cookie_mode_leads_to_a_cookie(on: On) {
    let server = started(on).await;
    let spa = |client: &mut Client| {
        public(client);
        client.cookie_mode = true;
    };
    server.client_with("spa", spa).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let callback = "http://127.0.0.1/cb";
    let code = code(&mut anna, &request(&[("client_id", "spa"), ("redirect_uri", callback)])).await;
    let form = [("client_id", "spa"), ("code", code.as_str()), ("redirect_uri", callback), ("code_verifier", VERIFIER)];
    let by_script = |path: &str| {
        let post = server.http.post(format!("{}{path}", server.url));
        post.header("sec-fetch-site", "same-origin").header("x-requested-by", "oauth")
    };
    let answer = Answer::of(by_script("/session").form(&form)).await;
    assert_eq!((answer.status, answer.json().get("refresh_token")), (200, None), "{answer:?}");
    assert_eq!(answer.json()["scope"], "read");
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let again = by_script("/session/refresh").header("cookie", &cookie).form(&form[..1]);
    assert_eq!(Answer::of(again).await.status, 200);
    // The token is good in its cookie only.
    let token = cookie.split_once('=').unwrap().1;
    let in_body = [("grant_type", "refresh_token"), ("client_id", "spa"), ("refresh_token", token)];
    server.post(&in_body).await.assert_error(400, "invalid_grant");
}
