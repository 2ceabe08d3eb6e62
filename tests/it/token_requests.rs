//! The form of a token request: what the endpoint reads, what it refuses, what it never repeats.

use reqwest::Method;

use crate::{
    on_both_stores,
    person::{Person, assert_page},
    support::{Answer, On, Redis, Server, raw},
};
use regrant::{client::GrantType, clock::Clock, secret::ServerSecret};

on_both_stores!(
    a03_answers_and_errors_are_json_that_nobody_keeps,
    a05_nothing_that_was_sent_comes_back,
    a07_the_largest_body_is_16_kib,
    a10_any_repeated_parameter_is_invalid_request,
    a11_a_parameter_without_a_value_is_omitted,
    a12_unknown_parameters_are_ignored,
    a_code_verifier_keeps_its_form_whatever_the_grant,
    a13_no_parameter_belongs_in_the_query_string,
    a14_malformed_text_is_invalid_request,
    a15_a_grant_type_may_be_unsupported_or_not_allowed,
    a17_forwarded_headers_of_a_stranger_change_nothing,
);

const LOGIN: [(&str, &str); 3] = [("grant_type", "password"), ("username", "anna"), ("password", "a good password")];
/// The Basic credentials of client `app` with the secret `secret`.
const BASIC: &str = "Basic YXBwOnNlY3JldA==";
const FORM: &str = "application/x-www-form-urlencoded";

async fn started(on: On) -> Server {
    let server = Server::start(on).await;
    server.client("app").await;
    server.user("anna").await;
    server
}

/// Sends a body as it is.
async fn send(server: &Server, content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Answer {
    let mut request = server.http.post(server.token_url()).header("authorization", BASIC).body(body.into());
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    Answer::of(request).await
}

#[tokio::test]
async fn a01_the_token_endpoint_answers_only_post() {
    let server = Server::start(On::Embedded).await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS, Method::TRACE] {
        let answer = Answer::of(server.http.request(method.clone(), server.token_url())).await;
        answer.assert_error(405, "invalid_request");
        assert_eq!(answer.header("allow"), "POST", "{method}");
    }
    let head = Answer::of(server.http.head(server.token_url())).await;
    assert_eq!((head.status, head.header("allow"), head.text.as_str()), (405, "POST", ""));
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/jwks.json"] {
        let answer = Answer::of(server.http.post(format!("{}{path}", server.url)).form(&LOGIN)).await;
        answer.assert_error(405, "invalid_request");
        assert_eq!(answer.header("allow"), "GET");
    }
}

async fn a03_answers_and_errors_are_json_that_nobody_keeps(on: On) {
    let server = started(on).await;
    let login = server.token("app", &LOGIN).await;
    login.assert_tokens();
    server.refresh("app", &login.refresh_token()).await.assert_tokens();
    server.refresh("app", "rt_unknown").await.assert_error(400, "invalid_grant");
    server.post(&LOGIN).await.assert_error(401, "invalid_client");
}

/// A-04 is part of `assert_error`; here is each error that a form alone can cause.
async fn a05_nothing_that_was_sent_comes_back(on: On) {
    const CANARY: &str = "cAnArY<script>\"\\7";
    let server = started(on).await;
    let mut answers = vec![
        server.token(CANARY, &LOGIN).await,
        server.post(&[("client_id", CANARY), ("client_secret", CANARY), ("grant_type", CANARY)]).await,
        server.token("app", &[("grant_type", CANARY)]).await,
        server.token("app", &[("grant_type", "password"), ("username", CANARY), ("password", CANARY)]).await,
        server.token("app", &[("grant_type", "refresh_token"), ("refresh_token", CANARY)]).await,
        server.token("app", &[LOGIN[0], LOGIN[1], LOGIN[2], ("scope", CANARY)]).await,
        server.token("app", &[LOGIN[0], LOGIN[1], LOGIN[2], ("scope", "cAnArY")]).await,
        server.token("app", &[(CANARY, CANARY), (CANARY, CANARY)]).await,
        send(&server, Some(CANARY), CANARY).await,
        Answer::of(
            server.http.post(reqwest::Url::parse_with_params(&server.token_url(), [("password", CANARY)]).unwrap()),
        )
        .await,
        Answer::of(server.http.post(server.token_url()).header("authorization", CANARY).form(&LOGIN)).await,
    ];
    for answer in &answers {
        assert!((400..500).contains(&answer.status), "{answer:?}");
        answer.assert_error(answer.status, answer.json()["error"].as_str().unwrap());
    }
    for path in ["cAnArY", "docs/cAnArY", "docs/errors/cAnArY", "oauth2/cAnArY%3Cscript%3E", "%22cAnArY"] {
        let get = server.http.get(format!("{}/{path}?cAnArY=cAnArY", server.url)).header("origin", "http://cAnArY");
        answers.push(Answer::of(get).await);
    }
    for answer in answers {
        assert!(!format!("{answer:?}").contains("cAnArY"), "{answer:?}");
    }
}

