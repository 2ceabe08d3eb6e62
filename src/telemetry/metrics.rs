//! What a server counts and measures, in the form and with the names that Prometheus wants
//! (<https://prometheus.io/docs/practices/naming/>). Labels are words from closed lists: nothing that a client sends becomes
//! one.
//!
//! Not here: the page, see `http/management.rs`; the alerts on them, see `deploy/alerts.yaml`.

use std::{fmt, sync::atomic::AtomicI64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

use tokio::time::Instant;

use super::{history::History, traces::Waiting};

/// A token request, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenRequest {
    grant_type: &'static str,
    outcome: &'static str,
}

/// One word that says how something ended or what it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What was used twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Used {
    kind: &'static str,
}

/// The class of a response.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusClass {
    status: &'static str,
}

/// How long a store takes, and how often it fails. Each store has one.
#[derive(Clone, Debug)]
pub struct StoreMeter {
    duration: Histogram,
    failures: Counter,
}

impl Default for StoreMeter {
    fn default() -> Self {
        // 0.25 ms to 8 s: a command to Redis, to the longest wait for the embedded store.
        Self { duration: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)), failures: Counter::default() }
    }
}

impl StoreMeter {
    /// Begins to measure an operation.
    pub fn begin(&self) -> Operation<'_> {
        Operation { meter: self, began: Instant::now(), waiting: Waiting::begin("store") }
    }
}

/// An operation of the store that is being measured.
#[derive(Debug)]
pub struct Operation<'m> {
    meter: &'m StoreMeter,
    began: Instant,
    waiting: Waiting,
}

impl Operation<'_> {
    /// Ends with an outcome, and hands it on.
    pub fn end<T, E>(self, outcome: Result<T, E>) -> Result<T, E> {
        self.meter.duration.observe(self.began.elapsed().as_secs_f64());
        self.waiting.end(outcome.is_err());
        if outcome.is_err() {
            self.meter.failures.inc();
        }
        outcome
    }
}

/// What the metrics say at one moment, besides what was counted.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// Logins that wait for a thread.
    pub password_queue: usize,
    /// Logins that may wait.
    pub password_queue_limit: usize,
    /// Since when the active signing key has signed, seconds.
    pub signing_key_age: i64,
}

