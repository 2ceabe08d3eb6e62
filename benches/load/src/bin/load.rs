//! Asks a token endpoint the same thing again and again, and says how long that took.
//!
//! Each connection is one keep-alive HTTP/1.1 client with a request of its own in flight. In a closed loop it asks as fast
//! as it is answered; at a fixed rate every request has a due time, and its latency counts from then, so that a server
//! that stalls can't hide the requests it kept from being sent (coordinated omission).

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;
use memchr::{memchr, memmem};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::LocalSet,
};

#[derive(Parser)]
struct Arguments {
    /// HOST:PORT of the server
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: String,
    /// The token endpoint
    #[arg(long, default_value = "/oauth2/token")]
    path: String,
    /// The introspection endpoint
    #[arg(long, default_value = "/oauth2/introspect")]
    introspection_path: String,
    #[arg(long, value_enum)]
    mode: Mode,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests a second over all connections; left out: as fast as the answers come
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds that are not counted at the start
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// CLIENT_ID:SECRET; without the secret a public client
    #[arg(long, default_value = "demo:demo-secret")]
    client: String,
    /// The user of connection n is PREFIX followed by n divided by --per-user
    #[arg(long, default_value = "load-")]
    user_prefix: String,
    /// Connections that share a user: more than a hundred grants of one crowd each other out
    #[arg(long, default_value_t = 50)]
    per_user: usize,
    #[arg(long, default_value = "load-password")]
    password: String,
    /// Send a wrong password in `password` mode
    #[arg(long)]
    wrong_password: bool,
    /// A file with one refresh token a line to begin with, instead of logging in; a connection takes turns with its share
    #[arg(long)]
    refresh_tokens: Option<std::path::PathBuf>,
    /// Write the refresh tokens of the end into this file, one a line
    #[arg(long)]
    keep_tokens: Option<std::path::PathBuf>,
    /// The name of the JSON member or cookie-free field that carries the refresh token
    #[arg(long, default_value = "refresh_token")]
    token_member: String,
    /// A process whose clock ticks between the warm-up and the end are in the answer; may be given more than once
    #[arg(long)]
    process: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Refresh,
    Password,
    ClientCredentials,
    Introspect,
}

#[derive(Default)]
struct Counts {
    statuses: BTreeMap<u16, u64>,
    transport_errors: u64,
}

struct Record {
    latency: Histogram<u64>,
    counts: Counts,
    counting: bool,
}

type Due = Rc<Mutex<mpsc::UnboundedReceiver<Instant>>>;

fn main() {
    let arguments = Rc::new(Arguments::parse());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = LocalSet::new().block_on(&runtime, run(Rc::clone(&arguments)));
    println!("{report}");
}

async fn run(arguments: Rc<Arguments>) -> serde_json::Value {
    let seeds: Vec<String> = arguments
        .refresh_tokens
        .as_ref()
        .map(|file| std::fs::read_to_string(file).expect("the file of tokens").lines().map(str::to_owned).collect())
        .unwrap_or_default();
    let mut clients = Vec::with_capacity(arguments.connections);
    for number in 0..arguments.connections {
        let mut client = Client::connect(&arguments, number).await;
        client.prepare(&arguments, seeds.iter().skip(number).step_by(arguments.connections).cloned().collect()).await;
        clients.push(client);
        // A listener's queue may be as short as 128, and who finds it full waits for a second.
        if number % 64 == 63 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    let latency = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds");
    let record = Rc::new(RefCell::new(Record { latency, counts: Counts::default(), counting: false }));
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(arguments.warm_up + arguments.seconds);
    let due = arguments.rate.map(|rate| schedule(rate, begin, end));
    let workers: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let (record, due, arguments) = (Rc::clone(&record), due.clone(), Rc::clone(&arguments));
            tokio::task::spawn_local(work(client, arguments, record, due, end))
        })
        .collect();
    tokio::time::sleep(Duration::from_secs_f64(arguments.warm_up)).await;
    record.borrow_mut().counting = true;
    let counted_from = Instant::now();
    let ticks_before: Vec<u64> = arguments.process.iter().map(ticks).collect();
    let mut last_tokens = String::new();
    for worker in workers {
        for token in worker.await.expect("a worker") {
            last_tokens += &(token + "\n");
        }
    }
    let spent = arguments.process.iter().zip(ticks_before).map(|(id, before)| (id.to_string(), ticks(id) - before));
    let spent: BTreeMap<_, _> = spent.collect();
    if let Some(file) = &arguments.keep_tokens {
        std::fs::write(file, last_tokens).expect("the file of tokens");
    }
    let elapsed = counted_from.elapsed().as_secs_f64();
    let record = record.borrow();
    let answered: u64 = record.counts.statuses.values().sum();
    let at = |quantile| record.latency.value_at_quantile(quantile) as f64 / 1000.0;
    json!({
        "connections": arguments.connections,
        "rate": arguments.rate,
        "seconds": elapsed,
        "answered": answered,
        "per_second": answered as f64 / elapsed,
        "ok_per_second": record.counts.statuses.get(&200).copied().unwrap_or(0) as f64 / elapsed,
        "statuses": record.counts.statuses.iter().map(|(status, n)| (status.to_string(), n)).collect::<BTreeMap<_, _>>(),
        "transport_errors": record.counts.transport_errors,
        "ticks": spent,
        "milliseconds": { "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": record.latency.max() as f64 / 1000.0 },
    })
}

/// The processor time of a process, user and system, in clock ticks (proc_pid_stat(5), fields 14 and 15).
fn ticks(process: &u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process lives");
    // The second field is the name, which may contain anything; it ends with the last parenthesis.
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// A thread that says when each request is due: `nanosleep` is finer than the runtime's milliseconds.
fn schedule(rate: f64, begin: Instant, end: Instant) -> Due {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for number in 0_u64.. {
            let due = begin + Duration::from_secs_f64(number as f64 / rate);
            if due >= end {
                return;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send(due).is_err() {
                return;
            }
        }
    });
    Rc::new(Mutex::new(receiver))
}

