//! Writes to the embedded store: one thread, and one fsync for all that wait.
//!
//! Jobs queue up while a transaction is being synced; the next transaction takes them all. A caller gets
//! the answer after the commit, never before.
//!
//! Not here: what a job reads and writes, see the files of the subjects.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::{Builder, JoinHandle},
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::schema;
use crate::{
    clock::{Clock, Timestamp},
    failpoint,
    store::StoreError,
    telemetry::metrics::StoreMeter,
};

/// How many jobs may wait. At the 95,000 writes a second that were measured, the last of them waits for
/// 43 ms; a longer queue would only make answers come after their deadline.
const QUEUE: usize = 4096;

/// How many jobs share a transaction: beyond this number the fsync costs next to nothing per job.
const BATCH: usize = 1024;

/// How many expired rows of a table one sweep deletes: about as long a transaction as a full batch of jobs.
const SWEEP_LIMIT: usize = 500;

/// Milliseconds between two sweeps that find little.
const SWEEP_EVERY_MS: i64 = 30_000;

/// Milliseconds between two sweeps while there is more to delete: 500 a second outpace every login.
const SWEEP_AGAIN_MS: i64 = 1_000;

/// Milliseconds that an expired grant stays, to be refused as expired rather than as unknown.
const SWEEP_DELAY_MS: i64 = 60_000;

/// The thread that writes, and the queue to it. Dropping it finishes what is queued.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<String>>>,
    meter: StoreMeter,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, clock: Clock) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let failure = Arc::new(Mutex::new(None));
        let last = clock.now();
        let state = WriterThread { connection, clock, last, next_sweep: last, failure: Arc::clone(&failure) };
        let thread = Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || state.run(jobs))
            .map_err(|error| StoreError::Unavailable(format!("no thread for the writer: {error}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), failure, meter: StoreMeter::default() })
    }

    /// Runs `apply` in the next transaction, with the store's time, and answers after the commit.
    ///
    /// `apply` makes at most one change, as its last step, so that failing leaves nothing behind.
    pub(super) async fn write<T, F>(&self, apply: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, Timestamp) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { apply: Some(apply), outcome: None, reply });
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Unavailable("too many writes are waiting".to_owned()),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        let operation = self.meter.begin();
        let outcome = answer.await.unwrap_or_else(|_| Err(stopped()));
        operation.end(outcome)
    }

    /// How long transactions take.
    pub(super) const fn meter(&self) -> &StoreMeter {
        &self.meter
    }

    /// Why the last transaction failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes to the store panicked");
        }
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the writer has stopped".to_owned())
}

/// One caller's write.
trait Job: Send {
    /// Does the work inside the transaction. Fails only when the whole transaction must fail.
    fn run(&mut self, connection: &Connection, now: Timestamp) -> Result<(), StoreError>;
    /// Tells the caller, after the transaction has ended.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Write<T, F> {
    apply: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&Connection, Timestamp) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
        let Some(apply) = self.apply.take() else { return Ok(()) };
        match apply(connection, now) {
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            // A record that cannot be read is its own caller's failure, not everybody's.
            outcome => {
                self.outcome = Some(outcome);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { outcome, reply, .. } = *self;
        // The caller may have gone: what is committed stays committed.
        drop(reply.send(committed.and_then(|()| outcome.unwrap_or_else(|| Err(stopped())))));
    }
}

struct WriterThread {
    connection: Connection,
    clock: Clock,
    /// The latest time that a job was run at: the store's time never runs backwards.
    last: Timestamp,
    next_sweep: Timestamp,
    failure: Arc<Mutex<Option<String>>>,
}

