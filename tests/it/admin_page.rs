//! The administration page, through real HTTP: who gets in, what they see, and what their forms do.

use std::time::Duration;

use regrant::{
    client::ClientName,
    config::Config,
    ids::GrantId,
    store::{GrantStatus, OwnerStatus, RevocationReason},
};

use crate::{
    on_both_stores,
    person::{Person, assert_page, attribute},
    support::{Answer, On, Server, owner_id},
};

on_both_stores!(
    only_those_whom_the_setting_names_get_in,
    who_signed_in_long_ago_must_do_it_again,
    users_are_found_by_the_beginning_of_their_names_page_by_page,
    a_user_is_shown_with_why_each_grant_ended,
    the_forms_revoke_log_out_shut_out_and_let_in,
    clients_are_found_and_shut_out,
    a_form_of_another_browser_or_site_changes_nothing,
    the_plots_show_what_was_counted,
    the_page_speaks_german,
);

async fn started(on: On) -> Server {
    // Not in its normal form: the setting means the same person.
    let server = Server::start_with(on, |config| config.administrators = vec!["ROOT".into()]).await;
    for user in ["root", "anna", "bert"] {
        server.user(user).await;
    }
    server.client("app").await;
    server
}

async fn root(server: &Server) -> Person {
    Person::signed_in(server, "root").await
}

async fn page(person: &mut Person, path: &str) -> Answer {
    let page = person.open(path).await;
    assert_page(&page, 200);
    page
}

fn token(page: &Answer) -> String {
    attribute(&page.text, "name=\"form_token\"", "value").unwrap_or_else(|| panic!("no form in {page:?}"))
}

/// Presses a button of a page, and returns what it leads to.
async fn press(person: &mut Person, path: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
    let token = token(&page(person, path).await);
    let form = [&[("form_token", token.as_str()), ("action", action)], fields].concat();
    let answer = person.post("/admin", &form).await;
    assert!(answer.header("location").starts_with("/admin?"), "{answer:?}");
    let page = person.follow(&answer).await;
    assert_page(&page, 200);
    assert!(page.text.contains("role=\"status\""), "{page:?}");
    page
}

fn grant_of(answer: &Answer) -> String {
    answer.claims()["gid"].as_str().unwrap().to_owned()
}

