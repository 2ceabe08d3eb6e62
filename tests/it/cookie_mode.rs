//! Cookie mode over HTTP: `/session`, where the refresh token lives in a cookie that no script can read.

use regrant::{
    client::{ClientType, GrantType, WebOrigin},
    clock::Clock,
    ids::GrantId,
    secret::ServerSecret,
    store::{Delivery, GrantStatus, RevocationReason},
};
use reqwest::{Method, RequestBuilder};

use crate::{
    deployments::{Deployment as _, Sentinel},
    on_both_stores,
    support::{Answer, On, Redis, Server, eventually, owner_id, raw},
};

on_both_stores!(
    a108_the_cookie_has_exactly_its_attributes_and_the_body_no_refresh_token,
    a108_a_request_that_another_site_can_cause_is_refused_and_changes_nothing,
    a108_pages_of_our_own_and_of_registered_origins_are_answered,
    a108_only_registered_pages_may_read_the_answer,
    a109_only_the_exact_cookie_selects_a_token,
    a109_a_repeated_cookie_is_refused_and_changes_nothing,
    a_refresh_sends_the_next_cookie_and_a_retry_the_same_one,
    a_replayed_cookie_kills_the_grant_and_stays_in_the_browser,
    a_token_cannot_be_moved_between_cookie_and_body,
    a_logout_revokes_the_grant_and_deletes_the_cookie,
    a_local_logout_only_deletes_the_cookie,
    a_login_overwrites_the_cookie,
    each_client_has_a_cookie_of_its_own,
    only_clients_in_cookie_mode_are_answered,
    a_login_takes_the_grants_of_people_only,
    parameters_are_read_as_strictly_as_at_the_token_endpoint,
    an_unknown_client_makes_no_browser_ask_for_a_password,
    a_disabled_client_can_still_log_out,
    a_flood_of_200_simultaneous_refreshes_leaves_one_cookie,
);

/// The first eight hexadecimal digits of SHA-256("spa").
const COOKIE: &str = "__Host-rt-01698ce1";
const LOGIN: [(&str, &str); 3] = [("client_id", "spa"), ("username", "anna"), ("password", "a good password")];
const REFRESH: [(&str, &str); 1] = [("client_id", "spa")];
const PARTNER: &str = "http://127.0.0.1:3000";

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    prepare(&server).await;
    server
}

async fn prepare(server: &Server) {
    spa(server, "spa", &[PARTNER]).await;
    server.user("anna").await;
}

async fn spa(server: &Server, id: &str, origins: &[&str]) {
    let origins = origins.iter().map(|origin| WebOrigin::parse(origin).unwrap()).collect();
    let change = |client: &mut regrant::client::Client| {
        client.client_type = ClientType::Public;
        client.secrets.clear();
        client.cookie_mode = true;
        client.origins = origins;
    };
    server.client_with(id, change).await;
}

/// A request as a script of our own origin sends it.
fn ours(server: &Server, method: Method, path: &str) -> RequestBuilder {
    bare(server, method, path).header("sec-fetch-site", "same-origin").header("x-requested-by", "oauth")
}

fn bare(server: &Server, method: Method, path: &str) -> RequestBuilder {
    server.http.request(method, format!("{}{path}", server.url))
}

fn with_cookie(request: RequestBuilder, value: &str) -> RequestBuilder {
    request.header("cookie", format!("{COOKIE}={value}"))
}

async fn login(server: &Server) -> Answer {
    let answer = Answer::of(ours(server, Method::POST, "/session").form(&LOGIN)).await;
    assert_session(&answer);
    answer
}

async fn refresh(server: &Server, cookie: &str) -> Answer {
    Answer::of(with_cookie(ours(server, Method::POST, "/session/refresh"), cookie).form(&REFRESH)).await
}

async fn logout(server: &Server, cookie: &str, query: &str) -> Answer {
    let path = format!("/session?client_id=spa{query}");
    Answer::of(with_cookie(ours(server, Method::DELETE, &path), cookie)).await
}

