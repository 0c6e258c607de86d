//! Members come and go under load, with real processes killed in the middle of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::{Client, ClientError, Consistency, ErrorCode, NodeStatus};
use consensus::{Configuration, Majority, Member, NodeId, Voters};
use fixtures::load::{Load, put};
use fixtures::{Cluster, PATIENCE, reason};
use rustix::process::Signal;
use state_machine::{SystemAnswer, SystemQuery};

/// Three founders with a leader, and two more nodes that are ready to be added.
async fn cluster() -> Cluster {
    founded(Cluster::prepare(5)).await
}

/// Five prepared nodes: three become a cluster, two are ready to be added.
pub(crate) async fn founded(mut cluster: Cluster) -> Cluster {
    for node in &mut cluster.nodes {
        node.start();
    }
    let record = cluster.record_of(3).await;
    let client = cluster.client();
    for node in &cluster.nodes[..3] {
        client.bootstrap(&node.address, record.clone()).await.unwrap();
    }
    for node in &cluster.nodes[3..] {
        cluster.answer_of(node).await;
        let joined = client.join(&node.address, record.clone()).await;
        assert!(joined.is_ok(), "{joined:?} {}", node.log());
    }
    current(&cluster).await;
    cluster
}

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// The configuration of the leader, and where it stands.
async fn current(cluster: &Cluster) -> (Configuration, u64) {
    let client = cluster.client();
    let began = Instant::now();
    loop {
        let statuses = cluster.statuses(&client).await;
        let leads = |status: &&NodeStatus| status.leader == Some(status.node);
        let leader = statuses.iter().flatten().filter(leads).max_by_key(|status| status.term);
        if let Some(leader) = leader {
            return (leader.configuration.clone(), leader.configuration_index);
        }
        assert!(began.elapsed() < PATIENCE, "no leader");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A configuration of these voters and learners.
pub(crate) async fn target(cluster: &Cluster, voters: &[u64], learners: &[u64]) -> Configuration {
    let mut members = BTreeMap::new();
    for number in voters.iter().chain(learners) {
        let (known, _) = current(cluster).await;
        let member = match known.member(id(*number)) {
            Some(member) => member.clone(),
            None => {
                let node = &cluster.nodes[usize::try_from(*number).unwrap() - 1];
                let status = cluster.answer_of(node).await;
                let name = format!("n{number}");
                Member { incarnation: status.incarnation, name, address: node.address.clone() }
            }
        };
        members.insert(id(*number), member);
    }
    let ids = |numbers: &[u64]| numbers.iter().map(|n| id(*n)).collect::<BTreeSet<_>>();
    let voters = Voters::Stable(Majority::new(ids(voters)));
    Configuration::new(voters, ids(learners), members).unwrap()
}

/// Asks until the cluster is as wanted, whoever leads meanwhile.
pub(crate) async fn change(cluster: &Cluster, client: &Client, target: &Configuration) {
    let began = Instant::now();
    loop {
        let (now, index) = current(cluster).await;
        if now == *target {
            return;
        }
        if let Err(error) = client.reconfigure(target, index).await {
            assert!(began.elapsed() < PATIENCE, "{}", reason(&error));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn from_three_voters_to_five_and_back_under_load() {
    let cluster = cluster().await;
    let client = cluster.client();
    let load = Load::start(&cluster, 4);
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4, 5]).await).await;
    change(&cluster, &client, &target(&cluster, &[1, 2, 3, 4, 5], &[]).await).await;
    load.progress(&cluster, 100).await;
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4, 5]).await).await;
    load.progress(&cluster, 100).await;
    load.finish().await.verify(&cluster).await;
}

