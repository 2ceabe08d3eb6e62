//! Signing in and out at the server itself, through real HTTP.

use std::time::Duration;

use regrant::store::OwnerChange;

use crate::{
    on_both_stores,
    person::{Person, assert_page, attribute},
    support::{On, Server, owner_id},
};

on_both_stores!(
    somebody_signs_in_goes_on_and_signs_out,
    a_wrong_password_is_told_and_nobody_is_signed_in,
    a49_the_answer_to_a_password_is_303,
    a52_the_session_is_a_new_one_after_every_sign_in,
    a54_a_form_of_another_browser_or_site_is_refused,
    a54_a_link_signs_nobody_out,
    a_session_ends_with_a_new_password_and_when_unused,
    two_session_cookies_are_refused,
);

const SESSION: &str = "__Host-regrant-session";

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    server.user("anna").await;
    server.user("bob").await;
    server
}

async fn is_signed_in(person: &mut Person) -> bool {
    let page = person.open("/logout").await;
    assert_page(&page, 200);
    page.text.contains("signed in as")
}

async fn somebody_signs_in_goes_on_and_signs_out(on: On) {
    let server = started(on).await;
    let mut anna = Person::at(&server);
    let page = anna.open("/login?continue=%2Flogout%3Fx%3D1&username=an%22na").await;
    assert_page(&page, 200);
    assert_eq!(attribute(&page.text, "name=\"username\"", "value").as_deref(), Some("an\"na"));
    let answer = anna.sign_in(&page, "anna").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/logout?x=1"));
    assert!(is_signed_in(&mut anna).await);
    let sessions = server.store().sessions_of(owner_id("anna")).await.unwrap();
    assert_eq!((sessions.len(), sessions[0].origin.address.as_str()), (1, "127.0.0.1"));

    let page = anna.open("/logout").await;
    let copied = anna.cookies[SESSION].clone();
    let answer = anna.submit(&page, &[]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/logout"));
    assert!(!anna.cookies.contains_key(SESSION));
    assert!(!is_signed_in(&mut anna).await);
    // A copy of the cookie is worth nothing either.
    anna.cookies.insert(SESSION.into(), copied);
    assert!(!is_signed_in(&mut anna).await);
}

async fn a_wrong_password_is_told_and_nobody_is_signed_in(on: On) {
    let server = started(on).await;
    let mut person = Person::at(&server);
    let page = person.open("/login?continue=/device").await;
    for (user, password) in [("anna", "not her password"), ("nobody", "a good password"), ("", ""), ("anna", "")] {
        let answer = person.submit(&page, &[("username", user), ("password", password)]).await;
        assert_page(&answer, 200);
        assert!(answer.text.contains("role=\"alert\"") && answer.text.contains("The username or password is wrong."));
        assert_eq!(attribute(&answer.text, "name=\"username\"", "value").as_deref(), Some(user));
        assert!(password.is_empty() || !answer.text.contains(password), "{answer:?}");
        assert!(!person.cookies.contains_key(SESSION));
        // The page still leads on.
        let answer = person.sign_in(&answer, "bob").await;
        assert_eq!(answer.header("location"), "/device");
        person.cookies.remove(SESSION);
    }
    person.headers.push(("accept-language", "de-DE,de;q=0.9".into()));
    let answer = person.submit(&page, &[("username", "anna"), ("password", "wrong")]).await;
    assert!(answer.text.contains("<html lang=\"de\">") && answer.text.contains("Passwort ist falsch"), "{answer:?}");
}

async fn a49_the_answer_to_a_password_is_303(on: On) {
    let server = started(on).await;
    let mut person = Person::at(&server);
    let page = person.open("/login").await;
    let answer = person.sign_in(&page, "anna").await;
    assert_eq!((answer.status, answer.text.as_str()), (303, ""));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    // Never to another place, whatever the address says.
    for elsewhere in ["https://evil.test", "//evil.test", "/%5Cevil.test", "%09//evil.test", "javascript:alert(1)"] {
        let page = person.open(&format!("/login?continue={elsewhere}")).await;
        assert_page(&page, 400);
    }
}

async fn a52_the_session_is_a_new_one_after_every_sign_in(on: On) {
    let server = started(on).await;
    let mut person = Person::at(&server);
    let page = person.open("/login").await;
    person.cookies.insert(SESSION.into(), "bs_planted".into());
    person.sign_in(&page, "anna").await;
    let first = person.cookies[SESSION].clone();
    assert_ne!(first, "bs_planted");
    // The same browser signs in as somebody else: the first session is over.
    person.sign_in(&page, "bob").await;
    let second = person.cookies[SESSION].clone();
    assert_ne!(first, second);
    assert!(server.store().sessions_of(owner_id("anna")).await.unwrap().is_empty());
    person.cookies.insert(SESSION.into(), first);
    assert!(!is_signed_in(&mut person).await);
    person.cookies.insert(SESSION.into(), second);
    assert!(is_signed_in(&mut person).await);
}

async fn a54_a_form_of_another_browser_or_site_is_refused(on: On) {
    let server = started(on).await;
    let mut mallory = Person::at(&server);
    let her_page = mallory.open("/login").await;

    let mut anna = Person::at(&server);
    // Without a cookie there is nothing that a form could be bound to.
    assert_page(&anna.sign_in(&her_page, "bob").await, 403);
    let page = anna.open("/login").await;
    assert_page(&anna.sign_in(&her_page, "bob").await, 403);
    let fields = [("username", "anna"), ("password", "a good password")];
    assert_page(&anna.post("/login", &fields).await, 403);
    for header in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.test")] {
        anna.headers = vec![(header.0, header.1.into())];
        assert_page(&anna.sign_in(&page, "anna").await, 403);
    }
    assert!(!anna.cookies.contains_key(SESSION));
    anna.headers = vec![("sec-fetch-site", "same-origin".into()), ("origin", "null".into())];
    assert_eq!(anna.sign_in(&page, "anna").await.status, 303);

    // The form that signs out is bound to the session.
    let mut bob = Person::signed_in(&server, "bob").await;
    let bobs_page = bob.open("/logout").await;
    assert_page(&anna.submit(&bobs_page, &[]).await, 403);
    assert_page(&anna.post("/logout", &[]).await, 403);
    anna.headers = vec![];
    assert!(is_signed_in(&mut anna).await);
}

