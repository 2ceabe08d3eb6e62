//! Records one span for each request, with a child for each operation of the store and each hash, in the terms of
//! [OpenTelemetry](https://opentelemetry.io/docs/specs/semconv/http/http-spans/). Off unless an endpoint is set, and then
//! nothing is recorded. What a client sends is in no span, but for the identifiers of its own trace
//! ([W3C Trace Context](https://www.w3.org/TR/trace-context/)).
//!
//! Not here: sending them, see `telemetry/otlp.rs`.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{metrics::Metrics, otlp};
use crate::{
    clock::{Timestamp, random_bytes},
    config::Telemetry,
};

/// Requests whose spans wait to be sent; those beyond are counted and forgotten.
const WAITING: usize = 4096;
/// Operations that one request may record.
const MAX_CHILDREN: usize = 64;
/// How long a server that stops waits for the last spans to be sent.
const FLUSH: std::time::Duration = std::time::Duration::from_secs(3);

tokio::task_local! {
    static CURRENT: Arc<Recorder>;
}

/// Takes the spans of requests and has them sent.
#[derive(Clone, Debug)]
pub struct Traces {
    queue: mpsc::Sender<Message>,
    share: f64,
    full: Arc<AtomicBool>,
}

/// What the sender gets.
#[derive(Debug)]
pub(super) enum Message {
    Finished(Box<Finished>),
    Flush(oneshot::Sender<()>),
}

/// The trace that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

impl Parent {
    /// The parent in a `traceparent` header. A version that we don't know is read as far as we know it.
    fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex::<1>(version)?;
        if version == 0xff || version == 0 && parts.next().is_some() {
            return None;
        }
        let parent = Self { trace: hex(trace)?, span: hex(span)?, sampled: hex::<1>(flags)?[0] & 1 == 1 };
        (parent.trace != [0; 16] && parent.span != [0; 8]).then_some(parent)
    }
}

/// Bytes in lower case hexadecimal.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Recorder {
    trace: [u8; 16],
    parent: Option<[u8; 8]>,
    began: Instant,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    children: Vec<Child>,
    grant_type: Option<&'static str>,
    outcome: Option<&'static str>,
}

/// Something that a request waited for.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) name: &'static str,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) failed: bool,
}

/// What is known about a request when it has been answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The method, from a closed list.
    pub method: &'static str,
    /// The pattern of the address, never the address.
    pub route: Option<String>,
    /// The status.
    pub status: u16,
    /// Under which the log tells more.
    pub request_id: String,
    /// The wall clock.
    pub now: Timestamp,
}

/// A request with all its spans.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) trace: [u8; 16],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) answered: Answered,
    pub(super) grant_type: Option<&'static str>,
    pub(super) outcome: Option<&'static str>,
    pub(super) children: Vec<Child>,
}

impl Traces {
    /// Starts the sender, when an endpoint is set.
    pub fn start(settings: &Telemetry) -> Option<Self> {
        let endpoint = settings.endpoint().ok().flatten()?;
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(otlp::send(endpoint, waiting));
        Some(Self { queue, share: settings.traces_share, full: Arc::default() })
    }

    /// Begins to record a request, unless it is not to be: the caller's trace decides, and chance where there is none.
    pub fn begin(&self, traceparent: Option<&str>) -> Option<Arc<Recorder>> {
        let parent = traceparent.and_then(Parent::parse);
        let sampled = match parent {
            Some(parent) => parent.sampled,
            None => {
                self.share >= 1.0 || f64::from(u32::from_be_bytes(random_bytes())) < self.share * f64::from(u32::MAX)
            }
        };
        let began = Instant::now();
        sampled.then(|| {
            Arc::new(Recorder {
                trace: parent.map_or_else(random_bytes, |parent| parent.trace),
                parent: parent.map(|parent| parent.span),
                began,
                noted: Mutex::default(),
            })
        })
    }

    /// Hands the spans of a request over. Nothing waits for the collector: what finds no room is counted and forgotten.
    pub fn finish(&self, recorder: &Recorder, answered: Answered, metrics: &Metrics) {
        let noted = std::mem::take(&mut *recorder.noted());
        let finished = Finished {
            trace: recorder.trace,
            parent: recorder.parent,
            began: recorder.began,
            ended: Instant::now(),
            answered,
            grant_type: noted.grant_type,
            outcome: noted.outcome,
            children: noted.children,
        };
        let full = self.queue.try_send(Message::Finished(Box::new(finished))).is_err();
        if full {
            metrics.trace_dropped();
        }
        if full && !self.full.swap(full, Ordering::Relaxed) {
            tracing::warn!("traces are forgotten: the collector doesn't take them as fast as they come");
        } else if !full {
            self.full.store(false, Ordering::Relaxed);
        }
    }

    /// Waits until what was recorded so far is sent, but not for long.
    pub async fn flush(&self) {
        let flushing = async {
            let (done, sent) = oneshot::channel();
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                // The sender ends with the server only.
                drop(sent.await);
            }
        };
        drop(timeout(FLUSH, flushing).await);
    }
}

impl Recorder {
    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a request under its recorder.
pub async fn recorded<F: Future>(recorder: Arc<Recorder>, answering: F) -> F::Output {
    CURRENT.scope(recorder, answering).await
}

/// Something that the request begins to wait for. It does not wrap what is waited for: each wrapping would carry the room for
/// it twice.
#[derive(Debug)]
pub struct Waiting {
    name: &'static str,
    /// What records it, and since when; none when nothing is recorded.
    recorded: Option<(Arc<Recorder>, Instant)>,
}

impl Waiting {
    /// Begins.
    pub fn begin(name: &'static str) -> Self {
        let recorder = CURRENT.try_with(Arc::clone).ok();
        Self { name, recorded: recorder.map(|recorder| (recorder, Instant::now())) }
    }

    /// Records how it ended.
    pub fn end(self, failed: bool) {
        let Some((recorder, began)) = self.recorded else { return };
        let mut noted = recorder.noted();
        if noted.children.len() < MAX_CHILDREN {
            noted.children.push(Child { name: self.name, began, ended: Instant::now(), failed });
        }
    }
}

/// Notes what kind of token request this is and how it ended.
pub fn note(grant_type: Option<&'static str>, outcome: &'static str) {
    // Without a recorder there is nothing to note it in.
    let _ = CURRENT.try_with(|recorder| {
        let mut noted = recorder.noted();
        noted.grant_type = grant_type;
        noted.outcome = Some(outcome);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_strictly() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let read = |text: String| Parent::parse(&text);
        let parent = read(format!("00-{trace}-{span}-01")).unwrap();
        assert_eq!((parent.trace[0], parent.span[7], parent.sampled), (0x4b, 0xb7, true));
        assert!(!read(format!("00-{trace}-{span}-00")).unwrap().sampled);
        assert!(read(format!("cc-{trace}-{span}-01-what-comes")).unwrap().sampled);
        for wrong in [
            String::new(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}é-{span}-01"),
            format!("00-{}-{span}-01", "+".repeat(32)),
        ] {
            assert_eq!(Parent::parse(&wrong), None, "{wrong}");
        }
    }
}