async fn only_those_whom_the_setting_names_get_in(on: On) {
    let server = started(on).await;
    let mut person = Person::at(&server);
    let answer = person.open("/admin?part=users&search=an").await;
    let way = "/login?continue=%2Fadmin%3Fpart%3Dusers%26search%3Dan";
    assert_eq!((answer.status, answer.header("location")), (303, way));
    let answer = person.post("/admin", &[("action", "disable_user"), ("user", "bert")]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login?continue=%2Fadmin"));
    let sign_in = person.open(way).await;
    let answer = person.sign_in(&sign_in, "root").await;
    let found = person.follow(&answer).await;
    assert!(found.text.contains(">anna</a>") && !found.text.contains(">bert</a>"), "{found:?}");

    let mut anna = Person::signed_in(&server, "anna").await;
    for path in ["/admin", "/admin?part=users", "/admin?part=clients", "/admin?user=bert", "/admin?part=x"] {
        let refused = anna.open(path).await;
        assert_page(&refused, 403);
        assert!(refused.text.contains("administrators"), "{refused:?}");
        assert!(!refused.text.contains("bert"), "{refused:?}");
    }
    let token = attribute(&anna.open("/account").await.text, "name=\"form_token\"", "value").unwrap();
    let form = [("form_token", token.as_str()), ("action", "disable_user"), ("user", "bert")];
    assert_page(&anna.post("/admin", &form).await, 403);
    assert_eq!(server.store().owner(owner_id("bert")).await.unwrap().unwrap().status, OwnerStatus::Active);

    // Without the setting nobody does.
    let closed = Server::start(on).await;
    closed.user("root").await;
    assert_page(&root(&closed).await.open("/admin").await, 403);
    let mistyped = Config { administrators: vec!["root".into(), "a b".into()], ..Config::default() };
    assert!(mistyped.validate().unwrap_err().to_string().starts_with("administrators: "));
}

async fn who_signed_in_long_ago_must_do_it_again(on: On) {
    let server = started(on).await;
    let mut root = root(&server).await;
    server.clock.advance(Duration::from_secs(29 * 60));
    let token = token(&page(&mut root, "/admin?user=bert").await);
    server.clock.advance(Duration::from_secs(2 * 60));
    let answer = root.open("/admin?user=bert").await;
    let way = "/login?continue=%2Fadmin%3Fuser%3Dbert&username=root";
    assert_eq!((answer.status, answer.header("location")), (303, way));
    let form = [("form_token", token.as_str()), ("action", "disable_user"), ("user", "bert")];
    assert_eq!(root.post("/admin", &form).await.header("location"), "/login?continue=%2Fadmin&username=root");
    assert_eq!(server.store().owner(owner_id("bert")).await.unwrap().unwrap().status, OwnerStatus::Active);
    let sign_in = root.open(way).await;
    let answer = root.sign_in(&sign_in, "root").await;
    assert_page(&root.follow(&answer).await, 200);
}

async fn users_are_found_by_the_beginning_of_their_names_page_by_page(on: On) {
    let server = started(on).await;
    for number in 10..40 {
        server.user(&format!("many-{number}")).await;
    }
    let mut root = root(&server).await;
    let first = page(&mut root, "/admin?part=users&search=%20MANY%20").await;
    assert_eq!(first.text.matches(">many-").count(), 25, "{first:?}");
    let next = "/admin?part=users&search=+MANY+&after=many-34";
    assert!(first.text.contains(&next.replace('&', "&#38;")), "{first:?}");
    let second = page(&mut root, next).await;
    assert_eq!(second.text.matches(">many-").count(), 5, "{second:?}");
    assert!(second.text.contains("First page") && !second.text.contains(">More</a>"), "{second:?}");
    for nobody in ["nobody", "a%20b", "%3Cscript%3E"] {
        let none = page(&mut root, &format!("/admin?part=users&search={nobody}")).await;
        assert!(none.text.contains("There is no user with such a name."), "{none:?}");
    }
    assert_page(&root.open("/admin?user=nobody").await, 404);
    assert_page(&root.open(&format!("/admin?part=users&search={}", "x".repeat(600))).await, 400);
}

async fn a_user_is_shown_with_why_each_grant_ended(on: On) {
    let server = started(on).await;
    let mut root = root(&server).await;
    let empty = page(&mut root, "/admin?user=anna").await;
    assert!(empty.text.contains("There is no grant of this user."), "{empty:?}");
    let living = server.login("app", "anna").await;
    let stolen = server.login("app", "anna").await;
    let second = server.refresh("app", &stolen.refresh_token()).await.refresh_token();
    server.refresh("app", &second).await.assert_tokens();
    let replay = server.http.post(server.token_url()).basic_auth("app", Some("secret")).header("user-agent", "thief/1");
    let replay = replay.form(&[("grant_type", "refresh_token"), ("refresh_token", &stolen.refresh_token())]);
    Answer::of(replay).await.assert_error(400, "invalid_grant");
    server.clock.advance(Duration::from_secs(600));
    let shown = page(&mut root, "/admin?user=Anna").await;
    for text in [
        &format!("value=\"{}\"", grant_of(&living)),
        &grant_of(&stolen),
        "a refresh token was presented again",
        "(10 minutes ago · 127.0.0.1 · thief/1)",
        ">revoked</span>",
        "Last used 10 minutes ago",
    ] {
        assert!(shown.text.contains(text), "{text}: {}", shown.text);
    }
    assert_eq!(shown.text.matches("value=\"revoke_grant\"").count(), 1, "{shown:?}");
    let own = page(&mut root, "/admin?user=root").await;
    assert!(own.text.contains("This is you.") && !own.text.contains("disable_user"), "{own:?}");
}

async fn the_forms_revoke_log_out_shut_out_and_let_in(on: On) {
    let server = started(on).await;
    let mut root = root(&server).await;
    let (first, second) = (server.login("app", "anna").await, server.login("app", "anna").await);
    let (here, anna) = ("/admin?user=anna", ("user", "anna"));
    press(&mut root, here, "revoke_grant", &[anna, ("grant", &grant_of(&first))]).await;
    let id = GrantId::parse(&grant_of(&first)).unwrap();
    let status = server.store().grant(owner_id("anna"), id).await.unwrap().unwrap().status;
    assert!(matches!(status, GrantStatus::Revoked { reason: RevocationReason::Operator, .. }));
    server.refresh("app", &first.refresh_token()).await.assert_error(400, "invalid_grant");
    let second = server.refresh("app", &second.refresh_token()).await;
    press(&mut root, here, "log_out_user", &[anna]).await;
    server.refresh("app", &second.refresh_token()).await.assert_error(400, "invalid_grant");
    server.login("app", "anna").await.assert_tokens();
    let page = press(&mut root, here, "disable_user", &[anna]).await;
    assert!(page.text.contains("value=\"enable_user\""), "{page:?}");
    server.login("app", "anna").await.assert_error(400, "invalid_grant");
    press(&mut root, here, "enable_user", &[anna]).await;
    server.login("app", "anna").await.assert_tokens();
}

async fn clients_are_found_and_shut_out(on: On) {
    let server = started(on).await;
    server.client_with("other", |client| client.name = ClientName::parse("Zoë <Photos>").ok()).await;
    let mut root = root(&server).await;
    let found = page(&mut root, "/admin?part=clients&search=ZO%C3%8B").await;
    assert!(found.text.contains("Zoë &#60;Photos&#62;") && !found.text.contains("<code>app</code>"), "{found:?}");
    let login = server.login("app", "anna").await;
    let here = "/admin?part=clients&search=app";
    let off = press(&mut root, here, "disable_client", &[("client", "app"), ("search", "app")]).await;
    assert!(off.text.contains("value=\"enable_client\"") && !off.text.contains("Photos"), "{off:?}");
    server.refresh("app", &login.refresh_token()).await.assert_error(401, "invalid_client");
    press(&mut root, here, "enable_client", &[("client", "app")]).await;
    let anna = page(&mut root, "/admin?user=anna").await;
    assert!(
        anna.text.contains("the client was disabled or deleted") && !anna.text.contains("revoke_grant"),
        "{anna:?}"
    );
    server.refresh("app", &login.refresh_token()).await.assert_error(400, "invalid_grant");
    let none = page(&mut root, "/admin?part=clients&search=nothing").await;
    assert!(none.text.contains("There is no client with such a name."), "{none:?}");
}

async fn a_form_of_another_browser_or_site_changes_nothing(on: On) {
    let server = started(on).await;
    let mut one = root(&server).await;
    let mut other = root(&server).await;
    let form = |token: &str| {
        [("form_token", token), ("action", "disable_user"), ("user", "anna")].map(|(n, v)| (n.to_owned(), v.to_owned()))
    };
    let send = async |person: &mut Person, token: &str| {
        let form = form(token);
        let fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        person.post("/admin", &fields).await
    };
    let foreign = token(&page(&mut other, "/admin?user=anna").await);
    for token in [foreign.as_str(), "", "x"] {
        assert_page(&send(&mut one, token).await, 403);
    }
    let own = token(&page(&mut one, "/admin?user=anna").await);
    one.headers.push(("sec-fetch-site", "cross-site".into()));
    assert_page(&send(&mut one, &own).await, 403);
    assert_eq!(server.store().owner(owner_id("anna")).await.unwrap().unwrap().status, OwnerStatus::Active);
    one.headers.clear();
    for (action, user) in [("nothing", "anna"), ("disable_user", "")] {
        let form = [("form_token", own.as_str()), ("action", action), ("user", user)];
        assert_page(&one.post("/admin", &form).await, 400);
    }
    let form = [("form_token", own.as_str()), ("action", "disable_user"), ("user", "nobody")];
    assert_page(&one.post("/admin", &form).await, 404);
    assert_eq!(send(&mut one, &own).await.status, 303);
}

async fn the_plots_show_what_was_counted(on: On) {
    let server = started(on).await;
    let mut root = root(&server).await;
    server.app.metrics.history.look(server.store().now(), 0);
    let before = page(&mut root, "/admin").await;
    assert!(before.text.contains("0 granted, 0 refused, 0 not answered; at most 0 in a minute."), "{before:?}");
    assert!(before.text.contains("ES256") && before.text.contains("has signed for"), "{before:?}");
    let first = server.login("app", "anna").await;
    let second = server.refresh("app", &first.refresh_token()).await;
    server.refresh("app", &second.refresh_token()).await.assert_tokens();
    server.refresh("app", &first.refresh_token()).await.assert_error(400, "invalid_grant");
    server.token("app", &[("grant_type", "x")]).await.assert_error(400, "unsupported_grant_type");
    let history = &server.app.metrics.history;
    history.look(server.store().now(), 7);
    let after = page(&mut root, "/admin").await;
    for shown in [
        "3 granted, 2 refused, 0 not answered; at most ",
        "A token or code was used twice, and its grant ended.",
        "At most 7 at a time; beyond 4096 the answer is 503.",
        "<th scope=\"col\">replays</th>",
    ] {
        assert!(after.text.contains(shown), "{shown}: {}", after.text);
    }
    assert_eq!(after.text.matches("<svg").count(), 3);
    assert!(after.text.contains("<path class=\"refused\" d=\"M0 100H35"), "{after:?}");
    // The same counters as those that are scraped.
    let metrics = Answer::of(server.http.get(format!("{}/metrics", server.management_url))).await.text;
    let total = |outcomes: &[&str]| -> f64 {
        let lines = metrics.lines().filter(|line| line.starts_with("regrant_token_requests_total"));
        let counted = lines.filter(|line| outcomes.iter().any(|outcome| line.contains(&format!("\"{outcome}\""))));
        counted.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    assert_eq!((total(&["granted", "rotated"]), total(&["invalid_grant", "unsupported_grant_type"])), (3.0, 2.0));
}

async fn the_page_speaks_german(on: On) {
    let server = started(on).await;
    let mut root = root(&server).await;
    root.headers.push(("accept-language", "de".into()));
    for (path, title) in [
        ("/admin", "<h1>Verwaltung</h1>"),
        ("/admin?part=users", "<h1>Benutzer</h1>"),
        ("/admin?part=clients", "<h1>Clients</h1>"),
        ("/admin?user=anna", "Es gibt keinen Grant dieses Benutzers."),
    ] {
        let page = page(&mut root, path).await;
        assert!(page.text.contains(title), "{title}: {page:?}");
    }
}