/// Asserts a whole answer of cookie mode.
fn assert_session(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    assert_eq!(answer.header("vary"), "Origin");
    assert!(!answer.header("x-request-id").is_empty());
    assert!(!answer.text.contains("refresh_token"), "{answer:?}");
    let json = answer.json();
    let access_token = json["access_token"].as_str().unwrap();
    assert!(!answer.text.replace(access_token, "").contains("rt_"), "{answer:?}");
    assert_eq!(json["token_type"], "Bearer");
    assert!(json["expires_in"].as_i64().is_some_and(|seconds| seconds > 0), "{answer:?}");
    let known = ["access_token", "token_type", "expires_in", "scope", "session_expires_in"];
    for name in json.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{name}");
    }
}

/// The value of the one cookie that an answer sets, after every attribute was looked at.
fn cookie_of(answer: &Answer) -> String {
    let all: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(all.len(), 1, "{answer:?}");
    let (name_and_value, attributes) = all[0].to_str().unwrap().split_once("; ").unwrap();
    let value = name_and_value.strip_prefix(COOKIE).and_then(|rest| rest.strip_prefix('=')).unwrap();
    let max_age = if value.is_empty() { 0 } else { answer.json()["session_expires_in"].as_i64().unwrap() };
    assert_eq!(attributes, format!("Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={max_age}"));
    value.to_owned()
}

/// Whether the client revoked the grant of an answer. A revoked grant is not in its owner's list any more.
async fn is_revoked_by_client(server: &Server, answer: &Answer) -> bool {
    let id = GrantId::parse(answer.claims()["gid"].as_str().unwrap()).unwrap();
    let record = server.store().grant(owner_id("anna"), id).await.unwrap().unwrap();
    matches!(record.status, GrantStatus::Revoked { reason: RevocationReason::Client, .. })
}

/// A refusal that leaves the browser's cookie alone.
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    answer.assert_error(status, code);
    assert_eq!(answer.header("set-cookie"), "", "{answer:?}");
}

async fn a108_the_cookie_has_exactly_its_attributes_and_the_body_no_refresh_token(on: On) {
    let server = started(on).await;
    let answer = login(&server).await;
    assert!(cookie_of(&answer).starts_with("rt_"));
    assert_eq!(answer.json()["session_expires_in"], 1_209_600);
    assert_eq!(answer.json()["scope"], "read write");
    assert_eq!(answer.claims()["client_id"], "spa");
    assert_eq!(server.grant_of("anna").await.delivery, Delivery::Cookie);
    let next = refresh(&server, &cookie_of(&answer)).await;
    assert_session(&next);
    cookie_of(&next);
    let ended = logout(&server, &cookie_of(&next), "").await;
    assert_eq!((ended.status, ended.text.as_str(), ended.header("cache-control")), (204, "", "no-store"));
    assert_eq!(cookie_of(&ended), "");
}