/// Asks for a change and kills the leader in the middle of it: all others that run are stopped, so
/// that the joint configuration stands in the leader's log and cannot be committed. Then the others
/// go on; in a `late` kill a moment before it, so that some of them have the joint entry. Returns
/// `false` if the change was over before it was joint, and nobody was killed.
async fn kill_in_the_middle(
    cluster: &mut Cluster,
    client: &Client,
    wanted: &Configuration,
    late: bool,
) -> bool {
    // The client must be connected to the leader: the others do not answer it from here on.
    while put(client, "before", "it stops").await.is_err() {}
    let leader = cluster.leader().await;
    let others: Vec<usize> = (0..cluster.nodes.len())
        .filter(|place| *place != leader && cluster.nodes[*place].is_running())
        .collect();
    caught_up(cluster, leader, &others).await;
    let (_, index) = current(cluster).await;
    for place in &others {
        cluster.nodes[*place].signal(Signal::STOP);
    }
    let asked = {
        let (client, wanted) = (client.clone(), wanted.clone());
        tokio::spawn(async move { client.reconfigure(&wanted, index).await })
    };
    let began = Instant::now();
    let joint = loop {
        let status = cluster.answer_of(&cluster.nodes[leader]).await;
        if status.configuration.voters().is_joint() {
            assert!(status.commit < status.configuration_index, "it is not committed");
            break true;
        }
        if asked.is_finished() {
            break false;
        }
        assert!(began.elapsed() < PATIENCE, "it does not become joint");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    if late || !joint {
        for place in &others {
            cluster.nodes[*place].signal(Signal::CONT);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    if joint {
        cluster.nodes[leader].kill();
        for place in &others {
            cluster.nodes[*place].signal(Signal::CONT);
        }
        cluster.nodes[leader].start();
    }
    // Done, refused or unknown: whatever it was told, the next leader knows.
    let _ = asked.await;
    joint
}

/// Waits until nobody is far behind the leader.
async fn caught_up(cluster: &Cluster, leader: usize, others: &[usize]) {
    let began = Instant::now();
    loop {
        let status = cluster.answer_of(&cluster.nodes[leader]).await;
        let near = |place: &usize| {
            let peer = |number: u64| status.peers.iter().find(|peer| peer.id == id(number));
            let peer = peer(cluster.nodes[*place].id);
            peer.is_none_or(|peer| peer.matched + 100 > status.last)
        };
        if status.role == consensus::RoleKind::Leader && others.iter().all(near) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{status:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Kills the leader in the middle of a change, early and, if it is not over by then, late; and
/// brings the change to its end.
async fn change_through_kills(cluster: &mut Cluster, client: &Client, wanted: &Configuration) {
    let began = Instant::now();
    while !kill_in_the_middle(cluster, client, wanted, false).await {
        assert!(began.elapsed() < PATIENCE, "it never becomes joint");
    }
    if current(cluster).await.0 != *wanted {
        kill_in_the_middle(cluster, client, wanted, true).await;
    }
    change(cluster, client, wanted).await;
}

#[tokio::test]
async fn three_to_five_to_three_voters_with_leaders_killed_in_the_joint_phase() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4, 5]).await).await;
    let load = Load::start(&cluster, 4);
    for (voters, learners) in [([1, 2, 3, 4, 5].as_slice(), [].as_slice()), (&[1, 2, 3], &[4, 5])] {
        load.progress(&cluster, 50).await;
        let wanted = target(&cluster, voters, learners).await;
        change_through_kills(&mut cluster, &client, &wanted).await;
    }
    load.progress(&cluster, 50).await;
    let written = load.finish().await;
    println!("3 -> 5 -> 3 through four kills: longest write gap {:?}", written.gap);
    written.verify(&cluster).await;
}

#[tokio::test]
async fn one_voter_becomes_three_in_one_change_that_is_killed_in_the_joint_phase() {
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.start();
    }
    let record = cluster.record_of(1).await;
    let client = cluster.client();
    client.bootstrap(&cluster.nodes[0].address, record.clone()).await.unwrap();
    for node in &cluster.nodes[1..] {
        cluster.answer_of(node).await;
        client.join(&node.address, record.clone()).await.unwrap();
    }
    change(&cluster, &client, &target(&cluster, &[1], &[2, 3]).await).await;
    let load = Load::start(&cluster, 4);
    load.progress(&cluster, 50).await;
    let wanted = target(&cluster, &[1, 2, 3], &[]).await;
    change_through_kills(&mut cluster, &client, &wanted).await;
    load.progress(&cluster, 50).await;
    let written = load.finish().await;
    println!("1 -> 3 through kills: longest write gap {:?}", written.gap);
    written.verify(&cluster).await;
}

#[tokio::test]
async fn a_dead_node_is_replaced_in_one_change_that_is_killed_in_the_joint_phase() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    let load = Load::start(&cluster, 4);
    load.progress(&cluster, 50).await;
    let dead = (cluster.leader().await + 1) % 3;
    cluster.nodes[dead].kill();
    let stay: Vec<u64> = (1..=3).filter(|number| *number != dead as u64 + 1).collect();
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4]).await).await;
    let voters: Vec<u64> = stay.iter().copied().chain([4]).collect();
    let wanted = target(&cluster, &voters, &[]).await;
    change_through_kills(&mut cluster, &client, &wanted).await;
    load.progress(&cluster, 50).await;
    let written = load.finish().await;
    println!("replaced through kills: longest write gap {:?}", written.gap);
    let places: Vec<usize> = voters.iter().map(|number| *number as usize - 1).collect();
    written.verify_on(&cluster, &places).await;
}

