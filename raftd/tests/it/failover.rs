//! Nodes are killed under load: nothing that was acknowledged is missing, and no read is stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use certs::Role;
use fixtures::load::{Load, get, put};
use fixtures::{Cluster, PATIENCE};
use protocol::{NodeStatus, Request, Response, SnapshotRequest};
use rustix::process::Signal;
use transport::Alpn;

use crate::identity::{audited, dial_at};

/// How often each is killed.
const ROUNDS: usize = 20;

/// How often a leader is stopped.
const GOOD_ROUNDS: usize = 5;

/// How many write at a time.
const WRITERS: u64 = 8;

#[tokio::test]
async fn three_nodes_found_a_cluster_and_keep_a_write() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    put(&client, "greeting", "hello").await.unwrap();
    assert_eq!(get(&client, "greeting").await.unwrap().as_deref(), Some("hello"));
    assert_eq!(get(&client, "nothing").await.unwrap(), None);
    cluster.converged().await;
}

#[tokio::test]
async fn the_leader_is_killed_20_times_under_load() {
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, WRITERS);
    for _ in 0..ROUNDS {
        load.progress(&cluster, 50).await;
        let leader = cluster.leader().await;
        cluster.nodes[leader].kill();
        load.progress(&cluster, 20).await;
        cluster.nodes[leader].start();
    }
    let written = load.finish().await;
    assert!(written.reads > 100, "{} reads show too little", written.reads);
    written.verify(&cluster).await;
}

/// Without a session nobody may send a write twice, so that one which is in doubt has failed.
#[tokio::test]
async fn nodes_that_are_stopped_in_good_order_leave_no_write_in_doubt() {
    let mut cluster = Cluster::start(3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let client = cluster.client();
    let writers = (0..WRITERS).map(|writer| {
        let (client, stop) = (client.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                put(&client, &format!("w{writer}"), "v").await.unwrap();
                written += 1;
            }
            written
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..GOOD_ROUNDS {
        let leader = cluster.leader().await;
        cluster.nodes[leader].signal(Signal::TERM);
        assert!(cluster.nodes[leader].ended().success(), "{}", cluster.nodes[leader].log());
        cluster.nodes[leader].start();
        let began = Instant::now();
        let follows = |status: NodeStatus| status.leader.is_some() && status.applied > 0;
        while !cluster.nodes[leader].status(&client).await.is_some_and(follows) {
            assert!(began.elapsed() < PATIENCE, "{}", cluster.nodes[leader].log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.expect("every write is done") > 0);
    }
}

#[tokio::test]
async fn a_follower_is_killed_20_times_under_load() {
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, WRITERS);
    for round in 0..ROUNDS {
        load.progress(&cluster, 50).await;
        let leader = cluster.leader().await;
        let follower = (leader + 1 + round % 2) % 3;
        cluster.nodes[follower].kill();
        load.progress(&cluster, 50).await;
        cluster.nodes[follower].start();
    }
    load.finish().await.verify(&cluster).await;
}

#[tokio::test]
async fn all_three_are_killed_at_once_and_come_back_with_everything() {
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, WRITERS);
    for _ in 0..3 {
        load.progress(&cluster, 200).await;
        for node in &mut cluster.nodes {
            node.kill();
        }
        for node in &mut cluster.nodes {
            node.start();
        }
        load.progress(&cluster, 20).await;
    }
    load.finish().await.verify(&cluster).await;
}

#[tokio::test]
async fn a_leader_that_was_stopped_for_long_serves_no_stale_read_when_it_wakes() {
    let cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, WRITERS);
    for _ in 0..3 {
        load.progress(&cluster, 50).await;
        let old = cluster.leader().await;
        cluster.nodes[old].signal(rustix::process::Signal::STOP);
        // Longer than the longest election timeout of 600 ms.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        load.progress(&cluster, 20).await;
        cluster.nodes[old].signal(rustix::process::Signal::CONT);
        load.progress(&cluster, 50).await;
    }
    load.finish().await.verify(&cluster).await;
}

#[tokio::test]
async fn sigterm_ends_a_node_cleanly_and_it_goes_on_where_it_was() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    put(&client, "before", "1").await.unwrap();
    for place in 0..3 {
        cluster.nodes[place].signal(rustix::process::Signal::TERM);
        let status = cluster.nodes[place].ended();
        assert!(status.success(), "{status}: {}", cluster.nodes[place].log());
        cluster.nodes[place].start();
        cluster.leader().await;
    }
    let client = cluster.client();
    let read = tokio::time::timeout(PATIENCE, get(&client, "before")).await.unwrap();
    assert_eq!(read.unwrap().as_deref(), Some("1"));
}

