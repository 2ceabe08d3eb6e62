//! The account page, through real HTTP: who has access, and how it ends.

use regrant::{
    clock::Clock,
    ids::{ClientId, GrantId},
    scope::Scope,
    secret::ServerSecret,
    store::{GrantStatus, NewConsent, RevocationReason},
};

use crate::{
    on_both_stores,
    person::{Person, assert_page, attribute},
    support::{Answer, On, Redis, Server, owner_id},
};

on_both_stores!(
    who_is_not_signed_in_is_led_to_the_sign_in_page_and_back,
    the_page_shows_who_has_access_from_where,
    access_is_removed_from_one_app_and_its_consent_is_forgotten,
    access_is_removed_from_all_apps,
    nobody_touches_what_belongs_to_somebody_else,
    other_browsers_are_signed_out_one_by_one_or_all,
    a_new_password_ends_everything_but_this_browser,
    a_password_that_cannot_be_taken_changes_nothing,
    logging_out_everywhere_ends_everything,
    a54_a_form_of_another_browser_or_site_changes_nothing,
    what_is_over_is_not_listed,
    the_page_speaks_german,
);

const SESSION: &str = "__Host-regrant-session";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    prepare(&server).await;
    server
}

async fn prepare(server: &Server) {
    server.client("app").await;
    server.client("other").await;
    server.user("anna").await;
    server.user("bob").await;
}

/// Somebody in a browser of their own.
async fn firefox(server: &Server, user: &str) -> Person {
    let mut person = Person::at(server);
    person.headers.push(("user-agent", FIREFOX.into()));
    let page = person.open("/login?continue=/account").await;
    let answer = person.sign_in(&page, user).await;
    assert_eq!(answer.header("location"), "/account", "{answer:?}");
    person
}

async fn account(person: &mut Person) -> Answer {
    let page = person.open("/account").await;
    assert_page(&page, 200);
    page
}

/// Presses a button of the account page.
async fn press(person: &mut Person, action: &str, fields: &[(&str, &str)]) -> Answer {
    let page = account(person).await;
    let token = attribute(&page.text, "name=\"form_token\"", "value").unwrap();
    let form = [&[("form_token", token.as_str()), ("action", action)], fields].concat();
    person.post("/account", &form).await
}

/// Asserts that a form worked, and returns the page that it leads to.
async fn done(person: &mut Person, answer: &Answer) -> Answer {
    assert!(answer.header("location").starts_with("/account?done="), "{answer:?}");
    let page = person.follow(answer).await;
    assert_page(&page, 200);
    assert!(page.text.contains("role=\"status\""), "{page:?}");
    page
}

fn grant_of(answer: &Answer) -> String {
    answer.claims()["gid"].as_str().unwrap().to_owned()
}

async fn status_of(server: &Server, user: &str, grant: &str) -> GrantStatus {
    let id = GrantId::parse(grant).unwrap();
    server.store().grant(owner_id(user), id).await.unwrap().unwrap().status
}

async fn is_removed(server: &Server, grant: &str) -> bool {
    let status = status_of(server, "anna", grant).await;
    matches!(status, GrantStatus::Revoked { reason: RevocationReason::ResourceOwner, .. })
}

async fn remember_consent(server: &Server, client: &str) {
    let client = server.store().client(&ClientId::parse(client).unwrap()).await.unwrap().unwrap();
    let owner = server.store().owner(owner_id("anna")).await.unwrap().unwrap();
    let consent = NewConsent {
        owner: owner.id(),
        owner_epoch: owner.epoch,
        client_id: client.id.clone(),
        client_epoch: client.epoch,
        scope: Scope::parse("read").unwrap(),
        given_at: None,
    };
    server.store().remember_consent(&consent).await.unwrap();
}

async fn consents(server: &Server) -> Vec<String> {
    let consents = server.store().consents_of(owner_id("anna")).await.unwrap();
    consents.iter().map(|consent| consent.client_id.to_string()).collect()
}