#[tokio::test]
async fn a_leader_is_removed_that_is_killed_in_the_joint_phase_and_ends_with_77() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4]).await).await;
    let load = Load::start(&cluster, 4);
    load.progress(&cluster, 50).await;
    let leader = cluster.leader().await;
    let rest: Vec<u64> = (1..=4).filter(|number| *number != leader as u64 + 1).collect();
    let wanted = target(&cluster, &rest, &[]).await;
    while !kill_in_the_middle(&mut cluster, &client, &wanted, false).await {}
    load.progress(&cluster, 20).await;
    // Whoever leads now, the one who led is removed: as a leader, or as a follower.
    change(&cluster, &client, &wanted).await;
    assert_eq!(cluster.nodes[leader].ended().code(), Some(77));
    let log = cluster.nodes[leader].log();
    assert!(log.contains("was removed from the cluster by log entry"), "{log}");

    // Once more, and this time it leads until its removal is committed (§4.2.2).
    load.progress(&cluster, 20).await;
    let leader = cluster.leader().await;
    let rest: Vec<u64> = rest.into_iter().filter(|number| *number != leader as u64 + 1).collect();
    change(&cluster, &client, &target(&cluster, &rest, &[]).await).await;
    assert_eq!(cluster.nodes[leader].ended().code(), Some(77));
    load.progress(&cluster, 50).await;
    let written = load.finish().await;
    println!("two leaders removed, one killed: longest write gap {:?}", written.gap);
    let places: Vec<usize> = rest.iter().map(|number| *number as usize - 1).collect();
    written.verify_on(&cluster, &places).await;
}

/// Asks for a change to `wanted` while all but a pair of voters hang: both get the joint entry, and
/// cannot commit it. Returns which of them leads, and where the entry stands; `None` if the change
/// was refused, which a slow machine can bring about, and nobody hangs any more.
pub(crate) async fn joint_on_two(
    cluster: &Cluster,
    client: &Client,
    wanted: &Configuration,
    (pair, stopped): ([usize; 2], &[usize]),
) -> Option<(usize, u64)> {
    let (_, index) = current(cluster).await;
    // The client must be connected to the leader, and the others caught up with it.
    while put(client, "before", "it stops").await.is_err() {}
    caught_up(cluster, pair[0], stopped).await;
    for place in stopped {
        cluster.nodes[*place].signal(Signal::STOP);
    }
    let asked = {
        let (client, wanted) = (client.clone(), wanted.clone());
        tokio::spawn(async move { client.reconfigure(&wanted, index).await })
    };
    let began = Instant::now();
    loop {
        let ended = asked.is_finished();
        let mut statuses = Vec::new();
        for place in pair {
            statuses.push(cluster.answer_of(&cluster.nodes[place]).await);
        }
        let joint = |status: &NodeStatus| status.configuration.voters().is_joint();
        if statuses.iter().all(joint) {
            // Nobody asks the next leader for the same.
            asked.abort();
            let stands = statuses[1].configuration_index;
            assert!(statuses.iter().all(|status| status.commit < stands), "it is not committed");
            let leads = usize::from(statuses[1].role == consensus::RoleKind::Leader);
            return Some((pair[leads], stands));
        }
        if ended && !statuses.iter().any(joint) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it does not become joint");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for place in stopped {
        cluster.nodes[*place].signal(Signal::CONT);
    }
    None
}

