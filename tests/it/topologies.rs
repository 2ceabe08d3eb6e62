//! Sentinel and Cluster with real processes: what a failover, moving slots and missing replicas lead to.

use crate::{
    deployments::{Cluster, Deployment, Sentinel},
    session_contract, store_contract,
};

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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_under_sentinels_keeps_the_contract_of_a_store() {
    let sentinel = Sentinel::start();
    store_contract::all_on(&sentinel.url(), || emptied(&sentinel)).await;
    session_contract::all_on(&sentinel.url(), || emptied(&sentinel)).await;
}
