//! §3.6 and §3.8: what is committed stays; what is promised is durable.
mod kit;
use consensus::*;
use kit::*;

/// Figure 3.7: an entry of an earlier term on a majority is not committed by counting.
#[test]
fn entries_of_earlier_terms_are_not_committed_by_counting_s3_6_2_museum_b1() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.start(1, &[2], hard_state(3, None));
    cluster.pass(1_000);
    cluster.step(1, Input::Timeout(Timer::Election));
    for voter in [2, 3] {
        cluster.say(voter, 1, 4, Body::PreVote { verdict: Verdict::Granted });
    }
    for voter in [2, 3] {
        cluster.say(voter, 1, 4, Body::Vote { verdict: Verdict::Granted });
    }
    assert_eq!(cluster.role(1), RoleKind::Leader);
    for follower in [2, 3] {
        let matched = LogIndex::new(2);
        cluster.say(follower, 1, 4, Body::Appended { matched, round: ReadRound::ZERO });
    }
    assert_eq!(cluster.commit(1), 0, "(2,2) is on three of five, and of an earlier term");
    for follower in [2, 3] {
        let matched = LogIndex::new(3);
        cluster.say(follower, 1, 4, Body::Appended { matched, round: ReadRound::ZERO });
    }
    assert_eq!(cluster.commit(1), 3);
}

#[test]
fn a_leader_counts_itself_only_for_what_is_durable_museum_b20() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.held_disks.insert(id(1));
    cluster.held_disks.insert(id(3));
    cluster.propose(1, 1, "x");
    cluster.settle();
    assert_eq!(cluster.commit(1), 2, "only 2 has it on disk");
    cluster.persist(3);
    cluster.settle();
    assert_eq!(cluster.commit(1), 3, "2 and 3 are a majority without the leader (§10.2.1)");
    assert_eq!(cluster.node(1).applied.len(), 2, "and is not applied here before it is durable");
    cluster.persist(1);
    assert_eq!(cluster.node(1).applied.len(), 3);
}

#[test]
fn a_single_voter_commits_only_what_is_durable_museum_b20() {
    let mut cluster = Cluster::new(&[1]);
    cluster.campaign(1);
    cluster.held_disks.insert(id(1));
    cluster.propose(1, 1, "x");
    assert_eq!(cluster.commit(1), 2);
    cluster.persist(1);
    assert_eq!(cluster.commit(1), 3);
}

#[test]
fn entries_are_acknowledged_only_when_durable_s3_8() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.held_disks.insert(id(1));
    cluster.say(2, 1, 1, append(at(1, 1), vec![entry(1, 2)], 0));
    assert!(cluster.take_from(1).is_empty());
    cluster.persist(1);
    let answer = Body::Appended { matched: LogIndex::new(2), round: ReadRound::ZERO };
    assert_eq!(bodies(&cluster.take_from(1), 2), [answer]);
}

#[test]
fn a_heartbeat_is_answered_at_once_for_what_is_durable() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.held_disks.insert(id(1));
    cluster.say(2, 1, 1, append(at(1, 1), vec![entry(1, 2)], 0));
    cluster.say(2, 1, 1, heartbeat(at(1, 2), 0));
    let answer = Body::Appended { matched: LogIndex::new(1), round: ReadRound::ZERO };
    assert_eq!(bodies(&cluster.take_from(1), 2), [answer]);
}

/// etcd's ABA: the completion of a write must not vouch for entries that came later.
#[test]
fn an_old_completion_vouches_for_nothing_that_came_later_museum_b22() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.held_disks.insert(id(1));
    cluster.say(2, 1, 2, append(at(1, 1), vec![entry(2, 2), entry(2, 3)], 0));
    cluster.say(3, 1, 3, append(at(1, 1), vec![entry(3, 2)], 0));
    cluster.say(2, 1, 4, append(at(1, 1), vec![entry(2, 2), entry(2, 3), entry(4, 4)], 0));
    assert!(cluster.persist_one(1));
    assert_eq!(cluster.status(1).durable, LogIndex::new(1), "the first write was overwritten");
    assert!(cluster.take_from(1).is_empty());
    assert!(cluster.persist_one(1));
    assert_eq!(cluster.status(1).durable, LogIndex::new(1));
    assert!(cluster.persist_one(1));
    assert_eq!(cluster.status(1).durable, LogIndex::new(4));
    let answer = Body::Appended { matched: LogIndex::new(4), round: ReadRound::ZERO };
    assert_eq!(bodies(&cluster.take_from(1), 2), [answer], "one answer, to the last leader");
}

#[test]
fn a_failed_disk_ends_all_promises() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.held_disks.insert(id(1));
    cluster.propose(1, 1, "x");
    let write = cluster.node(1).writes[0].id;
    cluster.letters.clear();
    cluster.take_replies(1);
    cluster.step(1, Input::WriteFailed { write });
    assert_eq!(cluster.role(1), RoleKind::Follower);
    cluster.step(1, Input::Persisted { write });
    cluster.say(2, 1, 9, request_vote(at(2, 9)));
    cluster.propose(1, 2, "y");
    assert!(cluster.take_from(1).is_empty());
    let refused = Reply::Rejected { request: RequestId::new(2), reason: Rejection::DiskFailed };
    assert_eq!(cluster.take_replies(1), [refused]);
    assert_eq!(cluster.node(1).raft.deadline(), None);
}

#[test]
fn what_a_majority_acknowledged_survives_the_loss_of_the_leader_s3_6() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.propose(1, 1, "kept");
    cluster.settle();
    let committed = at(2, 3);
    assert_eq!(cluster.node(1).applied.last(), Some(&committed));
    cluster.isolate(1);
    cluster.run(2_000);
    let leader = *cluster.leaders().iter().find(|number| **number != 1).expect("a new leader");
    assert!(cluster.ids(leader).contains(&committed));
    assert!(cluster.node(leader).applied.contains(&committed));
    cluster.heal();
    cluster.run(2_000);
    assert_eq!(cluster.leaders().len(), 1);
    assert_eq!(cluster.ids(1), cluster.ids(2));
    assert_eq!(cluster.ids(2), cluster.ids(3));
}

#[test]
fn applied_entries_are_contiguous_and_each_is_applied_once() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    for request in 0..50 {
        cluster.propose(1, request, "x");
        if request % 7 == 0 {
            cluster.settle();
        }
    }
    cluster.settle();
    cluster.run(200);
    for number in 1..=3 {
        let indexes: Vec<u64> =
            cluster.node(number).applied.iter().map(|id| id.index.get()).collect();
        assert_eq!(indexes, (1..=52).collect::<Vec<u64>>());
    }
}
