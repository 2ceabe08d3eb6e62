//! What a client may cost: header floods, and clients that never finish (security.md F13, F14).

use std::{io::Write as _, net::TcpStream, time::Duration};

use tokio::time::Instant;

use crate::support::{On, Server, raw};

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
