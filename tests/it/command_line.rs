//! The real binary as an operator uses it: `dev`, the management commands, `serve`, and `kill -9`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regrant::secret::ServerSecret;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::support::{Answer, Redis, wait_for};

/// The binary, with nothing of our own environment that could configure it.
pub fn regrant(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrant"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("REGRANT_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// How a command ended.
pub struct Ended {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn assert(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs a command that must end by itself, with this on its standard input.
pub fn run(mut command: Command, input: &str) -> Ended {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that doesn't read its input may have ended already.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    // Read while it runs: a pipe that is full would stop it.
    let (stdout, stderr) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
    let ended = (0..2000).any(|_| {
        let ended = child.try_wait().unwrap().is_some();
        if !ended {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        ended
    });
    if !ended {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let output = Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
    assert!(ended, "still running: {output:?}");
    output.into()
}

fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut read = Vec::new();
        pipe.read_to_end(&mut read).unwrap();
        read
    })
}

/// A running `regrant dev`; killed when dropped, as by `kill -9`.
struct Dev {
    child: Child,
    /// What it printed on its standard output.
    welcome: String,
    url: String,
}

impl Dev {
    fn start(folder: &Path) -> Self {
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut child = regrant(folder, &["dev", "--listen", "127.0.0.1:0", "--data", "data"])
            .env("REGRANT_MANAGEMENT_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut welcome = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            welcome.push_str(&line);
            welcome.push('\n');
            if line.starts_with("Stop with") {
                break;
            }
        }
        let url = welcome.split_once("Swagger UI").and_then(|(_, rest)| rest.trim_start().split_once("/docs"));
        let url = url
            .unwrap_or_else(|| panic!("{welcome}{}", std::fs::read_to_string(folder.join("log")).unwrap()))
            .0
            .to_owned();
        Self { child, welcome, url }
    }

    /// As an operator stops it; all that it had to say is then in its log.
    fn stop(&mut self) {
        let told = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(told.success());
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Posts a form as a client.
    async fn post(&self, client: &str, secret: &str, form: &[(&str, &str)]) -> Answer {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Answer::of(http.post(format!("{}/oauth2/token", self.url)).basic_auth(client, Some(secret)).form(form)).await
    }

    async fn login(&self, username: &str, password: &str) -> Answer {
        let form = [("grant_type", "password"), ("username", username), ("password", password)];
        self.post("demo", "demo-secret", &form).await
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.post("demo", "demo-secret", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends what a printed curl command says: its URL, `-u` if there is one, and `-d`s.
async fn curl(command: &str) -> Answer {
    let words: Vec<&str> = command.split_whitespace().filter(|word| *word != "\\").collect();
    let after =
        |flag: &str| -> Vec<&str> { words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1]).collect() };
    let url = words.iter().find(|word| word.starts_with("http://")).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let form = after("-d").join("&");
    let mut post = http.post(*url).header("content-type", "application/x-www-form-urlencoded");
    if let Some((client, secret)) = after("-u").first().and_then(|credentials| credentials.split_once(':')) {
        post = post.basic_auth(client, Some(secret));
    }
    Answer::of(post.body(form)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_prints_commands_that_work() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path());
    let paragraphs: Vec<&str> = dev.welcome.split("\n\n").map(str::trim).collect();
    let commands: Vec<&str> = paragraphs.iter().copied().filter(|paragraph| paragraph.starts_with("curl ")).collect();
    assert_eq!(commands.len(), 4, "{}", dev.welcome);
    let login = curl(commands[0]).await;
    login.assert_tokens();
    // What a person does in their browser has tests of its own; here the address is good and the codes are missing.
    let by_code = paragraphs.iter().find(|paragraph| paragraph.contains("/oauth2/authorize?")).unwrap();
    let (address, redeem) = by_code.split_once('\n').unwrap();
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let opened = Answer::of(browser.get(address)).await;
    assert!(opened.header("location").starts_with("/login?continue=%2Foauth2%2Fauthorize"), "{opened:?}");
    curl(&redeem.replace("PASTE_IT_HERE", "ac_x")).await.assert_error(400, "invalid_grant");
    let refreshed = curl(&commands[1].replace("PASTE_IT_HERE", &login.refresh_token())).await;
    refreshed.assert_tokens();
    assert_ne!(refreshed.refresh_token(), login.refresh_token());
    curl(commands[2]).await.assert_tokens();
    let (start, poll) = commands[3].split_once('\n').unwrap();
    let started = curl(start).await;
    assert_eq!(started.status, 200, "{started:?}");
    let device_code = started.json()["device_code"].as_str().unwrap().to_owned();
    curl(&poll.replace("PASTE_IT_HERE", &device_code)).await.assert_error(400, "authorization_pending");
    for page in ["/", "/docs", "/demo", "/.well-known/oauth-authorization-server", "/openapi.yaml"] {
        let url = format!("{}{page}", dev.url);
        assert!(dev.welcome.contains(&url), "{url}");
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 200, "{url}");
    }
}

#[test]
fn dev_listens_on_loopback_only() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(regrant(folder.path(), &["dev", "--listen", "0.0.0.0:0"]), "").assert(1);
    assert!(refused.stderr.contains("loopback") && refused.stderr.contains("regrant serve"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a111_no_secret_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path());
    let login = dev.login("demo", "demo-password").await;
    let refreshed = dev.refresh(&login.refresh_token()).await;
    let mut secrets = vec!["demo-password".to_owned(), "demo-secret".into()];
    for answer in [&login, &refreshed] {
        secrets.push(answer.refresh_token());
        secrets.push(answer.json()["access_token"].as_str().unwrap().to_owned());
    }
    dev.refresh(&refreshed.refresh_token()).await.assert_tokens();
    dev.refresh(&login.refresh_token()).await.assert_error(400, "invalid_grant");
    dev.login("demo", "cAnArY").await.assert_error(400, "invalid_grant");
    dev.login("cAnArY", "cAnArY").await.assert_error(400, "invalid_grant");
    dev.post("demo", "cAnArY", &[]).await.assert_error(401, "invalid_client");
    dev.post("demo", "demo-secret", &[("grant_type", "cAnArY")]).await.assert_error(400, "unsupported_grant_type");
    dev.refresh("cAnArY").await.assert_error(400, "invalid_grant");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let in_query = http.post(format!("{}/oauth2/token?password=cAnArY&token=cAnArY", dev.url));
    Answer::of(in_query.form(&[("x", "cAnArY")])).await.assert_error(400, "invalid_request");

    // Cookie mode: a login, a refresh, and one that is not from a page of the client.
    let session = |path: &str| {
        let post = http.post(format!("{}{path}", dev.url)).header("sec-fetch-site", "same-origin");
        post.form(&[("client_id", "demo-public"), ("username", "demo"), ("password", "demo-password")])
    };
    let by_script = |request: reqwest::RequestBuilder| request.header("x-requested-by", "oauth");
    let entered = Answer::of(by_script(session("/session"))).await;
    let cookie = entered.header("set-cookie").split(';').next().unwrap();
    secrets.extend([
        cookie.split_once('=').unwrap().1.to_owned(),
        entered.json()["access_token"].as_str().unwrap().to_owned(),
    ]);
    Answer::of(session("/session/refresh").header("cookie", cookie)).await.assert_error(403, "access_denied");
    let renewed = Answer::of(by_script(session("/session/refresh").header("cookie", cookie))).await;
    secrets.push(renewed.header("set-cookie").split([';', '=']).nth(1).unwrap().to_owned());
    dev.stop();
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    // One line for each request: the control. A replay has a second one, which explains it.
    let explains = |line: &str| line.contains("refresh token explained");
    assert_eq!(log.lines().filter(|line| line.contains("request_id") && !explains(line)).count(), 13, "{log}");
    assert_eq!(log.lines().filter(|line| explains(line)).count(), 1, "{log}");
    secrets.push("cAnArY".into());
    // As the Authorization header carries them.
    secrets.extend(["demo:demo-secret", "demo:cAnArY"].map(|credentials| STANDARD.encode(credentials)));
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret}: {log}");
    }
}

/// One chain of refreshes: the newest refresh token that its client received.
type Chain = Arc<std::sync::Mutex<String>>;

async fn try_post(http: &reqwest::Client, url: &str, form: &[(&str, &str)]) -> Option<Answer> {
    let post = http.post(format!("{url}/oauth2/token")).basic_auth("demo", Some("demo-secret")).form(form);
    let response = post.send().await.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Some(Answer { status, headers, text: response.text().await.ok()? })
}

/// Refreshes until the server is gone, and keeps what was received.
async fn refresh_until_killed(
    url: String,
    chain: Chain,
    refreshed: Arc<AtomicUsize>,
    enough: Arc<Notify>,
    goal: usize,
) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        let token = chain.lock().unwrap().clone();
        let Some(answer) = try_post(&http, &url, &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await
        else {
            return;
        };
        answer.assert_tokens();
        *chain.lock().unwrap() = answer.refresh_token();
        if refreshed.fetch_add(1, Ordering::SeqCst) + 1 == goal {
            enough.notify_one();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_connect_before_the_server_looks() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path());
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &dev.child.id().to_string()]).status().unwrap().success());
    };
    let address: SocketAddr = dev.url.strip_prefix("http://").unwrap().parse().unwrap();
    // The system may allow fewer than the server asks for.
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse::<usize>().unwrap();
    signal("-STOP");
    let waiting: Vec<_> =
        (0..allowed.min(400)).map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(20))).collect();
    signal("-CONT");
    assert_eq!(waiting.iter().filter(|connected| connected.is_err()).count(), 0, "{:?}", waiting.last());
    dev.login("demo", "demo-password").await.assert_tokens();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refresh_token_that_was_received_survives_kill_9() {
    const KILLS: usize = 12;
    const LOGINS: usize = 9;
    let folder = tempfile::tempdir().unwrap();
    let (mut logins, refreshes) = (0, Arc::new(AtomicUsize::new(0)));
    let mut chains: Vec<Chain> = Vec::new();
    for kill in 0..=KILLS {
        let mut dev = Dev::start(folder.path());
        // Whoever received a token before the kill gets on with it.
        for chain in &chains {
            let token = chain.lock().unwrap().clone();
            let answer = dev.refresh(&token).await;
            answer.assert_tokens();
            *chain.lock().unwrap() = answer.refresh_token();
            refreshes.fetch_add(1, Ordering::SeqCst);
        }
        if kill == KILLS {
            break;
        }
        // An owner of each round: one has at most 100 grants.
        let user = format!("user-{kill}");
        let create = ["user", "create", "--username", &user, "--password-stdin", "--data", "data"];
        run(regrant(folder.path(), &create), "a good password\n").assert(0);
        for _ in 0..LOGINS {
            let answer = dev.login(&user, "a good password").await;
            chains.push(Arc::new(std::sync::Mutex::new(answer.refresh_token())));
            logins += 1;
        }
        let (enough, refreshed) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let goal = 40 + kill;
        let newest = chains[chains.len() - LOGINS..].iter();
        let mut workers: Vec<_> = newest
            .map(|chain| {
                let (chain, refreshed, enough) = (Arc::clone(chain), Arc::clone(&refreshed), Arc::clone(&enough));
                tokio::spawn(refresh_until_killed(dev.url.clone(), chain, refreshed, enough, goal))
            })
            .collect();
        // Logins are in flight as well; some of their answers never arrive.
        let late: Vec<_> = (0..2)
            .map(|_| {
                let (url, user) = (dev.url.clone(), user.clone());
                tokio::spawn(async move {
                    let http = reqwest::Client::builder().no_proxy().build().unwrap();
                    let form = [("grant_type", "password"), ("username", &*user), ("password", "a good password")];
                    let mut received = Vec::new();
                    while let Some(answer) = try_post(&http, &url, &form).await {
                        answer.assert_tokens();
                        received.push(answer.refresh_token());
                        if received.len() == 20 {
                            break;
                        }
                    }
                    received
                })
            })
            .collect();
        enough.notified().await;
        dev.kill();
        for worker in workers.drain(..) {
            worker.await.unwrap();
        }
        for login in late {
            let received = login.await.unwrap();
            logins += received.len();
            chains.extend(received.into_iter().map(|token| Arc::new(std::sync::Mutex::new(token))));
        }
        refreshes.fetch_add(refreshed.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    let refreshes = refreshes.load(Ordering::SeqCst);
    assert!(logins >= 100 && logins + refreshes >= 1000, "{logins} logins and {refreshes} refreshes");
}

/// A server on a data folder, and the commands for that folder.
struct Bench {
    folder: TempDir,
    dev: Dev,
}

impl Bench {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dev = Dev::start(folder.path());
        Self { folder, dev }
    }

    /// Runs a command on the data folder of the running server.
    fn run(&self, arguments: &[&str], input: &str) -> Ended {
        run(regrant(self.folder.path(), &[arguments, &["--data", "data"]].concat()), input)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_a_client_have_effect_at_once() {
    let bench = Bench::start();
    let create = [
        "client",
        "create",
        "--id",
        "shop",
        "--type",
        "confidential",
        "--grant-types",
        "password,refresh_token",
        "--scope",
        "read write",
        "--json",
    ];
    let created = bench.run(&create, "").assert(0);
    let secret = created.json()["client_secret"].as_str().unwrap().to_owned();
    assert_eq!(created.json()["client_id"], "shop");
    let exists = bench.run(&create, "").assert(1);
    assert!(exists.stderr.contains("regrant client show shop"), "{}", exists.stderr);

    let login = async |secret: &str| {
        let form = [("grant_type", "password"), ("username", "demo"), ("password", "demo-password")];
        bench.dev.post("shop", secret, &form).await
    };
    let refresh = async |token: &str| {
        bench.dev.post("shop", &secret, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    };
    let token = login(&secret).await.refresh_token();

    let listed = bench.run(&["client", "list", "--json"], "").assert(0);
    let ids: Vec<_> = listed.json().as_array().unwrap().iter().map(|client| client["client_id"].clone()).collect();
    assert_eq!(ids, ["demo", "demo-public", "shop"]);
    let listed = bench.run(&["client", "list"], "").assert(0);
    assert!(
        listed.stdout.lines().any(|line| line.starts_with("shop ") && line.contains("enabled")),
        "{}",
        listed.stdout
    );
    let shown = bench.run(&["client", "show", "shop"], "").assert(0);
    let shown_json = bench.run(&["client", "show", "shop", "--json"], "").assert(0);
    assert_eq!(shown_json.json()["scope"], "read write");
    for text in [&shown.stdout, &shown_json.stdout, &listed.stdout] {
        assert!(text.contains("shop") && !text.contains(&secret) && !text.contains("hash"), "{text}");
    }

    bench.run(&["client", "disable", "shop"], "").assert(0);
    login(&secret).await.assert_error(401, "invalid_client");
    refresh(&token).await.assert_error(401, "invalid_client");
    bench.run(&["client", "enable", "shop"], "").assert(0);
    refresh(&token).await.assert_error(400, "invalid_grant");
    let token = login(&secret).await.refresh_token();

    let rotated = bench.run(&["client", "rotate-secret", "shop", "--json"], "").assert(0);
    let newer = rotated.json()["client_secret"].as_str().unwrap().to_owned();
    assert_ne!(newer, secret);
    login(&secret).await.assert_tokens();
    login(&newer).await.assert_tokens();
    let token = refresh(&token).await.refresh_token();
    let newest = bench.run(&["client", "rotate-secret", "shop", "--json"], "").assert(0);
    let newest = newest.json()["client_secret"].as_str().unwrap().to_owned();
    login(&secret).await.assert_error(401, "invalid_client");
    login(&newer).await.assert_tokens();
    login(&newest).await.assert_tokens();

    bench.run(&["client", "delete", "shop"], "").assert(0);
    login(&newest).await.assert_error(401, "invalid_client");
    let gone = bench.run(&["client", "show", "shop"], "").assert(1);
    assert!(gone.stderr.contains("regrant client list"), "{}", gone.stderr);
    // A recreated client revives nothing.
    let again = bench.run(&create, "").assert(0).json()["client_secret"].as_str().unwrap().to_owned();
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    bench.dev.post("shop", &again, &form).await.assert_error(400, "invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_a_user_have_effect_at_once() {
    let bench = Bench::start();
    let create = ["user", "create", "--username", "anna", "--password-stdin"];
    bench.run(&create, "a good password\n").assert(0);
    bench.run(&create, "a good password\n").assert(1);
    let short = bench.run(&["user", "create", "--username", "bert", "--password-stdin"], "short\n").assert(1);
    assert!(short.stderr.contains("at least 8 characters"), "{}", short.stderr);
    bench.run(&["user", "create", "--username", "bert", "--password-stdin"], "").assert(1);

    let login = async |password: &str| bench.dev.login("anna", password).await;
    let login_token = async |password: &str| login(password).await.refresh_token();
    let is_dead = async |token: &str| bench.dev.refresh(token).await.assert_error(400, "invalid_grant");
    let token = login_token("a good password").await;
    let listed = bench.run(&["user", "list", "--json"], "").assert(0);
    let names: Vec<_> = listed.json().as_array().unwrap().iter().map(|user| user["username"].clone()).collect();
    assert_eq!(names, ["anna", "demo"]);
    let listed = bench.run(&["user", "list"], "").assert(0);
    assert!(
        listed.stdout.lines().any(|line| line.starts_with("anna ") && line.contains("active")),
        "{}",
        listed.stdout
    );

    bench.run(&["user", "set-password", "anna", "--password-stdin"], "another password\n").assert(0);
    is_dead(&token).await;
    login("a good password").await.assert_error(400, "invalid_grant");
    let token = login_token("another password").await;

    bench.run(&["user", "logout", "anna"], "").assert(0);
    is_dead(&token).await;
    let token = login_token("another password").await;

    bench.run(&["user", "disable", "anna"], "").assert(0);
    is_dead(&token).await;
    login("another password").await.assert_error(400, "invalid_grant");
    bench.run(&["user", "enable", "anna"], "").assert(0);
    is_dead(&token).await;
    let token = login_token("another password").await;

    bench.run(&["user", "delete", "anna"], "").assert(0);
    is_dead(&token).await;
    login("another password").await.assert_error(400, "invalid_grant");
    for command in ["delete", "disable", "enable", "logout"] {
        let unknown = bench.run(&["user", command, "anna"], "").assert(1);
        assert!(unknown.stderr.contains("regrant user list"), "{}", unknown.stderr);
    }
}

#[test]
fn the_exit_status_is_0_for_success_1_for_refused_2_for_usage() {
    let folder = tempfile::tempdir().unwrap();
    let status = |arguments: &[&str]| run(regrant(folder.path(), arguments), "").status;
    for good in [&["--version"] as &[&str], &["--help"], &["client", "list"], &["openapi"]] {
        assert_eq!(status(good), 0, "{good:?}");
    }
    for refused in [
        &["client", "show", "nobody"] as &[&str],
        &["user", "disable", "nobody"],
        &["client", "create", "--id", "a b", "--type", "public", "--grant-types", "password"],
        &["client", "create", "--id", "x", "--type", "public", "--grant-types", "client_credentials"],
        &["client", "create", "--id", "x", "--type", "public", "--grant-types", "authorization_code"],
        &["client", "list", "--store", "mysql://localhost"],
        &["client", "list", "--store", "redis://127.0.0.1:1"],
        &["client", "list", "--config", "missing.toml"],
        &["check"],
    ] {
        assert_eq!(status(refused), 1, "{refused:?}");
    }
    for usage in [
        &[] as &[&str],
        &["nothing"],
        &["client"],
        &["client", "create"],
        &["client", "create", "--id", "x", "--type", "secret", "--grant-types", "password"],
        &["client", "create", "--id", "x", "--type", "public", "--grant-types", "implicit"],
        &["dev", "--listen", "here"],
        &["serve", "--nothing"],
    ] {
        assert_eq!(status(usage), 2, "{usage:?}");
    }
}

/// 32 random bytes; each store is bound to the secret that it was first used with.
pub const SECRET: &str = "q5JUGNm9oC2s0XhW8iVYcTz7RkLbA1ePfDy3nMwEu6g";

/// A configuration that `check` accepts, as environment variables.
pub fn fit(folder: &Path) -> Vec<(&'static str, String)> {
    let store = format!("sqlite:{}", folder.join("serve.db").display());
    vec![
        ("REGRANT_ISSUER", "https://login.example.com".into()),
        ("REGRANT_STORE", store),
        ("REGRANT_SECRET", SECRET.into()),
        ("REGRANT_LISTEN", "127.0.0.1:0".into()),
        ("REGRANT_MANAGEMENT_LISTEN", "127.0.0.1:0".into()),
    ]
}

/// Makes the first signing key of the store of these settings.
fn init_keys(folder: &Path, name: &str, value: &str) {
    let mut rotate = regrant(folder, &["key", "rotate"]);
    rotate.envs(fit(folder)).env(name, value);
    run(rotate, "").assert(0);
}

/// Runs `serve` and `check` with one variable changed, or removed by an empty text; both must refuse alike.
fn refused(folder: &Path, name: &str, value: &str) -> String {
    refused_with(folder, &[(name, value)])
}

/// The same with several variables.
pub fn refused_with(folder: &Path, variables: &[(&str, &str)]) -> String {
    let mut texts = Vec::new();
    for command in ["serve", "check"] {
        let mut process = regrant(folder, &[command]);
        process.envs(fit(folder));
        for (name, value) in variables {
            process.env_remove(name);
            if !value.is_empty() {
                process.env(name, value);
            }
        }
        let ended = run(process, "").assert(1);
        let problems = ended.stderr.lines().filter(|line| line.starts_with("  - ")).count();
        assert_eq!(problems, 1, "{}", ended.stderr);
        texts.push(ended.stderr.split_once("not fit for production").unwrap().1.to_owned());
    }
    assert_eq!(texts[0], texts[1]);
    texts.remove(0)
}

#[test]
fn check_accepts_what_serve_can_run_on() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    init_keys(folder.path(), "REGRANT_OAUTH21", "true");
    init_keys(folder.path(), "REGRANT_STORE", &redis.url());
    for (name, value) in [
        ("REGRANT_OAUTH21", "true".to_owned()),
        ("REGRANT_STORE", redis.url()),
        ("REGRANT_ISSUER", "http://localhost:8080".into()),
    ] {
        let mut check = regrant(folder.path(), &["check"]);
        check.envs(fit(folder.path())).env(name, value);
        let ended = run(check, "").assert(0);
        assert!(ended.stdout.starts_with("ready to serve "), "{}", ended.stdout);
    }
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let mut check = regrant(folder.path(), &["check"]);
    check.envs(fit(folder.path())).env_remove("REGRANT_SECRET").env("REGRANT_SECRET_FILE", &file);
    run(check, "").assert(0);
}

#[test]
fn a02_serve_refuses_an_issuer_that_is_missing_or_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let text = refused(folder.path(), "REGRANT_ISSUER", "");
    assert!(text.contains("issuer: ") && text.contains("https://login.example.com"), "{text}");
    let text = refused(folder.path(), "REGRANT_ISSUER", "http://login.example.com");
    assert!(text.contains("issuer: ") && text.contains("Use https"), "{text}");
    let text = refused(folder.path(), "REGRANT_ISSUER", "http://localhost.evil.test");
    assert!(text.contains("issuer: ") && text.contains("Use https"), "{text}");
}

#[test]
fn serve_refuses_to_run_without_a_good_secret() {
    let folder = tempfile::tempdir().unwrap();
    let text = refused(folder.path(), "REGRANT_SECRET", "");
    assert!(text.contains("secret: ") && text.contains("openssl rand 32"), "{text}");
    for bad in ["A".repeat(43), "short".into(), "not base64url !".into()] {
        let text = refused(folder.path(), "REGRANT_SECRET", &bad);
        assert!(text.contains("secret: ") && text.contains("openssl rand 32"), "{text}");
        assert!(!text.contains(&bad), "{text}");
    }
}

#[test]
fn serve_refuses_a_secret_that_the_store_was_not_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let check = |secret: &str| {
        let mut check = regrant(folder.path(), &["check"]);
        check.envs(fit(folder.path())).env("REGRANT_SECRET", secret);
        run(check, "")
    };
    init_keys(folder.path(), "REGRANT_SECRET", SECRET);
    check(SECRET).assert(0);
    let other = check(ServerSecret::generate().to_text().expose()).assert(1);
    assert!(other.stderr.contains("start with the secret it was made with"), "{}", other.stderr);
    check(SECRET).assert(0);
}

#[test]
fn serve_refuses_demo_records() {
    let folder = tempfile::tempdir().unwrap();
    drop(Dev::start(folder.path()));
    let store = format!("sqlite:{}", folder.path().join("data/regrant.db").display());
    let text = refused(folder.path(), "REGRANT_STORE", &store);
    let advice = ["regrant client delete demo", "regrant client delete demo-public", "regrant user delete demo"];
    for command in advice {
        assert!(text.contains(command), "{text}");
        let words: Vec<&str> = command.split(' ').skip(1).chain(["--store", &store]).collect();
        run(regrant(folder.path(), &words), "").assert(0);
    }
    let mut check = regrant(folder.path(), &["check"]);
    check.envs(fit(folder.path())).env("REGRANT_STORE", &store).env_remove("REGRANT_SECRET");
    check.env("REGRANT_SECRET_FILE", folder.path().join("data/secret"));
    run(check, "").assert(0);
}

#[test]
fn serve_refuses_a_redis_that_evicts() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let mut connection = redis.connection();
    let mut policy = |policy: &str| {
        let () = redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg(policy).query(&mut connection).unwrap();
    };
    for evicting in ["allkeys-lru", "volatile-ttl"] {
        policy(evicting);
        let text = refused(folder.path(), "REGRANT_STORE", &redis.url());
        assert!(text.contains("store: ") && text.contains("CONFIG SET maxmemory-policy noeviction"), "{text}");
    }
    policy("noeviction");
    init_keys(folder.path(), "REGRANT_STORE", &redis.url());
    let mut check = regrant(folder.path(), &["check"]);
    check.envs(fit(folder.path())).env("REGRANT_STORE", redis.url());
    let warned = run(check, "").assert(0).stderr;
    assert!(warned.contains("warning: ") && warned.contains("CONFIG SET appendonly yes"), "{warned}");
}

#[test]
fn serve_refuses_a_store_that_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    for store in ["redis://127.0.0.1:1", "mysql://localhost", "sqlite:/proc/nowhere/regrant.db"] {
        let text = refused(folder.path(), "REGRANT_STORE", store);
        assert!(text.contains("store: "), "{text}");
    }
}