async fn work(
    mut client: Client,
    arguments: Rc<Arguments>,
    record: Rc<RefCell<Record>>,
    due: Option<Due>,
    end: Instant,
) -> VecDeque<String> {
    loop {
        let start = match &due {
            None => Instant::now(),
            Some(due) => match due.lock().await.recv().await {
                Some(due) => due,
                None => return client.refresh_tokens,
            },
        };
        if due.is_none() && start >= end {
            return client.refresh_tokens;
        }
        let answered = client.ask(&arguments).await;
        let mut record = record.borrow_mut();
        if !record.counting {
            continue;
        }
        match answered {
            Some(status) => {
                *record.counts.statuses.entry(status).or_default() += 1;
                record.latency.saturating_record(start.elapsed().as_micros() as u64);
            }
            None => record.counts.transport_errors += 1,
        }
    }
}

struct Client {
    stream: TcpStream,
    number: usize,
    /// The headers that are the same in every request, and what a public client adds to its forms.
    headers: String,
    public: String,
    /// The first is the next to be used.
    refresh_tokens: VecDeque<String>,
    access_token: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    async fn connect(arguments: &Arguments, number: usize) -> Self {
        let stream = TcpStream::connect(&arguments.address).await.expect("the server listens");
        stream.set_nodelay(true).expect("no delay");
        let (authorization, public) = if arguments.client.contains(':') {
            (format!("Authorization: Basic {}\r\n", STANDARD.encode(&arguments.client)), String::new())
        } else {
            (String::new(), format!("&client_id={}", arguments.client))
        };
        let headers = format!(
            "Host: {}\r\n{authorization}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ",
            arguments.address
        );
        Self {
            stream,
            number,
            headers,
            public,
            refresh_tokens: VecDeque::new(),
            access_token: String::new(),
            request: Vec::with_capacity(1024),
            answer: Vec::with_capacity(4096),
        }
    }

    /// Gets the tokens that the mode begins with.
    async fn prepare(&mut self, arguments: &Arguments, seeds: VecDeque<String>) {
        match arguments.mode {
            Mode::Refresh | Mode::Introspect if !seeds.is_empty() => self.refresh_tokens = seeds,
            Mode::Refresh | Mode::Introspect => {
                let form = self.login_form(arguments);
                let status = self.post(&arguments.path, &form).await;
                assert_eq!(status, Some(200), "login: {}", String::from_utf8_lossy(&self.answer));
                self.take_refresh_token(arguments);
                self.access_token = self.member("access_token").unwrap_or_default();
            }
            _ => {}
        }
    }

    fn login_form(&self, arguments: &Arguments) -> String {
        let user = self.number / arguments.per_user;
        let wrong = if arguments.wrong_password { "-wrong" } else { "" };
        format!("grant_type=password&username={}{user}&password={}{wrong}", arguments.user_prefix, arguments.password)
    }

    async fn ask(&mut self, arguments: &Arguments) -> Option<u16> {
        let (path, form) = match arguments.mode {
            Mode::Refresh => {
                (&arguments.path, format!("grant_type=refresh_token&refresh_token={}", self.refresh_tokens[0]))
            }
            Mode::Password => (&arguments.path, self.login_form(arguments)),
            Mode::ClientCredentials => (&arguments.path, "grant_type=client_credentials".to_owned()),
            Mode::Introspect => (&arguments.introspection_path, format!("token={}", self.access_token)),
        };
        let status = self.post(path, &form).await;
        if status.is_none() {
            *self = Self {
                refresh_tokens: std::mem::take(&mut self.refresh_tokens),
                access_token: std::mem::take(&mut self.access_token),
                ..Self::connect(arguments, self.number).await
            };
        }
        if status == Some(200) && arguments.mode == Mode::Refresh {
            self.take_refresh_token(arguments);
            self.refresh_tokens.rotate_left(1);
        }
        status
    }

    /// A text of the answer, by the name of its JSON member.
    fn member(&self, name: &str) -> Option<String> {
        let at = memmem::find(&self.answer, format!("\"{name}\":").as_bytes())? + name.len() + 3;
        let value = self.answer[at..].trim_ascii_start().strip_prefix(b"\"")?;
        let end = memchr(b'"', value)?;
        std::str::from_utf8(&value[..end]).ok().map(str::to_owned)
    }

    fn take_refresh_token(&mut self, arguments: &Arguments) {
        if let Some(token) = self.member(&arguments.token_member) {
            self.refresh_tokens.pop_front();
            self.refresh_tokens.push_front(token);
        }
    }

    /// Sends a form and reads the whole answer; `None` when the connection broke.
    async fn post(&mut self, path: &str, form: &str) -> Option<u16> {
        use std::io::Write as _;
        self.request.clear();
        let (headers, public) = (&self.headers, &self.public);
        let length = form.len() + public.len();
        write!(self.request, "POST {path} HTTP/1.1\r\n{headers}{length}\r\n\r\n{form}{public}").ok()?;
        self.stream.write_all(&self.request).await.ok()?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await.ok()? == 0 {
                return None;
            }
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(head_bytes) = head.parse(&self.answer).ok()? else { continue };
            let status = head.code;
            let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
            let length: usize = std::str::from_utf8(length.value).ok()?.parse().ok()?;
            while self.answer.len() < head_bytes + length {
                if self.stream.read_buf(&mut self.answer).await.ok()? == 0 {
                    return None;
                }
            }
            return status;
        }
    }
}