impl WriterThread {
    fn run(mut self, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
        let mut batch = Vec::new();
        while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
            let committed = self.commit(&mut batch);
            self.report(&committed);
            for job in batch.drain(..) {
                job.answer(committed.clone());
            }
        }
    }

    /// Runs all jobs in one transaction: all of them are stored, or none is.
    fn commit(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for job in batch {
            self.last = self.last.max(self.clock.now());
            job.run(&transaction, self.last)?;
        }
        if self.last >= self.next_sweep {
            let deleted = schema::forget_expired(&transaction, self.last.plus(-SWEEP_DELAY_MS), SWEEP_LIMIT)?;
            let pause = if deleted == SWEEP_LIMIT { SWEEP_AGAIN_MS } else { SWEEP_EVERY_MS };
            self.next_sweep = self.last.plus(pause);
        }
        failpoint::pass("before the commit");
        transaction.commit()?;
        failpoint::pass("after the commit");
        Ok(())
    }

    /// Keeps a failure for [`Writer::failure`], and logs the first of a row and the end of it.
    fn report(&self, committed: &Result<(), StoreError>) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match committed {
            Ok(()) if failure.is_some() => tracing::info!("the store takes writes again"),
            Err(error) if failure.is_none() => tracing::error!(%error, "the store takes no writes"),
            _ => {}
        }
        *failure = committed.as_ref().err().map(ToString::to_string);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn writer(clock: &Clock) -> Writer {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&schema::MIGRATIONS.concat()).unwrap();
        Writer::start(connection, clock.clone()).unwrap()
    }

    fn count(connection: &Connection, table: &str) -> Result<i64, StoreError> {
        Ok(connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
    }

    #[tokio::test]
    async fn an_engine_error_fails_the_batch_and_the_next_success_ends_the_alarm() {
        let writer = writer(&Clock::system());
        let unavailable = |_: &Connection, _| Err::<(), _>(StoreError::Unavailable("disk full".to_owned()));
        let (start, started) = oneshot::channel();
        let (open, gate) = std::sync::mpsc::channel();
        // The thread waits in the first job until the next two are queued, so that they share a batch.
        let first = writer.write(move |_, _| {
            let _ = start.send(());
            gate.recv().map_err(|_| stopped())
        });
        let rest = async {
            started.await.unwrap();
            tokio::join!(writer.write(schema::probe), writer.write(unavailable), async { open.send(()).unwrap() })
        };
        let (first, (good, bad, ())) = tokio::join!(first, rest);
        assert_eq!(first.ok(), Some(()));
        assert!(matches!(good, Err(StoreError::Unavailable(_))), "{good:?}");
        assert!(matches!(bad, Err(StoreError::Unavailable(_))), "{bad:?}");
        assert!(writer.failure().is_some());
        assert_eq!(writer.write(|connection, _| count(connection, "probe")).await.unwrap(), 0);
        assert_eq!(writer.failure(), None);
    }

    #[tokio::test]
    async fn an_unreadable_record_fails_only_its_own_job() {
        let writer = writer(&Clock::system());
        let unreadable = |_: &Connection, _| Err::<(), _>(StoreError::Corrupt("row".to_owned()));
        let (good, bad) = tokio::join!(writer.write(schema::probe), writer.write(unreadable));
        assert!(good.is_ok() && matches!(bad, Err(StoreError::Corrupt(_))), "{good:?} {bad:?}");
        assert_eq!(writer.failure(), None);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let writer = writer(&Clock::system());
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let stuck = writer.write(move |_, _| gate.recv().map_err(|_| stopped()));
        let flood = async {
            let mut waiting = Vec::new();
            // The thread may have taken one batch out of the queue already.
            for _ in 0..=QUEUE + BATCH {
                let mut write = Box::pin(writer.write(schema::probe));
                // Polled once, which puts it into the queue.
                tokio::select! { biased; outcome = &mut write => return outcome, () = async {} => waiting.push(write) }
            }
            Ok(())
        };
        let flood = async {
            let outcome = flood.await;
            drop(open);
            outcome
        };
        let (_, refused) = tokio::join!(stuck, flood);
        assert!(matches!(refused, Err(StoreError::Unavailable(text)) if text.contains("too many")));
    }

    #[tokio::test]
    async fn expired_grants_are_swept_in_portions() {
        let clock = Clock::system();
        let writer = writer(&clock);
        let fill = |connection: &Connection, now: Timestamp| {
            connection.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700)
                 INSERT INTO grants
                 (owner, id, family_hash, generation, key_id, current_since, created_at, absolute_expiry, idle_ms,
                  grace_ms, client_id, owner_epoch, client_epoch, scope, audience, access_expires_at, used_in_place,
                  repeats, expires_at)
                 SELECT x'00', CAST(i AS BLOB), x'', 1, 1, 0, 0, 0, 0, 0, '', 0, 0, '', '', 0, 0, 0, ?1 FROM n",
                [now.0],
            )?;
            Ok(())
        };
        writer.write(fill).await.unwrap();
        let mut left = Vec::new();
        for advance in [30, 31, 1] {
            clock.advance(Duration::from_secs(advance));
            writer.write(schema::probe).await.unwrap();
            left.push(writer.write(|connection, _| count(connection, "grants")).await.unwrap());
        }
        assert_eq!(left, [700, 200, 0]);
    }
}