async fn who_is_not_signed_in_is_led_to_the_sign_in_page_and_back(on: On) {
    let server = started(on).await;
    let mut person = Person::at(&server);
    let answer = person.open("/account?done=removed").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login?continue=%2Faccount"));
    let answer = person.post("/account", &[("action", "log_out_everywhere")]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login?continue=%2Faccount"));
    let page = person.open("/login?continue=%2Faccount").await;
    let answer = person.sign_in(&page, "anna").await;
    let page = person.follow(&answer).await;
    assert_page(&page, 200);
    assert!(page.text.contains("You are signed in as anna."), "{page:?}");
    // A word in the address that no form put there says nothing.
    let page = person.open("/account?done=cAnArY").await;
    assert!(!page.text.contains("role=\"status\"") && !page.text.contains("cAnArY"), "{page:?}");
}

async fn the_page_shows_who_has_access_from_where(on: On) {
    let server = started(on).await;
    let mut anna = firefox(&server, "anna").await;
    let page = account(&mut anna).await;
    assert!(page.text.contains("No app or device has access"), "{page:?}");
    let form = [("grant_type", "password"), ("username", "anna"), ("password", "a good password"), ("scope", "read")];
    let request = server.http.post(server.token_url()).basic_auth("app", Some("secret")).form(&form);
    let login = Answer::of(request.header("user-agent", "okhttp/4.12.0")).await;
    server.login("other", "bob").await;
    server.clock.advance(std::time::Duration::from_secs(3 * 3600));
    let page = account(&mut anna).await;
    for shown in [
        ">app</h3>",
        "okhttp · 127.0.0.1",
        "Last used 3 hours ago · allowed 3 hours ago",
        "<code>read</code></p>",
        &format!("value=\"{}\"", grant_of(&login)),
        "Firefox on Linux",
        "this browser",
        "Last used just now · signed in 3 hours ago",
    ] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert!(!page.text.contains("<code>write</code>") && !page.text.contains(">other</h3>"), "{page:?}");
    // A use brings the app to the present, and where it is now.
    let form = [("grant_type", "refresh_token"), ("refresh_token", &login.refresh_token())];
    let request = server.http.post(server.token_url()).basic_auth("app", Some("secret")).form(&form);
    Answer::of(request.header("user-agent", "curl/8.14.1")).await.assert_tokens();
    let page = account(&mut anna).await;
    for shown in ["curl · 127.0.0.1", "Last used just now · allowed 3 hours ago"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    // By the name that the consent page asked with.
    server.change_client("app", |client| client.name = regrant::client::ClientName::parse("Zoë <Photos>").ok()).await;
    let page = account(&mut anna).await;
    assert!(page.text.contains(">Zoë &#60;Photos&#62;</h3>") && !page.text.contains(">app</h3>"), "{}", page.text);
}

async fn access_is_removed_from_one_app_and_its_consent_is_forgotten(on: On) {
    let server = started(on).await;
    let (app, other) = (server.login("app", "anna").await, server.login("other", "anna").await);
    remember_consent(&server, "app").await;
    remember_consent(&server, "other").await;
    let mut anna = firefox(&server, "anna").await;
    let answer = press(&mut anna, "remove", &[("grant", &grant_of(&app))]).await;
    let page = done(&mut anna, &answer).await;
    assert!(page.text.contains(">other</h3>") && !page.text.contains(">app</h3>"), "{page:?}");
    assert!(is_removed(&server, &grant_of(&app)).await);
    server.refresh("app", &app.refresh_token()).await.assert_error(400, "invalid_grant");
    server.refresh("other", &other.refresh_token()).await.assert_tokens();
    assert_eq!(consents(&server).await, ["other"]);
    // Sent again: there is nothing left to do.
    let answer = press(&mut anna, "remove", &[("grant", &grant_of(&app))]).await;
    done(&mut anna, &answer).await;
}

async fn access_is_removed_from_all_apps(on: On) {
    let server = started(on).await;
    let grants =
        [server.login("app", "anna").await, server.login("app", "anna").await, server.login("other", "anna").await];
    let bob = server.login("app", "bob").await;
    remember_consent(&server, "app").await;
    server.client("third").await;
    remember_consent(&server, "third").await;
    let mut anna = firefox(&server, "anna").await;
    let answer = press(&mut anna, "remove_all", &[]).await;
    let page = done(&mut anna, &answer).await;
    assert!(page.text.contains("No app or device has access"), "{page:?}");
    for grant in &grants {
        assert!(is_removed(&server, &grant_of(grant)).await);
    }
    assert_eq!(consents(&server).await, [""; 0]);
    server.refresh("app", &bob.refresh_token()).await.assert_tokens();
    // This browser and the password are another matter.
    account(&mut anna).await;
    server.login("app", "anna").await.assert_tokens();
}

async fn nobody_touches_what_belongs_to_somebody_else(on: On) {
    let server = started(on).await;
    let grant = grant_of(&server.login("app", "anna").await);
    let mut anna = firefox(&server, "anna").await;
    let session = server.store().sessions_of(owner_id("anna")).await.unwrap()[0].id.to_string();
    let mut bob = firefox(&server, "bob").await;
    press(&mut bob, "remove", &[("grant", &grant)]).await;
    press(&mut bob, "end_browser", &[("browser", &session)]).await;
    press(&mut bob, "remove_all", &[]).await;
    press(&mut bob, "end_other_browsers", &[]).await;
    assert_eq!(status_of(&server, "anna", &grant).await, GrantStatus::Active);
    account(&mut anna).await;
    for (action, fields) in [
        ("remove", vec![]),
        ("remove", vec![("grant", "x")]),
        ("end_browser", vec![("browser", grant.as_str()), ("browser", "x")]),
        ("end_browser", vec![]),
        ("", vec![]),
        ("delete", vec![]),
    ] {
        assert_page(&press(&mut bob, action, &fields).await, 400);
    }
}

async fn other_browsers_are_signed_out_one_by_one_or_all(on: On) {
    let server = started(on).await;
    let grant = grant_of(&server.login("app", "anna").await);
    let mut phone = firefox(&server, "anna").await;
    let other = server.store().sessions_of(owner_id("anna")).await.unwrap()[0].id.to_string();
    let mut tablet = firefox(&server, "anna").await;
    let mut desk = firefox(&server, "anna").await;
    let page = account(&mut desk).await;
    assert_eq!(page.text.matches("Sign out there").count(), 2, "{page:?}");
    assert_eq!(page.text.matches("this browser</span>").count(), 1, "{page:?}");
    let answer = press(&mut desk, "end_browser", &[("browser", &other)]).await;
    done(&mut desk, &answer).await;
    assert_eq!(phone.open("/account").await.status, 303);
    account(&mut tablet).await;
    let answer = press(&mut desk, "end_other_browsers", &[]).await;
    let page = done(&mut desk, &answer).await;
    assert!(!page.text.contains("Sign out there"), "{page:?}");
    assert_eq!(tablet.open("/account").await.status, 303);
    account(&mut desk).await;
    assert_eq!(status_of(&server, "anna", &grant).await, GrantStatus::Active);
}

async fn a_new_password_ends_everything_but_this_browser(on: On) {
    let server = started(on).await;
    let token = server.login("app", "anna").await.refresh_token();
    let mut elsewhere = firefox(&server, "anna").await;
    let mut anna = firefox(&server, "anna").await;
    let before = anna.cookies[SESSION].clone();
    let form = [
        ("current_password", "a good password"),
        ("new_password", "a better password"),
        ("new_password_again", "a better password"),
    ];
    let answer = press(&mut anna, "change_password", &form).await;
    let page = done(&mut anna, &answer).await;
    assert!(page.text.contains("No app or device has access") && !page.text.contains("Sign out there"), "{page:?}");
    assert_ne!(anna.cookies[SESSION], before);
    assert_eq!(elsewhere.open("/account").await.status, 303);
    anna.cookies.insert(SESSION.into(), before);
    assert_eq!(anna.open("/account").await.status, 303);
    server.refresh("app", &token).await.assert_error(400, "invalid_grant");
    server.login("app", "anna").await.assert_error(400, "invalid_grant");
    let form = [("grant_type", "password"), ("username", "anna"), ("password", "a better password")];
    server.token("app", &form).await.assert_tokens();
}

async fn a_password_that_cannot_be_taken_changes_nothing(on: On) {
    let server = started(on).await;
    let token = server.login("app", "anna").await.refresh_token();
    let mut anna = firefox(&server, "anna").await;
    let long = "x".repeat(300);
    for (current, new, again, text, field) in [
        ("wrong", "a better password", "a better password", "The current password is wrong.", "current_password"),
        ("", "a better password", "a better password", "The current password is wrong.", "current_password"),
        ("a good password", "a better password", "another", "The two new passwords differ.", "new_password_again"),
        ("a good password", "short", "short", "The new password needs at least 8 characters.", "new_password"),
        ("a good password", "", "", "The new password can’t be empty", "new_password"),
        ("a good password", "a\u{7}better password", "a\u{7}better password", "control characters", "new_password"),
        ("a good password", &long, &long, "256 characters at most", "new_password"),
    ] {
        let form = [("current_password", current), ("new_password", new), ("new_password_again", again)];
        let page = press(&mut anna, "change_password", &form).await;
        assert_page(&page, 400);
        assert!(page.text.contains("role=\"alert\"") && page.text.contains(text), "{text}: {page:?}");
        let input = format!("id=\"{field}\"");
        assert_eq!(attribute(&page.text, &input, "aria-invalid").as_deref(), Some("true"), "{page:?}");
        assert_eq!(page.text.matches("aria-invalid").count(), 1, "{page:?}");
        // A password never comes back in a page.
        assert!(!page.text.contains("a better password") && !page.text.contains(&long), "{page:?}");
    }
    server.refresh("app", &token).await.assert_tokens();
    server.login("app", "anna").await.assert_tokens();
    account(&mut anna).await;
}

async fn logging_out_everywhere_ends_everything(on: On) {
    let server = started(on).await;
    let token = server.login("app", "anna").await.refresh_token();
    let mut elsewhere = firefox(&server, "anna").await;
    let mut anna = firefox(&server, "anna").await;
    let answer = press(&mut anna, "log_out_everywhere", &[]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/logout"));
    assert!(!anna.cookies.contains_key(SESSION));
    assert_eq!(anna.open("/account").await.status, 303);
    assert_eq!(elsewhere.open("/account").await.status, 303);
    server.refresh("app", &token).await.assert_error(400, "invalid_grant");
    server.login("app", "anna").await.assert_tokens();
}

async fn a54_a_form_of_another_browser_or_site_changes_nothing(on: On) {
    let server = started(on).await;
    let grant = grant_of(&server.login("app", "anna").await);
    let mut elsewhere = firefox(&server, "anna").await;
    let mut anna = firefox(&server, "anna").await;
    let token = |page: &Answer| attribute(&page.text, "name=\"form_token\"", "value").unwrap();
    let (own, foreign) = (token(&account(&mut anna).await), token(&account(&mut elsewhere).await));
    let mut bob = firefox(&server, "bob").await;
    let bobs = token(&account(&mut bob).await);
    let forms: [&[(&str, &str)]; 6] = [
        &[("action", "remove"), ("grant", &grant)],
        &[("action", "remove_all")],
        &[("action", "end_other_browsers")],
        &[("action", "log_out_everywhere")],
        &[
            ("action", "change_password"),
            ("current_password", "a good password"),
            ("new_password", "a better password"),
            ("new_password_again", "a better password"),
        ],
        &[],
    ];
    for form in forms {
        for token in [None, Some(""), Some("x"), Some(foreign.as_str()), Some(&bobs)] {
            let sent: Vec<_> = form.iter().copied().chain(token.map(|token| ("form_token", token))).collect();
            assert_page(&anna.post("/account", &sent).await, 403);
        }
        for header in
            [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.test")]
        {
            anna.headers.push((header.0, header.1.into()));
            let sent: Vec<_> = form.iter().copied().chain([("form_token", own.as_str())]).collect();
            assert_page(&anna.post("/account", &sent).await, 403);
            anna.headers.pop();
        }
    }
    assert_eq!(status_of(&server, "anna", &grant).await, GrantStatus::Active);
    account(&mut elsewhere).await;
    account(&mut anna).await;
    server.login("app", "anna").await.assert_tokens();
    // GET changes nothing either.
    anna.open(&format!("/account?form_token={own}&action=remove_all")).await;
    assert_eq!(status_of(&server, "anna", &grant).await, GrantStatus::Active);
}

async fn what_is_over_is_not_listed(on: On) {
    let server = started(on).await;
    let login = server.login("app", "anna").await;
    server.login("other", "anna").await;
    let mut anna = firefox(&server, "anna").await;
    let listed = async |anna: &mut Person| {
        let page = account(anna).await;
        (page.text.contains(">app</h3>"), page.text.contains(">other</h3>"))
    };
    assert_eq!(listed(&mut anna).await, (true, true));
    // A client that was shut out has no access any more, whatever it still holds.
    server
        .change_client("other", |client| {
            client.disabled = true;
            client.epoch += 1;
        })
        .await;
    assert_eq!(listed(&mut anna).await, (true, false));
    // A replay has revoked it.
    let next = server.refresh("app", &login.refresh_token()).await.refresh_token();
    server.refresh("app", &next).await.assert_tokens();
    server.refresh("app", &login.refresh_token()).await.assert_error(400, "invalid_grant");
    assert_eq!(listed(&mut anna).await, (false, false));
}

async fn the_page_speaks_german(on: On) {
    let server = started(on).await;
    server.login("app", "anna").await;
    let mut anna = firefox(&server, "anna").await;
    anna.headers.push(("accept-language", "de-DE,de;q=0.9".into()));
    let page = account(&mut anna).await;
    for shown in
        ["<html lang=\"de\">", "Ihr Konto", "Zugriff entziehen", "Zuletzt benutzt gerade eben", "Firefox, Linux"]
    {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_told_and_nothing_is_lost() {
    let mut redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(&redis.url(), &ServerSecret::generate(), Clock::system(), folder, |_| {}).await;
    prepare(&server).await;
    let mut anna = firefox(&server, "anna").await;
    let before = anna.cookies.clone();
    redis.kill();
    let page = anna.open("/account").await;
    assert_page(&page, 503);
    assert!(page.text.contains("Nothing is lost"), "{page:?}");
    assert_page(&anna.post("/account", &[("action", "log_out_everywhere")]).await, 503);
    assert_eq!(anna.cookies, before);
}
