//! The log, the audit log and the metrics. Log lines go to standard error; standard output is for what a command prints.
//!
//! `RUST_LOG` chooses what is logged, as in other Rust programs. What the audit log gets is not chosen: it is every event with
//! the target [`AUDIT`], which the log shows as well.

pub mod history;
mod log_writer;
pub mod metrics;
mod otlp;
mod plain_line;
pub mod traces;

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

pub use self::log_writer::Log;
use self::plain_line::PlainLine;
use crate::config::LogFormat;

/// The target of security events: who came in or did not, what was taken away, what was used twice.
pub const AUDIT: &str = "audit";

/// Starts logging for this process, until what it returns is dropped. A second start changes nothing.
///
/// # Errors
/// When the audit log can't be opened.
pub fn start(format: LogFormat, audit_log: Option<&Path>) -> io::Result<Log> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let (guard, writer) = Log::start()?;
    let log = fmt::layer().with_writer(writer).with_target(false);
    let log = match format {
        LogFormat::Human if io::stderr().is_terminal() => log.with_ansi(true).boxed(),
        LogFormat::Human => log.event_format(PlainLine).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let audit = audit_log.map(open).transpose()?.map(audit_lines);
    drop(tracing_subscriber::registry().with(log.with_filter(filter)).with(audit).try_init());
    Ok(guard)
}

/// Starts the audit log alone, for a command that changes something: what else it has to say, it prints.
///
/// # Errors
/// When the audit log can't be opened.
pub fn start_audit(audit_log: &Path) -> io::Result<()> {
    drop(tracing_subscriber::registry().with(audit_lines(open(audit_log)?)).try_init());
    Ok(())
}

fn audit_lines<S>(file: File) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let lines = fmt::layer().json().flatten_event(true).with_target(false).with_writer(Arc::new(file));
    lines.with_filter(Targets::new().with_target(AUDIT, tracing::Level::INFO))
}

/// Each line is one write at the end of the file, so several processes may share it, and a rotation that copies and
/// truncates loses none.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("audit_log {}: {error}", path.display())))
}