async fn a108_a_request_that_another_site_can_cause_is_refused_and_changes_nothing(on: On) {
    const FORM: &str = "application/x-www-form-urlencoded";
    let server = started(on).await;
    let cookie = cookie_of(&login(&server).await);
    let before = server.grant_of("anna").await;
    let site = ("sec-fetch-site", "same-origin");
    let by = ("x-requested-by", "oauth");
    let form = ("content-type", FORM);
    let cases: &[&[(&str, &str)]] = &[
        &[form],
        // Without the header that needs a preflight, or with something else in it.
        &[form, site],
        &[form, site, ("x-requested-by", "XMLHttpRequest")],
        &[form, site, ("x-requested-by", "OAuth")],
        &[form, site, by, by],
        // From elsewhere, whatever else it says.
        &[form, by, ("sec-fetch-site", "cross-site")],
        &[form, by, ("sec-fetch-site", "cross-site"), ("origin", PARTNER)],
        &[form, by, ("sec-fetch-site", "none")],
        &[form, by, ("sec-fetch-site", "Same-Origin")],
        &[form, by, site, ("sec-fetch-site", "cross-site")],
        // A page of the same site that nobody registered.
        &[form, by, ("sec-fetch-site", "same-site")],
        &[form, by, ("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:3001")],
        &[form, by, ("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1")],
        &[form, by, ("sec-fetch-site", "same-site"), ("origin", "https://127.0.0.1:3000")],
        &[form, by, ("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:3000.evil.test")],
        // Nobody's page.
        &[form, by, ("origin", "null")],
        &[form, by, site, ("origin", "null")],
        // A browser without Sec-Fetch-Site.
        &[form, by],
        &[form, by, ("origin", "http://evil.test")],
        &[form, by, ("origin", PARTNER), ("origin", PARTNER)],
        // What a form of another site could send.
        &[site, by, ("content-type", "text/plain")],
        &[site, by, ("content-type", "multipart/form-data; boundary=x")],
        &[site, by, ("content-type", "application/json")],
        &[site, by],
    ];
    for case in cases {
        for (path, body) in [
            ("/session", "client_id=spa&username=anna&password=a+good+password"),
            ("/session/refresh", "client_id=spa"),
        ] {
            let request = with_cookie(bare(&server, Method::POST, path), &cookie).body(body);
            let answer = Answer::of(case.iter().fold(request, |sent, (name, value)| sent.header(*name, *value))).await;
            assert_refused(&answer, 403, "access_denied");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{case:?}");
            assert_eq!(answer.header("vary"), "Origin", "{case:?}");
        }
        // A logout has no body, so its type says nothing.
        if case.iter().any(|(name, value)| *name == "content-type" && *value == FORM) {
            let request = with_cookie(bare(&server, Method::DELETE, "/session?client_id=spa"), &cookie);
            let answer = Answer::of(case.iter().fold(request, |sent, (name, value)| sent.header(*name, *value))).await;
            assert_refused(&answer, 403, "access_denied");
        }
    }
    for (method, status) in [(Method::GET, 403), (Method::HEAD, 403), (Method::PUT, 405), (Method::PATCH, 405)] {
        for path in ["/session?client_id=spa", "/session/refresh?client_id=spa"] {
            let answer = Answer::of(with_cookie(ours(&server, method.clone(), path), &cookie).form(&LOGIN)).await;
            assert_eq!((answer.status, answer.header("set-cookie")), (status, ""), "{method} {path}");
        }
    }
    assert_eq!(server.grant_of("anna").await, before);
    assert_session(&refresh(&server, &cookie).await);
}

async fn a108_pages_of_our_own_and_of_registered_origins_are_answered(on: On) {
    let server = started(on).await;
    let own = server.url.clone();
    let mut cookie = cookie_of(&login(&server).await);
    let cases: &[&[(&str, &str)]] = &[
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "same-origin"), ("origin", &own)],
        &[("sec-fetch-site", "same-site"), ("origin", PARTNER)],
        // A browser without Sec-Fetch-Site.
        &[("origin", &own)],
        &[("origin", PARTNER)],
    ];
    for case in cases {
        let asked = |method, path| {
            let request = bare(&server, method, path).header("x-requested-by", "oauth");
            case.iter().fold(request, |sent, (name, value)| sent.header(*name, *value))
        };
        assert_session(&Answer::of(asked(Method::POST, "/session").form(&LOGIN)).await);
        let next = Answer::of(with_cookie(asked(Method::POST, "/session/refresh"), &cookie).form(&REFRESH)).await;
        assert_session(&next);
        cookie = cookie_of(&next);
        let ended = Answer::of(asked(Method::DELETE, "/session?client_id=spa")).await;
        assert_eq!(ended.status, 204, "{case:?}");
    }
}

