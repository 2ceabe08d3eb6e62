//! Starts what the tests talk to: servers in this process and redis-servers of their own.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use regrant::{
    App,
    client::{Client, ClientType, GrantType, RegisteredSecret},
    clock::{Clock, random_bytes},
    config::Config,
    ids::{ClientId, OwnerId, Username},
    resource_owner::{BrowserSessions, PasswordKeeper},
    scope::Scope,
    secret::{ClientSecretHash, SecretText, ServerSecret},
    server::{self, Listeners},
    store::{self, Changed, GrantRecord, RotationPolicy, Store},
    telemetry::{metrics::Metrics, traces::Traces},
    token::{
        Issuer,
        keys::{FirstKey, SigningKeys},
    },
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::oneshot};

use crate::deployments::Port;

/// A redis-server of our own; killed when dropped.
pub struct Redis {
    child: Child,
    pub port: u16,
    _reserved: Port,
    folder: tempfile::TempDir,
}

impl Redis {
    /// Starts one that keeps nothing.
    pub fn start() -> Self {
        Self::start_with(&["--save", ""])
    }

    /// Starts one with these arguments: a configuration file first, options after it.
    pub fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let reserved = Port::reserve();
        let port = reserved.number();
        let child = spawn_redis(port, folder.path(), arguments);
        let redis = Self { child, port, _reserved: reserved, folder };
        redis.wait();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id, to send it signals.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port and folder, empty unless it saved.
    pub fn restart(&mut self) {
        self.child = spawn_redis(self.port, self.folder.path(), &["--save", ""]);
        self.wait();
    }