#[tokio::test]
async fn a06_another_content_type_is_invalid_request() {
    let server = started(On::Embedded).await;
    let body = "grant_type=password&username=anna&password=a+good+password";
    for other in [None, Some("application/json"), Some("text/plain"), Some("multipart/form-data; boundary=x"), Some("")]
    {
        send(&server, other, body).await.assert_error(400, "invalid_request");
    }
    for same in [FORM, "application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-URLencoded"] {
        send(&server, Some(same), body).await.assert_tokens();
    }
}

async fn a07_the_largest_body_is_16_kib(on: On) {
    let server = started(on).await;
    let login = "grant_type=password&username=anna&password=a+good+password&padding=";
    let body = |length: usize| format!("{login}{}", "x".repeat(length - login.len()));
    send(&server, Some(FORM), body(16 * 1024)).await.assert_tokens();
    send(&server, Some(FORM), body(16 * 1024 + 1)).await.assert_error(413, "invalid_request");

    // In chunks, and without an end: the answer does not wait for one.
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunks = body(17 * 1024)
        .as_bytes()
        .chunks(1024)
        .fold(head, |sent, chunk| format!("{sent}{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
    let (answer, _) = raw(&server, chunks.into_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    // The next request must not be sent on a connection that ends.
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.contains(r#""error":"invalid_request""#), "{answer}");
}

#[tokio::test]
async fn a08_an_error_never_tells_what_went_on_inside() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(&redis.url(), &ServerSecret::generate(), Clock::system(), folder, |_| {}).await;
    // A record that cannot be read: the worst that the inside can do.
    let () = ::redis::cmd("HSET")
        .arg("as:c:app")
        .arg("v")
        .arg(1)
        .arg("j")
        .arg("garbage")
        .query(&mut redis.connection())
        .unwrap();
    let answer = server.token("app", &LOGIN).await;
    answer.assert_error(500, "server_error");
    for word in ["redis", "garbage", "json", "line", "column", "expected", "record", "src/"] {
        let text = answer.json()["error_description"].as_str().unwrap().to_lowercase();
        assert!(!text.contains(word), "{answer:?}");
    }
}

async fn a10_any_repeated_parameter_is_invalid_request(on: On) {
    let server = started(on).await;
    let whole = "grant_type=password&username=anna&password=a+good+password&scope=read&client_id=app";
    send(&server, Some(FORM), whole).await.assert_tokens();
    for again in
        ["grant_type=password", "username=anna", "password=x", "scope=read", "client_id=app", "scope=", "%73cope=x"]
    {
        send(&server, Some(FORM), format!("{whole}&{again}")).await.assert_error(400, "invalid_request");
        send(&server, Some(FORM), format!("{again}&{whole}")).await.assert_error(400, "invalid_request");
    }
    send(&server, Some(FORM), format!("{whole}&x=1&x=1")).await.assert_error(400, "invalid_request");
    let refresh = "grant_type=refresh_token&refresh_token=a&refresh_token=b";
    send(&server, Some(FORM), refresh).await.assert_error(400, "invalid_request");
}

async fn a11_a_parameter_without_a_value_is_omitted(on: On) {
    let server = started(on).await;
    let answer = server
        .token("app", &[LOGIN[0], LOGIN[1], LOGIN[2], ("scope", ""), ("client_id", ""), ("client_secret", "")])
        .await;
    answer.assert_tokens();
    assert_eq!(answer.json()["scope"], "read write");
    for missing in [0, 1, 2] {
        let mut form = LOGIN;
        form[missing].1 = "";
        server.token("app", &form).await.assert_error(400, "invalid_request");
    }
    server.refresh("app", "").await.assert_error(400, "invalid_request");
    server.token("app", &[]).await.assert_error(400, "invalid_request");
    send(&server, Some(FORM), "grant_type").await.assert_error(400, "invalid_request");
}

async fn a12_unknown_parameters_are_ignored(on: On) {
    let server = started(on).await;
    let more = [("foo", "bar"), ("sub", "somebody"), ("", "no name"), ("exp", "1")];
    let answer = server.token("app", &[LOGIN.as_slice(), &more].concat()).await;
    answer.assert_tokens();
    assert_ne!(answer.claims()["sub"], "somebody");
    assert_eq!(server.grant_of("anna").await.client_id.as_str(), "app");
}

async fn a_code_verifier_keeps_its_form_whatever_the_grant(on: On) {
    let server = started(on).await;
    let login = async |verifier: &str| {
        let form = [&LOGIN[..], &[("code_verifier", verifier)]].concat();
        server.token("app", &form).await
    };
    login(&"a".repeat(129)).await.assert_error(400, "invalid_request");
    login("short").await.assert_error(400, "invalid_request");
    login(&"a".repeat(128)).await.assert_tokens();
}

async fn a13_no_parameter_belongs_in_the_query_string(on: On) {
    let server = started(on).await;
    for name in [
        "grant_type",
        "client_id",
        "client_secret",
        "username",
        "password",
        "refresh_token",
        "scope",
        "resource",
        "audience",
        "code",
        "code_verifier",
        "client_assertion",
        "client_assertion_type",
        "assertion",
        "device_code",
        "subject_token",
        "actor_token",
        "access_token",
        "token",
        "pass%77ord",
    ] {
        let url = format!("{}?x=1&{name}=value", server.token_url());
        let post = server.http.post(url).header("authorization", BASIC).form(&LOGIN);
        Answer::of(post).await.assert_error(400, "invalid_request");
    }
    let harmless = server.http.post(format!("{}?trace=1", server.token_url())).header("authorization", BASIC);
    Answer::of(harmless.form(&LOGIN)).await.assert_tokens();
    assert_eq!(server.store().grants_of(crate::support::owner_id("anna")).await.unwrap().len(), 1);
}

async fn a14_malformed_text_is_invalid_request(on: On) {
    let server = started(on).await;
    let whole = b"grant_type=password&username=anna&password=a+good+password".as_slice();
    for bad in [
        b"x=%".as_slice(),
        b"x=%4",
        b"x=%zz",
        b"x=%ff",
        b"x=\xff",
        b"x=%00",
        b"x=\0",
        b"%c3=x",
        b"x=%C0%80",
        b"x=%ED%A0%80",
    ] {
        let body = [whole, b"&", bad].concat();
        send(&server, Some(FORM), body).await.assert_error(400, "invalid_request");
    }
    send(&server, Some(FORM), whole).await.assert_tokens();
}

async fn a15_a_grant_type_may_be_unsupported_or_not_allowed(on: On) {
    let server = started(on).await;
    for unsupported in ["implicit", "device_code", "Password", "password ", "x"] {
        let answer = server.token("app", &[("grant_type", unsupported), LOGIN[1], LOGIN[2]]).await;
        answer.assert_error(400, "unsupported_grant_type");
    }
    server.client_with("no-password", |client| client.grant_types = vec![GrantType::RefreshToken]).await;
    server.token("no-password", &LOGIN).await.assert_error(400, "unauthorized_client");
    server.client_with("no-refresh", |client| client.grant_types = vec![GrantType::Password]).await;
    server.refresh("no-refresh", "rt_any").await.assert_error(400, "unauthorized_client");
}

#[tokio::test]
async fn a16_requests_of_two_lengths_are_refused() {
    let server = started(On::Embedded).await;
    let body = "grant_type=password&username=anna&password=a+good+password";
    let head = format!("POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Type: {FORM}\r\n");
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    // The control: without the trick the same bytes log in.
    for good in [
        format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"),
        format!("{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
    ] {
        assert!(raw(&server, good.into_bytes()).await.0.starts_with("HTTP/1.1 200 "));
    }
    for (trick, bad) in [
        ("two lengths", format!("{head}Content-Length: {length}\r\nContent-Length: 5\r\n\r\n{body}")),
        ("a list of lengths", format!("{head}Content-Length: {length}, 5\r\n\r\n{body}")),
        ("a signed length", format!("{head}Content-Length: +{length}\r\n\r\n{body}")),
        ("obs-fold", format!("{head}X-Folded: a\r\n b\r\nContent-Length: {length}\r\n\r\n{body}")),
        ("a space before the colon", format!("{head}Content-Length : {length}\r\n\r\n{body}")),
        ("an encoding that is not chunked", format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n{chunked}")),
        (
            "chunked in HTTP/1.0",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunked}").replace("HTTP/1.1", "HTTP/1.0"),
        ),
    ] {
        let (answer, closed) = raw(&server, bad.into_bytes()).await;
        assert!(closed, "{trick}: {answer}");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "),
            "{trick}: {answer}"
        );
        assert!(!answer.contains("access_token"), "{trick}: {answer}");
    }
}

/// RFC 9112 §6.1: a request with both lengths may be read as chunked, and the connection must be closed then, so
/// that nothing behind it is read as a request.
#[tokio::test]
async fn a16_nothing_is_smuggled_behind_a_request_of_both_lengths() {
    let server = started(On::Embedded).await;
    let hidden = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n";
    let form = "grant_type=refresh_token&refresh_token=x";
    let head = format!("POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Type: {FORM}\r\n");
    let chunked = format!("{:x}\r\n{form}\r\n0\r\n\r\n", form.len());
    let length = chunked.len() + hidden.len();
    for fields in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n".to_owned(),
    ] {
        let (answer, closed) = raw(&server, format!("{head}{fields}\r\n{chunked}{hidden}").into_bytes()).await;
        assert!(closed, "{fields}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{fields}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{fields}: {answer}");
        assert!(!answer.contains("\"keys\""), "{fields}: {answer}");
    }
    // The control: with one length the second request is answered.
    let pair = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunked}{hidden}");
    let (answer, _) = raw(&server, pair.into_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 2, "{answer}");
}

async fn a17_forwarded_headers_of_a_stranger_change_nothing(on: On) {
    let server = started(on).await;
    let forged = |request: reqwest::RequestBuilder| {
        request
            .header("x-forwarded-for", "203.0.113.7")
            .header("x-forwarded-host", "evil.test")
            .header("x-forwarded-proto", "https")
            .header("forwarded", "for=203.0.113.7;host=evil.test;proto=https")
            .header("x-forwarded-client-cert", "Subject=\"CN=app\"")
    };
    let metadata = format!("{}/.well-known/oauth-authorization-server", server.url);
    let plain = Answer::of(server.http.get(&metadata)).await;
    assert_eq!(plain.json()["issuer"], server.url);
    assert_eq!(plain.likeness(), Answer::of(forged(server.http.get(&metadata))).await.likeness());

    let login =
        Answer::of(forged(server.http.post(server.token_url())).header("authorization", BASIC).form(&LOGIN)).await;
    login.assert_tokens();
    assert_eq!(login.claims()["iss"], server.url);
    let refused = Answer::of(forged(server.http.post(server.token_url())).form(&LOGIN)).await;
    refused.assert_error(401, "invalid_client");
    assert_eq!(refused.json()["error_uri"], format!("{}/docs/errors/invalid_client", server.url));
}

#[tokio::test]
async fn an_unknown_path_is_404_in_json() {
    let server = Server::start(On::Embedded).await;
    for path in ["/nothing", "/oauth2/token/", "/oauth2", "/oauth2/authorize/", "//oauth2/token", "/health/live"] {
        Answer::of(server.http.get(format!("{}{path}", server.url))).await.assert_error(404, "not_found");
        Answer::of(server.http.post(format!("{}{path}", server.url)).form(&LOGIN)).await.assert_error(404, "not_found");
    }
}

#[tokio::test]
async fn an_unknown_path_is_a_page_for_a_person() {
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let server = Server::start(On::Embedded).await;
    let mut anna = Person::at(&server);
    anna.headers = vec![("accept", BROWSER.into())];
    for path in ["/nothing", "/oauth2/token/", "/account/cAnArY%3Cscript%3E", "//login"] {
        let page = anna.open(path).await;
        assert_page(&page, 404);
        assert!(page.text.contains("There is no such page") && !page.text.contains("cAnArY"), "{page:?}");
        assert!(page.text.contains(page.header("x-request-id")), "{page:?}");
    }
    anna.headers.push(("accept-language", "de".into()));
    assert!(anna.open("/nothing").await.text.contains("Diese Seite gibt es nicht"));
    // The endpoint's errors stay JSON, and so do those of forms, of scripts, and of who takes anything.
    anna.open("/oauth2/token").await.assert_error(405, "invalid_request");
    anna.post("/nothing", &LOGIN).await.assert_error(404, "not_found");
    for accept in ["*/*", "application/json", ""] {
        anna.headers = vec![("accept", accept.into())];
        anna.open("/nothing").await.assert_error(404, "not_found");
    }
}

#[tokio::test]
async fn http_2_with_prior_knowledge_works() {
    let server = started(On::Embedded).await;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let response = http.post(server.token_url()).header("authorization", BASIC).form(&LOGIN).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.status(), 200);
    Answer::of(http.get(server.token_url())).await.assert_error(405, "invalid_request");
}
