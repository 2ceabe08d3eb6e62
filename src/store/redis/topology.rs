//! Which server a key lives on, now: the one there is, the master that Sentinels name, or the master of the key's slot.
//!
//! Not here: what is sent there and when it is sent again, see `connection.rs`.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisResult, Value, cmd};
use tokio::task::JoinSet;

use super::{client_cache::ClientCache, connection::COMMAND, deployment::Deployment, node::Node, slot::SLOTS};
use crate::clock::Clock;

/// How long one Sentinel may take to say who is master; all are asked at once.
const SENTINEL: Duration = Duration::from_millis(300);

/// Masters and their slots: each entry reaches up to and including its last slot, from where the one before ends.
#[derive(Clone, Default)]
struct Map(Vec<(u16, Option<Arc<Node>>)>);

impl Map {
    fn whole(node: Arc<Node>) -> Self {
        Self(vec![(SLOTS - 1, Some(node))])
    }

    fn at(&self, slot: u16) -> Option<Arc<Node>> {
        let entry = self.0.partition_point(|(last, _)| *last < slot);
        self.0.get(entry)?.1.clone()
    }

    fn masters(&self) -> Vec<Arc<Node>> {
        let mut masters: Vec<Arc<Node>> = Vec::new();
        for node in self.0.iter().filter_map(|(_, node)| node.as_ref()) {
            if !masters.iter().any(|known| known.address == node.address) {
                masters.push(Arc::clone(node));
            }
        }
        masters
    }

    fn names(&self) -> Vec<(u16, Option<&str>)> {
        self.0.iter().map(|(last, node)| (*last, node.as_ref().map(|node| node.address.as_str()))).collect()
    }
}

pub(super) struct Topology {
    deployment: Deployment,
    clock: Clock,
    cache: Arc<ClientCache>,
    nodes: Mutex<HashMap<String, Arc<Node>>>,
    map: RwLock<Map>,
    /// Held by the one who looks anew; those who waited for it take what it found.
    looking: tokio::sync::Mutex<()>,
    looks: AtomicU64,
    /// Some master of the cluster has a replica, so each is meant to have one.
    replicated: AtomicBool,
}

impl Topology {
    pub(super) fn new(deployment: Deployment, clock: Clock, cache: Arc<ClientCache>) -> Result<Self, String> {
        let topology = Self {
            deployment,
            clock,
            cache,
            nodes: Mutex::default(),
            map: RwLock::default(),
            looking: tokio::sync::Mutex::default(),
            looks: AtomicU64::new(0),
            replicated: AtomicBool::new(false),
        };
        if let Deployment::Single { server } = &topology.deployment {
            let node = topology.node_of(server.clone()).map_err(|error| error.to_string())?;
            *topology.map.write().unwrap_or_else(PoisonError::into_inner) = Map::whole(node);
        }
        Ok(topology)
    }

    /// The server that has a slot.
    pub(super) async fn locate(&self, slot: u16) -> Result<Arc<Node>, String> {
        let known = || self.map.read().unwrap_or_else(PoisonError::into_inner).at(slot);
        if let Some(node) = known() {
            return Ok(node);
        }
        Box::pin(self.look()).await?;
        known().ok_or_else(|| format!("no server has the slot {slot} of the cluster"))
    }

    /// Every server that takes writes.
    pub(super) async fn masters(&self) -> Result<Vec<Arc<Node>>, String> {
        let known = || self.map.read().unwrap_or_else(PoisonError::into_inner).masters();
        if known().is_empty() {
            self.look().await?;
        }
        Ok(known())
    }

    /// The server that a redirection names.
    pub(super) fn named(&self, address: &str, by: &Node) -> Option<Arc<Node>> {
        let Deployment::Cluster { access, .. } = &self.deployment else { return None };
        let (host, port) = address.rsplit_once(':')?;
        // A node that does not know its own name means the one it was reached by.
        let host = if host.is_empty() || host == "?" { by.address.rsplit_once(':')?.0 } else { host };
        self.node_of(access.to(&format!("{host}:{port}"))?).ok()
    }

