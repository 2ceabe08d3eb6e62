//! Keeps everything in one SQLite file: the store of a single node.
//!
//! WAL with `synchronous=FULL`: an answered write survives a power cut. Several processes may open the
//! file at once, so that the command line works while the server runs; hence nothing is cached.
//!
//! Not here: the thread that writes, see `writer.rs`; the tables, see `schema.rs`.

mod clients;
mod codes;
mod consents;
mod denials;
mod devices;
mod grants;
mod owners;
mod schema;
mod sessions;
mod signing_keys;
mod throttle;
mod writer;

use std::{
    fs::{DirBuilder, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use self::writer::Writer;
use super::{Changed, Created, StoreError, StoreHealth};
use crate::{
    clock::{Clock, Timestamp},
    telemetry::metrics::StoreMeter,
};

/// How long to wait for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a command may wait for the writer, milliseconds: twice the longest wait for another process.
const DEADLINE_MS: i64 = 10_000;

/// Pauses while another process creates the same file, and how many there may be: 5 s in all.
const CREATION_PAUSE: Duration = Duration::from_millis(10);
const CREATION_PAUSES: usize = 500;

/// Prepared statements kept per connection: all that there are.
const STATEMENTS: usize = 64;

/// Reading connections kept open. Single rows are read on the worker threads, of which there are about as
/// many as cores.
const READERS: usize = 32;

/// A store in one SQLite file.
pub struct EmbeddedStore {
    // Dropped before the writer: only a connection that writes can clear the log away when it closes last.
    readers: Arc<Readers>,
    writer: Writer,
    clock: Clock,
}

impl EmbeddedStore {
    /// Opens the file, and creates it when there is none, readable for its owner only.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file can't be opened, isn't SQLite, or was written by a newer
    /// version of this program.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let named = |error: StoreError| match error {
            StoreError::Unavailable(text) => StoreError::Unavailable(format!("{}: {text}", path.display())),
            corrupt @ StoreError::Corrupt(_) => corrupt,
        };
        // A whole path: no name with a meaning to SQLite is left, and no later change of folder matters.
        let path = create_file(path)
            .and_then(|()| path.canonicalize())
            .map_err(|error| named(StoreError::Unavailable(error.to_string())))?;
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(named)?;
        use_wal(&connection).map_err(named)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(|error| named(error.into()))?;
        migrate(&mut connection).map_err(named)?;
        let writer = Writer::start(connection, clock.clone())?;
        Ok(Self { readers: Arc::new(Readers { path, idle: Mutex::default() }), writer, clock })
    }

    /// Reads many rows, away from the worker threads.
    async fn scan<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let scan = tokio::task::spawn_blocking(move || readers.read(read));
        scan.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }
}

/// Creates the file and its folder with narrow modes. SQLite gives its other files the mode of this one.
///
/// A file that exists is not even opened: closing it again would release the locks that another connection
/// of this process holds (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).
fn create_file(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    // Each connection is used by one thread at a time, so SQLite's own mutex only costs.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Turns write-ahead logging on. When two processes do that at once, SQLite refuses one of them without
/// waiting for the busy timeout.
fn use_wal(connection: &Connection) -> Result<(), StoreError> {
    let mut pauses = 0..CREATION_PAUSES;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(StoreError::Unavailable(format!("this file system allows no WAL, only {mode:?}")));
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && pauses.next().is_some() => {
                sleep(CREATION_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Brings the tables of a new or older file up to date; a file of a newer version of this program is left alone.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seen: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let Some(missing) = usize::try_from(seen).ok().and_then(|seen| schema::MIGRATIONS.get(seen..)) else {
        let text = "use the regrant that wrote it, or a newer one: its schema has number";
        return Err(StoreError::Unavailable(format!("{text} {seen}, and {} is known", schema::MIGRATIONS.len())));
    };
    if !missing.is_empty() {
        transaction.execute_batch(&missing.concat())?;
        let today = i64::try_from(schema::MIGRATIONS.len()).unwrap_or(i64::MAX);
        transaction.pragma_update(None, "user_version", today)?;
    }
    Ok(transaction.commit()?)
}

/// Connections that read, opened on demand.
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let found = read(&connection);
        // After an engine error the connection goes: the next reader opens the file anew.
        if !matches!(found, Err(StoreError::Unavailable(_))) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < READERS {
                idle.push(connection);
            }
        }
        found
    }
}

#[async_trait]
impl StoreHealth for EmbeddedStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.readers.read(schema::read_something)?;
        if self.writer.failure().is_some() {
            // Without this write a server that gets no requests while it isn't ready would never recover.
            self.writer.write(schema::probe).await?;
        }
        Ok(())
    }

    async fn warnings(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn meter(&self) -> &StoreMeter {
        self.writer.meter()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn deadline(&self) -> Timestamp {
        self.clock.now().plus(DEADLINE_MS)
    }
}

fn created(rows: usize) -> Created {
    if rows == 0 { Created::Exists } else { Created::Stored }
}

fn changed(rows: usize) -> Changed {
    if rows == 0 { Changed::NotFound } else { Changed::Stored }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, thread};

    use super::*;
    use crate::store::{SealedKey, SigningKeyStore as _};

    fn key(slot: u32) -> SealedKey {
        SealedKey {
            slot,
            algorithm: String::new(),
            sealed: Vec::new(),
            created_at: Timestamp(0),
            active_from: Timestamp(0),
        }
    }

    #[tokio::test]
    async fn nobody_else_can_read_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("store.db");
        let store = EmbeddedStore::open(&path, Clock::system()).unwrap();
        store.add_signing_key(&key(1)).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        for file in ["store.db", "store.db-wal", "store.db-shm"] {
            assert_eq!(mode(&path.with_file_name(file)), 0o600, "{file}");
        }
        drop(store);
        assert!(!path.with_file_name("store.db-wal").exists());
        assert_eq!(EmbeddedStore::open(&path, Clock::system()).unwrap().signing_keys().await.unwrap(), [key(1)]);
    }

    #[tokio::test]
    async fn several_may_create_open_and_write_one_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                thread::spawn(move || EmbeddedStore::open(&path, Clock::system()).unwrap())
            })
            .collect();
        let stores: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for (slot, store) in (1..).zip(&stores) {
            assert_eq!(store.add_signing_key(&key(slot)).await.unwrap(), Created::Stored);
        }
        assert_eq!(stores[0].signing_keys().await.unwrap().len(), 8);
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = EmbeddedStore::open(&path, Clock::system()).err().unwrap().to_string();
        assert!(error.contains("or a newer one: its schema has number 99"), "{error}");
    }
}
