//! Speaks HTTP/1.1 byte by byte, so that an answer can be lost at any of them.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    No,
    /// The connection ends after so many bytes of it.
    Cut(usize),
    /// The client hangs up after so many milliseconds.
    HangUp(u64),
}

#[derive(Debug)]
pub enum Reply {
    Answer {
        status: u16,
        body: String,
    },
    /// Some of the answer came, so the server has done its work.
    Cut,
    /// Nothing came: the request may still be under way.
    Nothing(String),
    /// Nobody listens there now.
    Unreachable,
}

/// One connection, kept open.
pub struct Wire {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Wire {
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    pub async fn post(&mut self, path: &str, authorization: &str, form: &str, loss: Loss) -> Reply {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: regrant.test\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let mut stream = match self.stream.take() {
            Some(stream) if !ended(&stream) => stream,
            _ => match timeout(PATIENCE, TcpStream::connect(self.address)).await {
                Ok(Ok(stream)) => stream,
                _ => return Reply::Unreachable,
            },
        };
        drop(stream.set_nodelay(true));
        if let Err(error) = stream.write_all(request.as_bytes()).await {
            return Reply::Nothing(error.to_string());
        }
        let patience = match loss {
            Loss::HangUp(milliseconds) => Duration::from_millis(milliseconds),
            _ => PATIENCE,
        };
        let most = match loss {
            Loss::Cut(bytes) => bytes,
            _ => usize::MAX,
        };
        let mut bytes = Vec::with_capacity(2048);
        match timeout(patience, read(&mut stream, &mut bytes, most)).await {
            Ok(Ok(Some((status, body)))) => {
                self.stream = Some(stream);
                Reply::Answer { status, body }
            }
            _ if !bytes.is_empty() => Reply::Cut,
            Ok(Ok(None)) => Reply::Nothing("connection closed".into()),
            Ok(Err(error)) => Reply::Nothing(error.to_string()),
            Err(_) => Reply::Nothing("hung up".into()),
        }
    }
}

/// Whether the other side has closed an idle connection.
fn ended(stream: &TcpStream) -> bool {
    let mut byte = [0];
    !matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Reads one answer; `None` when the connection ended, or `most` bytes were read, before its end.
async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>, most: usize) -> std::io::Result<Option<(u16, String)>> {
    let mut chunk = [0; 4096];
    loop {
        let left = most.saturating_sub(bytes.len()).min(chunk.len());
        if left == 0 {
            return Ok(None);
        }
        let count = stream.read(&mut chunk[..left]).await?;
        if count == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(answer) = whole(bytes) {
            return Ok(Some(answer));
        }
    }
}

fn whole(bytes: &[u8]) -> Option<(u16, String)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let body = bytes.get(end..end + length?)?;
    Some((status, String::from_utf8_lossy(body).into_owned()))
}
