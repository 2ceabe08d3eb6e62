//! The page where a person allows a device (RFC 8628 §3.3), as their browser sees it.

use std::time::Duration;

use regrant::{
    client::{ClientName, GrantType},
    config::ScopeDescription,
    store::{Changed, OwnerChange},
};

use crate::{
    device_flow::DEVICE_GRANT,
    on_both_stores,
    person::{Person, assert_page, attribute},
    support::{Answer, On, Server, owner_id},
};

on_both_stores!(
    a_person_signs_in_compares_and_allows,
    a_person_denies,
    a_code_is_typed_in_any_form,
    a99_guesses_are_counted_for_the_browser_and_for_the_address,
    a99_a_code_is_decided_once,
    a_code_that_expires_meanwhile_is_told,
    a_client_that_lost_the_grant_is_not_shown,
    nobody_else_can_decide_for_a_person,
    a_session_that_ended_decides_nothing,
);

struct Device {
    device_code: String,
    user_code: String,
}

async fn started(on: On) -> Server {
    let described = ScopeDescription { en: Some("Read your <data>".into()), de: None };
    let server = Server::start_with(on, |config| drop(config.scopes.insert("read".into(), described))).await;
    server
        .client_with("tv", |client| {
            client.name = ClientName::parse("The <TV>").ok();
            client.grant_types.push(GrantType::DeviceCode);
        })
        .await;
    server.user("anna").await;
    server
}

async fn device(server: &Server) -> Device {
    let url = format!("{}/oauth2/device_authorization", server.url);
    let request = server
        .http
        .post(url)
        .basic_auth("tv", Some("secret"))
        .header("user-agent", "TV <script>")
        .form(&[("scope", "read")]);
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    Device { device_code: text("device_code"), user_code: text("user_code") }
}

async fn poll(server: &Server, device: &Device) -> Answer {
    server.token("tv", &[("grant_type", DEVICE_GRANT), ("device_code", &device.device_code)]).await
}

/// Types a code into a fresh page.
async fn enter(person: &mut Person, user_code: &str) -> Answer {
    let page = person.open("/device").await;
    assert_page(&page, 200);
    person.submit(&page, &[("user_code", user_code)]).await
}

/// Types a code and gets to the page that asks.
async fn asked(person: &mut Person, user_code: &str) -> Answer {
    let answer = enter(person, user_code).await;
    let page = person.follow(&answer).await;
    assert_page(&page, 200);
    page
}

fn problem(page: &Answer) -> String {
    let text = page.text.split_once("id=\"problem\">").map(|(_, rest)| rest.split('<').next().unwrap_or_default());
    text.unwrap_or_default().to_owned()
}

