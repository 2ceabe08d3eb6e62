//! TLS on the public address, by a client that speaks it, and by some that don't.

use std::{
    future::poll_fn,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use hyper::{
    Request, Response, Version,
    body::{Body as _, Incoming},
    client::conn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use regrant::config::{Config, Limits};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
        pki_types::{CertificateDer, ServerName},
        version::{TLS12, TLS13},
    },
};

use crate::{
    command_line::refused_with,
    support::{On, Server, eventually},
    telemetry::{metrics, series},
};

/// A certificate and its key in files, as an operator has them.
struct Files {
    folder: tempfile::TempDir,
    root: CertificateDer<'static>,
}

impl Files {
    /// For localhost, valid until the end of that year.
    fn new(year: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Self { folder, root: CertificateDer::from(vec![]) };
        files.renew(year);
        files
    }

    /// Replaces both by a new pair.
    fn renew(&mut self, year: i32) {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(self.key(), key.serialize_pem()).unwrap();
        std::fs::set_permissions(self.key(), PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(self.certificate(), certificate.pem()).unwrap();
        self.root = certificate.der().clone();
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    fn set(&self, config: &mut Config) {
        config.tls.certificate_file = Some(self.certificate());
        config.tls.key_file = Some(self.key());
    }
}

async fn start(files: &Files) -> Server {
    Server::start_with(On::Embedded, |config| files.set(config)).await
}

/// Connects as a client that trusts one certificate.
async fn connect(
    server: &Server,
    root: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocol: &[u8],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = tokio::net::TcpStream::connect(address(server)).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

fn address(server: &Server) -> &str {
    server.url.trim_start_matches("http://")
}

const METADATA: &str = "/.well-known/oauth-authorization-server";

fn ask(url: String) -> Request<String> {
    Request::get(url).header("Host", "localhost").body(String::new()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let mut body = response.into_body();
    let mut text = String::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        text += std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap();
    }
    text
}

async fn http1(stream: TlsStream<tokio::net::TcpStream>) -> conn::http1::SendRequest<String> {
    let (sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_and_http_2_are_served_over_tls_1_2_and_1_3() {
    let files = Files::new(4095);
    let server = start(&files).await;
    for (versions, spoken) in [([&TLS12], ProtocolVersion::TLSv1_2), ([&TLS13], ProtocolVersion::TLSv1_3)] {
        let stream = connect(&server, &files.root, &versions, b"h2").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        let (mut http2, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = http2.send_request(ask(format!("https://localhost{METADATA}"))).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
        assert!(text(answer).await.contains(&format!(r#""issuer":"https://{}""#, address(&server))));

        let stream = connect(&server, &files.root, &versions, b"http/1.1").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = http1(stream).await.send_request(ask(METADATA.into())).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_11));
        assert!(!answer.headers()["x-request-id"].is_empty());
    }
    let refused = connect(&server, &files.root, &[&TLS13], b"spdy/3").await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    let page = metrics(&server).await;
    assert_eq!(series(&page, r#"regrant_tls_handshakes_total{outcome="succeeded"}"#), 4.0, "{page}");
    assert_eq!(series(&page, r#"regrant_tls_handshakes_total{outcome="failed"}"#), 1.0, "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_used_without_a_restart_and_a_bad_one_is_not() {
    let mut files = Files::new(4094);
    let server = start(&files).await;
    let old = files.root.clone();
    let mut before = http1(connect(&server, &old, &[&TLS13], b"http/1.1").await.unwrap()).await;
    let expiry = "regrant_tls_certificate_expiry_timestamp_seconds";
    let first = series(&metrics(&server).await, expiry);
    files.renew(4095);
    eventually("new connections get the new certificate", async || {
        connect(&server, &files.root, &[&TLS13], b"h2").await.is_ok()
    })
    .await;
    assert!(connect(&server, &old, &[&TLS13], b"h2").await.is_err());
    assert_eq!(series(&metrics(&server).await, expiry) - first, 365.0 * 86400.0);
    assert_eq!(before.send_request(ask(METADATA.into())).await.unwrap().status(), 200);

    let bad: [(&str, &dyn Fn()); 4] = [
        ("another key", &|| std::fs::write(files.key(), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap()),
        ("nonsense", &|| std::fs::write(files.key(), "nonsense").unwrap()),
        ("nothing", &|| std::fs::remove_file(files.key()).unwrap()),
        ("an expired one", &|| {
            let expired = Files::new(1999);
            std::fs::copy(expired.certificate(), files.certificate()).unwrap();
            std::fs::copy(expired.key(), files.key()).unwrap();
        }),
    ];
    for (number, (what, spoil)) in bad.into_iter().enumerate() {
        spoil();
        eventually(what, async || {
            let refused =
                series(&metrics(&server).await, r#"regrant_tls_certificate_reloads_total{outcome="refused"}"#);
            refused > number as f64
        })
        .await;
        assert!(connect(&server, &files.root, &[&TLS13], b"h2").await.is_ok(), "after {what}");
    }
    assert_eq!(before.send_request(ask(METADATA.into())).await.unwrap().status(), 200);
}

/// Sends bytes to a TLS port. Returns what came back until the server closed the connection, or that many bytes of it.
async fn raw(server: &Server, bytes: Vec<u8>, at_most: u64) -> Vec<u8> {
    let address = address(server).to_owned();
    let talk = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut answer = vec![];
        stream.take(at_most).read_to_end(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

/// A ClientHello of TLS 1.2 or older (RFC 5246 §7.4.1.2), that offers what fits our certificate.
fn client_hello(minor_version: u8) -> Vec<u8> {
    let mut hello = vec![3, minor_version];
    hello.extend([7; 32]);
    // No session; ECDHE_ECDSA with AES-GCM and with AES-CBC; no compression.
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x09, 1, 0]);
    // Extensions: ecdsa_secp256r1_sha256; secp256r1; uncompressed points.
    hello.extend([0, 22, 0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    [vec![22, 3, 1, 0, length + 4, 1, 0, 0, length], hello].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_no_tls_or_an_old_one_is_turned_away_at_once() {
    let files = Files::new(4095);
    let server = start(&files).await;
    let plain = raw(&server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), u64::MAX).await;
    assert!(!plain.windows(4).any(|bytes| bytes == b"HTTP"), "{plain:?}");
    // The control: the same ClientHello of TLS 1.2 begins a handshake.
    assert_eq!(raw(&server, client_hello(3), 1).await, [22]);
    for old in [2, 1] {
        // A fatal alert: protocol_version (RFC 5246 §7.2.2).
        let answer = raw(&server, client_hello(old), u64::MAX).await;
        assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]), "{answer:?}");
    }
    eventually("all four are counted", async || {
        series(&metrics(&server).await, r#"regrant_tls_handshakes_total{outcome="failed"}"#) == 4.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_shakes_hands_holds_nobody_up_and_is_turned_away() {
    let files = Files::new(4095);
    let server = Server::start_with(On::Embedded, |config| {
        files.set(config);
        config.limits = Limits { handshake_seconds: 1, ..Limits::default() };
    })
    .await;
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address(&server)).unwrap()).collect();
    connect(&server, &files.root, &[&TLS13], b"h2").await.unwrap();
    eventually("the silent ones are turned away", async || {
        let page = metrics(&server).await;
        series(&page, r#"regrant_tls_handshakes_total{outcome="timed_out"}"#) == 200.0
    })
    .await;
    let ended =
        tokio::task::spawn_blocking(move || silent.into_iter().map(|mut stream| stream.read(&mut [0])).collect());
    let ended: Vec<std::io::Result<usize>> = ended.await.unwrap();
    assert!(ended.iter().all(|read| matches!(read, Ok(0))), "{ended:?}");
}

#[test]
fn a_certificate_that_is_no_good_is_told_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(4095);
    let (certificate, key) = (files.certificate(), files.key());
    let (certificate_file, key_file) = ("REGRANT_TLS__CERTIFICATE_FILE", "REGRANT_TLS__KEY_FILE");
    let refused = |certificate: &PathBuf, key: &PathBuf| {
        let both = [(certificate_file, certificate.to_str().unwrap()), (key_file, key.to_str().unwrap())];
        refused_with(folder.path(), &both)
    };
    let missing = PathBuf::from("/nowhere/tls.crt");
    let text = refused(&missing, &key);
    assert!(text.contains("tls.certificate_file /nowhere/tls.crt: No such file"), "{text}");
    let text = refused(&certificate, &PathBuf::new());
    assert!(text.contains("tls.key_file: there is none, and tls.certificate_file needs it"), "{text}");
    let other = Files::new(4095);
    let text = refused(&certificate, &other.key());
    assert!(text.contains("tls.key_file: it is not the key of the certificate"), "{text}");
    let text = refused(&key, &key);
    assert!(text.contains("tls.certificate_file: it holds no PEM block CERTIFICATE"), "{text}");
    let text = refused(&certificate, &certificate);
    assert!(text.contains("everybody on this machine may read it; run: chmod o= "), "{text}");
    let expired = Files::new(1999);
    let text = refused(&expired.certificate(), &expired.key());
    assert!(text.contains("tls.certificate_file: the certificate expired at 1999-12-31"), "{text}");
}