/// Everything that one server counts.
pub struct Metrics {
    /// The same, minute by minute.
    pub history: History,
    registry: Registry,
    token_requests: Family<TokenRequest, Counter>,
    replays: Family<Used, Counter>,
    sign_ins: Family<Outcome, Counter>,
    responses: Family<StatusClass, Counter>,
    request_duration: Histogram,
    connections: Gauge,
    header_timeouts: Counter,
    traces_dropped: Counter,
    tls_handshakes: Family<Outcome, Counter>,
    certificate_expiry: Gauge<i64, AtomicI64>,
    certificate_reloads: Family<Outcome, Counter>,
    password_queue: Gauge,
    password_queue_limit: Gauge,
    signing_key_age: Gauge<i64, AtomicI64>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Metrics of a server on this store.
    pub fn new(store: &StoreMeter) -> Self {
        let mut metrics = Self {
            history: History::default(),
            registry: Registry::with_prefix("regrant"),
            token_requests: Family::default(),
            replays: Family::default(),
            sign_ins: Family::default(),
            responses: Family::default(),
            request_duration: Histogram::new(exponential_buckets(0.000_5, 2.0, 15)),
            connections: Gauge::default(),
            header_timeouts: Counter::default(),
            traces_dropped: Counter::default(),
            tls_handshakes: Family::default(),
            certificate_expiry: Gauge::default(),
            certificate_reloads: Family::default(),
            password_queue: Gauge::default(),
            password_queue_limit: Gauge::default(),
            signing_key_age: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("build", "The version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("token_requests", "Token requests by grant type and outcome", metrics.token_requests.clone());
        registry.register("replays", "What was used twice and ended its grant", metrics.replays.clone());
        registry.register("sign_ins", "Checks of a password by outcome", metrics.sign_ins.clone());
        registry.register("http_responses", "Responses by class of status", metrics.responses.clone());
        let seconds = || Unit::Seconds;
        let duration = metrics.request_duration.clone();
        registry.register_with_unit("http_request_duration", "Time to answer a request", seconds(), duration);
        registry.register("open_connections", "Connections that are open", metrics.connections.clone());
        let timeouts = metrics.header_timeouts.clone();
        registry.register("header_timeouts", "Connections ended because a request never came whole", timeouts);
        let dropped = metrics.traces_dropped.clone();
        registry.register("traces_dropped", "Requests whose spans found no room to wait", dropped);
        registry.register("tls_handshakes", "TLS handshakes by outcome", metrics.tls_handshakes.clone());
        let expiry = metrics.certificate_expiry.clone();
        let help = "When the TLS certificate in use expires; 0 without TLS";
        registry.register_with_unit("tls_certificate_expiry_timestamp", help, seconds(), expiry);
        let reloads = metrics.certificate_reloads.clone();
        registry.register("tls_certificate_reloads", "Changes of the certificate's files by outcome", reloads);
        registry.register("password_queue_length", "Logins that wait to be hashed", metrics.password_queue.clone());
        let limit = metrics.password_queue_limit.clone();
        registry.register("password_queue_limit", "Logins that may wait; beyond it the answer is 503", limit);
        let age = metrics.signing_key_age.clone();
        registry.register_with_unit("signing_key_age", "Since when the active signing key has signed", seconds(), age);
        let operations = store.duration.clone();
        registry.register_with_unit("store_operation_duration", "Time of a store operation", seconds(), operations);
        registry.register("store_errors", "Store operations that failed", store.failures.clone());
        // A series that is there from the start shows its first count as an increase.
        for kind in ["refresh_token", "authorization_code", "device_code"] {
            drop(metrics.replays.get_or_create(&Used { kind }));
        }
        for outcome in ["succeeded", "refused", "throttled", "unavailable"] {
            drop(metrics.sign_ins.get_or_create(&Outcome { outcome }));
        }
        for outcome in ["succeeded", "failed", "timed_out"] {
            drop(metrics.tls_handshakes.get_or_create(&Outcome { outcome }));
        }
        for outcome in ["succeeded", "refused"] {
            drop(metrics.certificate_reloads.get_or_create(&Outcome { outcome }));
        }
        metrics
    }

    /// Counts a request whose spans are forgotten.
    pub fn trace_dropped(&self) {
        self.traces_dropped.inc();
    }

    /// Counts a TLS handshake.
    pub fn tls_handshake(&self, outcome: &'static str) {
        self.tls_handshakes.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a connection that ended because a request never came whole.
    pub fn header_timeout(&self) {
        self.header_timeouts.inc();
    }

    /// Counts a change of the certificate's files.
    pub fn certificate_reload(&self, outcome: &'static str) {
        self.certificate_reloads.get_or_create(&Outcome { outcome }).inc();
    }

    /// Notes when the certificate in use expires, seconds since the epoch.
    pub fn certificate_expires(&self, seconds: i64) {
        self.certificate_expiry.set(seconds);
    }

    /// Counts a token request.
    pub fn token_request(&self, grant_type: Option<&'static str>, outcome: &'static str) {
        let grant_type = grant_type.unwrap_or("unknown");
        self.token_requests.get_or_create(&TokenRequest { grant_type, outcome }).inc();
        self.history.totals.token_request(outcome);
    }

    /// Counts something that was used twice.
    pub fn replay(&self, kind: &'static str) {
        self.replays.get_or_create(&Used { kind }).inc();
        self.history.totals.replay();
    }

    /// Counts the check of a password.
    pub fn sign_in(&self, outcome: &'static str) {
        self.sign_ins.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts and measures a response.
    pub fn response(&self, status: u16, seconds: f64) {
        // The two by which clients are told to come back count for themselves.
        let class = match (status, status / 100) {
            (429, _) => "429",
            (503, _) => "503",
            (_, 1..=3) => "ok",
            (_, 4) => "4xx",
            _ => "5xx",
        };
        self.responses.get_or_create(&StatusClass { status: class }).inc();
        self.request_duration.observe(seconds);
    }

    /// Counts a connection in, and out again when the guard goes.
    pub fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// The page, in the text format of OpenMetrics.
    pub fn page(&self, now: Snapshot) -> String {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.password_queue.set(number(now.password_queue));
        self.password_queue_limit.set(number(now.password_queue_limit));
        self.signing_key_age.set(now.signing_key_age);
        let mut page = String::new();
        match encode(&mut page, &self.registry) {
            Ok(()) => page,
            Err(error) => format!("# {error}\n"),
        }
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct OpenConnection(Gauge<i64, AtomicI64>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