async fn a108_only_registered_pages_may_read_the_answer(on: On) {
    let server = started(on).await;
    spa(&server, "other", &["https://other.example"]).await;
    let from = |origin: &'static str| {
        move |request: RequestBuilder| request.header("sec-fetch-site", "same-site").header("origin", origin)
    };
    let by = |request: RequestBuilder| request.header("x-requested-by", "oauth");
    let allowed = |answer: &Answer| {
        let vary: Vec<_> = answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert!(vary.contains(&"Origin"), "{answer:?}");
        (
            answer.header("access-control-allow-origin").to_owned(),
            answer.header("access-control-allow-credentials").to_owned(),
        )
    };
    let shared = (PARTNER.to_owned(), "true".to_owned());
    let hidden = (String::new(), String::new());

    let answer = Answer::of(from(PARTNER)(by(bare(&server, Method::POST, "/session"))).form(&LOGIN)).await;
    assert_session(&answer);
    assert_eq!(allowed(&answer), shared);
    // An error is readable too: the page must know what went wrong.
    let answer = Answer::of(from(PARTNER)(by(bare(&server, Method::POST, "/session/refresh"))).form(&REFRESH)).await;
    assert_refused(&answer, 400, "invalid_grant");
    assert_eq!(allowed(&answer), shared);
    let answer = Answer::of(from(PARTNER)(by(bare(&server, Method::DELETE, "/session?client_id=spa")))).await;
    assert_eq!((answer.status, allowed(&answer)), (204, shared.clone()));
    // Registered, but by another client.
    let answer =
        Answer::of(from("https://other.example")(by(bare(&server, Method::POST, "/session"))).form(&LOGIN)).await;
    assert_refused(&answer, 403, "access_denied");
    assert_eq!(allowed(&answer), hidden);
    // Our own pages need no CORS.
    assert_eq!(allowed(&login(&server).await), hidden);

    let preflight = |origin: &'static str, path| {
        from(origin)(bare(&server, Method::OPTIONS, path))
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-requested-by")
    };
    for path in ["/session", "/session/refresh"] {
        for origin in [PARTNER, "https://other.example"] {
            let answer = Answer::of(preflight(origin, path)).await;
            assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{answer:?}");
            assert_eq!(allowed(&answer), (origin.to_owned(), "true".to_owned()));
            assert_eq!(answer.header("access-control-allow-methods"), "POST, DELETE");
            assert_eq!(answer.header("access-control-allow-headers"), "Content-Type, X-Requested-By");
        }
        for origin in ["https://evil.test", "null", "*", "http://127.0.0.1:3001", "HTTP://127.0.0.1:3000"] {
            let answer = Answer::of(preflight(origin, path)).await;
            assert_refused(&answer, 403, "access_denied");
            assert_eq!(allowed(&answer), hidden, "{origin}");
        }
    }
    let cross_site = bare(&server, Method::OPTIONS, "/session").header("origin", PARTNER);
    let answer = Answer::of(cross_site.header("sec-fetch-site", "cross-site")).await;
    assert_eq!((answer.status, allowed(&answer)), (403, hidden));
}