async fn a54_a_link_signs_nobody_out(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    assert!(is_signed_in(&mut anna).await);
    assert!(is_signed_in(&mut anna).await);
    // Nor does a link sign anybody in.
    let mut nobody = Person::at(&server);
    nobody.open("/login?username=anna&password=a+good+password").await;
    assert!(!is_signed_in(&mut nobody).await);
}

async fn a_session_ends_with_a_new_password_and_when_unused(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let mut bob = Person::signed_in(&server, "bob").await;
    server.store().change_owner(owner_id("anna"), OwnerChange::LogOut).await.unwrap();
    assert!(!is_signed_in(&mut anna).await);
    assert!(is_signed_in(&mut bob).await);
    server.clock.advance(Duration::from_secs(12 * 3600));
    assert!(!is_signed_in(&mut bob).await);
}

async fn two_session_cookies_are_refused(on: On) {
    let server = started(on).await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let cookie = format!("{SESSION}={0}; {SESSION}={0}", anna.cookies[SESSION]);
    anna.cookies.clear();
    anna.headers = vec![("cookie", cookie)];
    assert_page(&anna.open("/logout").await, 400);
    // A name that only looks the same is another cookie.
    anna.headers = vec![("cookie", "__%48ost-regrant-session=x".into())];
    assert!(!is_signed_in(&mut anna).await);
}

#[tokio::test]
async fn a_page_says_so_when_the_store_is_down() {
    let mut redis = crate::support::Redis::start();
    let server = Server::start_on(
        &redis.url(),
        &regrant::secret::ServerSecret::generate(),
        regrant::clock::Clock::system(),
        tempfile::tempdir().unwrap(),
        |_| {},
    )
    .await;
    server.user("anna").await;
    let mut anna = Person::signed_in(&server, "anna").await;
    let page = anna.open("/logout").await;
    redis.kill();
    let answer = anna.submit(&page, &[]).await;
    assert_page(&answer, 503);
    assert!(!answer.header("retry-after").is_empty());
    // The session may still be alive, so the cookie stays.
    assert!(anna.cookies.contains_key(SESSION));
    assert_page(&anna.open("/logout").await, 503);
}
