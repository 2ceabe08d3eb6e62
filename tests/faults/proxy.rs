//! Stands between a server and its Redis: delays commands, holds them and lets them go later, cuts connections after
//! some bytes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What happens to commands on their way to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    Delay(u64),
    /// They wait until the mode changes, whatever becomes of those who sent them.
    Hold,
}

/// A number of bytes that is never reached.
const NO_LIMIT: i64 = i64::MAX / 2;

pub struct Proxy {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Bytes of answers until a connection is cut.
    left: Arc<AtomicI64>,
}

impl Proxy {
    pub async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        let left = Arc::new(AtomicI64::new(NO_LIMIT));
        let budget = Arc::clone(&left);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&upstream).await else { continue };
                drop((client.set_nodelay(true), server.set_nodelay(true)));
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                // Two tasks: a command that is held goes on its way also when its sender has gone.
                tokio::spawn(commands(from_client, to_server, modes.clone()));
                tokio::spawn(answers(from_server, to_client, Arc::clone(&budget)));
            }
        });
        Self { address, mode, left }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Cuts the connection that carries the n-th byte of an answer from now on.
    pub fn cut_after(&self, bytes: u64) {
        self.left.store(i64::try_from(bytes).unwrap(), Ordering::Relaxed);
    }
}

async fn commands(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut modes: watch::Receiver<Mode>) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let mode = *modes.borrow_and_update();
        match mode {
            Mode::Pass => {}
            Mode::Delay(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
            Mode::Hold => drop(modes.wait_for(|mode| *mode != Mode::Hold).await),
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, left: Arc<AtomicI64>) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let before = left.fetch_sub(i64::try_from(count).unwrap(), Ordering::Relaxed);
        let keep = usize::try_from(before.max(0)).unwrap().min(count);
        if to.write_all(&chunk[..keep]).await.is_err() {
            return;
        }
        if keep < count {
            left.store(NO_LIMIT, Ordering::Relaxed);
            // Both halves of the connection go: this one now, the other when the server notices.
            drop(to.shutdown().await);
            return;
        }
    }
}
