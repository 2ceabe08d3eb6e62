//! The log's lines where they are read by programs and files: without colours, and each of them one line, whatever a client
//! put into it. The library's own formatter looks for colours around each word, which took a fiftieth of a busy server.
//!
//! Not here: colours for a terminal and JSON, which the library makes; spans, of which the server has none; when a line is written, see `log_writer.rs`.

use std::fmt::{self, Debug, Write};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// Formats an event as its time, its level, its message and its fields.
pub(super) struct PlainLine;

impl<S, N> FormatEvent<S, N> for PlainLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let level = event.metadata().level().as_str();
        // As wide as the longest of them.
        writer.write_str(&"      "[level.len()..])?;
        writer.write_str(level)?;
        let mut fields = Fields { line: OneLine(&mut writer), written: Ok(()) };
        event.record(&mut fields);
        fields.written?;
        writer.write_char('\n')
    }
}

/// Writes fields, the message among them.
struct Fields<'w, 'l> {
    line: OneLine<'w, 'l>,
    written: fmt::Result,
}

impl Fields<'_, '_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) -> fmt::Result {
        self.line.write_char(' ')?;
        if field.name() != "message" {
            self.line.write_str(field.name())?;
            self.line.write_char('=')?;
        }
        self.line.write_fmt(value)
    }
}

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.written.is_ok() {
            self.written = self.write(field, format_args!("{value:?}"));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Escapes what would end the line or steer a terminal.
struct OneLine<'w, 'l>(&'w mut Writer<'l>);

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|character| match character.is_control() {
            true => write!(self.0, "{}", character.escape_default()),
            false => self.0.write_char(character),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::{fmt::layer, layer::SubscriberExt as _, registry};

    use super::*;

    /// What an event is written as, after its time.
    fn line(log: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&written);
        let layer = layer().event_format(PlainLine).with_writer(move || Shared(Arc::clone(&into)));
        tracing::subscriber::with_default(registry().with(layer), log);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let (time, rest) = text.split_once('Z').unwrap();
        assert_eq!(time.len(), "2026-01-01T00:00:00.000000".len(), "{time}");
        rest.to_owned()
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_level_the_message_and_the_fields() {
        let id = tracing::field::display("abc");
        let none = None::<u8>;
        assert_eq!(
            line(|| tracing::info!(id, none, outcome = "granted", number = 7, "token request")),
            "  INFO token request id=abc outcome=\"granted\" number=7\n"
        );
        assert_eq!(line(|| tracing::error!("failed: {}", "Ü")), " ERROR failed: Ü\n");
    }

    #[test]
    fn what_a_client_says_begins_no_line_and_steers_no_terminal() {
        let said = tracing::field::display("a\r\nb\u{1b}[31mc\u{9b}d");
        assert_eq!(line(|| tracing::warn!(said, "x\ny")), "  WARN x\\ny said=a\\r\\nb\\u{1b}[31mc\\u{9b}d\n");
    }
}