#[test]
fn serve_makes_no_signing_keys_unless_told_to() {
    let folder = tempfile::tempdir().unwrap();
    for command in [["serve"].as_slice(), &["check"], &["key", "list"]] {
        let mut process = regrant(folder.path(), command);
        process.envs(fit(folder.path()));
        let ended = run(process, "").assert(1);
        assert!(ended.stderr.contains("regrant serve --init-keys"), "{}", ended.stderr);
        assert!(ended.stderr.contains("it has lost them: restore it"), "{}", ended.stderr);
    }
    let key = |arguments: &[&str], status: i32| {
        let mut process = regrant(folder.path(), &[&["key"], arguments].concat());
        process.envs(fit(folder.path()));
        run(process, "").assert(status)
    };
    let states = |ended: &Ended| {
        let listed: Value = serde_json::from_str(&ended.stdout).unwrap();
        listed.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&key(&["rotate", "--json"], 0)), ["active"]);
    assert_eq!(states(&key(&["rotate", "--json"], 0)), ["active", "next"]);
    assert!(key(&["rotate"], 1).stderr.contains("the next key is published already"));
    let listed = key(&["list"], 0).stdout;
    assert!(listed.contains("ES256  active") && listed.contains("signs in 6"), "{listed}");
    assert_eq!(states(&key(&["rotate", "--compromised", "--json"], 0)), ["active"]);
    assert!(key(&["reseal"], 0).stdout.starts_with("0 password hashes sealed anew"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_runs_and_ends_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let reserved = crate::deployments::Port::reserve();
    let port = reserved.number();
    let mut serve = regrant(folder.path(), &["serve", "--init-keys"]);
    serve.envs(fit(folder.path())).env("REGRANT_LISTEN", format!("127.0.0.1:{port}")).stderr(Stdio::null());
    let mut child = serve.spawn().unwrap();
    wait_for("serve", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let metadata = format!("http://127.0.0.1:{port}/.well-known/oauth-authorization-server");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(Answer::of(http.get(metadata)).await.json()["issuer"], "https://login.example.com");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    wait_for("the end of serve", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The folder that `cargo` calls the package.
fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_openapi_document_in_the_tree_is_the_one_that_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let printed = run(regrant(folder.path(), &["openapi"]), "").assert(0).stdout;
    let kept = std::fs::read_to_string(package().join("openapi/regrant.yaml")).unwrap();
    assert!(printed == kept, "it drifted; run: cargo run -- openapi > openapi/regrant.yaml");
    let json = run(regrant(folder.path(), &["openapi", "--format", "json"]), "").assert(0).json();
    assert!(json["openapi"].as_str().unwrap().starts_with("3."));
    assert!(json["paths"]["/oauth2/token"]["post"].is_object());
    // It leaves nothing behind.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lifetimes_of_a_client_fit_each_other_and_the_server() {
    let bench = Bench::start();
    let create = |id: &str, kind: &str, grants: &str, more: &str| {
        let mut line = vec!["client", "create", "--json", "--id", id, "--type", kind, "--grant-types", grants];
        line.extend(more.split_whitespace());
        bench.run(&line, "")
    };
    let both = "password,refresh_token";
    let fits = "--refresh-idle-seconds 3600 --refresh-absolute-seconds 7200 --grace-seconds 30";
    let made = create("short", "confidential", both, fits).assert(0).json();
    let shown = bench.run(&["client", "show", "short", "--json"], "").assert(0).json();
    for (name, value) in [("refresh_idle_seconds", 3600), ("refresh_absolute_seconds", 7200), ("grace_seconds", 30)] {
        assert_eq!((&made[name], &shown[name]), (&value.into(), &value.into()));
    }
    create("kept", "confidential", both, "--rotation keep").assert(0);
    for (kind, grants, more, told) in [
        ("confidential", "password", "--refresh-idle-seconds 3600", "need the refresh_token grant"),
        ("public", both, "--rotation keep", "confidential clients (RFC 9700 section 2.2.2)"),
        (
            "confidential",
            both,
            "--rotation keep --grace-seconds 5",
            "--grace-seconds: means nothing when the rotation is keep",
        ),
        ("confidential", both, "--refresh-idle-seconds 1199", "at least twice as long as an access token (600)"),
        ("confidential", both, "--refresh-absolute-seconds 60", "at least twice as long as an access token (600)"),
        (
            "confidential",
            both,
            "--refresh-idle-seconds 9000 --refresh-absolute-seconds 8000",
            "life of the grant (8000)",
        ),
        ("confidential", both, "--refresh-idle-seconds 8000000", "life of the grant (7776000)"),
        ("confidential", both, "--refresh-absolute-seconds 40000000", "at most a year"),
    ] {
        let refused = create("refused", kind, grants, more).assert(1);
        assert!(refused.stderr.contains(told), "{more}: {}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_a_grant_tell_why_a_token_was_refused() {
    let bench = Bench::start();
    let explain = |token: &str| {
        let told = bench.run(&["grant", "explain", "--json"], token).assert(0).json();
        told["why"].as_str().unwrap().to_owned()
    };
    let first = bench.dev.login("demo", "demo-password").await.refresh_token();
    assert!(explain(&first).contains("current refresh token"));
    let second = bench.dev.refresh(&first).await.refresh_token();
    assert!(explain(&first).contains("accepted again until its successor is used"));
    bench.dev.refresh(&second).await.assert_tokens();
    assert!(explain(&first).contains("presenting it revokes the grant"));
    // Asking presents nothing.
    assert!(explain(&second).contains("accepted again"));
    bench.dev.refresh(&first).await.assert_error(400, "invalid_grant");
    let told = explain(&first);
    assert!(told.contains("presented again after its successor was used"), "{told}");
    assert!(told.contains("ago, from 127.0.0.1: ") && told.contains("; last accepted "), "{told}");
    assert!(explain("rt_nothing").contains("not issued under this server's secret"));

    let third = bench.dev.login("demo", "demo-password").await;
    let id = third.claims()["gid"].as_str().unwrap().to_owned();
    let listed = bench.run(&["grant", "list", "--username", "demo", "--json"], "").assert(0).json();
    assert!(
        listed.as_array().unwrap().iter().any(|grant| grant["grant_id"] == id.as_str() && grant["state"] == "active")
    );
    bench.run(&["grant", "revoke", &id], "").assert(0);
    bench.dev.refresh(&third.refresh_token()).await.assert_error(400, "invalid_grant");
    assert_eq!(bench.run(&["grant", "show", &id, "--json"], "").assert(0).json()["state"], "revoked");
    bench.run(&["grant", "show", "AAAAAAAAAAAAAAAAAAAAAA"], "").assert(1);
}

#[test]
fn a_client_is_registered_for_cookie_mode_with_the_origins_of_its_pages() {
    let folder = tempfile::tempdir().unwrap();
    let create = |id: &str, more: &[&str]| {
        let common = ["client", "create", "--json", "--store", "sqlite:clients.db", "--id", id];
        run(regrant(folder.path(), &[&common, more].concat()), "")
    };
    let origins = ["--cookie-mode", "--origin", "https://app.example.com", "--origin", "http://localhost:3000"];
    let spa = ["--type", "public", "--grant-types", "password,refresh_token"];
    let created = create("spa", &[spa.as_slice(), &origins].concat()).assert(0).json();
    assert_eq!(created["cookie_mode"], true);
    assert_eq!(created["origins"], serde_json::json!(["https://app.example.com", "http://localhost:3000"]));
    let plain = create("plain", &spa).assert(0).json();
    assert_eq!((&plain["cookie_mode"], &plain["origins"]), (&Value::Bool(false), &Value::Array(vec![])));
    for (more, why) in [
        (["--type", "confidential", "--grant-types", "password,refresh_token", "--cookie-mode"].as_slice(), "public"),
        (&["--type", "public", "--grant-types", "password", "--cookie-mode"], "refresh_token"),
        (&["--type", "public", "--grant-types", "password", "--origin", "http://app.example.com"], "https"),
        (&["--type", "public", "--grant-types", "password", "--origin", "https://app.example.com/"], "no path"),
        (&["--type", "public", "--grant-types", "password", "--origin", "null"], "origin"),
    ] {
        let refused = create("refused", more).assert(1);
        assert!(refused.stderr.contains(why), "{why}: {}", refused.stderr);
    }
}
