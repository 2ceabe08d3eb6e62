//! The threads that hash passwords: their own, bounded, so that a flood of logins can't take the memory or
//! the threads that everything else needs.
//!
//! Not here: argon2id itself, see `resource_owner/password.rs`.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::password::{HashError, Hasher, Password, Verdict};
use crate::{config::Passwords, secret::SecretText};

/// How much the threads yield to all others, as `nice` counts, and that is as much as it knows: a request that needs no password
/// does not wait for one that does, and is not interrupted by it. Logins still get a share of a busy machine, which the idle class
/// would not leave them.
const NICENESS: i32 = 19;
/// Logins that one thread does in half a second, about: a longer queue would only make its end wait.
const QUEUE_PER_THREAD: usize = 32;

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Too many logins are waiting. The client sees `temporarily_unavailable` (503).
    #[error("the password queue is full")]
    Full,
    /// The stored hash is damaged, or the pool is shutting down. The client sees `server_error` (500).
    #[error(transparent)]
    Broken(#[from] HashError),
    /// A thread of the pool died. The client sees `server_error` (500).
    #[error("the password pool has stopped")]
    Stopped,
}

enum Job {
    Hash {
        password: Password,
        answer: oneshot::Sender<Result<String, HashError>>,
    },
    Verify {
        password: Option<Password>,
        stored: Option<SecretText>,
        answer: oneshot::Sender<Result<Verdict, HashError>>,
    },
}

impl Job {
    /// Whether the client has gone: nobody waits for the answer.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Hash { answer, .. } => answer.is_closed(),
            Self::Verify { answer, .. } => answer.is_closed(),
        }
    }

    fn run(self, hasher: &mut Hasher) {
        // A receiver that has gone is no error: its client hung up while the hash ran.
        match self {
            Self::Hash { password, answer } => drop(answer.send(hasher.hash(&password))),
            Self::Verify { password, stored, answer } => {
                let verdict = hasher.verify(password.as_ref(), stored.as_ref().map(SecretText::expose));
                drop(answer.send(verdict));
            }
        }
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    bound: usize,
}

impl Shared {
    /// No code panics while it holds this lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            match queue.jobs.pop_front() {
                Some(job) if job.is_abandoned() => {}
                Some(job) => return Some(job),
                None if queue.closed => return None,
                None => queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// The pool. Dropping it ends its threads.
pub struct HashPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl HashPool {
    /// Starts the threads and allocates their memory.
    ///
    /// # Errors
    /// [`HashError`] for parameters that argon2 refuses, or when no thread can be started.
    pub fn start(settings: &Passwords) -> Result<Self, HashError> {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if settings.threads == 0 { cores } else { settings.threads };
        let bound = if settings.queue == 0 { threads * QUEUE_PER_THREAD } else { settings.queue };
        let shared = Arc::new(Shared { queue: Mutex::default(), ready: Condvar::new(), bound });
        let mut pool = Self { shared, threads: Vec::with_capacity(threads) };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let mut hasher = Hasher::new(settings)?;
            let thread = thread::Builder::new()
                .name(format!("argon2id-{number}"))
                .spawn(move || {
                    // Of this thread alone, on Linux.
                    if let Err(error) = rustix::process::nice(NICENESS) {
                        tracing::warn!(%error, "the password threads have the priority of all others");
                    }
                    while let Some(job) = shared.next() {
                        job.run(&mut hasher);
                    }
                })
                .map_err(|error| HashError(format!("no thread: {error}")))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn hash(&self, password: Password) -> Result<String, PoolError> {
        let (answer, result) = oneshot::channel();
        self.submit(Job::Hash { password, answer })?;
        Ok(result.await.map_err(|_| PoolError::Stopped)??)
    }

    /// Verifies a password; the work is the same when there is no such user or no such password.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn verify(&self, password: Option<Password>, stored: Option<SecretText>) -> Result<Verdict, PoolError> {
        let (answer, result) = oneshot::channel();
        self.submit(Job::Verify { password, stored, answer })?;
        Ok(result.await.map_err(|_| PoolError::Stopped)??)
    }

    /// How many passwords wait, and how many may.
    pub fn queue(&self) -> (usize, usize) {
        (self.shared.lock().jobs.len(), self.shared.bound)
    }

    /// Whether a password would be refused now.
    pub fn is_full(&self) -> bool {
        self.shared.lock().jobs.len() >= self.shared.bound
    }

    fn submit(&self, job: Job) -> Result<(), PoolError> {
        let mut queue = self.shared.lock();
        if queue.jobs.len() >= self.shared.bound {
            queue.jobs.retain(|waiting| !waiting.is_abandoned());
        }
        if queue.jobs.len() >= self.shared.bound {
            return Err(PoolError::Full);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.ready.notify_one();
        Ok(())
    }
}

impl Drop for HashPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has already reported it.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn its_threads_yield_to_all_others() {
        let settings = Passwords { memory_kib: 64, iterations: 1, threads: 1, queue: 8, ..Default::default() };
        let pool = HashPool::start(&settings).unwrap();
        // It has certainly set its priority when it has answered.
        pool.verify(None, None).await.unwrap();
        let niceness = |task: &std::path::Path| -> Option<i32> {
            let stat = fs::read_to_string(task.join("stat")).ok()?;
            // The 17th of those that follow the name, which is in parentheses.
            stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok()
        };
        let is_pool = |task: &std::path::Path| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("argon2id-"))
        };
        let tasks: Vec<_> = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path()).collect();
        let of_pool: Vec<_> = tasks.iter().filter(|task| is_pool(task)).filter_map(|task| niceness(task)).collect();
        let own = niceness(std::path::Path::new("/proc/thread-self")).unwrap();
        assert!(of_pool.contains(&(own + NICENESS).min(19)), "{of_pool:?}, and this one {own}");
    }
}