    /// Replicas without which an acknowledged write could be lost.
    pub(super) fn replicas_at_least(&self) -> u64 {
        match self.deployment {
            Deployment::Single { .. } => 0,
            Deployment::Sentinel { .. } => 1,
            Deployment::Cluster { .. } => u64::from(self.replicated.load(Ordering::Relaxed)),
        }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.deployment, Deployment::Cluster { .. })
    }

    /// Asks who serves what, unless somebody is asking already: then that answer counts.
    pub(super) async fn look(&self) -> Result<(), String> {
        let seen = self.looks.load(Ordering::Acquire);
        let _turn = self.looking.lock().await;
        if self.looks.load(Ordering::Acquire) != seen {
            return Ok(());
        }
        let found = match &self.deployment {
            Deployment::Single { .. } => return Ok(()),
            Deployment::Sentinel { sentinels, master, access } => {
                let mut found = Err(format!("no Sentinel names a master {master:?} that answers"));
                for address in named_masters(sentinels, master).await {
                    let Some(info) = access.to(&address) else { continue };
                    let Ok(node) = self.node_of(info) else { continue };
                    if is_master(&node).await {
                        found = Ok(Map::whole(node));
                        break;
                    }
                }
                found
            }
            Deployment::Cluster { seeds, access } => {
                let mut asked: Vec<Arc<Node>> = self.map.read().unwrap_or_else(PoisonError::into_inner).masters();
                asked.extend(seeds.iter().filter_map(|seed| self.node_of(access.to(seed)?).ok()));
                self.slots(asked).await
            }
        };
        self.looks.fetch_add(1, Ordering::AcqRel);
        self.adopt(found?);
        Ok(())
    }

    fn adopt(&self, found: Map) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if map.names() == found.names() {
            return;
        }
        let masters: Vec<String> = found.masters().iter().map(|node| node.address.clone()).collect();
        if map.0.is_empty() || masters != map.masters().iter().map(|node| node.address.clone()).collect::<Vec<_>>() {
            tracing::info!(masters = masters.join(", "), "the Redis masters");
        }
        for former in map.masters().iter().filter(|node| !masters.contains(&node.address)) {
            former.abandon();
        }
        *map = found;
        // Changes published while we listened at the wrong place.
        self.cache.forget_all();
    }

    fn node_of(&self, info: ConnectionInfo) -> RedisResult<Arc<Node>> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let address = info.addr().to_string();
        if let Some(node) = nodes.get(&address) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::new(Node::new(info, self.clock.clone(), Arc::clone(&self.cache))?);
        nodes.insert(address, Arc::clone(&node));
        Ok(node)
    }

    /// The map of the first node that has one for most slots; a node cut off from the others may have an old one.
    async fn slots(&self, asked: Vec<Arc<Node>>) -> Result<Map, String> {
        let mut failure = "no node of the cluster answers".to_owned();
        for node in asked {
            let info = match node.ask::<String>(cmd("CLUSTER").arg("INFO")).await {
                Ok(info) => info,
                Err(error) => {
                    failure = format!("{}: {error}", node.address);
                    continue;
                }
            };
            if !info.contains("cluster_state:ok") {
                "the cluster is down (cluster_state:fail)".clone_into(&mut failure);
                continue;
            }
            match node.ask::<Vec<Vec<Value>>>(cmd("CLUSTER").arg("SLOTS")).await {
                Ok(ranges) => return Ok(self.map_of(ranges, &node)),
                Err(error) => failure = format!("{}: {error}", node.address),
            }
        }
        Err(failure)
    }

    fn map_of(&self, ranges: Vec<Vec<Value>>, by: &Node) -> Map {
        let mut served: Vec<(u16, u16, Option<Arc<Node>>)> = Vec::new();
        for range in ranges {
            let number = |value: Option<&Value>| match value {
                Some(Value::Int(number)) => u16::try_from(*number).ok(),
                _ => None,
            };
            let (Some(first), Some(last)) = (number(range.first()), number(range.get(1))) else { continue };
            if range.len() > 3 {
                self.replicated.store(true, Ordering::Relaxed);
            }
            let master = match range.get(2) {
                Some(Value::Array(master)) => match (master.first(), master.get(1)) {
                    (Some(Value::BulkString(host)), Some(Value::Int(port))) => {
                        self.named(&format!("{}:{port}", String::from_utf8_lossy(host)), by)
                    }
                    (Some(Value::Nil), Some(Value::Int(port))) => self.named(&format!(":{port}"), by),
                    _ => None,
                },
                _ => None,
            };
            served.push((first, last, master));
        }
        served.sort_by_key(|(first, ..)| *first);
        let mut map = Vec::with_capacity(served.len());
        let mut next = 0;
        for (first, last, master) in served {
            if first > next {
                map.push((first - 1, None));
            }
            map.push((last, master));
            next = last + 1;
        }
        Map(map)
    }
}

async fn is_master(node: &Node) -> bool {
    // ROLE would say it shorter, but is not for everybody.
    let replication: RedisResult<String> = node.ask(cmd("INFO").arg("replication")).await;
    let master = replication.is_ok_and(|text| text.contains("role:master"));
    if !master {
        node.abandon();
    }
    master
}

/// The addresses that Sentinels give, best first: that of the newest configuration, then that which most of them give.
async fn named_masters(sentinels: &[ConnectionInfo], master: &str) -> Vec<String> {
    let mut asking = JoinSet::new();
    for sentinel in sentinels {
        let (sentinel, master) = (sentinel.clone(), master.to_owned());
        asking.spawn(async move {
            let asked = tokio::time::timeout(SENTINEL, named_by(sentinel, &master)).await;
            asked.ok().and_then(Result::ok)
        });
    }
    let mut votes: HashMap<String, (u64, usize)> = HashMap::new();
    for (address, epoch) in asking.join_all().await.into_iter().flatten() {
        let vote = votes.entry(address).or_default();
        *vote = (vote.0.max(epoch), vote.1 + 1);
    }
    let mut named: Vec<_> = votes.into_iter().collect();
    named.sort_by(|(_, one), (_, other)| other.cmp(one));
    named.into_iter().map(|(address, _)| address).collect()
}

/// The master's address by one Sentinel, and the epoch of its configuration.
async fn named_by(sentinel: ConnectionInfo, master: &str) -> RedisResult<(String, u64)> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(COMMAND)).set_response_timeout(Some(COMMAND));
    let mut connection = Client::open(sentinel)?.get_multiplexed_async_connection_with_config(&config).await?;
    let mut pipeline = redis::pipe();
    pipeline.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    pipeline.cmd("SENTINEL").arg("MASTER").arg(master);
    let ((host, port), state): ((String, u16), HashMap<String, String>) = pipeline.query_async(&mut connection).await?;
    let epoch = state.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    Ok((format!("{host}:{port}"), epoch))
}
