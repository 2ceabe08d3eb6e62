//! Redis deployments of real processes on loopback: one server, 3 Sentinels with 1 + 2, a cluster of 3 + 3; and what can
//! be done to them: kill -9, SIGSTOP, restart, failover, moving slots.
//!
//! This file stands alone, so that several test binaries can include it. Everything here blocks its thread for moments:
//! asynchronous tests run on more than one.

#![allow(dead_code, reason = "each binary that includes this file uses a part of it")]

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{FromRedisValue, RedisResult};
use tokio::{net::TcpSocket, time::Instant};

/// The name under which the Sentinels know their master.
pub const MASTER_NAME: &str = "main";

/// How long a master may be silent. Under load a living one is silent for half a second, and a second failover during the
/// first may promote a replica that has not followed the new master yet: what was written meanwhile is lost.
const DOWN_AFTER_MS: u32 = 1_500;

/// What a server of ours is started with: persistent, and quick to notice what happens to its peers.
const OPTIONS: [&str; 20] = [
    "--bind",
    "127.0.0.1",
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--maxmemory-policy",
    "noeviction",
    "--hash-max-listpack-value",
    "512",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
    "--repl-timeout",
    "5",
    "--databases",
    "16",
];

/// A port that is ours for as long as this lives, also while its server is dead: it stays bound, so that the kernel gives
/// it to nobody who asks for any, and nobody listens here, so that our server may.
#[derive(Debug)]
pub struct Port(TcpSocket);

impl Port {
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Every server here sets the same, and only so both may be bound.
        socket.set_reuseaddr(true).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self(socket)
    }

    pub fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// A Sentinel whose machine stood still for two seconds does nothing for thirty (its TILT mode); what it does then takes a
