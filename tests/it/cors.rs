//! Which endpoints pages of other origins may call.

use reqwest::Method;

use crate::support::{Answer, On, Server};

const OPEN: [(&str, &str); 4] = [
    ("/oauth2/token", "POST"),
    ("/oauth2/revoke", "POST"),
    ("/.well-known/oauth-authorization-server", "GET"),
    ("/.well-known/jwks.json", "GET"),
];

fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap()
}

async fn preflight(server: &Server, path: &str, wanted: &str) -> Answer {
    let request = server.http.request(Method::OPTIONS, format!("{}{path}", server.url));
    let request = request.header("origin", "https://app.example").header("access-control-request-method", wanted);
    Answer::of(request.header("access-control-request-headers", "authorization")).await
}

#[tokio::test]
async fn pages_of_every_origin_may_call_the_endpoints_without_cookies() {
    let server = Server::start(On::Embedded).await;
    for (path, wanted) in OPEN {
        let answer = preflight(&server, path, wanted).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-allow-methods"), wanted);
        assert_eq!(answer.header("access-control-allow-headers"), "Authorization, Content-Type");
        assert_eq!(answer.header("access-control-max-age"), "7200");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        // Errors too, or a page could not tell why.
        let request = server.http.request(method(wanted), format!("{}{path}", server.url));
        let answer = Answer::of(request.header("origin", "https://app.example")).await;
        assert_eq!(answer.status, if wanted == "GET" { 200 } else { 400 }, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-expose-headers"), "Retry-After, WWW-Authenticate, X-Request-Id");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        let answer = Answer::of(server.http.delete(format!("{}{path}", server.url))).await;
        answer.assert_error(405, "invalid_request");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn a51_nothing_else_is_shared() {
    let server = Server::start(On::Embedded).await;
    for path in
        ["/oauth2/authorize", "/oauth2/introspect", "/admin/grants", "/account", "/device", "/docs", "/session", "/"]
    {
        for wanted in ["GET", "POST"] {
            let request = server.http.request(method(wanted), format!("{}{path}", server.url));
            let plain = Answer::of(request.header("origin", "https://app.example")).await;
            for answer in [preflight(&server, path, wanted).await, plain] {
                assert_eq!(answer.header("access-control-allow-origin"), "", "{path} {answer:?}");
            }
        }
    }
}