/// Elections by timeout take so long that a busy machine is none of the reasons for one.
const SLOW_ELECTIONS: &str = "[raft]\nelection_timeout_ms = [3000, 6000]\n";

/// The most that writes may wait for the successor of a leader that is killed: half of the shortest
/// election timeout. On a quiet machine they wait for less than a heartbeat of 100 ms.
const GAP_MAX: Duration = Duration::from_millis(1_500);

/// Writes one key after the other, and returns when each was acknowledged; what fails is written
/// again.
async fn write_on(client: client::Client, stop: Arc<AtomicBool>) -> Vec<Instant> {
    let mut acknowledged = vec![Instant::now()];
    while !stop.load(Ordering::Relaxed) {
        if put(&client, "gap", "v").await.is_ok() {
            acknowledged.push(Instant::now());
        }
    }
    acknowledged
}

/// The kernel says that nobody listens any more, so that nobody waits for an election timeout.
#[tokio::test]
async fn writes_do_not_wait_for_an_election_timeout_when_a_leader_is_killed() {
    let mut cluster = Cluster::start_with(3, SLOW_ELECTIONS).await;
    let mut gaps = Vec::new();
    for _ in 0..7 {
        cluster.converged().await;
        let leader = cluster.leader().await;
        let stop = Arc::new(AtomicBool::new(false));
        let writing = tokio::spawn(write_on(cluster.client(), Arc::clone(&stop)));
        let load = Load::start(&cluster, WRITERS);
        load.progress(&cluster, 50).await;
        cluster.nodes[leader].kill();
        load.progress(&cluster, 50).await;
        stop.store(true, Ordering::Relaxed);
        let acknowledged = writing.await.unwrap();
        let gap = acknowledged.windows(2).map(|pair| pair[1] - pair[0]).max();
        gaps.push(gap.expect("something was written"));
        load.finish().await;
        cluster.nodes[leader].start();
    }
    gaps.sort();
    println!("write gaps: {gaps:?}");
    assert!(gaps.last().is_some_and(|longest| *longest <= GAP_MAX), "{gaps:?}");
}

/// Who stands still holds its port: nobody asks for votes in its place before an election timeout.
#[tokio::test]
async fn a_node_that_stands_still_is_not_taken_for_gone() {
    let cluster = Cluster::start_with(3, SLOW_ELECTIONS).await;
    let client = cluster.client();
    cluster.converged().await;
    let leader = cluster.leader().await;
    let term = cluster.nodes[leader].status(&client).await.unwrap().term;
    let load = Load::start(&cluster, WRITERS);
    for place in (0..3).chain([leader, leader]) {
        cluster.nodes[place].signal(Signal::STOP);
        // Many times longer than it takes until the others ask whether it is there.
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.nodes[place].signal(Signal::CONT);
        load.progress(&cluster, 50).await;
    }
    let status = cluster.nodes[leader].status(&client).await.unwrap();
    assert_eq!((status.term, status.role), (term, consensus::RoleKind::Leader));
    load.finish().await.verify(&cluster).await;
}

/// Only a leader puts it into the audit, and the one that was told does nothing any more.
#[tokio::test]
async fn an_act_that_a_leader_was_told_that_stood_still_is_noted_by_the_next_one() {
    let cluster = Cluster::start_with(3, SLOW_ELECTIONS).await;
    put(&cluster.client(), "k", "v").await.unwrap();
    cluster.converged().await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let operator = Role::Operator("carol".parse().unwrap());
    let connection = dial_at(&cluster, follower, operator, Alpn::Client).await.unwrap();
    cluster.nodes[leader].signal(Signal::STOP);
    let take = Request::Snapshot(SnapshotRequest::Take);
    let taken = connection.call(&take).await.unwrap();
    assert!(matches!(taken, Response::Snapshot(_)), "{taken:?}");
    let act = audited(&cluster, "snapshot create").await;
    assert_eq!((act.who.as_str(), act.node), ("operator carol", cluster.nodes[follower].id));
}