#[tokio::test]
async fn another_leader_finishes_the_joint_configuration_that_it_found_s4_3() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4, 5]).await).await;
    let load = Load::start(&cluster, 4);
    load.progress(&cluster, 50).await;
    let wanted = target(&cluster, &[1, 2, 3, 4, 5], &[]).await;
    let began = Instant::now();
    let (dead, joint) = loop {
        let leader = cluster.leader().await;
        let (pair, stopped) = ([leader, (leader + 1) % 3], [(leader + 2) % 3, 3, 4]);
        let found = joint_on_two(&cluster, &client, &wanted, (pair, &stopped)).await;
        if let Some((leader, joint)) = found {
            cluster.nodes[leader].kill();
            for place in stopped {
                cluster.nodes[place].signal(Signal::CONT);
            }
            break (leader, joint);
        }
        assert!(began.elapsed() < PATIENCE, "it never becomes joint");
    };
    // Nobody asks for it again.
    while current(&cluster).await.0 != wanted {
        assert!(began.elapsed() < 2 * PATIENCE, "{:#?}", cluster.statuses(&client).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    load.progress(&cluster, 50).await;
    let history = client.system(&SystemQuery::History, Consistency::Linearizable).await.unwrap();
    let SystemAnswer::History(history) = history else { panic!("{history:?}") };
    let [.., found, left] = &history[..] else { panic!("{history:?}") };
    assert_eq!((found.id.index.get(), found.configuration.voters().is_joint()), (joint, true));
    assert_eq!(left.configuration, wanted);
    assert!(left.id.term > found.id.term, "the leader that began it has left it: {left:?}");
    assert!(left.id.index > found.id.index.next(), "behind an entry of its own: {left:?}");
    cluster.nodes[dead].start();
    load.finish().await.verify(&cluster).await;
}

#[tokio::test]
async fn leadership_goes_where_it_is_wanted_and_a_stopping_leader_hands_it_over() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let to = (leader + 1) % 3;
        let began = Instant::now();
        // On a busy machine the successor may need longer than an election timeout.
        while let Err(error) = client.transfer(id(cluster.nodes[to].id)).await {
            let log = cluster.nodes[leader].log();
            assert!(began.elapsed() < PATIENCE, "{} {log}", reason(&error));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(cluster.leader().await, to);
    }
    let leader = cluster.leader().await;
    cluster.nodes[leader].signal(Signal::TERM);
    assert!(cluster.nodes[leader].ended().success());
    assert!(cluster.nodes[leader].log().contains("handing leadership over"));
    // The connection to the node that is gone may still look whole: then the answer is "unknown",
    // and a put may be repeated.
    let after = loop {
        match put(&client, "after", "1").await {
            Err(ClientError::Unknown { .. }) => {}
            decided => break decided,
        }
    };
    after.unwrap();
}

#[tokio::test]
async fn a_transfer_to_a_node_that_hangs_is_given_up_and_the_leader_goes_on_s3_10() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let leader = cluster.leader().await;
    put(&client, "before", "1").await.unwrap();
    let hangs = (leader + 1) % 3;
    cluster.nodes[hangs].signal(Signal::STOP);
    let error = client.transfer(id(cluster.nodes[hangs].id)).await.unwrap_err();
    assert!(reason(&error).contains("did not take over"), "{}", reason(&error));
    // The leader itself gives up, long before the client's deadline of 10 s.
    assert!(matches!(error, ClientError::Refused(_)), "{error:?}");
    put(&client, "after", "1").await.unwrap();
    assert_eq!(cluster.leader().await, leader);
    cluster.nodes[hangs].signal(Signal::CONT);
}

#[tokio::test]
async fn changes_that_are_not_safe_are_refused_with_the_reason() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    let refused = |error: ClientError| match error {
        ClientError::Refused(reply) => {
            assert_eq!(reply.code, ErrorCode::Forbidden);
            reply.message
        }
        other => panic!("not refused: {other}"),
    };
    let (_, index) = current(&cluster).await;
    let stranger = target(&cluster, &[1, 2, 3, 4], &[]).await;
    let why = refused(client.reconfigure(&stranger, index).await.unwrap_err());
    assert!(why.contains("must be a learner first"), "{why}");
    let why = refused(client.reconfigure(&stranger, index + 7).await.unwrap_err());
    assert!(why.contains("changed meanwhile"), "{why}");

    let leader = cluster.leader().await;
    let (dead, alive) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.nodes[dead].kill();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let pair = [leader as u64 + 1, dead as u64 + 1];
    let (_, index) = current(&cluster).await;
    let wanted = target(&cluster, &pair, &[]).await;
    let why = refused(client.reconfigure(&wanted, index).await.unwrap_err());
    assert!(why.contains("majority of the voters to be does not answer"), "{why} ({alive})");
}
