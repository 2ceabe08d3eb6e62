//! Sentinel and Cluster with real processes: what a failover, moving slots and missing replicas lead to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use regrant::{
    clock::Clock,
    config::Config,
    ids::{ClientId, SessionId},
    secret::ServerSecret,
    server::{self, Listeners},
    store::{Changed, Origin, OwnerChange, RevocationReason, StoreError},
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, block_in_place},
};

use crate::{
    code_contract,
    deployments::{Cluster, Deployment, Sentinel, Standalone},
    device_contract,
    person::{Person, attribute},
    session_contract, store_contract,
    support::{Answer, Server, eventually, owner_id},
};

/// Clients that refresh as fast as they are answered.
const CROWD: usize = 24;

async fn node(url: &str, secret: &ServerSecret) -> Arc<Server> {
    let issuer = |config: &mut Config| config.issuer = "http://regrant.test".into();
    Arc::new(Server::start_on(url, secret, Clock::system(), tempfile::tempdir().unwrap(), issuer).await)
}

/// A server on this deployment, with the client `app`.
async fn started(deployment: &impl Deployment) -> Arc<Server> {
    let server = node(&deployment.url(), &ServerSecret::generate()).await;
    server.client("app").await;
    server
}

/// Users who each refresh without a pause, and send the same token again when the answer is 503.
struct Crowd {
    over: Arc<AtomicBool>,
    members: Vec<JoinHandle<Member>>,
}

/// What became of one of them.
#[derive(Debug)]
struct Member {
    name: String,
    token: String,
    refreshed: usize,
    asked_again: usize,
}

impl Crowd {
    async fn gather(server: &Arc<Server>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut members = Vec::new();
        for index in 0..CROWD {
            let name = format!("user-{index}");
            server.user(&name).await;
            let token = server.login("app", &name).await.refresh_token();
            let (server, over) = (Arc::clone(server), Arc::clone(&over));
            members.push(tokio::spawn(async move {
                let mut member = Member { name, token, refreshed: 0, asked_again: 0 };
                while !over.load(Ordering::Relaxed) {
                    member.refresh(&server).await;
                }
                member
            }));
        }
        Self { over, members }
    }

    /// Ends the load; says what it saw. Everybody's last token works.
    async fn leave(self, server: &Server) -> (usize, usize) {
        self.over.store(true, Ordering::Relaxed);
        let (mut refreshed, mut asked_again) = (0, 0);
        for member in self.members {
            let mut member = member.await.unwrap();
            let before = member.refreshed;
            assert!(before > 0, "{member:?}");
            eventually("the last token works", async || {
                member.refresh(server).await;
                member.refreshed > before
            })
            .await;
            refreshed += member.refreshed;
            asked_again += member.asked_again;
        }
        println!("{refreshed} refreshes, {asked_again} answers of 503");
        (refreshed, asked_again)
    }
}

impl Member {
    async fn refresh(&mut self, server: &Server) {
        let answer = server.refresh("app", &self.token).await;
        match answer.status {
            200 => {
                self.token = answer.refresh_token();
                self.refreshed += 1;
            }
            503 => {
                answer.assert_error(503, "temporarily_unavailable");
                self.asked_again += 1;
            }
            _ => panic!("{} was logged out: {answer:?}", self.name),
        }
    }
}

/// Revokes the grant of a new user again and again, each time with a new one; remembers those that were confirmed.
async fn revoke_all_the_time(server: Arc<Server>, over: Arc<AtomicBool>) -> Vec<String> {
    let mut confirmed = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let login = server.login("app", "leaver").await;
        if login.status != 200 {
            continue;
        }
        if server.store().change_owner(owner_id("leaver"), OwnerChange::LogOut).await.is_ok() {
            confirmed.push(login.refresh_token());
        }
    }
    confirmed
}

#[test]
fn a_sentinel_deployment_fails_over_and_takes_the_dead_back() {
    let mut sentinel = Sentinel::start();
    let dead = sentinel.kill_master();
    sentinel.wait_for_failover(dead);
    assert_ne!(sentinel.master(), dead);
    sentinel.revive(dead);
    assert!(sentinel.replicas().contains(&dead));
    let before = sentinel.master();
    sentinel.fail_over();
    assert_ne!(sentinel.master(), before);
}