    /// Writes the RDB file and returns its bytes.
    pub fn saved(&self) -> Vec<u8> {
        let mut connection = self.connection();
        let () = redis::cmd("SAVE").query(&mut connection).unwrap();
        std::fs::read(self.folder.path().join("dump.rdb")).unwrap()
    }

    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    fn wait(&self) {
        wait_for("redis-server", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn_redis(port: u16, folder: &Path, more: &[&str]) -> Child {
    Command::new("redis-server")
        .args(more)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--databases", "10000", "--dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed; tests/run installs it")
}

/// Polls until `ready`, at most 20 seconds.
pub fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if ready() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what} did not get ready");
}

/// Asks `ready` again and again until it says yes, at most 20 seconds.
pub async fn eventually(what: &str, mut ready: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !ready().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let answered = tokio::time::timeout(std::time::Duration::from_secs(20), asking).await;
    assert!(answered.is_ok(), "{what}: still not after 20 s");
}

#[expect(clippy::zombie_processes, reason = "both end with this process, which is when nobody can wait for them")]
/// The URL of a fresh database in a redis-server that all tests of this run share.
pub fn redis_url() -> String {
    static SHARED: OnceLock<String> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static RESERVED: OnceLock<Port> = OnceLock::new();
    let base = SHARED.get_or_init(|| {
        let port = RESERVED.get_or_init(Port::reserve).number();
        let folder = std::env::temp_dir();
        let child = spawn_redis(port, &folder, &["--save", ""]);
        // Its end is tied to this process: statics are never dropped.
        let watcher =
            format!("while kill -0 {} 2>/dev/null; do sleep 0.2; done; kill -9 {}", std::process::id(), child.id());
        Command::new("sh").args(["-c", &watcher]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("redis-server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        format!("redis://127.0.0.1:{port}")
    });
    format!("{base}/{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Which store a server runs on.
#[derive(Clone, Copy, Debug)]
pub enum On {
    Embedded,
    Redis,
}

/// A server in this process, reached over HTTP like any other.
pub struct Server {
    pub url: String,
    pub management_url: String,
    pub app: Arc<App>,
    pub clock: Clock,
    pub http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    _folder: tempfile::TempDir,
}

/// Cheap enough for tests; the smallest that the server accepts is far more work.
pub fn quick_passwords() -> regrant::config::Passwords {
    regrant::config::Passwords { memory_kib: 64, iterations: 1, threads: 2, queue: 4096, ..Default::default() }
}

impl Server {
    pub async fn start(on: On) -> Self {
        Self::start_with(on, |_| {}).await
    }

    pub async fn start_with(on: On, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match on {
            On::Embedded => format!("sqlite:{}", folder.path().join("regrant.db").display()),
            On::Redis => redis_url(),
        };
        Self::start_on(&url, &ServerSecret::generate(), Clock::system(), folder, change).await
    }

    /// A node on a given store, for tests with several.
    pub async fn start_on(
        store_url: &str,
        secret: &ServerSecret,
        clock: Clock,
        folder: tempfile::TempDir,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config =
            Config { listen: public.local_addr().unwrap(), passwords: quick_passwords(), ..Config::default() };
        change(&mut config);
        let store = store::open(store_url, clock.clone()).await.unwrap();
        let signing = SigningKeys::load(store.as_ref(), secret, &config, FirstKey::Make).await.unwrap();
        let issuer = Issuer::new(&config, config.issuer_text().unwrap(), secret, signing);
        let passwords = PasswordKeeper::start(&config.passwords, secret).unwrap();
        let sessions = BrowserSessions::new(&config.lifetimes, secret);
        let metrics = Metrics::new(store.meter());
        let body_timeout = std::time::Duration::from_secs(config.limits.body_seconds.into());
        let app = Arc::new(App {
            store,
            issuer,
            passwords,
            sessions,
            metrics,
            traces: Traces::start(&config.telemetry),
            body_timeout,
            oauth21: config.oauth21,
            demo: false,
        });
        let management = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let management_url = format!("http://{}", management.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let url = format!("http://{}", config.listen);
        let served = Arc::clone(&app);
        tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            server::run(served, &config, Listeners { public, management: Some(management) }, shutdown).await.unwrap();
        });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, management_url, app, clock, http, stop: Some(stop), _folder: folder }
    }

    /// Two nodes that share a store, a secret, an issuer and a clock. The folder holds the store.
    pub async fn pair(on: On) -> (Self, Self, tempfile::TempDir) {
        Self::pair_with(on, |_| {}).await
    }

    /// The same, with other settings.
    pub async fn pair_with(on: On, change: fn(&mut Config)) -> (Self, Self, tempfile::TempDir) {
        let shared = tempfile::tempdir().unwrap();
        let url = match on {
            On::Embedded => format!("sqlite:{}", shared.path().join("regrant.db").display()),
            On::Redis => redis_url(),
        };
        let (secret, clock) = (ServerSecret::generate(), Clock::system());
        let issuer = |config: &mut Config| {
            config.issuer = "http://regrant.test".into();
            change(config);
        };
        let one = Self::start_on(&url, &secret, clock.clone(), tempfile::tempdir().unwrap(), issuer).await;
        let other = Self::start_on(&url, &secret, clock, tempfile::tempdir().unwrap(), issuer).await;
        (one, other, shared)
    }

    /// The one grant of a user, as the store has it.
    pub async fn grant_of(&self, user: &str) -> GrantRecord {
        let owner = owner_id(user);
        let ids = self.store().grants_of(owner).await.unwrap();
        assert_eq!(ids.len(), 1, "{user} has {ids:?}");
        self.store().grant(owner, ids[0]).await.unwrap().unwrap()
    }

    /// Changes a registered client. A store that says that not all its replicas have the change yet is asked again, as it
    /// wants to be.
    pub async fn change_client(&self, id: &str, change: impl Fn(&mut Client)) {
        let id = ClientId::parse(id).unwrap();
        eventually("all replicas have the change", async || {
            let mut client = Client::clone(&*self.store().client(&id).await.unwrap().unwrap());
            change(&mut client);
            client.version += 1;
            match self.store().replace_client(&client).await {
                Err(store::StoreError::Unavailable(why)) if why.contains("the change was made") => false,
                changed => changed.unwrap() == Changed::Stored,
            }
        })
        .await;
    }

    pub fn store(&self) -> &dyn Store {
        self.app.store.as_ref()
    }

    /// Registers a confidential client with the secret `secret`, for both grants and `read write`.
    pub async fn client(&self, id: &str) -> Client {
        self.client_with(id, |_| {}).await
    }

    pub async fn client_with(&self, id: &str, change: impl FnOnce(&mut Client)) -> Client {
        let hash = ClientSecretHash::of(&SecretText::new("secret".into()));
        let mut client = Client {
            id: ClientId::parse(id).unwrap(),
            name: None,
            client_type: ClientType::Confidential,
            secrets: vec![RegisteredSecret { hash, expires_at: None }],
            grant_types: vec![GrantType::Password, GrantType::RefreshToken],
            scope: Scope::parse("read write").unwrap(),
            redirect_uris: vec![],
            audience: vec![],
            cookie_mode: false,
            origins: vec![],
            rotation: RotationPolicy::Rotate,
            grace_seconds: None,
            refresh_idle_seconds: None,
            refresh_absolute_seconds: None,
            disabled: false,
            epoch: 1,
            version: 1,
            created_at: self.store().now(),
            demo: false,
        };
        change(&mut client);
        self.store().create_client(&client).await.unwrap();
        client
    }

    /// Registers a public client.
    pub async fn public_client(&self, id: &str) -> Client {
        self.client_with(id, |client| {
            client.client_type = ClientType::Public;
            client.secrets.clear();
        })
        .await
    }

    /// Creates a user with the password `a good password`.
    pub async fn user(&self, name: &str) {
        let password = SecretText::new("a good password".into());
        let owner =
            self.app.passwords.new_owner(Username::parse(name).unwrap(), &password, self.store().now()).await.unwrap();
        self.store().create_owner(&owner).await.unwrap();
    }

    /// Sends a form to the token endpoint, as client `id` with the secret `secret`.
    pub async fn token(&self, id: &str, form: &[(&str, &str)]) -> Answer {
        Answer::of(self.http.post(self.token_url()).basic_auth(id, Some("secret")).form(form)).await
    }

    /// Sends a form without client authentication.
    pub async fn post(&self, form: &[(&str, &str)]) -> Answer {
        Answer::of(self.http.post(self.token_url()).form(form)).await
    }

    /// Sends a form to an endpoint, as client `id` with the secret `secret`.
    pub async fn send(&self, path: &str, id: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).basic_auth(id, Some("secret"));
        Answer::of(request.form(form)).await
    }

    /// What introspection says about a token to client `id`.
    pub async fn introspect(&self, id: &str, token: &str) -> serde_json::Value {
        let answer = self.send("/oauth2/introspect", id, &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.header("x-request-id").is_empty());
        answer.json()
    }

    /// Hands a token back as client `id`; every answer but an error is the same.
    pub async fn revoke(&self, id: &str, token: &str) {
        self.send("/oauth2/revoke", id, &[("token", token)]).await.assert_revoked();
    }

    pub fn token_url(&self) -> String {
        format!("{}/oauth2/token", self.url)
    }

    /// Logs in and returns the answer.
    pub async fn login(&self, client: &str, user: &str) -> Answer {
        let form = [("grant_type", "password"), ("username", user), ("password", "a good password")];
        self.token(client, &form).await
    }

    pub async fn refresh(&self, client: &str, refresh_token: &str) -> Answer {
        self.token(client, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A server that has stopped already no longer listens for this.
            stop.send(()).ok();
        }
    }
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts a whole RFC 6749 §5.1 answer: the closed set of members, caching, type.
    pub fn assert_tokens(&self) {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("pragma"), "no-cache");
        assert!(!self.header("x-request-id").is_empty());
        let json = self.json();
        assert_eq!(json["token_type"], "Bearer");
        assert!(json["expires_in"].as_i64().is_some_and(|seconds| seconds > 0), "{self:?}");
        assert!(!json["access_token"].as_str().unwrap().is_empty());
        assert_eq!(json.get("refresh_token").is_some(), json.get("refresh_token_expires_in").is_some(), "{self:?}");
        let known = ["access_token", "token_type", "expires_in", "scope", "refresh_token", "refresh_token_expires_in"];
        for name in json.as_object().unwrap().keys() {
            assert!(known.contains(&name.as_str()), "{name}");
        }
    }

    /// Asserts the whole answer of a revocation (RFC 7009 §2.2).
    pub fn assert_revoked(&self) {
        assert_eq!((self.status, self.text.as_str()), (200, ""), "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(!self.header("x-request-id").is_empty());
    }

    pub fn access_token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// What two answers must share to look the same to a client: all but the request id and the date.
    pub fn likeness(&self) -> (u16, Vec<(String, String)>, String) {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        headers.sort();
        (self.status, headers, self.text.clone())
    }

    pub fn refresh_token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["refresh_token"].as_str().unwrap().to_owned()
    }

    /// The claims of the access token, unverified.
    pub fn claims(&self) -> Value {
        use base64::Engine as _;
        let json = self.json();
        let payload = json["access_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Asserts a whole RFC 6749 §5.2 error: status, code, the closed set of members, caching, type.
    pub fn assert_error(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json()["error"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("pragma"), "no-cache");
        assert!(!self.header("x-request-id").is_empty());
        let json = self.json();
        for (name, value) in json.as_object().unwrap() {
            assert!(["error", "error_description", "error_uri"].contains(&name.as_str()), "{name}");
            // RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E
            let text = value.as_str().unwrap();
            assert!(text.bytes().all(|b| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{text}");
        }
        if status == 401 {
            assert!(self.header("www-authenticate").starts_with("Basic realm="));
        }
        if status == 503 {
            assert!(self.header("retry-after").parse::<u32>().is_ok());
        }
    }
}

/// Where the store keeps a user.
pub fn owner_id(user: &str) -> OwnerId {
    OwnerId::of(&Username::parse(user).unwrap())
}

/// Sends raw bytes over a connection of their own. Returns all that comes back, and whether the server then closed
/// the connection; one that says nothing for two seconds has not.
pub async fn raw(server: &Server, bytes: Vec<u8>) -> (String, bool) {
    use std::io::{Read as _, Write as _};
    let address = server.url.trim_start_matches("http://").to_owned();
    let talk = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        // A server that refuses early may have closed its side.
        drop(stream.write_all(&bytes));
        let mut answer = Vec::new();
        let waiting = stream
            .read_to_end(&mut answer)
            .is_err_and(|error| matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
        (String::from_utf8_lossy(&answer).into_owned(), !waiting)
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", u64::from_be_bytes(random_bytes()))
}

/// Instantiates each case for both stores.
#[macro_export]
macro_rules! on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case($crate::support::On::Embedded).await; })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case($crate::support::On::Redis).await; })*
        }
    };
}
