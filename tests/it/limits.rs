//! What a client may cost: header floods, and clients that never finish (security.md F13, F14).

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use regrant::config::{Limits, Passwords};
use tokio::time::Instant;

use crate::{
    support::{On, Server, eventually, raw},
    telemetry::{metrics, series},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_flood_of_headers_is_refused_and_the_connection_closed() {
    let server = Server::start(On::Embedded).await;
    let request = |headers: String| format!("GET /health HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes();
    let many = (0..65).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(40 * 1024));
    for flood in [many, long] {
        let (answer, closed) = raw(&server, request(flood)).await;
        assert!(answer.starts_with("HTTP/1.1 431 ") && closed, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_clients_that_never_finish_keep_nobody_waiting() {
    let server = Server::start(On::Embedded).await;
    server.client("app").await;
    server.user("anna").await;
    let mut token = server.login("app", "anna").await.refresh_token();
    let mut slowest = async || {
        let mut times = vec![];
        for _ in 0..50 {
            let began = Instant::now();
            let answer = server.refresh("app", &token).await;
            answer.assert_tokens();
            times.push(began.elapsed());
            token = answer.refresh_token();
        }
        times.into_iter().max().unwrap_or_default()
    };
    let before = slowest().await;
    let address = server.url.trim_start_matches("http://");
    let unfinished = [
        "",
        "P",
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX-",
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 900\r\n\r\na",
    ];
    let begun = |number: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(unfinished[number % unfinished.len()].as_bytes()).unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..400).map(begun).collect();
    let with = slowest().await;
    println!("slowest of 50 refreshes: {before:?} alone, {with:?} beside {} clients that never finish", held.len());
    assert!(with < Duration::from_secs(2), "{with:?}");
}

const FORM: &str = "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                    Content-Length: 900\r\n\r\n";

/// A server on which everything may take a second, and nothing else differs.
async fn hurried() -> Server {
    Server::start_with(On::Embedded, |config| {
        config.limits =
            Limits { header_seconds: 1, body_seconds: 1, idle_seconds: 1, handshake_seconds: 1, ..Limits::default() };
    })
    .await
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends the start of a request, then one byte every 50 ms, until the server closes the connection. Returns what it said
/// and how long it took.
async fn dribble(mut stream: TcpStream, start: String) -> (String, Duration) {
    let began = Instant::now();
    let talk = move || {
        stream.write_all(start.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut answer = vec![];
        let mut part = [0; 1024];
        loop {
            match stream.read(&mut part) {
                Ok(0) => break,
                Ok(length) => answer.extend(&part[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => drop(stream.write_all(b"a")),
                Err(_) => break,
            }
        }
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), tokio::task::spawn_blocking(talk)).await;
    (answer.expect("closed in time").unwrap(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_header_that_comes_byte_by_byte_ends_its_connection() {
    let server = hurried().await;
    let starts = ["", "P", "GET /health HTTP/1.1\r\nHost: x\r\nX-"];
    for start in starts {
        let (answer, took) = dribble(connect(&server), start.into()).await;
        assert_eq!(answer, "", "{start:?}");
        assert!(took.as_secs_f64() > 0.9, "{start:?}: {took:?}");
    }
    // The second request of a connection has no more time than the first.
    let (answer, took) = dribble(connect(&server), "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /".into()).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    assert!(took.as_secs_f64() > 0.9, "{took:?}");
    assert_eq!(series(&metrics(&server).await, "regrant_header_timeouts_total"), 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_body_that_comes_byte_by_byte_is_refused() {
    let server = hurried().await;
    let (answer, took) = dribble(connect(&server), FORM.into()).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(r#""error":"invalid_request""#), "{answer}");
    assert!(took.as_secs_f64() > 0.9, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_connection_that_asks_nothing_any_more_is_closed_in_order() {
    let server = hurried().await;
    let answer = tokio::task::spawn_blocking({
        let mut stream = connect(&server);
        move || {
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        }
    });
    assert!(answer.await.unwrap().unwrap().starts_with("HTTP/1.1 404 "));
    // HTTP/2 says goodbye, so that no request is lost on the way.
    let frames = talk_http2(&server, headers(1, 5)).await;
    assert_eq!(goodbye(&frames), Some(0), "{frames:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_client_that_takes_no_answer_is_cut_off() {
    let server = hurried().await;
    let open = async || series(&metrics(&server).await, "regrant_open_connections");
    let mut stream = connect(&server);
    // More than the kernel's buffers take.
    let request = "GET /docs/swagger-ui.js HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.repeat(40).as_bytes()).unwrap();
    eventually("it is connected", async || open().await >= 2.0).await;
    // What remains is the connection that asks.
    eventually("it is cut off", async || open().await == 1.0).await;
    drop(stream);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_connections_beyond_the_limit_wait() {
    let server = Server::start_with(On::Embedded, |config| {
        config.limits = Limits { connections: 16, header_seconds: 60, ..Limits::default() };
    })
    .await;
    let open = async || series(&metrics(&server).await, "regrant_open_connections");
    let mut held: Vec<TcpStream> = (0..40).map(|_| connect(&server)).collect();
    // One more is the connection that asks, at the management address.
    eventually("16 are served", async || open().await == 17.0).await;
    held.truncate(20);
    eventually("and no more", async || open().await == 17.0).await;
    held.clear();
    let answer = server.http.get(format!("{}/health", server.url)).send().await.unwrap();
    assert_eq!(answer.status(), 404);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /` (RFC 7541 Appendix A). Flags: 1 ends the stream, 4 ends the header.
fn headers(stream: u32, flags: u8) -> Vec<u8> {
    frame(1, flags, stream, &[0x82, 0x86, 0x84, 0x41, 1, b'x'])
}

/// Sends frames of HTTP/2 without an end, as far as the server lets it, and returns all that comes back.
async fn talk_http2(server: &Server, frames: Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let mut stream = connect(server);
    let mut sending = stream.try_clone().unwrap();
    let write = move || {
        sending.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        sending.write_all(&frame(4, 0, 0, &[])).unwrap();
        drop(sending.write_all(&frames));
    };
    let read = move || {
        let mut bytes = vec![];
        // A server that closes with bytes unread resets the connection.
        drop(stream.read_to_end(&mut bytes));
        let mut rest = bytes.as_slice();
        let mut frames = vec![];
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            frames.push((head[3], payload.to_vec()));
            rest = after;
        }
        frames
    };
    let (written, frames) = tokio::join!(tokio::task::spawn_blocking(write), tokio::task::spawn_blocking(read));
    written.unwrap();
    frames.unwrap()
}

/// The error code of the last GOAWAY (RFC 9113 §6.8).
fn goodbye(frames: &[(u8, Vec<u8>)]) -> Option<u32> {
    let (_, payload) = frames.iter().rfind(|(kind, _)| *kind == 7)?;
    Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}

/// CVE-2023-44487.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_client_that_takes_its_requests_back_at_once_is_sent_away() {
    let server = Server::start(On::Embedded).await;
    let reset = |stream: u32| [headers(stream, 5), frame(3, 0, stream, &8_u32.to_be_bytes())].concat();
    let frames = talk_http2(&server, (0..20_000).flat_map(|number| reset(2 * number + 1)).collect()).await;
    // ENHANCE_YOUR_CALM
    assert_eq!(goodbye(&frames), Some(11), "{:?}", frames.last());
    let answer = server.http.get(format!("{}/health", server.url)).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    let answered = series(&metrics(&server).await, "regrant_http_request_duration_seconds_count");
    assert!(answered < 1000.0, "{answered}");
}

/// CVE-2024-27316 and its like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_header_without_an_end_ends_the_connection() {
    let server = Server::start(On::Embedded).await;
    // A literal header field that is not indexed, as often as a frame holds it.
    let fields: Vec<u8> = [&[0, 1, b'a', 100][..], &[b'b'; 100]].concat().repeat(150);
    let flood: Vec<u8> = (0..1000).flat_map(|_| frame(9, 0, 1, &fields)).collect();
    let frames = talk_http2(&server, [headers(1, 1), flood].concat()).await;
    assert_eq!(goodbye(&frames), Some(11), "{:?}", frames.last());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_logins_that_are_taken_back_do_not_pile_up() {
    // One hash takes some hundredths of a second, so that they could.
    let server = Server::start_with(On::Embedded, |config| {
        config.passwords =
            Passwords { memory_kib: 19 * 1024, iterations: 4, threads: 1, queue: 8, ..Passwords::default() };
    })
    .await;
    server.client("app").await;
    server.user("anna").await;
    let stream = tokio::net::TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let (sender, connection) =
        http2::handshake::<_, _, String>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let begun = async || series(&metrics(&server).await, "regrant_store_operation_duration_seconds_count");
    for round in 0..5 {
        let mut logins = tokio::task::JoinSet::new();
        for number in 0..64 {
            let request = Request::post(server.token_url())
                .header("Authorization", "Basic YXBwOnNlY3JldA==")
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(format!("grant_type=password&username=nobody-{round}-{}&password=wrong", number % 2))
                .unwrap();
            let mut sender = sender.clone();
            logins.spawn(async move { sender.send_request(request).await });
        }
        let before = begun().await;
        eventually("some have reached the store", async || begun().await > before).await;
        let waiting = series(&metrics(&server).await, "regrant_password_queue_length");
        assert!(waiting <= 8.0, "{waiting}");
        logins.shutdown().await;
    }
    eventually("others sign in", async || server.login("app", "anna").await.status == 200).await;
}
