//! The floors: the least that a server of this kind could do.
//!
//! - `constant` answers the same bytes whatever is asked.
//! - `refresh` hashes the client's secret and the token's, rotates in one Lua call, signs one ES256 JWT. It checks nothing
//!   else, and nobody should run it.
//! - `sign` hashes the client's secret and signs: the least a client credentials grant does.
//! - `argon2` serves nothing: it hashes passwords on all cores, with the server's parameters, and prints how many a second.
//! - `commit` serves nothing: it writes the bytes of a batch to a file and calls fdatasync, again and again, and prints how
//!   often a second.
//! - `lookup` hashes the client's secret, verifies one ES256 JWT and reads one hash: the least an introspection does.

use std::{convert::Infallible, net::SocketAddr, os::unix::fs::FileExt as _, path::PathBuf, sync::Arc};

use aws_lc_rs::{
    digest, rand,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use redis::{Script, aio::ConnectionManager};
use tokio::net::TcpListener;

#[derive(Parser)]
struct Arguments {
    #[arg(value_enum)]
    floor: Floor,
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    store: String,
    /// How long `argon2` hashes and `commit` writes
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The file that `commit` writes
    #[arg(long, default_value = "commits")]
    file: PathBuf,
    /// The bytes of a batch
    #[arg(long, default_value_t = 4096)]
    bytes: usize,
    /// How large the file becomes before `commit` begins at its start again, as a write-ahead log does; left out: it grows
    #[arg(long, default_value_t = u64::MAX)]
    file_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Floor {
    Constant,
    Refresh,
    Sign,
    Lookup,
    Argon2,
    Commit,
}

const ROTATE: &str = "
local g = redis.call('HMGET', KEYS[1], 'gen', 'fh')
if g[1] ~= ARGV[1] or g[2] ~= ARGV[2] then return redis.error_reply('replayed') end
redis.call('HSET', KEYS[1], 'gen', ARGV[1] + 1)
redis.call('PEXPIRE', KEYS[1], 1209600000)
return 1";

struct Server {
    floor: Floor,
    store: Option<ConnectionManager>,
    rotate: Script,
    key: EcdsaKeyPair,
    header: String,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let store = match arguments.floor {
        Floor::Refresh | Floor::Lookup => {
            let client = redis::Client::open(arguments.store).expect("a Redis URL");
            Some(ConnectionManager::new(client).await.expect("Redis answers"))
        }
        Floor::Constant | Floor::Sign => None,
        Floor::Argon2 => return println!("{}", hash_passwords(arguments.seconds)),
        Floor::Commit => return println!("{}", commit(&arguments)),
    };
    let server = Arc::new(Server {
        floor: arguments.floor,
        store,
        rotate: Script::new(ROTATE),
        key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
        header: URL_SAFE_NO_PAD.encode(r#"{"typ":"at+jwt","alg":"ES256","kid":"floor"}"#),
    });
    let listener = TcpListener::bind(arguments.listen).await.expect("a free address");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &server));
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Hashes a second on all cores, each in memory that is kept between hashes.
fn hash_passwords(seconds: f64) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let began = std::time::Instant::now();
    let count = || {
        // 19 MiB, 2 passes, 1 lane: the server's defaults.
        let parameters = argon2::Params::new(19 * 1024, 2, 1, None).expect("parameters");
        let mut memory = vec![argon2::Block::default(); parameters.block_count()];
        let hasher = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
        let mut hashes = 0.0;
        while began.elapsed().as_secs_f64() < seconds {
            let mut hash = [0; 32];
            hasher.hash_password_into_with_memory(b"load-password", &[7; 16], &mut hash, &mut memory).expect("hashed");
            hashes += 1.0;
        }
        hashes
    };
    let hashes: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    });
    hashes / began.elapsed().as_secs_f64()
}

