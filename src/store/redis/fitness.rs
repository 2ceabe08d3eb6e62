//! Checks whether a Redis is fit for production, when the server starts and while it runs: what `regrant serve` refuses,
//! and what it only warns of. Each finding comes with the command that settles it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use redis::cmd;

use super::{
    connection::{Connection, unavailable},
    node::Node,
};
use crate::store::StoreError;

/// How often a running server looks.
const EVERY: Duration = Duration::from_secs(2);
/// Share of `maxmemory` above which the operator should know, in percent.
const MEMORY_PERCENT: u64 = 80;
/// The first versions of each line without CVE-2025-49844, by which a script can take the server over.
const PATCHED: [[u32; 3]; 4] = [[7, 2, 11], [7, 4, 6], [8, 0, 4], [8, 2, 2]];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// With these nobody should be served.
    pub(super) problems: Vec<String>,
    /// These cost something when a server crashes, fills up, or is attacked.
    pub(super) advice: Vec<String>,
}

/// Looks at every master.
pub(super) async fn examine(connection: &Connection) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    for master in connection.masters().await? {
        let info: String = master.ask(&cmd("INFO")).await.map_err(|error| unavailable(&error))?;
        let shape = Shape {
            cluster: connection.topology().is_cluster(),
            replicas: connection.topology().replicas_at_least() > 0,
        };
        findings.judge(&fields(&info), &master, shape);
    }
    Ok(findings)
}

fn fields(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

/// What the store URL says about the deployment.
#[derive(Clone, Copy)]
struct Shape {
    cluster: bool,
    replicas: bool,
}

impl Findings {
    fn judge(&mut self, fields: &HashMap<&str, &str>, node: &Node, shape: Shape) {
        let address = &node.address;
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        let number = |name: &str| field(name).parse::<u64>().unwrap_or(0);
        let set = |setting: &str| {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, "6379"));
            format!("Run: redis-cli -h {host} -p {port} CONFIG SET {setting}, and put it in redis.conf")
        };

        let version = field("redis_version");
        let parts: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
        if parts.first().is_none_or(|&major| major < 7) {
            self.problems.push(format!("Redis {version} at {address} is too old: install Redis 7 or later"));
        } else if field("server_name") != "valkey" && !patched(&parts) {
            self.advice.push(format!(
                "Redis {version} at {address} has a hole by which a script takes the server over (CVE-2025-49844), unless your distribution has mended it. Run: apt-get install --only-upgrade redis-server, or install 7.2.11, 7.4.6, 8.0.4, 8.2.2 or later"
            ));
        }
        // INFO tells the policy even where CONFIG is forbidden.
        match field("maxmemory_policy") {
            "noeviction" => {}
            "" => self.problems.push(format!(
                "Redis at {address} does not tell its maxmemory-policy; it must be noeviction. {}",
                set("maxmemory-policy noeviction")
            )),
            policy => self.problems.push(format!(
                "Redis at {address} evicts keys (maxmemory-policy {policy}): a full memory would log people out. {}",
                set("maxmemory-policy noeviction")
            )),
        }
        if field("cluster_enabled") == "1" && !shape.cluster {
            self.problems
                .push(format!("Redis at {address} is part of a cluster: write redis+cluster://{address} as the store"));
        }
        if field("role") == "slave" {
            self.problems.push(format!(
                "Redis at {address} is a replica of {}:{}, and takes no writes: name its master, or the Sentinels",
                field("master_host"),
                field("master_port")
            ));
        }

        if field("aof_enabled") == "0" {
            self.advice.push(format!(
                "Redis at {address} does not log its writes (appendonly no): a crash brings back the state of the last snapshot, with users logged out and revocations undone. {}",
                set("appendonly yes")
            ));
        }
        if field("aof_last_write_status") == "err" || field("rdb_last_bgsave_status") == "err" {
            self.advice.push(format!(
                "Redis at {address} could not write to its disk. Free some space, then run: redis-cli BGREWRITEAOF"
            ));
        }
        let (used, most) = (number("used_memory"), number("maxmemory"));
        if most == 0 {
            self.advice.push(format!(
                "Redis at {address} has no limit on its memory, so the system may kill it; give it two thirds of what it may have. {}",
                set("maxmemory 1gb")
            ));
        } else if used.saturating_mul(100) > most.saturating_mul(MEMORY_PERCENT) {
            self.advice.push(format!(
                "Redis at {address} has filled {} % of its maxmemory ({most} bytes); when it is full, logins get 503. {}",
                used.saturating_mul(100) / most,
                set(&format!("maxmemory {}", most.saturating_mul(2)))
            ));
        }
        let replicas = number("connected_slaves");
        if replicas == 0 && shape.replicas {
            self.advice.push(format!(
                "Redis at {address} has no replica: until one is connected, revocations and changes of users and clients get 503. Start one: redis-server --replicaof {}",
                address.replace(':', " ")
            ));
        }
        if (replicas > 0 || shape.replicas) && !fields.contains_key("min_slaves_good_slaves") {
            self.advice.push(format!(
                "Redis at {address} takes writes even when cut off from its replicas, and a failover then loses them. {}",
                set("min-replicas-to-write 1")
            ));
        }
    }
}

/// Whether a version has the fix; lines that came later have it from the start.
fn patched(version: &[u32]) -> bool {
    let line = version.get(..2).unwrap_or_default();
    match PATCHED.iter().find(|patched| patched[..2] == *line) {
        Some(patched) => version >= &patched[..],
        None => version > &PATCHED[PATCHED.len() - 1][..],
    }
}