async fn a_person_signs_in_compares_and_allows(on: On) {
    let server = started(on).await;
    let device = device(&server).await;
    let mut person = Person::at(&server);
    let page = person.open(&format!("/device?user_code={}", device.user_code)).await;
    assert_page(&page, 200);
    assert_eq!(attribute(&page.text, "id=\"user_code\"", "value").as_deref(), Some(device.user_code.as_str()));
    let answer = person.submit(&page, &[("user_code", &device.user_code)]).await;
    // The code is in no address but the one that the device itself showed.
    assert!(!answer.header("location").contains(&device.user_code), "{answer:?}");
    let login = person.follow(&answer).await;
    let page = person.follow(&login).await;
    assert_page(&page, 200);
    let signed_in = person.sign_in(&page, "anna").await;
    let page = person.follow(&signed_in).await;
    assert_page(&page, 200);
    let code = device.user_code.as_str();
    for shown in ["“The &#60;TV&#62;”", "anna", code, "Read your &#60;data&#62;", "127.0.0.1", "TV &#60;script&#62;"]
    {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert!(!page.text.contains("<script"), "{}", page.text);
    poll(&server, &device).await.assert_error(400, "authorization_pending");
    let answer = person.submit(&page, &[("decision", "allow")]).await;
    let page = person.follow(&answer).await;
    assert_page(&page, 200);
    assert!(page.text.contains("Your device is connected"), "{}", page.text);
    let tokens = poll(&server, &device).await;
    tokens.assert_tokens();
    assert_eq!(tokens.json()["scope"], "read");
}

async fn a_person_denies(on: On) {
    let server = started(on).await;
    let device = device(&server).await;
    let mut person = Person::signed_in(&server, "anna").await;
    person.headers.push(("accept-language", "de-AT".into()));
    let page = asked(&mut person, &device.user_code).await;
    assert!(page.text.contains("<html lang=\"de\">") && page.text.contains("Ablehnen"), "{}", page.text);
    let neither = person.submit(&page, &[("decision", "maybe")]).await;
    assert_page(&neither, 400);
    let answer = person.submit(&page, &[("decision", "deny")]).await;
    let page = person.follow(&answer).await;
    assert!(page.text.contains("nicht verbunden"), "{}", page.text);
    poll(&server, &device).await.assert_error(400, "access_denied");
}

async fn a_code_is_typed_in_any_form(on: On) {
    let server = started(on).await;
    let user_code = device(&server).await.user_code;
    let mut person = Person::signed_in(&server, "anna").await;
    let bare = user_code.replace('-', "").to_lowercase();
    for typed in [&user_code, &bare, &format!(" {} {} ", &bare[..4], &bare[4..])] {
        assert_eq!(enter(&mut person, typed).await.status, 303, "{typed}");
    }
    for wrong in ["", "ABCD", "AEIO-UAEI", "<script>", &"B".repeat(60)] {
        let page = enter(&mut person, wrong).await;
        assert_page(&page, 200);
        assert!(problem(&page).starts_with("That is not a code"), "{wrong}: {}", page.text);
        assert!(!page.text.contains("<script"), "{}", page.text);
    }
    let page = enter(&mut person, "BBBB-BBBB").await;
    assert_page(&page, 200);
    assert!(problem(&page).starts_with("This code doesn"), "{}", page.text);
    // Opening an address tells nothing about a code.
    let known = person.open(&format!("/device?user_code={user_code}")).await;
    let unknown = person.open("/device?user_code=BBBB-BBBB").await;
    assert_eq!(known.text.replace(&user_code, ""), unknown.text.replace("BBBB-BBBB", ""));
}

async fn a99_guesses_are_counted_for_the_browser_and_for_the_address(on: On) {
    let server = started(on).await;
    // To the beginning of a stretch of ten minutes, so that none ends within the test.
    let to_next = 600_000 - server.store().now().0.rem_euclid(600_000) + 1_000;
    server.clock.advance(Duration::from_millis(u64::try_from(to_next).unwrap()));
    let user_code = device(&server).await.user_code;
    let too_many = |page: &Answer| {
        assert_page(page, 429);
        assert_eq!(page.header("retry-after"), "600");
        assert!(problem(page).starts_with("Too many"), "{}", page.text);
    };
    // One browser.
    let mut person = Person::at(&server);
    for _ in 0..10 {
        assert!(problem(&enter(&mut person, "BBBB-BBBB").await).starts_with("This code"));
    }
    too_many(&enter(&mut person, &user_code).await);
    // Others at the same address, one cookie after the other: 11 tries so far, 50 in all.
    for _ in 11..50 {
        assert!(problem(&enter(&mut Person::at(&server), "BBBB-BBBB").await).starts_with("This code"));
    }
    too_many(&enter(&mut Person::at(&server), &user_code).await);
    // What is no code is no guess, and a new stretch of time is a new start.
    assert!(problem(&enter(&mut person, "ABCD").await).starts_with("That is not"));
    server.clock.advance(Duration::from_secs(600));
    let user_code = device(&server).await.user_code;
    assert_eq!(enter(&mut person, &user_code).await.status, 303);
}

async fn a99_a_code_is_decided_once(on: On) {
    let server = started(on).await;
    server.user("bert").await;
    let device = device(&server).await;
    let (mut anna, mut bert) = (Person::signed_in(&server, "anna").await, Person::signed_in(&server, "bert").await);
    let (annas, berts) = (asked(&mut anna, &device.user_code).await, asked(&mut bert, &device.user_code).await);
    assert_eq!(anna.submit(&annas, &[("decision", "allow")]).await.status, 303);
    // Pressed twice is no other decision.
    assert_eq!(anna.submit(&annas, &[("decision", "allow")]).await.status, 303);
    for decision in ["allow", "deny"] {
        let late = bert.submit(&berts, &[("decision", decision)]).await;
        assert_page(&late, 200);
        assert!(problem(&late).starts_with("This code"), "{}", late.text);
    }
    assert!(problem(&enter(&mut bert, &device.user_code).await).starts_with("This code"));
    let tokens = poll(&server, &device).await;
    tokens.assert_tokens();
    let subject = server.store().owner(owner_id("anna")).await.unwrap().unwrap().subject.to_string();
    assert_eq!(tokens.claims()["sub"], subject);
}

async fn a_code_that_expires_meanwhile_is_told(on: On) {
    let server = started(on).await;
    let device = device(&server).await;
    let mut person = Person::signed_in(&server, "anna").await;
    let page = asked(&mut person, &device.user_code).await;
    server.clock.advance(Duration::from_secs(300));
    let later = person.open(&crate::person::form_action(&page.text)).await;
    assert!(later.text.contains("5 minutes ago"), "{}", later.text);
    server.clock.advance(Duration::from_secs(300));
    let late = person.submit(&page, &[("decision", "allow")]).await;
    assert_page(&late, 200);
    assert!(problem(&late).starts_with("This code"), "{}", late.text);
    poll(&server, &device).await.assert_error(400, "expired_token");
}

async fn a_client_that_lost_the_grant_is_not_shown(on: On) {
    let server = started(on).await;
    let mut person = Person::signed_in(&server, "anna").await;
    for change in [0, 1, 2] {
        let user_code = device(&server).await.user_code;
        let page = asked(&mut person, &user_code).await;
        let before = server.store().client(&regrant::ids::ClientId::parse("tv").unwrap()).await.unwrap().unwrap();
        server
            .change_client("tv", |client| match change {
                0 => client.disabled = true,
                1 => client.epoch += 1,
                _ => client.grant_types = vec![],
            })
            .await;
        assert!(problem(&enter(&mut person, &user_code).await).starts_with("This code"), "{change}");
        let again = person.open(&crate::person::form_action(&page.text)).await;
        assert!(problem(&again).starts_with("This code"), "{change}");
        server
            .change_client("tv", |client| {
                (client.disabled, client.grant_types) = (false, before.grant_types.clone());
            })
            .await;
    }
}

async fn nobody_else_can_decide_for_a_person(on: On) {
    let server = started(on).await;
    server.user("mallory").await;
    let device = device(&server).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let mut mallory = Person::signed_in(&server, "mallory").await;
    let page = asked(&mut anna, &device.user_code).await;
    let action = crate::person::form_action(&page.text);
    // Without the form's token, with another person's, from another site, or for an address made up.
    assert_page(&anna.post(&action, &[("decision", "allow")]).await, 403);
    let mallorys = asked(&mut mallory, &device.user_code).await;
    let token = attribute(&mallorys.text, "name=\"form_token\"", "value").unwrap();
    assert_page(&anna.post(&action, &[("decision", "allow"), ("form_token", &token)]).await, 403);
    anna.headers.push(("sec-fetch-site", "cross-site".into()));
    assert_page(&anna.submit(&page, &[("decision", "allow")]).await, 403);
    let entry = anna.open("/device").await;
    assert_page(&anna.submit(&entry, &[("user_code", &device.user_code)]).await, 403);
    anna.headers.clear();
    assert_page(&anna.post("/device", &[("user_code", &device.user_code)]).await, 403);
    for made_up in
        ["/device/confirm", "/device/confirm?ticket=AAAA", &action[..action.len() - 2], &format!("{action}A")]
    {
        assert_page(&anna.open(made_up).await, 400);
    }
    poll(&server, &device).await.assert_error(400, "authorization_pending");
    // The control: the person herself.
    assert_eq!(anna.submit(&page, &[("decision", "allow")]).await.status, 303);
}

async fn a_session_that_ended_decides_nothing(on: On) {
    let server = started(on).await;
    let device = device(&server).await;
    let mut person = Person::signed_in(&server, "anna").await;
    let page = asked(&mut person, &device.user_code).await;
    assert_eq!(server.store().change_owner(owner_id("anna"), OwnerChange::Disable).await.unwrap(), Changed::Stored);
    let answer = person.submit(&page, &[("decision", "allow")]).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert!(answer.header("location").starts_with("/login?continue=%2Fdevice%2Fconfirm"), "{answer:?}");
    poll(&server, &device).await.assert_error(400, "authorization_pending");
}

#[tokio::test]
async fn a_qr_code_is_drawn_for_any_code_and_tells_nothing() {
    let server = started(On::Embedded).await;
    let user_code = device(&server).await.user_code;
    let get = async |path: &str| Answer::of(server.http.get(format!("{}{path}", server.url))).await;
    for code in [user_code.as_str(), "BBBB-BBBB", "bbbbbbbb"] {
        let picture = get(&format!("/device/qr?user_code={code}")).await;
        assert_eq!((picture.status, picture.header("content-type")), (200, "image/svg+xml"), "{picture:?}");
        assert_eq!(picture.header("cache-control"), "no-store");
        assert_eq!(picture.header("x-content-type-options"), "nosniff");
        assert!(picture.text.starts_with("<svg ") && !picture.text.contains("script"), "{picture:?}");
    }
    for bad in
        ["", "?user_code=", "?user_code=<script>", "?user_code=AEIOUAEI", "?user_code=BBBBBBBB&user_code=BBBBBBBB"]
    {
        get(&format!("/device/qr{bad}")).await.assert_error(400, "invalid_request");
    }
}
