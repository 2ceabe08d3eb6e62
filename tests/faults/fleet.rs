//! Servers in processes of their own: started, killed at named steps and at any other time, and started again at once.

use std::{
    fs::{File, OpenOptions},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    deployments::Port,
    dice::Dice,
    history::{Fault, Recorder},
};

/// The program: a copy of the one that was built with us, so that nobody replaces it while the proof runs.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let copy = crate::folder().join("regrant");
        std::fs::copy(env!("CARGO_BIN_EXE_regrant"), &copy).unwrap();
        copy
    })
}

/// The steps of a refresh at which a server can be killed.
pub const REDIS_STEPS: [&str; 6] = [
    "after client authentication",
    "before the store write",
    "request written",
    "reply read",
    "after signing",
    "before the response",
];
pub const EMBEDDED_STEPS: [&str; 7] = [
    "after client authentication",
    "before the store write",
    "before the commit",
    "after the commit",
    "reply read",
    "after signing",
    "before the response",
];

/// How one server is started, each time.
#[derive(Clone)]
pub struct Start {
    pub environment: Vec<(&'static str, String)>,
    /// At a step, one pass in so many kills; 0 for never.
    pub one_in: u64,
    pub steps: &'static [&'static str],
    pub log: PathBuf,
}

pub struct Server {
    pub address: SocketAddr,
    _ports: [Port; 2],
    start: Start,
    child: Arc<Mutex<Option<Child>>>,
    stopping: Arc<AtomicBool>,
    armed: Arc<AtomicBool>,
}

impl Server {
    pub fn start(mut start: Start, recorder: Recorder, dice: Dice) -> Self {
        let ports = [Port::reserve(), Port::reserve()];
        let [public, management] = ports.each_ref().map(Port::number);
        start.environment.push(("REGRANT_LISTEN", format!("127.0.0.1:{public}")));
        start.environment.push(("REGRANT_MANAGEMENT_LISTEN", format!("127.0.0.1:{management}")));
        let server = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, public)),
            _ports: ports,
            start,
            child: Arc::default(),
            stopping: Arc::default(),
            armed: Arc::default(),
        };
        server.supervise(recorder, dice);
        server
    }

    /// From now on the failpoints hold, from the next start on.
    pub fn arm(&self, armed: bool) {
        self.armed.store(armed, Ordering::Relaxed);
    }

    /// kill -9.
    pub fn kill(&self) {
        if let Some(child) = self.child.lock().unwrap().as_mut() {
            // It may be dead already.
            drop(child.kill());
        }
    }

    fn supervise(&self, recorder: Recorder, mut dice: Dice) {
        let (start, child) = (self.start.clone(), Arc::clone(&self.child));
        let (stopping, armed) = (Arc::clone(&self.stopping), Arc::clone(&self.armed));
        tokio::spawn(async move {
            *child.lock().unwrap() = Some(spawn(&start, false, &mut dice));
            while !stopping.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let ended = child.lock().unwrap().as_mut().and_then(|child| child.try_wait().unwrap());
                let Some(status) = ended else { continue };
                if status.signal().is_some() {
                    recorder.fault(Fault::ServerKilled);
                } else {
                    // It did not start: its store is away.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                if !stopping.load(Ordering::Relaxed) {
                    *child.lock().unwrap() = Some(spawn(&start, armed.load(Ordering::Relaxed), &mut dice));
                }
            }
        });
    }

    pub async fn wait_until_it_answers(&self) {
        for _ in 0..3_000 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the server does not start: see {}", self.start.log.display());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(mut child) = self.child.lock().unwrap().take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn spawn(start: &Start, armed: bool, dice: &mut Dice) -> Child {
    let mut command = Command::new(program());
    command.args(["serve", "--init-keys"]).envs(start.environment.iter().map(|(name, value)| (name, value)));
    if armed && start.one_in > 0 {
        // Each step is passed once in a refresh, so each gets its turn.
        let step = dice.pick(start.steps);
        let text = format!("{step}:{}:{}", start.one_in, dice.next());
        command.env("FAILPOINT", text);
    }
    let log = log(&start.log);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn log(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// How often the servers repaired a rotation that a failover had lost.
pub fn repaired(logs: &[PathBuf]) -> usize {
    logs.iter().map(|log| std::fs::read_to_string(log).unwrap_or_default().matches("\"repaired\"").count()).sum()
}