/// Batches a second that are on the disk before the next one begins.
fn commit(arguments: &Arguments) -> f64 {
    let file = std::fs::File::create(&arguments.file).expect("a file that can be written");
    let batch = vec![7; arguments.bytes];
    let began = std::time::Instant::now();
    let (mut commits, mut end) = (0.0, 0);
    while began.elapsed().as_secs_f64() < arguments.seconds {
        file.write_all_at(&batch, end).expect("written");
        file.sync_data().expect("on the disk");
        commits += 1.0;
        end += arguments.bytes as u64;
        if end >= arguments.file_bytes {
            end = 0;
        }
    }
    commits / began.elapsed().as_secs_f64()
}

async fn answer(request: Request<Incoming>, server: &Server) -> Result<Response<Full<Bytes>>, Infallible> {
    if server.floor == Floor::Constant {
        return Ok(json(r#"{"access_token":"constant","token_type":"Bearer","refresh_token":"constant"}"#.into()));
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // The client's secret.
    let hash = digest::digest(&digest::SHA256, b"demo-secret");
    let field = |name: &str| {
        let text = std::str::from_utf8(&body).unwrap_or_default();
        text.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    match (server.floor, field("grant_type"), field("refresh_token")) {
        (Floor::Refresh | Floor::Lookup, Some("password"), _) => {
            let mut secret = [0; 40];
            rand::fill(&mut secret).expect("randomness");
            let secret = URL_SAFE_NO_PAD.encode(secret);
            let mut store = server.store.clone().expect("a store");
            let hash = digest::digest(&digest::SHA256, secret.as_bytes());
            let () = redis::cmd("HSET")
                .arg(format!("floor:{}", &secret[..22]))
                .arg("gen")
                .arg(1)
                .arg("fh")
                .arg(hash.as_ref())
                .query_async(&mut store)
                .await
                .expect("stored");
            Ok(json(tokens(server, &secret, 1)))
        }
        (Floor::Refresh, _, Some(token)) => {
            let (secret, generation) = token.split_once('.').unwrap_or_default();
            let generation: u32 = generation.parse().unwrap_or_default();
            let hash = digest::digest(&digest::SHA256, secret.as_bytes());
            let mut store = server.store.clone().expect("a store");
            let rotated: Result<i64, _> = server
                .rotate
                .key(format!("floor:{}", &secret[..22]))
                .arg(generation)
                .arg(hash.as_ref())
                .invoke_async(&mut store)
                .await;
            rotated.expect("rotated");
            Ok(json(tokens(server, secret, generation + 1)))
        }
        (Floor::Lookup, ..) => {
            let token = field("token").unwrap_or_default();
            let (signed, signature) = token.rsplit_once('.').unwrap_or_default();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, server.key.public_key())
                .verify(signed.as_bytes(), &signature)
                .expect("our own signature");
            let mut store = server.store.clone().expect("a store");
            let _: Vec<Option<Vec<u8>>> = redis::cmd("HMGET")
                .arg("floor:lookup")
                .arg("gen")
                .arg("fh")
                .query_async(&mut store)
                .await
                .expect("read");
            Ok(json(r#"{"active":true,"scope":"read write","client_id":"demo","sub":"0123456789abcdef"}"#.into()))
        }
        _ => Ok(json(format!(r#"{{"access_token":"{}","hash":{}}}"#, access_token(server), hash.as_ref()[0]))),
    }
}

fn tokens(server: &Server, secret: &str, generation: u32) -> String {
    format!(
        r#"{{"access_token":"{}","token_type":"Bearer","expires_in":600,"refresh_token":"{secret}.{generation}"}}"#,
        access_token(server)
    )
}

fn access_token(server: &Server) -> String {
    let claims = URL_SAFE_NO_PAD.encode(
        r#"{"iss":"http://127.0.0.1:8090","sub":"0123456789abcdef","aud":"http://127.0.0.1:8090","exp":1800000000,"iat":1800000000,"jti":"0123456789abcdef","client_id":"demo","scope":"read write"}"#,
    );
    let signed = format!("{}.{claims}", server.header);
    let signature = server.key.sign(&aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes()).expect("signed");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn json(body: String) -> Response<Full<Bytes>> {
    Response::builder()
        .header("content-type", "application/json")
        .header("cache-control", "no-store")
        .body(Full::new(Bytes::from(body)))
        .expect("a response")
}