/// Keeps an eye on a running deployment.
#[derive(Default)]
pub(super) struct Watch {
    problems: RwLock<Vec<String>>,
}

impl Watch {
    /// Looks again and again, for as long as somebody holds the watch.
    pub(super) fn start(connection: Connection) -> Arc<Self> {
        let watch = Arc::new(Self::default());
        let held = Arc::downgrade(&watch);
        tokio::spawn(async move {
            let mut advice = None;
            loop {
                tokio::time::sleep(EVERY).await;
                if !Self::look(&held, &connection, &mut advice).await {
                    return;
                }
            }
        });
        watch
    }

    async fn look(held: &Weak<Self>, connection: &Connection, known_advice: &mut Option<Vec<String>>) -> bool {
        connection.refresh().await;
        let examined = examine(connection).await;
        let Some(watch) = held.upgrade() else { return false };
        // One that doesn't answer is noticed by those who need it.
        let Ok(Findings { problems, advice }) = examined else { return true };
        let mut known = watch.problems.write().unwrap_or_else(PoisonError::into_inner);
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            tracing::error!("not ready: {problem}");
        }
        if problems.is_empty() && !known.is_empty() {
            tracing::info!("ready again: Redis is fit");
        }
        *known = problems;
        // What was so at the start has been told then.
        let told = known_advice.get_or_insert_with(|| advice.clone());
        for change in advice.iter().filter(|text| !told.iter().any(|known| same(known, text))) {
            tracing::warn!("{change}");
        }
        *known_advice = Some(advice);
        true
    }

    /// Why nobody should be served now.
    pub(super) fn problem(&self) -> Option<String> {
        let problems = self.problems.read().unwrap_or_else(PoisonError::into_inner);
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

/// Whether two texts say the same but for a figure.
fn same(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|letter| !letter.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, store::redis::client_cache::ClientCache};

    const FIT: &str = "redis_version:8.2.2\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:0\r\nrole:master\r\n\
        aof_enabled:1\r\naof_last_write_status:ok\r\nrdb_last_bgsave_status:ok\r\nused_memory:10\r\nmaxmemory:100\r\n\
        connected_slaves:2\r\nmin_slaves_good_slaves:2\r\n";

    fn judge(info: &str, shape: Shape) -> Findings {
        let info = info.to_owned();
        let server = redis::IntoConnectionInfo::into_connection_info("redis://127.0.0.1:7000").unwrap();
        let node = Node::new(server, Clock::system(), Arc::<ClientCache>::default()).unwrap();
        let mut findings = Findings::default();
        findings.judge(&fields(&info), &node, shape);
        findings
    }

    const REPLICATED: Shape = Shape { cluster: false, replicas: true };
    const ALONE: Shape = Shape { cluster: false, replicas: false };

    #[test]
    fn nothing_is_said_of_a_fit_server() {
        assert_eq!(judge(FIT, REPLICATED), Findings::default());
    }

    #[test]
    fn each_problem_is_refused_with_what_to_do() {
        for (good, bad, expected) in [
            ("version:8.2.2", "version:6.2.20", "install Redis 7"),
            ("noeviction", "allkeys-lru", "redis-cli -h 127.0.0.1 -p 7000 CONFIG SET maxmemory-policy noeviction"),
            ("cluster_enabled:0", "cluster_enabled:1", "redis+cluster://127.0.0.1:7000"),
            ("role:master", "role:slave", "name its master"),
        ] {
            let findings = judge(&FIT.replace(good, bad), REPLICATED);
            assert!(findings.problems.len() == 1 && findings.problems[0].contains(expected), "{findings:?}");
            assert_eq!(findings.advice, Vec::<String>::new());
        }
    }

    #[test]
    fn each_weakness_is_told_with_what_to_do() {
        for (good, bad, expected) in [
            ("version:8.2.2", "version:7.0.15", "CVE-2025-49844"),
            ("version:8.2.2", "version:7.4.5", "CVE-2025-49844"),
            ("aof_enabled:1", "aof_enabled:0", "CONFIG SET appendonly yes"),
            ("aof_last_write_status:ok", "aof_last_write_status:err", "BGREWRITEAOF"),
            ("used_memory:10", "used_memory:81", "CONFIG SET maxmemory 200"),
            ("maxmemory:100", "maxmemory:0", "CONFIG SET maxmemory 1gb"),
            ("connected_slaves:2", "connected_slaves:0", "--replicaof 127.0.0.1 7000"),
            ("min_slaves_good_slaves:2", "x:2", "CONFIG SET min-replicas-to-write 1"),
        ] {
            let findings = judge(&FIT.replace(good, bad), REPLICATED);
            assert!(findings.advice.len() == 1 && findings.advice[0].contains(expected), "{bad}: {findings:?}");
            assert_eq!(findings.problems, Vec::<String>::new());
        }
    }

    #[test]
    fn one_server_alone_needs_no_replicas() {
        let alone = FIT.replace("connected_slaves:2", "connected_slaves:0").replace("min_slaves_good_slaves:2", "x:2");
        assert_eq!(judge(&alone, ALONE), Findings::default());
    }

    #[test]
    fn a_patched_version_is_known_by_its_line() {
        for (version, expected) in [
            ([7, 2, 10], false),
            ([7, 2, 11], true),
            ([7, 4, 6], true),
            ([8, 0, 3], false),
            ([8, 2, 2], true),
            ([8, 6, 0], true),
            ([7, 0, 99], false),
        ] {
            assert_eq!(patched(&version), expected, "{version:?}");
        }
    }
}