#[test]
fn a_cluster_moves_slots_and_fails_over() {
    let mut cluster = Cluster::start();
    let slot = cluster.slot_of("key");
    let from = cluster.owner_of(slot);
    let () = cluster.nodes()[from].ask(&["SET", "key", "value"]).unwrap();
    let to = cluster.masters().into_iter().find(|&index| index != from).unwrap();
    cluster.migrate_slot(slot, to);
    assert_eq!(cluster.owner_of(slot), to);
    assert_eq!(cluster.nodes()[to].ask::<String>(&["GET", "key"]).unwrap(), "value");
    let dead = cluster.kill_master();
    cluster.wait_for_failover(dead);
    cluster.revive(dead);
    assert!(!cluster.masters().contains(&dead));
}

fn emptied(deployment: &impl Deployment) {
    for master in deployment.masters() {
        let () = deployment.nodes()[master].ask(&["FLUSHALL"]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_contract_of_a_store() {
    let cluster = Cluster::start();
    store_contract::all_on(&cluster.url(), || emptied(&cluster)).await;
    session_contract::all_on(&cluster.url(), || emptied(&cluster)).await;
    device_contract::all_on(&cluster.url(), || emptied(&cluster)).await;
    code_contract::all_on(&cluster.url(), || emptied(&cluster)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_under_sentinels_keeps_the_contract_of_a_store() {
    let sentinel = Sentinel::start();
    store_contract::all_on(&sentinel.url(), || emptied(&sentinel)).await;
    session_contract::all_on(&sentinel.url(), || emptied(&sentinel)).await;
    device_contract::all_on(&sentinel.url(), || emptied(&sentinel)).await;
    code_contract::all_on(&sentinel.url(), || emptied(&sentinel)).await;
}

/// The line of the shipped redis.conf that names the server's own user, as a command with a password.
fn access_rule() -> Vec<String> {
    let line = include_str!("../../deploy/redis.conf").lines().find(|line| line.starts_with("#user regrant")).unwrap();
    let rule = line.replace("#user", "ACL SETUSER").replace(">PASSWORD", ">p@ss");
    rule.split(' ').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_in_the_shipped_configuration_are_enough() {
    let (cluster, sentinel) = (Cluster::start(), Sentinel::start());
    let rule = access_rule();
    let rule: Vec<&str> = rule.iter().map(String::as_str).collect();
    for node in cluster.nodes().iter().chain(sentinel.nodes()) {
        let () = node.ask(&rule).unwrap();
    }
    let as_itself = |url: String| url.replace("://", "://regrant:p%40ss@");
    store_contract::all_on(&as_itself(cluster.url()), || emptied(&cluster)).await;
    session_contract::all_on(&as_itself(sentinel.url()), || emptied(&sentinel)).await;
    store_contract::all_on(&as_itself(sentinel.url()), || emptied(&sentinel)).await;
    let nobody = cluster.url().replace("://", "://regrant:wrong@");
    assert!(regrant::store::open(&nobody, Clock::system()).await.is_err());
}

/// Kills a master while the crowd refreshes and others are logged out: nobody of the crowd is logged out, and all the
/// others stay so.
/// (I-05, I-07, I-09)
async fn survives_the_death_of_a_master(deployment: &mut impl Deployment) {
    let server = started(deployment).await;
    let crowd = Crowd::gather(&server).await;
    let over = Arc::new(AtomicBool::new(false));
    server.user("leaver").await;
    let leaving = tokio::spawn(revoke_all_the_time(Arc::clone(&server), Arc::clone(&over)));
    for _ in 0..2 {
        block_in_place(|| {
            let dead = deployment.kill_master();
            deployment.wait_for_failover(dead);
            deployment.revive(dead);
        });
    }
    over.store(true, Ordering::Relaxed);
    let confirmed = leaving.await.unwrap();
    let (_, asked_again) = crowd.leave(&server).await;
    assert!(asked_again > 0, "nobody noticed");
    assert!(confirmed.len() > 10, "{}", confirmed.len());
    println!("{} confirmed revocations", confirmed.len());
    for token in confirmed {
        server.refresh("app", &token).await.assert_error(400, "invalid_grant");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_sentinel_logs_nobody_out_and_undoes_no_revocation() {
    survives_the_death_of_a_master(&mut Sentinel::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_in_a_cluster_logs_nobody_out_and_undoes_no_revocation() {
    survives_the_death_of_a_master(&mut Cluster::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_replaced_and_its_return_changes_nothing() {
    let sentinel = Sentinel::start();
    let server = started(&sentinel).await;
    let crowd = Crowd::gather(&server).await;
    block_in_place(|| {
        let hanging = sentinel.master();
        sentinel.nodes()[hanging].stop();
        crate::deployments::until("another master", || sentinel.master() != hanging);
        sentinel.nodes()[hanging].cont();
        sentinel.wait_until_whole();
    });
    let (_, asked_again) = crowd.leave(&server).await;
    assert!(asked_again > 0, "nobody noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_and_scripts_are_forgotten_while_everybody_refreshes() {
    let cluster = Cluster::start();
    let server = started(&cluster).await;
    let crowd = Crowd::gather(&server).await;
    block_in_place(|| {
        for round in 0..3 {
            for index in 0..CROWD {
                let slot = cluster.slot_of(&format!("as:u:{{{}}}", owner_id(&format!("user-{index}"))));
                let masters = cluster.masters();
                let from = cluster.owner_of(slot);
                let to = masters[(masters.iter().position(|&index| index == from).unwrap() + 1 + round % 2) % 3];
                cluster.migrate_slot(slot, to);
                cluster.flush_scripts();
            }
        }
    });
    let (refreshed, asked_again) = crowd.leave(&server).await;
    assert!(asked_again * 100 <= refreshed, "{asked_again} of {refreshed} answers were 503");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_slot_is_served_where_its_keys_are() {
    let cluster = Cluster::start();
    let server = started(&cluster).await;
    server.user("anna").await;
    let login = server.login("app", "anna").await;
    let owner = owner_id("anna");
    let slot = cluster.slot_of(&format!("as:u:{{{owner}}}"));
    let from = cluster.owner_of(slot);
    let to = cluster.masters().into_iter().find(|&index| index != from).unwrap();
    cluster.begin_migration(slot, from, to);
    let token = server.refresh("app", &login.refresh_token()).await.refresh_token();
    // The grant has moved and its owner has not: nobody can serve both, and nobody is logged out.
    cluster.move_key(&format!("as:g:{{{owner}}}:{}", login.claims()["gid"].as_str().unwrap()), from, to);
    server.refresh("app", &token).await.assert_error(503, "temporarily_unavailable");
    cluster.move_key(&format!("as:u:{{{owner}}}"), from, to);
    for _ in 0..2 {
        cluster.flush_scripts();
        // Both are there, and the slot is not yet.
        server.refresh("app", &token).await.assert_tokens();
    }
    cluster.move_keys(slot, from, to);
    assert_eq!(server.store().change_owner(owner, OwnerChange::LogOut).await.unwrap(), Changed::Stored);
    server.refresh("app", &token).await.assert_error(400, "invalid_grant");
    cluster.end_migration(slot, from, to);
    server.login("app", "anna").await.assert_tokens();
}

/// Without its replicas nothing is confirmed that a failover could undo, and a refresh does not wait for them.
/// (I-05)
async fn confirms_only_what_the_replicas_have(deployment: &impl Deployment, replicas: &[usize]) {
    let server = started(deployment).await;
    server.user("anna").await;
    server.user("bob").await;
    let client = server.client("other").await;
    let removed = server.login("app", "bob").await.refresh_token();
    let mut bob = Person::signed_in(&server, "bob").await;
    let account = bob.open("/account").await;
    let form_token = attribute(&account.text, "name=\"form_token\"", "value").unwrap();
    let remove_all = async |bob: &mut Person| {
        bob.post("/account", &[("form_token", &form_token), ("action", "remove_all")]).await.status
    };
    let (bobs, other) = (owner_id("bob"), ClientId::parse("other").unwrap());
    let nowhere = Origin::default();
    let remove_grants = async || server.store().revoke_grants(bobs, RevocationReason::Operator, &nowhere).await;
    let end_browser = async || server.store().end_session(bobs, SessionId::random()).await;
    let forget_consent = async || server.store().forget_consent(bobs, &other).await;
    let stale = server.login("app", "anna").await.refresh_token();
    let used = server.refresh("app", &stale).await.refresh_token();
    server.refresh("app", &used).await.assert_tokens();
    let mut token = server.login("app", "anna").await.refresh_token();
    let log_out = async || server.store().change_owner(owner_id("anna"), OwnerChange::LogOut).await;
    let disable = async || {
        let mut disabled = client.clone();
        disabled.disabled = true;
        disabled.version += 1;
        server.store().replace_client(&disabled).await
    };
    let set = |stopped: bool| {
        for &replica in replicas {
            let node = &deployment.nodes()[replica];
            if stopped { node.stop() } else { node.cont() }
        }
    };
    set(true);
    for _ in 0..2 {
        token = server.refresh("app", &token).await.refresh_token();
    }
    // The replay is a refusal, but of a grant that a failover would bring back.
    server.refresh("app", &stale).await.assert_error(503, "temporarily_unavailable");
    for _ in 0..2 {
        assert!(matches!(log_out().await, Err(StoreError::Unavailable(_))));
        assert!(matches!(disable().await, Err(StoreError::Unavailable(_))));
        // The second time there is nothing left to do where it was done, and it is not confirmed all the same.
        assert_eq!(remove_all(&mut bob).await, 503);
        assert!(matches!(remove_grants().await, Err(StoreError::Unavailable(_))));
        assert!(matches!(end_browser().await, Err(StoreError::Unavailable(_))));
        assert!(matches!(forget_consent().await, Err(StoreError::Unavailable(_))));
    }
    // Done all the same, where it was done.
    server.refresh("app", &token).await.assert_error(400, "invalid_grant");
    server.refresh("other", &token).await.assert_error(401, "invalid_client");
    server.refresh("app", &removed).await.assert_error(400, "invalid_grant");
    set(false);
    eventually("the replicas are back", async || log_out().await.is_ok()).await;
    assert_eq!(disable().await.unwrap(), Changed::Stored);
    eventually("everything is removed", async || remove_grants().await.is_ok()).await;
    assert_eq!(remove_all(&mut bob).await, 303);
    assert_eq!(end_browser().await.unwrap(), Changed::NotFound);
    assert_eq!(forget_consent().await.unwrap(), Changed::NotFound);
    assert_eq!(server.store().delete_client(&client.id).await.unwrap(), Changed::Stored);
    server.refresh("app", &stale).await.assert_error(400, "invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_sentinels_a_revocation_is_confirmed_when_the_replicas_have_it() {
    let sentinel = Sentinel::start();
    confirms_only_what_the_replicas_have(&sentinel, &sentinel.replicas()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_a_revocation_is_confirmed_when_the_replicas_have_it() {
    confirms_only_what_the_replicas_have(&Cluster::start(), &[3, 4, 5]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_disabled_on_one_node_is_out_on_the_other_in_a_cluster_and_after_a_failover() {
    let mut sentinel = Sentinel::start();
    disables_everywhere(&mut sentinel).await;
    disables_everywhere(&mut Cluster::start()).await;
}

async fn disables_everywhere(deployment: &mut impl Deployment) {
    let secret = ServerSecret::generate();
    let (one, other) = (node(&deployment.url(), &secret).await, node(&deployment.url(), &secret).await);
    one.client("app").await;
    one.user("anna").await;
    for round in 0..2 {
        for _ in 0..3 {
            // Both have a copy.
            one.login("app", "anna").await.assert_tokens();
            other.login("app", "anna").await.assert_tokens();
            one.change_client("app", |client| client.disabled = true).await;
            let refused = async || other.login("app", "anna").await.status == 401;
            tokio::time::timeout(Duration::from_secs(2), eventually("refused", refused)).await.unwrap();
            one.change_client("app", |client| client.disabled = false).await;
            let accepted = async || other.login("app", "anna").await.status == 200;
            tokio::time::timeout(Duration::from_secs(2), eventually("accepted", accepted)).await.unwrap();
        }
        if round == 0 {
            block_in_place(|| {
                let dead = deployment.kill_master();
                deployment.wait_for_failover(dead);
                deployment.revive(dead);
            });
            let id = ClientId::parse("app").unwrap();
            for server in [&one, &other] {
                eventually("it is found again", async || {
                    server.store().client(&id).await.is_ok() && server.login("app", "anna").await.status == 200
                })
                .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_not_ready_while_its_redis_evicts() {
    let mut standalone = Standalone::start();
    let server = started(&standalone).await;
    let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (public, management) = (listen().await, listen().await);
    let ready = format!("http://{}/health/ready", management.local_addr().unwrap());
    let app = Arc::clone(&server.app);
    let listeners = Listeners { public, management: Some(management) };
    let serving =
        tokio::spawn(async move { server::run(app, &Config::default(), listeners, std::future::pending()).await });
    let asked = async || Answer::of(server.http.get(&ready)).await;
    assert_eq!(asked().await.status, 200);
    let policy = |policy: &str| {
        let () = standalone.nodes()[0].ask(&["CONFIG", "SET", "maxmemory-policy", policy]).unwrap();
    };
    for evicting in ["allkeys-lru", "volatile-ttl"] {
        policy(evicting);
        eventually("not ready", async || asked().await.status == 503).await;
        let text = asked().await.text;
        assert!(text.contains(evicting) && text.contains("CONFIG SET maxmemory-policy noeviction"), "{text}");
        policy("noeviction");
        eventually("ready again", async || asked().await.status == 200).await;
    }
    let dead = block_in_place(|| standalone.kill_master());
    assert_eq!(asked().await.status, 503);
    block_in_place(|| standalone.revive(dead));
    eventually("ready without a restart", async || asked().await.status == 200).await;
    serving.abort();
}
