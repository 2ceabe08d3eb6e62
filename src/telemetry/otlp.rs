//! Sends spans to a collector, by OTLP over HTTP with JSON (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>). A collector
//! that does not answer costs memory for a bounded number of spans, and nothing else.
//!
//! Not here: what is recorded, see `telemetry/traces.rs`.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc::Receiver, oneshot},
    time::{Instant, timeout},
};
use url::Url;

use super::traces::{Finished, Message};
use crate::clock::random_bytes;

/// Requests that are sent together.
const BATCH: usize = 256;
/// How long spans wait for others to be sent with.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the collector may take; what it does not take then is forgotten.
const ANSWER: Duration = Duration::from_secs(5);

/// Sends what arrives, until the server ends.
pub(super) async fn send(endpoint: Url, mut waiting: Receiver<Message>) {
    let resource = resource();
    let mut reachable = true;
    while let Some(first) = waiting.recv().await {
        let (batch, flushed) = collect(first, &mut waiting).await;
        if !batch.is_empty() {
            let spans: Vec<Value> = batch.iter().flat_map(spans).collect();
            let scope = json!({ "name": "regrant", "version": env!("CARGO_PKG_VERSION") });
            let body = json!({ "resourceSpans": [
                { "resource": resource, "scopeSpans": [{ "scope": scope, "spans": spans }] }
            ]});
            let sent = timeout(ANSWER, post(&endpoint, body.to_string())).await;
            match sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(()) => reachable = true,
                // Told once, and again after it worked meanwhile.
                Err(error) if reachable => {
                    reachable = false;
                    tracing::warn!(%error, host = endpoint.host_str(), "the collector takes no traces");
                }
                Err(_) => {}
            }
        }
        if let Some(flushed) = flushed {
            // Who waited may have given up.
            flushed.send(()).unwrap_or_default();
        }
    }
}

/// What arrives together with the first.
async fn collect(first: Message, waiting: &mut Receiver<Message>) -> (Vec<Finished>, Option<oneshot::Sender<()>>) {
    let mut batch = vec![];
    let until = Instant::now() + PAUSE;
    let mut next = Some(first);
    loop {
        match next {
            Some(Message::Finished(finished)) => batch.push(*finished),
            Some(Message::Flush(flushed)) => return (batch, Some(flushed)),
            None => return (batch, None),
        }
        if batch.len() >= BATCH {
            return (batch, None);
        }
        next = tokio::time::timeout_at(until, waiting.recv()).await.ok().flatten();
    }
}

/// One request to the collector, on a connection of its own: once a second, so that nothing has to be kept alive.
async fn post(endpoint: &Url, body: String) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let host = endpoint.host_str().ok_or_else(invalid)?;
    let port = endpoint.port_or_known_default().ok_or_else(invalid)?;
    // The URL writes an IPv6 address in brackets, which the system's resolver doesn't know.
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n",
        path = endpoint.path(),
        length = body.len(),
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    // `HTTP/1.1 200`
    match status.get(9) {
        Some(b'2') => Ok(()),
        _ => Err(io::Error::other(format!("it answers {}", String::from_utf8_lossy(&status).escape_debug()))),
    }
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn resource() -> Value {
    let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    json!({ "attributes": [
        attribute("service.name", name.as_deref().unwrap_or("regrant")),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
        attribute("service.instance.id", &hex(&random_bytes::<16>())),
    ]})
}

/// The spans of a request: its own, and one for each thing that it waited for.
fn spans(finished: &Finished) -> Vec<Value> {
    let Finished { trace, parent, began, ended, answered, grant_type, outcome, children } = finished;
    let end = i128::from(answered.now.0) * 1_000_000;
    let wall = |moment: Instant| {
        let before = i128::try_from(ended.saturating_duration_since(moment).as_nanos()).unwrap_or(0);
        (end - before).to_string()
    };
    // 1 is a span within the server, 2 that of a server; status 2 is an error.
    let span = |id: &str, parent: &str, name: &str, kind: u8, from: Instant, to: Instant, failed: bool, more: Value| {
        json!({
            "traceId": hex(trace), "spanId": id, "parentSpanId": parent, "name": name, "kind": kind,
            "startTimeUnixNano": wall(from), "endTimeUnixNano": wall(to), "attributes": more,
            "status": if failed { json!({ "code": 2 }) } else { json!({}) },
        })
    };
    let id = hex(&random_bytes::<8>());
    let mut attributes = vec![
        attribute("http.request.method", answered.method),
        json!({ "key": "http.response.status_code", "value": { "intValue": answered.status.to_string() } }),
        attribute("regrant.request_id", &answered.request_id),
    ];
    let optional =
        [("http.route", answered.route.as_deref()), ("regrant.grant_type", *grant_type), ("regrant.outcome", *outcome)];
    attributes.extend(optional.iter().filter_map(|(key, value)| Some(attribute(key, (*value)?))));
    let name = match &answered.route {
        Some(route) => format!("{} {route}", answered.method),
        None => answered.method.to_owned(),
    };
    let parent = parent.map(|parent| hex(&parent)).unwrap_or_default();
    let failed = answered.status >= 500;
    let mut spans = vec![span(&id, &parent, &name, 2, *began, *ended, failed, attributes.into())];
    spans.extend(children.iter().map(|child| {
        span(&hex(&random_bytes::<8>()), &id, child.name, 1, child.began, child.ended, child.failed, json!([]))
    }));
    spans
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
