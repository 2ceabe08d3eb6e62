//! Writes the log's lines a few milliseconds late and many at a time: a write for each line would cost a twentieth of all
//! that a busy server does. Whoever needs every line, also of the last moment before a crash, has the audit log.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// How late a line may be.
const DELAY: Duration = Duration::from_millis(5);
/// Bytes that may wait. Beyond it those who log wait for the reader of the log, as they would with a write for each line.
const MOST: usize = 1024 * 1024;

/// Takes lines for standard error.
#[derive(Debug, Default)]
pub(super) struct LogWriter {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<u8>,
    ended: bool,
}

/// Writes the lines that still wait when it goes.
#[derive(Debug)]
pub struct Log {
    writer: Arc<LogWriter>,
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, lines: MutexGuard<'a, Lines>) -> MutexGuard<'a, Lines> {
        self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits, until the end.
    fn work(&self) {
        let mut batch = Vec::new();
        loop {
            let mut lines = self.lines();
            while lines.waiting.is_empty() && !lines.ended {
                lines = self.wait(lines);
            }
            let late =
                self.changed.wait_timeout_while(lines, DELAY, |lines| !lines.ended && lines.waiting.len() < MOST);
            let (mut lines, _) = late.unwrap_or_else(PoisonError::into_inner);
            mem::swap(&mut lines.waiting, &mut batch);
            let ended = lines.ended;
            drop(lines);
            self.changed.notify_all();
            write(&batch);
            batch.clear();
            if ended {
                return;
            }
        }
    }
}

/// Writes everything, also where standard error takes it piece by piece. There is nobody to tell that it can't be written.
fn write(mut lines: &[u8]) {
    while !lines.is_empty() {
        match io::stderr().write(lines) {
            Ok(0) => return,
            Ok(written) => lines = &lines[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(DELAY),
            Err(_) => return,
        }
    }
}

impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = self.lines();
        while lines.waiting.len() >= MOST && !lines.ended {
            lines = self.wait(lines);
        }
        if lines.ended {
            return io::stderr().write(line);
        }
        let first = lines.waiting.is_empty();
        lines.waiting.extend_from_slice(line);
        let full = lines.waiting.len() >= MOST;
        drop(lines);
        if first || full {
            self.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Starts the thread that writes.
    pub(super) fn start() -> io::Result<(Self, Arc<LogWriter>)> {
        let writer = Arc::<LogWriter>::default();
        let for_thread = Arc::clone(&writer);
        let thread = thread::Builder::new().name("log".into()).spawn(move || for_thread.work())?;
        Ok((Self { writer: Arc::clone(&writer), thread: Some(thread) }, writer))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.writer.lines().ended = true;
        self.writer.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; if it did, the panic has been reported.
            drop(thread.join());
        }
    }
}
