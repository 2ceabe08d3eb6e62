//! What a collector of traces gets to see, and what happens when there is none.

use std::sync::{Arc, Mutex};

use regrant::config::Config;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    time::{Duration, Instant},
};

use crate::support::{Answer, On, Server, eventually};

/// A collector that keeps what it gets.
#[derive(Clone)]
pub struct Collector {
    pub endpoint: String,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let collector = Self { endpoint, bodies: Arc::default() };
        let bodies = Arc::clone(&collector.bodies);
        tokio::spawn(async move {
            loop {
                let mut stream = BufReader::new(listener.accept().await.unwrap().0);
                let (mut head, mut length) = (String::new(), 0);
                while stream.read_line(&mut head).await.unwrap() > 2 {}
                for line in head.lines() {
                    length = line.strip_prefix("Content-Length: ").map_or(length, |length| length.parse().unwrap());
                }
                assert!(
                    head.starts_with("POST /v1/traces HTTP/1.1\r\n") && head.contains("\r\nHost: 127.0.0.1:"),
                    "{head}"
                );
                assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                bodies.lock().unwrap().push(String::from_utf8(body).unwrap());
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
            }
        });
        collector
    }

    /// Everything, as it came.
    pub fn text(&self) -> String {
        self.bodies.lock().unwrap().concat()
    }

    /// All spans.
    fn spans(&self) -> Vec<Value> {
        let bodies = self.bodies.lock().unwrap();
        let bodies = bodies.iter().map(|body| serde_json::from_str::<Value>(body).unwrap());
        let spans = bodies.map(|body| body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone());
        spans.flatten().collect()
    }
}

fn to(endpoint: &str) -> impl FnOnce(&mut Config) {
    let endpoint = endpoint.to_owned();
    move |config| config.telemetry.traces_endpoint = endpoint
}

/// The attributes of a span, as text.
fn attributes(span: &Value) -> Vec<(String, String)> {
    let all = span["attributes"].as_array().unwrap().iter().map(|attribute| {
        let value = attribute["value"].as_object().unwrap().values().next().unwrap();
        (attribute["key"].as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned())
    });
    all.filter(|(key, _)| key != "regrant.request_id").collect()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_a_span_with_what_it_waited_for() {
    let collector = Collector::start().await;
    let server = Server::start_with(On::Embedded, to(&collector.endpoint)).await;
    server.client("app").await;
    server.user("anna").await;
    let token = server.login("app", "anna").await.refresh_token();
    let refresh = async |flags: &str, token: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let request = server.http.post(server.token_url()).basic_auth("app", Some("secret")).form(&form);
        Answer::of(request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-{flags}"))).await
    };
    let second = refresh("01", &token).await;
    // The caller's trace is not recorded, and neither is this.
    let third = refresh("00", &second.refresh_token()).await;
    third.assert_tokens();
    let stranger = server.http.get(format!("{}/secret-cAnArY?code=cAnArY", server.url)).header("user-agent", "cAnArY");
    assert_eq!(Answer::of(stranger).await.status, 404);
    server.app.traces.as_ref().unwrap().flush().await;

    let spans = collector.spans();
    let requests: Vec<&Value> = spans.iter().filter(|span| span["kind"] == 2).collect();
    let said: Vec<_> = requests.iter().map(|span| (span["name"].as_str().unwrap(), attributes(span))).collect();
    let attribute = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let token_request = |grant_type: &str, outcome: &str| {
        vec![
            attribute("http.request.method", "POST"),
            attribute("http.response.status_code", "200"),
            attribute("http.route", "/oauth2/token"),
            attribute("regrant.grant_type", grant_type),
            attribute("regrant.outcome", outcome),
        ]
    };
    let unknown = vec![attribute("http.request.method", "GET"), attribute("http.response.status_code", "404")];
    assert_eq!(
        said,
        [
            ("POST /oauth2/token", token_request("password", "granted")),
            ("POST /oauth2/token", token_request("refresh_token", "rotated")),
            ("GET", unknown),
        ]
    );
    let within = |span: &Value| {
        let children = spans.iter().filter(|child| child["parentSpanId"] == span["spanId"]);
        for child in children.clone() {
            assert_eq!((&child["traceId"], &child["kind"]), (&span["traceId"], &Value::from(1)));
            for (moment, inside) in [("startTimeUnixNano", true), ("endTimeUnixNano", false)] {
                let [child, span] = [child, span].map(|span| span[moment].as_str().unwrap().parse::<i64>().unwrap());
                assert!(child == span || (child > span) == inside, "{moment}");
            }
        }
        children.map(|child| child["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let login = within(requests[0]);
    assert_eq!(login.iter().filter(|name| *name == "hash").count(), 1, "{login:?}");
    assert!(login.iter().filter(|name| *name == "store").count() >= 2, "{login:?}");
    assert_eq!(within(requests[1]), ["store"]);
    assert_eq!(requests[1]["traceId"], TRACE);
    assert_eq!(requests[1]["parentSpanId"], "00f067aa0ba902b7");
    assert_ne!(requests[0]["traceId"], TRACE);
    assert!(!collector.text().contains(third.header("x-request-id")) && !collector.text().contains("cAnArY"));
    assert!(collector.text().contains(second.header("x-request-id")), "the log and the trace find each other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_sends_its_last_spans() {
    let collector = Collector::start().await;
    let server = Server::start_with(On::Embedded, to(&collector.endpoint)).await;
    server.token("nobody", &[("grant_type", "client_credentials")]).await.assert_error(401, "invalid_client");
    drop(server);
    eventually("the span is there", async || collector.text().contains("invalid_client")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_does_not_answer_slows_nothing() {
    // The kernel accepts for it; nobody ever reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/v1/traces", silent.local_addr().unwrap());
    let nobody = "http://127.0.0.1:9/v1/traces";
    for endpoint in [silent.as_str(), nobody] {
        let server = Server::start_with(On::Embedded, to(endpoint)).await;
        server.client("app").await;
        server.user("anna").await;
        let mut answer = server.login("app", "anna").await;
        let began = Instant::now();
        for _ in 0..400 {
            answer = server.refresh("app", &answer.refresh_token()).await;
            answer.assert_tokens();
        }
        // Any wait for the collector would be a second or five.
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    }
}
