//! What a server tells about itself: metrics, the audit log, and never a secret (security.md A-111, I-15).

use std::process::{Child, Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    command_line::{fit, regrant, run},
    deployments::Port,
    on_both_stores,
    person::{Person, assert_page},
    support::{Answer, On, Redis, Server, eventually, wait_for},
    traces::Collector,
};

on_both_stores!(metrics_count_what_happened, a111_no_secret_is_in_logs_metrics_or_stores);

/// The value of a series, by its whole name with labels; 0 when there is none.
pub fn series(page: &str, name: &str) -> f64 {
    let line = page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

pub async fn metrics(server: &Server) -> String {
    // Closed, not kept: it is counted as well, and the client now and then opens a second one beside an idle one.
    let request = server.http.get(format!("{}/metrics", server.management_url)).header("connection", "close");
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(answer.text.ends_with("# EOF\n"), "{}", answer.text);
    answer.text
}

async fn metrics_count_what_happened(on: On) {
    let server = Server::start(on).await;
    server.client("app").await;
    server.user("anna").await;
    let first = server.login("app", "anna").await;
    let second = server.refresh("app", &first.refresh_token()).await;
    server.refresh("app", &second.refresh_token()).await.assert_tokens();
    server.refresh("app", &first.refresh_token()).await.assert_error(400, "invalid_grant");
    for _ in 0..12 {
        let form = [("grant_type", "password"), ("username", "anna"), ("password", "wrong")];
        server.token("app", &form).await;
    }
    server.token("app", &[("grant_type", "cAnArY")]).await.assert_error(400, "unsupported_grant_type");
    let page = metrics(&server).await;
    for (name, value) in [
        (r#"regrant_token_requests_total{grant_type="password",outcome="granted"}"#, 1.0),
        (r#"regrant_token_requests_total{grant_type="refresh_token",outcome="rotated"}"#, 2.0),
        (r#"regrant_token_requests_total{grant_type="refresh_token",outcome="invalid_grant"}"#, 1.0),
        (r#"regrant_token_requests_total{grant_type="password",outcome="invalid_grant"}"#, 10.0),
        (r#"regrant_token_requests_total{grant_type="password",outcome="throttled"}"#, 2.0),
        (r#"regrant_token_requests_total{grant_type="unknown",outcome="unsupported_grant_type"}"#, 1.0),
        (r#"regrant_replays_total{kind="refresh_token"}"#, 1.0),
        (r#"regrant_sign_ins_total{outcome="succeeded"}"#, 1.0),
        (r#"regrant_sign_ins_total{outcome="refused"}"#, 10.0),
        (r#"regrant_http_responses_total{status="429"}"#, 2.0),
        ("regrant_password_queue_limit", 4096.0),
        ("regrant_store_errors_total", 0.0),
    ] {
        assert_eq!(series(&page, name), value, "{name} in {page}");
    }
    assert!(series(&page, "regrant_store_operation_duration_seconds_count") >= 10.0, "{page}");
    assert!(series(&page, "regrant_open_connections") >= 1.0, "{page}");
    assert_eq!(series(&page, "regrant_http_request_duration_seconds_count"), 17.0, "{page}");
    assert!(!page.contains("cAnArY"), "{page}");
}

/// A server that is killed in the end.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// All bytes of all files below a folder.
fn bytes_below(folder: &std::path::Path) -> Vec<u8> {
    let mut bytes = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { bytes_below(&path) } else { std::fs::read(&path).unwrap() });
    }
    bytes
}

async fn a111_no_secret_is_in_logs_metrics_or_stores(on: On) {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start_with(&["--save", "", "--appendonly", "yes"]);
    let store_folder = folder.path().join("store");
    let store = match on {
        On::Embedded => format!("sqlite:{}", store_folder.join("regrant.db").display()),
        On::Redis => redis.url(),
    };
    let (port, management) = (Port::reserve(), Port::reserve());
    let (url, management_address) =
        (format!("http://127.0.0.1:{}", port.number()), format!("127.0.0.1:{}", management.number()));
    let command = |arguments: &[&str]| {
        let mut command = regrant(folder.path(), arguments);
        command.envs(fit(folder.path())).env("REGRANT_STORE", &store).env("REGRANT_ISSUER", &url);
        command.env("REGRANT_LISTEN", format!("127.0.0.1:{}", port.number()));
        command.env("REGRANT_MANAGEMENT_LISTEN", &management_address);
        command.env("REGRANT_AUDIT_LOG", folder.path().join("audit.jsonl")).env("RUST_LOG", "trace");
        command.env("REGRANT_ADMINISTRATORS", "somebody,anna");
        command
    };
    let collector = Collector::start().await;
    let created = run(
        command(&[
            "client",
            "create",
            "--id",
            "app",
            "--type",
            "confidential",
            "--scope",
            "read regrant:admin",
            "--json",
            "--grant-types",
            "password,refresh_token,client_credentials,device_code,authorization_code",
            "--redirect-uri",
            "http://127.0.0.1/callback",
        ]),
        "",
    )
    .assert(0);
    let created = created.json();
    let secret = created["client_secret"].as_str().unwrap().to_owned();
    let password = "a pass phrase cAnArY";
    run(command(&["user", "create", "--username", "anna", "--password-stdin"]), &format!("{password}\n")).assert(0);
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut serve = command(&["serve", "--init-keys"]);
    serve.env("REGRANT_TELEMETRY__TRACES_ENDPOINT", &collector.endpoint);
    let _serving = Serving(serve.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    wait_for("serve", || std::net::TcpStream::connect(("127.0.0.1", port.number())).is_ok());

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, form: &[(&str, &str)]| {
        Answer::of(http.post(format!("{url}{path}")).basic_auth("app", Some(&secret)).form(form)).await
    };
    let login = [("grant_type", "password"), ("username", "anna"), ("password", password)];
    let first = post("/oauth2/token", &login).await;
    let refresh =
        async |token: &str| post("/oauth2/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await;
    let second = refresh(&first.refresh_token()).await;
    let third = refresh(&second.refresh_token()).await;
    refresh(&first.refresh_token()).await.assert_error(400, "invalid_grant");
    let of_client = post("/oauth2/token", &[("grant_type", "client_credentials")]).await;
    let wrong = [("grant_type", "password"), ("username", "anna"), ("password", "wrong cAnArY")];
    post("/oauth2/token", &wrong).await.assert_error(400, "invalid_grant");
    let bad = http.post(format!("{url}/oauth2/token")).basic_auth("app", Some("cs_cAnArY")).form(&login);
    Answer::of(bad).await.assert_error(401, "invalid_client");
    post("/oauth2/introspect", &[("token", &third.access_token())]).await;
    post("/oauth2/revoke", &[("token", &third.access_token())]).await;
    let device = post("/oauth2/device_authorization", &[("scope", "read")]).await.json();
    let mut anna = Person::at_url(&url);
    let page = anna.open("/login").await;
    assert_page(&page, 200);
    anna.submit(&page, &[("username", "anna"), ("password", "wrong cAnArY")]).await;
    assert_eq!(anna.submit(&page, &[("username", "anna"), ("password", password)]).await.status, 303);
    assert_page(&anna.open("/account").await, 200);
    let admin = async |path: &str, body: Value| {
        let request = http.post(format!("{url}/admin/{path}")).bearer_auth(of_client.access_token());
        Answer::of(request.json(&body)).await
    };
    let bert = |password: Value| json!({ "username": "bert", "password": password });
    assert_eq!(admin("users", bert("cAnArY of bert".into())).await.status, 201);
    assert_eq!(admin("users", bert(json!({ "cAnArY": 1 }))).await.status, 400);
    let unknown = json!({ "username": "bert", "password": "cAnArY of bert", "cAnArY": "cAnArY" });
    assert_eq!(admin("users", unknown).await.status, 400);
    assert_eq!(admin("users/bert/set-password", json!({ "password": "cAnArY again" })).await.status, 200);
    let by_admin = json!({ "client_id": "by-admin", "type": "confidential", "grant_types": ["client_credentials"] });
    let by_admin = admin("clients", by_admin).await.json();
    let newer = admin("clients/by-admin/rotate-secret", json!({})).await.json();
    let page = anna.open("/admin?user=bert").await;
    assert_page(&page, 200);
    assert_eq!(anna.submit(&page, &[("action", "log_out_user")]).await.status, 303);

    let mut secrets = vec!["cAnArY".to_owned(), secret.clone(), STANDARD.encode(format!("app:{secret}"))];
    secrets.push(crate::command_line::SECRET.to_owned());
    for answer in [&first, &second, &third] {
        secrets.extend([answer.access_token(), answer.refresh_token()]);
    }
    secrets.push(of_client.access_token());
    secrets.extend([by_admin, newer].map(|client| client["client_secret"].as_str().unwrap().to_owned()));
    secrets.extend(["device_code", "user_code"].map(|code| device[code].as_str().unwrap().to_owned()));
    secrets.extend(anna.cookies.values().cloned());
    assert_eq!(anna.cookies.len(), 3, "{:?}", anna.cookies);

    eventually("the last span is there", async || collector.text().contains("GET /account")).await;
    let traces = collector.text();
    let metrics = Answer::of(http.get(format!("http://{management_address}/metrics"))).await.text;
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let stored = match on {
        On::Embedded => bytes_below(&store_folder),
        On::Redis => {
            redis.saved();
            bytes_below(redis.folder())
        }
    };
    // The controls: each place holds what it should.
    assert!(metrics.contains("regrant_replays_total{kind=\"refresh_token\"} 1"), "{metrics}");
    assert!(log.contains("request_id") && log.contains("token request understood"), "{log}");
    assert!(stored.windows(4).any(|bytes| bytes == b"anna"));
    let events: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for expected in [
        "token request",
        "refresh token replayed: grant revoked",
        "token request refused",
        "signed in",
        "sign-in refused",
    ] {
        let event = events.iter().find(|event| event["message"] == expected);
        assert!(
            event.is_some_and(|event| event["timestamp"].is_string() && event["request_id"].is_string()),
            "{audit}"
        );
    }
    let acts = |by: &str, change: &str| {
        let act = |event: &&Value| event["by"] == by && event["change"] == change;
        events.iter().find(act).unwrap_or_else(|| panic!("{by}: {change}: {audit}"))
    };
    assert_eq!(acts("command line", "client created")["client"], "app");
    let anna = crate::support::owner_id("anna").to_string();
    assert_eq!(acts("command line", "user created")["owner"], anna);
    assert!(acts("user anna", "user logged out everywhere")["request_id"].is_string());
    for change in ["user created", "user given a new password", "client created", "client given a new secret"] {
        let event = acts("client app", change);
        assert!(event["request_id"].is_string() && event["address"] == "127.0.0.1", "{event}");
    }
    for secret in secrets {
        for (place, text) in [("metrics", &metrics), ("log", &log), ("audit log", &audit), ("traces", &traces)] {
            assert!(!text.contains(&secret), "{secret} is in the {place}");
        }
        let there = stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!there, "{secret} is in the store");
    }
}