/// while as well.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks again and again until the answer is yes.
///
/// # Panics
/// When it is still no after [`PATIENCE`].
pub fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < PATIENCE, "{what}: still not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One redis-server process; killed when dropped.
pub struct Node {
    pub port: u16,
    /// Its port, and that of its cluster bus.
    reserved: Vec<Port>,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Node {
    /// Starts one with these arguments after our own, and waits until it answers.
    pub fn start(more: &[&str]) -> Self {
        Self::start_once(more, &[])
    }

    /// Starts one that belongs to a cluster.
    fn start_in_cluster(more: &[&str]) -> Self {
        let bus = Port::reserve();
        let mut node = Self::start(&[&["--cluster-port", &bus.number().to_string()], more].concat());
        node.reserved.push(bus);
        node
    }

    /// The same, with arguments that hold until it is started again.
    fn start_once(more: &[&str], once: &[&str]) -> Self {
        let arguments = OPTIONS.iter().chain(more).map(|&argument| argument.to_owned()).collect();
        let port = Port::reserve();
        let folder = tempfile::tempdir().unwrap();
        let mut node = Self { port: port.number(), reserved: vec![port], arguments, folder, child: None };
        node.restart(once);
        node
    }

    fn start_sentinel(configuration: &str) -> Self {
        let (port, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, configuration).unwrap();
        let arguments = vec![file.display().to_string(), "--sentinel".into(), "--bind".into(), "127.0.0.1".into()];
        let mut node = Self { port: port.number(), reserved: vec![port], arguments, folder, child: None };
        node.restart(&[]);
        node
    }

    /// Starts it again on the same port and folder, with what its append-only file holds.
    pub fn restart(&mut self, more: &[&str]) {
        assert!(self.child.is_none(), "{} runs already", self.port);
        let child = Command::new("redis-server")
            .args(&self.arguments)
            .args(["--port", &self.port.to_string(), "--logfile", "log", "--dir"])
            .arg(self.folder.path())
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed; tests/run installs it");
        self.child = Some(child);
        until("redis-server", || self.ask::<String>(&["PING"]).is_ok());
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub fn stop(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends one command over a connection of its own.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let limit = Duration::from_secs(1);
        let mut connection = redis::Client::open(self.url())?.get_connection_with_timeout(limit)?;
        connection.set_read_timeout(Some(Duration::from_secs(6)))?;
        connection.set_write_timeout(Some(limit))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    /// The fields of `INFO`, empty while it does not answer.
    pub fn info(&self) -> HashMap<String, String> {
        fields(&self.ask::<String>(&["INFO"]).unwrap_or_default())
    }

    fn info_is(&self, field: &str, value: &str) -> bool {
        self.info().get(field).is_some_and(|found| found == value)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn fields(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What tests do to any deployment. A node is named by its place in [`nodes`](Self::nodes).
pub trait Deployment: Send {
    /// The store URL.
    fn url(&self) -> String;
    /// The servers that hold data, dead ones included.
    fn nodes(&self) -> &[Node];
    /// One of them, to kill or to start it.
    fn node(&mut self, index: usize) -> &mut Node;
    /// Those that take writes now.
    fn masters(&self) -> Vec<usize>;
    /// Kills a master without warning; says which.
    fn kill_master(&mut self) -> usize;
    /// Waits until another server has taken the dead one's place; where there is none, starts it again.
    fn wait_for_failover(&mut self, dead: usize);
    /// Starts a dead server again and waits until it is in its place, with all data.
    fn revive(&mut self, index: usize);
    /// Makes the servers forget all scripts.
    fn flush_scripts(&self) {
        for node in self.nodes().iter().filter(|node| node.runs()) {
            // One that is just being stopped or replaced has no answer.
            drop(node.ask::<()>(&["SCRIPT", "FLUSH"]));
        }
    }
}

/// One redis-server.
pub struct Standalone {
    nodes: Vec<Node>,
}

impl Standalone {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with these arguments after our own.
    pub fn start_with(more: &[&str]) -> Self {
        Self { nodes: vec![Node::start(more)] }
    }
}

impl Deployment for Standalone {
    fn url(&self) -> String {
        self.nodes[0].url()
    }

    fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn node(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    fn masters(&self) -> Vec<usize> {
        vec![0]
    }

    fn kill_master(&mut self) -> usize {
        self.nodes[0].kill();
        0
    }

    fn wait_for_failover(&mut self, dead: usize) {
        self.revive(dead);
    }

    fn revive(&mut self, index: usize) {
        self.nodes[index].restart(&[]);
        until("the data is loaded", || self.nodes[index].info_is("loading", "0"));
    }
}

/// Three Sentinels that watch a master with two replicas.
pub struct Sentinel {
    nodes: Vec<Node>,
    pub sentinels: Vec<Node>,
}

impl Sentinel {
    pub fn start() -> Self {
        let options = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"];
        let master = Node::start(&options);
        let mut nodes = vec![master];
        for _ in 0..2 {
            let follow = format!("127.0.0.1 {}", nodes[0].port);
            // Not among its own arguments: it may become the master, and start again as one.
            nodes.push(Node::start_once(&options, &["--replicaof", &follow]));
        }
        for replica in &nodes[1..] {
            until("a replica follows", || replica.info_is("master_link_status", "up"));
        }
        let configuration = format!(
            "sentinel monitor {MASTER_NAME} 127.0.0.1 {} 2\nsentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {MASTER_NAME} 3000\nsentinel parallel-syncs {MASTER_NAME} 2\n",
            nodes[0].port
        );
        let sentinels = (0..3).map(|_| Node::start_sentinel(&configuration)).collect();
        let deployment = Self { nodes, sentinels };
        until("the Sentinels know each other and both replicas", || {
            deployment.sentinels.iter().all(|sentinel| {
                let master: HashMap<String, String> =
                    sentinel.ask(&["SENTINEL", "MASTER", MASTER_NAME]).unwrap_or_default();
                let is = |name: &str, value: &str| master.get(name).is_some_and(|found| found == value);
                is("num-other-sentinels", "2") && is("num-slaves", "2") && is("flags", "master")
            })
        });
        deployment
    }

    /// The master that most Sentinels name.
    pub fn master(&self) -> usize {
        let mut votes = vec![0; self.nodes.len()];
        for sentinel in &self.sentinels {
            let asked: RedisResult<(String, u16)> = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]);
            if let Ok((_, port)) = asked {
                votes[self.nodes.iter().position(|node| node.port == port).unwrap()] += 1;
            }
        }
        (0..votes.len()).max_by_key(|&index| votes[index]).unwrap()
    }

    pub fn replicas(&self) -> Vec<usize> {
        let master = self.master();
        (0..self.nodes.len()).filter(|&index| index != master).collect()
    }

    /// Asks the Sentinels for a failover without a death.
    pub fn fail_over(&self) {
        let master = self.master();
        until("the Sentinels agree to fail over", || {
            self.sentinels[0].ask::<()>(&["SENTINEL", "FAILOVER", MASTER_NAME]).is_ok()
        });
        self.wait_for_another(master);
    }

    /// Waits until every replica that runs follows the master.
    pub fn wait_until_whole(&self) {
        until("the replicas follow", || {
            let master = self.master();
            self.nodes.iter().enumerate().filter(|(index, node)| *index != master && node.runs()).all(|(_, node)| {
                let info = node.info();
                let is = |name: &str, value: &str| info.get(name).is_some_and(|found| found == value);
                is("master_link_status", "up") && is("master_port", &self.nodes[master].port.to_string())
            })
        });
    }

    fn wait_for_another(&self, than: usize) {
        until("another master", || {
            let master = self.master();
            master != than && self.nodes[master].info_is("role", "master")
        });
    }
}

impl Deployment for Sentinel {
    fn url(&self) -> String {
        let addresses: Vec<String> = self.sentinels.iter().map(Node::address).collect();
        format!("redis+sentinel://{}/{MASTER_NAME}", addresses.join(","))
    }

    fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn node(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    fn masters(&self) -> Vec<usize> {
        vec![self.master()]
    }

    fn kill_master(&mut self) -> usize {
        let master = self.master();
        self.nodes[master].kill();
        master
    }

    fn wait_for_failover(&mut self, dead: usize) {
        self.wait_for_another(dead);
    }

    fn revive(&mut self, index: usize) {
        let master = self.master();
        if master == index {
            self.nodes[index].restart(&[]);
            until("the data is loaded", || self.nodes[index].info_is("loading", "0"));
            return;
        }
        // Sentinel would tell it so after some seconds.
        let follow = format!("127.0.0.1 {}", self.nodes[master].port);
        self.nodes[index].restart(&["--replicaof", &follow]);
        self.wait_until_whole();
    }
}

/// A cluster: three masters with a replica each, at first in the places 0 to 2 and 3 to 5.
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    pub fn start() -> Self {
        let nodes: Vec<Node> = (0..6)
            .map(|_| {
                Node::start_in_cluster(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-node-timeout",
                    "1000",
                    "--cluster-require-full-coverage",
                    "no",
                    "--cluster-allow-replica-migration",
                    "no",
                ])
            })
            .collect();
        let cluster = Self { nodes };
        for (index, node) in cluster.nodes.iter().enumerate() {
            let epoch = (index + 1).to_string();
            node.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).unwrap();
        }
        for (index, range) in [["0", "5460"], ["5461", "10922"], ["10923", "16383"]].iter().enumerate() {
            cluster.nodes[index].ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", range[0], range[1]]).unwrap();
        }
        for node in &cluster.nodes[1..] {
            let (port, bus) = (node.port.to_string(), node.reserved[1].number().to_string());
            cluster.nodes[0].ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).unwrap();
        }
        until("the nodes know each other", || {
            cluster.nodes.iter().all(|node| cluster_info(node).get("cluster_known_nodes").is_some_and(|n| n == "6"))
        });
        for replica in 3..6 {
            let master = cluster.id(replica - 3);
            // A node refuses until it has heard of that master.
            until("a replica takes its place", || {
                cluster.nodes[replica].ask::<()>(&["CLUSTER", "REPLICATE", &master]).is_ok()
            });
        }
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until every node that runs sees all slots served, and every replica follows.
    pub fn wait_until_whole(&self) {
        until("the cluster is whole", || {
            let masters = self.masters();
            self.nodes.iter().enumerate().filter(|(_, node)| node.runs()).all(|(index, node)| {
                let info = cluster_info(node);
                let is = |name: &str, value: &str| info.get(name).is_some_and(|found| found == value);
                is("cluster_state", "ok")
                    && is("cluster_slots_ok", "16384")
                    && (masters.contains(&index) || node.info_is("master_link_status", "up"))
            }) && masters.len() == 3
        });
    }

    fn id(&self, index: usize) -> String {
        self.nodes[index].ask(&["CLUSTER", "MYID"]).unwrap()
    }

    /// The lines of CLUSTER NODES, as words, by the first node that answers.
    fn table(&self) -> Vec<Vec<String>> {
        self.nodes.iter().find_map(Self::table_of).unwrap_or_default()
    }

    fn table_of(node: &Node) -> Option<Vec<Vec<String>>> {
        let text: String = node.runs().then(|| node.ask(&["CLUSTER", "NODES"]).ok())??;
        Some(text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect())
    }

    fn index_of(&self, line: &[String]) -> usize {
        let port = line[1].split('@').next().unwrap().rsplit(':').next().unwrap();
        self.nodes.iter().position(|node| node.port.to_string() == port).unwrap()
    }

    /// The slot of a key.
    pub fn slot_of(&self, key: &str) -> u16 {
        let running = self.nodes.iter().find(|node| node.runs()).unwrap();
        running.ask(&["CLUSTER", "KEYSLOT", key]).unwrap()
    }

    /// The master that serves a slot.
    pub fn owner_of(&self, slot: u16) -> usize {
        let mut owner = None;
        until("a master has the slot", || {
            // What each says of itself: the others may not have heard yet. Of two, the newer configuration counts.
            let claims = self.nodes.iter().enumerate().filter_map(|(index, node)| {
                let table = Self::table_of(node)?;
                let own = table.into_iter().find(|line| line[2].contains("myself,master") && has_slot(line, slot))?;
                Some((own[6].parse::<u64>().unwrap(), index))
            });
            owner = claims.max();
            owner.is_some()
        });
        owner.unwrap().1
    }

    /// The replicas of a master that run.
    pub fn replicas_of(&self, master: usize) -> Vec<usize> {
        let id = self.id(master);
        let table = self.table();
        let lines = table.iter().filter(|line| line[3] == id && !line[2].contains("fail"));
        lines.map(|line| self.index_of(line)).filter(|&index| self.nodes[index].runs()).collect()
    }

    /// Moves a slot to another master, key by key, while the cluster serves.
    pub fn migrate_slot(&self, slot: u16, to: usize) {
        let from = self.owner_of(slot);
        self.begin_migration(slot, from, to);
        self.move_keys(slot, from, to);
        self.end_migration(slot, from, to);
    }

    /// From now on keys of the slot may be on either master.
    pub fn begin_migration(&self, slot: u16, from: usize, to: usize) {
        assert_ne!(from, to);
        let slot = slot.to_string();
        self.nodes[to].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]).unwrap();
        self.nodes[from].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]).unwrap();
    }

    /// Moves all keys of the slot that are still at its old master.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) {
        loop {
            let keys: Vec<String> =
                self.nodes[from].ask(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "10"]).unwrap();
            if keys.is_empty() {
                break;
            }
            for key in keys {
                self.move_key(&key, from, to);
            }
        }
    }

    pub fn move_key(&self, key: &str, from: usize, to: usize) {
        let port = self.nodes[to].port.to_string();
        let moved: String = self.nodes[from].ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).unwrap();
        assert!(moved == "OK" || moved == "NOKEY", "{moved}");
    }

    /// The slot is at its new master; its keys are there already.
    pub fn end_migration(&self, slot: u16, from: usize, to: usize) {
        let (slot, to_id) = (slot.to_string(), self.id(to));
        let masters = self.masters();
        for index in [to, from].into_iter().chain(masters.into_iter().filter(|&index| index != to && index != from)) {
            self.nodes[index].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).unwrap();
        }
    }
}