async fn a109_only_the_exact_cookie_selects_a_token(on: On) {
    let server = started(on).await;
    let mut token = cookie_of(&login(&server).await);
    let before = server.grant_of("anna").await;
    let encoded = COOKIE.replace("Host", "%48ost");
    let planted = [
        format!("{encoded}={token}"),
        format!("{}={token}", COOKIE.replace('-', "%2D")),
        format!("{}={token}", COOKIE.to_lowercase()),
        format!("{COOKIE}x={token}"),
        format!("{COOKIE} ={token}"),
        format!("x={COOKIE}={token}"),
        format!("{COOKIE}=\"{token}\""),
        format!("{COOKIE}=%72{}", &token[1..]),
        format!("{COOKIE}="),
        COOKIE.to_owned(),
    ];
    for cookie in planted {
        let request = ours(&server, Method::POST, "/session/refresh").header("cookie", &cookie).form(&REFRESH);
        assert_refused(&Answer::of(request).await, 400, "invalid_grant");
    }
    assert_eq!(server.grant_of("anna").await, before);
    // Beside ours they change nothing.
    for neighbour in
        [format!("{encoded}=rt_planted"), "x=\u{e9}\u{0}".replace('\0', ""), "a=\"b".into(), "=; ;;".into()]
    {
        let cookie = format!("{neighbour}; {COOKIE}={token}; {neighbour}");
        let request =
            ours(&server, Method::POST, "/session/refresh").header("cookie", cookie.as_bytes()).form(&REFRESH);
        let answer = Answer::of(request).await;
        assert_session(&answer);
        token = cookie_of(&answer);
    }
    // Bytes that no HTTP client library sends.
    let head = "POST /session/refresh HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 13\r\nX-Requested-By: oauth\r\n\
                Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\nCookie: a=";
    let tail = format!("; {COOKIE}={token}\r\n\r\nclient_id=spa");
    let (answer, _) = raw(&server, [head.as_bytes(), b"\xff\xfe\x80", tail.as_bytes()].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

async fn a109_a_repeated_cookie_is_refused_and_changes_nothing(on: On) {
    let server = started(on).await;
    let token = cookie_of(&login(&server).await);
    let before = server.grant_of("anna").await;
    for (first, second) in
        [(token.as_str(), token.as_str()), (&token, "rt_planted"), ("rt_planted", &token), ("", &token)]
    {
        for twice in [
            vec![format!("{COOKIE}={first}; {COOKIE}={second}")],
            vec![format!("{COOKIE}={first}"), format!("{COOKIE}={second}")],
        ] {
            let sent =
                |request: RequestBuilder| twice.iter().fold(request, |sent, cookie| sent.header("cookie", cookie));
            let again = ours(&server, Method::POST, "/session/refresh").form(&REFRESH);
            assert_refused(&Answer::of(sent(again)).await, 400, "invalid_request");
            let ending = ours(&server, Method::DELETE, "/session?client_id=spa");
            assert_refused(&Answer::of(sent(ending)).await, 400, "invalid_request");
        }
    }
    assert_eq!(server.grant_of("anna").await, before);
    assert_session(&refresh(&server, &token).await);
}

async fn a_refresh_sends_the_next_cookie_and_a_retry_the_same_one(on: On) {
    let server = started(on).await;
    let mut token = cookie_of(&login(&server).await);
    for _ in 0..3 {
        let lost = refresh(&server, &token).await;
        let repeated = refresh(&server, &token).await;
        assert_session(&repeated);
        assert_eq!((cookie_of(&lost), lost.claims()), (cookie_of(&repeated), repeated.claims()));
        assert_ne!(cookie_of(&lost), token);
        token = cookie_of(&repeated);
    }
    let form = [REFRESH[0], ("scope", "read")];
    let answer = Answer::of(with_cookie(ours(&server, Method::POST, "/session/refresh"), &token).form(&form)).await;
    assert_session(&answer);
    assert_eq!(answer.json()["scope"], "read");
    let form = [REFRESH[0], ("scope", "admin")];
    let token = cookie_of(&answer);
    let answer = Answer::of(with_cookie(ours(&server, Method::POST, "/session/refresh"), &token).form(&form)).await;
    assert_refused(&answer, 400, "invalid_scope");
}

async fn a_replayed_cookie_kills_the_grant_and_stays_in_the_browser(on: On) {
    let server = started(on).await;
    let first = cookie_of(&login(&server).await);
    let second = cookie_of(&refresh(&server, &first).await);
    let third = cookie_of(&refresh(&server, &second).await);
    for cookie in [&first, &second, &third] {
        assert_refused(&refresh(&server, cookie).await, 400, "invalid_grant");
    }
    let status = server.grant_of("anna").await.status;
    assert!(matches!(status, GrantStatus::Revoked { reason: RevocationReason::Replay, .. }), "{status:?}");
}

async fn a_token_cannot_be_moved_between_cookie_and_body(on: On) {
    let server = started(on).await;
    let cookie = cookie_of(&login(&server).await);
    let form = [("grant_type", "refresh_token"), ("client_id", "spa"), ("refresh_token", cookie.as_str())];
    server.post(&form).await.assert_error(400, "invalid_grant");
    let before = server.grant_of("anna").await;
    assert_eq!((&before.status, before.generation), (&GrantStatus::Active, 1));
    // In both places at once, or in the form alone.
    for request in [
        with_cookie(ours(&server, Method::POST, "/session/refresh"), &cookie).form(&form[1..]),
        ours(&server, Method::POST, "/session/refresh").form(&form[1..]),
        with_cookie(ours(&server, Method::POST, "/session"), &cookie).form(&form),
        with_cookie(ours(&server, Method::DELETE, "/session"), &cookie).form(&form[1..]),
    ] {
        assert_refused(&Answer::of(request).await, 400, "invalid_request");
    }
    assert_eq!(server.grant_of("anna").await, before);
    assert_session(&refresh(&server, &cookie).await);

    server.user("bert").await;
    let form = [("grant_type", "password"), LOGIN[0], ("username", "bert"), LOGIN[2]];
    let in_body = server.post(&form).await.refresh_token();
    assert_refused(&refresh(&server, &in_body).await, 400, "invalid_grant");
    // A planted cookie revokes nothing either.
    assert_eq!(logout(&server, &in_body, "").await.status, 204);
    let form = [("grant_type", "refresh_token"), LOGIN[0], ("refresh_token", in_body.as_str())];
    server.post(&form).await.assert_tokens();
    assert_eq!(server.grant_of("bert").await.delivery, Delivery::Body);
}

async fn a_logout_revokes_the_grant_and_deletes_the_cookie(on: On) {
    let server = started(on).await;
    let session = login(&server).await;
    let cookie = cookie_of(&session);
    assert!(!is_revoked_by_client(&server, &session).await);
    let answer = logout(&server, &cookie, "").await;
    assert_eq!((answer.status, cookie_of(&answer)), (204, String::new()));
    assert!(is_revoked_by_client(&server, &session).await);
    assert_refused(&refresh(&server, &cookie).await, 400, "invalid_grant");
    // Again, with nothing, and with garbage: there is nothing left to do.
    assert_eq!(logout(&server, &cookie, "").await.status, 204);
    assert_eq!(logout(&server, "garbage", "").await.status, 204);
    assert_eq!(Answer::of(ours(&server, Method::DELETE, "/session?client_id=spa")).await.status, 204);
    // In a form, as the other two take it.
    assert_eq!(Answer::of(ours(&server, Method::DELETE, "/session").form(&REFRESH)).await.status, 204);
    for request in [
        ours(&server, Method::DELETE, "/session"),
        ours(&server, Method::DELETE, "/session?client_id=spa&client_id=spa"),
        ours(&server, Method::DELETE, "/session?client_id=spa").form(&REFRESH),
    ] {
        assert_refused(&Answer::of(request).await, 400, "invalid_request");
    }
    // The cookie of another client's grant, under this client's name.
    spa(&server, "other", &[]).await;
    server.user("bert").await;
    let form = [("client_id", "other"), ("username", "bert"), LOGIN[2]];
    let foreign = Answer::of(ours(&server, Method::POST, "/session").form(&form)).await;
    let (_, foreign) = foreign.header("set-cookie").split_once('=').unwrap();
    assert_eq!(logout(&server, foreign.split_once(';').unwrap().0, "").await.status, 204);
    assert_eq!(server.grant_of("bert").await.status, GrantStatus::Active);
}

async fn a_local_logout_only_deletes_the_cookie(on: On) {
    let server = started(on).await;
    let cookie = cookie_of(&login(&server).await);
    let answer = logout(&server, &cookie, "&local=1").await;
    assert_eq!((answer.status, cookie_of(&answer)), (204, String::new()));
    assert_eq!(server.grant_of("anna").await.status, GrantStatus::Active);
    assert_session(&refresh(&server, &cookie).await);
}

async fn a_login_overwrites_the_cookie(on: On) {
    let server = started(on).await;
    let old = cookie_of(&login(&server).await);
    let again = with_cookie(ours(&server, Method::POST, "/session"), &old).form(&LOGIN);
    let answer = Answer::of(again).await;
    assert_session(&answer);
    assert_ne!(cookie_of(&answer), old);
    // A login that fails leaves the old one as it is.
    let wrong = [LOGIN[0], LOGIN[1], ("password", "wrong")];
    let answer = Answer::of(with_cookie(ours(&server, Method::POST, "/session"), &old).form(&wrong)).await;
    assert_refused(&answer, 400, "invalid_grant");
}

async fn each_client_has_a_cookie_of_its_own(on: On) {
    let server = started(on).await;
    spa(&server, "other", &[]).await;
    let spa = cookie_of(&login(&server).await);
    let form = [("client_id", "other"), LOGIN[1], LOGIN[2]];
    let other = Answer::of(ours(&server, Method::POST, "/session").form(&form)).await;
    assert_session(&other);
    let other = other.header("set-cookie").split_once(';').unwrap().0.to_owned();
    assert!(other.starts_with("__Host-rt-") && !other.starts_with(COOKIE), "{other}");
    let both = format!("{other}; {COOKIE}={spa}");
    let answer =
        Answer::of(ours(&server, Method::POST, "/session/refresh").header("cookie", &both).form(&REFRESH)).await;
    assert_session(&answer);
    let form = [("client_id", "other")];
    let answer = Answer::of(ours(&server, Method::POST, "/session/refresh").header("cookie", &both).form(&form)).await;
    assert_session(&answer);
    assert_eq!(answer.claims()["client_id"], "other");
}

async fn only_clients_in_cookie_mode_are_answered(on: On) {
    let server = started(on).await;
    server.client("app").await;
    server.public_client("native").await;
    let form = |id: &'static str| [("client_id", id), LOGIN[1], LOGIN[2], ("client_secret", "secret")];
    let native = ours(&server, Method::POST, "/session").form(&form("native")[..3]);
    assert_refused(&Answer::of(native).await, 400, "unauthorized_client");
    let confidential = ours(&server, Method::POST, "/session").form(&form("app"));
    assert_refused(&Answer::of(confidential).await, 400, "unauthorized_client");
    let cookie = cookie_of(&login(&server).await);
    server.change_client("spa", |client| client.cookie_mode = false).await;
    assert_refused(&refresh(&server, &cookie).await, 400, "unauthorized_client");
    // Without the refresh token grant there is nothing to put into a cookie.
    server
        .change_client("spa", |client| {
            client.cookie_mode = true;
            client.grant_types = vec![GrantType::Password];
        })
        .await;
    let answer = Answer::of(ours(&server, Method::POST, "/session").form(&LOGIN)).await;
    assert_session(&answer);
    assert_eq!((answer.header("set-cookie"), answer.json().get("session_expires_in")), ("", None));
}

async fn a_login_takes_the_grants_of_people_only(on: On) {
    let server = started(on).await;
    let with = |grant_type: &'static str| [LOGIN.as_slice(), &[("grant_type", grant_type)]].concat();
    assert_session(&Answer::of(ours(&server, Method::POST, "/session").form(&with("password"))).await);
    for other in ["refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code", "x"] {
        let answer = Answer::of(ours(&server, Method::POST, "/session").form(&with(other))).await;
        assert_refused(&answer, 400, "unsupported_grant_type");
    }
}

async fn parameters_are_read_as_strictly_as_at_the_token_endpoint(on: On) {
    let server = started(on).await;
    let cookie = cookie_of(&login(&server).await);
    let before = server.grant_of("anna").await;
    for (path, form) in [
        ("/session", vec![LOGIN[0], LOGIN[1]]),
        ("/session", vec![LOGIN[0], LOGIN[0], LOGIN[1], LOGIN[2]]),
        ("/session?password=x", LOGIN.to_vec()),
        ("/session/refresh?client_id=spa", REFRESH.to_vec()),
        ("/session/refresh", vec![REFRESH[0], REFRESH[0]]),
    ] {
        let answer = Answer::of(with_cookie(ours(&server, Method::POST, path), &cookie).form(&form)).await;
        assert_refused(&answer, 400, "invalid_request");
    }
    let large = [LOGIN[0], LOGIN[1], LOGIN[2], ("padding", &"x".repeat(17_000))];
    assert_refused(&Answer::of(ours(&server, Method::POST, "/session").form(&large)).await, 413, "invalid_request");
    assert_eq!(server.grant_of("anna").await, before);
}

async fn an_unknown_client_makes_no_browser_ask_for_a_password(on: On) {
    let server = started(on).await;
    for form in [vec![("client_id", "nobody"), LOGIN[1], LOGIN[2]], vec![LOGIN[1], LOGIN[2]]] {
        for path in ["/session", "/session/refresh"] {
            let answer = Answer::of(ours(&server, Method::POST, path).form(&form)).await;
            assert_refused(&answer, 400, "invalid_client");
            assert_eq!(answer.header("www-authenticate"), "");
        }
    }
}

async fn a_disabled_client_can_still_log_out(on: On) {
    let server = started(on).await;
    let session = login(&server).await;
    let cookie = cookie_of(&session);
    server.change_client("spa", |client| client.disabled = true).await;
    assert_refused(&refresh(&server, &cookie).await, 400, "invalid_client");
    assert_eq!(logout(&server, &cookie, "").await.status, 204);
    assert!(is_revoked_by_client(&server, &session).await);
}

async fn a_flood_of_200_simultaneous_refreshes_leaves_one_cookie(on: On) {
    let server = started(on).await;
    let cookie = cookie_of(&login(&server).await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let request = with_cookie(ours(&server, Method::POST, "/session/refresh"), &cookie).form(&REFRESH);
        tasks.spawn(Answer::of(request));
    }
    let mut cookies: Vec<String> = tasks.join_all().await.iter().map(cookie_of).collect();
    cookies.dedup();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert_session(&refresh(&server, &cookies[0]).await);
}

#[tokio::test]
async fn the_demo_app_is_part_of_dev_only() {
    let server = started(On::Embedded).await;
    for path in ["/demo", "/demo/app.js", "/demo/app.css"] {
        assert_eq!(Answer::of(bare(&server, Method::GET, path)).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_logs_nobody_out() {
    let mut redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(&redis.url(), &ServerSecret::generate(), Clock::system(), folder, |_| {}).await;
    prepare(&server).await;
    let cookie = cookie_of(&login(&server).await);
    redis.kill();
    assert_refused(&refresh(&server, &cookie).await, 503, "temporarily_unavailable");
    // The cookie is what the next try revokes by.
    assert_refused(&logout(&server, &cookie, "").await, 503, "temporarily_unavailable");
    let answer = logout(&server, &cookie, "&local=1").await;
    assert_eq!((answer.status, cookie_of(&answer)), (204, String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_that_a_failover_could_undo_keeps_the_cookie() {
    let sentinel = Sentinel::start();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(&sentinel.url(), &ServerSecret::generate(), Clock::system(), folder, |_| {}).await;
    prepare(&server).await;
    let session = login(&server).await;
    let cookie = cookie_of(&session);
    let replicas = sentinel.replicas();
    replicas.iter().for_each(|replica| sentinel.nodes()[*replica].stop());
    // The second one too, although the first has revoked the grant where it was.
    for _ in 0..2 {
        assert_refused(&logout(&server, &cookie, "").await, 503, "temporarily_unavailable");
        assert!(is_revoked_by_client(&server, &session).await);
    }
    replicas.iter().for_each(|replica| sentinel.nodes()[*replica].cont());
    eventually("the replicas are back", async || logout(&server, &cookie, "").await.status == 204).await;
}