/// Whether a line of CLUSTER NODES names a slot among those that are served.
fn has_slot(line: &[String], slot: u16) -> bool {
    line[8..].iter().filter(|range| !range.starts_with('[')).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (first.parse::<u16>().unwrap()..=last.parse().unwrap()).contains(&slot)
    })
}

fn cluster_info(node: &Node) -> HashMap<String, String> {
    fields(&node.ask::<String>(&["CLUSTER", "INFO"]).unwrap_or_default())
}

impl Deployment for Cluster {
    fn url(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(Node::address).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn node(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    fn masters(&self) -> Vec<usize> {
        let table = self.table();
        let lines = table.iter().filter(|line| line[2].contains("master") && line.len() > 8);
        let mut masters: Vec<usize> = lines.map(|line| self.index_of(line)).collect();
        masters.sort_unstable();
        masters
    }

    fn kill_master(&mut self) -> usize {
        let masters = self.masters();
        let dead = masters.into_iter().find(|&index| self.nodes[index].runs()).unwrap();
        self.nodes[dead].kill();
        dead
    }

    fn wait_for_failover(&mut self, dead: usize) {
        until("its replica takes over", || {
            let masters = self.masters();
            masters.len() == 3 && !masters.contains(&dead)
        });
        self.wait_until_whole();
    }

    fn revive(&mut self, index: usize) {
        self.nodes[index].restart(&[]);
        self.wait_until_whole();
    }
}
