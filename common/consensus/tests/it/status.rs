//! What a replica tells of itself, for those who watch it.

use crate::kit::{Cluster, MS, at, configuration, id};
use consensus::*;

fn led() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster
}

#[test]
fn a_leader_tells_since_when_it_leads_and_what_others_have() {
    let mut cluster = led();
    let since = cluster.now;
    cluster.pass(10);
    cluster.propose(1, 1, "x");
    cluster.settle();
    let (leader, follower) = (&cluster.node(1).raft, &cluster.node(2).raft);
    assert!(leader.leads() && !follower.leads());
    assert_eq!((leader.leading_since(), follower.leading_since()), (Some(since), None));
    let matched = [2, 3].map(|number| leader.matched(id(number)));
    assert_eq!(matched, [Some(LogIndex::new(3)); 2]);
    assert_eq!((leader.matched(id(9)), follower.matched(id(1))), (None, None));
    assert_eq!(leader.successor(cluster.now, |node| node != id(2)), Some(id(3)));
    assert_eq!(leader.successor(cluster.now, |_| false), None);
    assert_eq!(follower.successor(cluster.now, |_| true), None);
}

#[test]
fn a_write_that_is_not_finished_is_told_with_its_begin() {
    let mut cluster = led();
    cluster.held_disks.insert(id(1));
    assert_eq!(cluster.node(1).raft.writing_since(), None);
    cluster.propose(1, 1, "x");
    let begun = cluster.now;
    cluster.pass(5);
    cluster.propose(1, 2, "y");
    assert_eq!(cluster.node(1).raft.writing_since(), Some(begun), "the oldest");
    cluster.persist_one(1);
    assert_eq!(cluster.node(1).raft.writing_since(), Some(begun.after(5 * MS)));
    cluster.persist(1);
    assert_eq!(cluster.node(1).raft.writing_since(), None);
}

#[test]
fn a_hand_over_and_a_failed_disk_are_told() {
    let mut cluster = led();
    let transfer = Input::Transfer { request: RequestId::new(5), to: id(2) };
    cluster.step(1, transfer);
    assert!(cluster.node(1).raft.is_transferring());
    cluster.settle();
    assert!(!cluster.node(1).raft.is_transferring() && cluster.node(2).raft.leads());
    cluster.held_disks.insert(id(2));
    cluster.propose(2, 1, "x");
    let write = cluster.node(2).writes[0].id;
    assert!(!cluster.node(2).raft.has_failed());
    cluster.step(2, Input::WriteFailed { write });
    assert!(cluster.node(2).raft.has_failed());
}

#[test]
fn who_was_named_by_the_configuration_before_was_a_member_s4_2_2() {
    let mut cluster = led();
    cluster.start_blank(4);
    let was = |cluster: &Cluster, number| cluster.node(number).raft.was_member();
    assert!(!was(&cluster, 1), "there is none before the first");
    cluster.change(1, &configuration(&[1, 2], &[]));
    assert!(was(&cluster, 3) && !was(&cluster, 4), "it was removed, and the other one never was");
}

/// Why an election is not won is told by name (§9.6): of those who refused, and the last reason.
#[test]
fn refusals_are_told_by_pre_candidates_and_candidates_s3_4_s9_6() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let refusals = |cluster: &Cluster| cluster.status(1).refusals;
    cluster.pass(1_000);
    cluster.time_out(1);
    assert_eq!(refusals(&cluster), []);
    cluster.say(2, 1, 1, Body::PreVote { verdict: Verdict::LeaderAlive });
    assert_eq!(refusals(&cluster), [(id(2), Verdict::LeaderAlive)]);
    cluster.say(2, 1, 1, Body::PreVote { verdict: Verdict::LogBehind });
    cluster.say(3, 1, 2, Body::PreVote { verdict: Verdict::Granted });
    assert_eq!(cluster.role(1), RoleKind::Candidate);
    assert_eq!(refusals(&cluster), []);
    let candidate = crate::kit::incarnation(1);
    cluster.say(3, 1, 2, Body::Vote { candidate, verdict: Verdict::LogBehind });
    assert_eq!(refusals(&cluster), [(id(3), Verdict::LogBehind)]);
}

/// A successor that never hears that it is to take over is asked again, after longer and longer
/// waits: writes are held each time.
#[test]
fn a_leader_whose_disk_hangs_tries_in_vain_ever_less_often_s3_10() {
    let mut cluster = led();
    let say = |cluster: &mut Cluster, ms: u64| {
        let mut begun = Vec::new();
        for _ in 0..ms {
            cluster.pass(1);
            cluster.tick(1);
            while let Some(letter) = cluster.letters.pop_front() {
                if !matches!(letter.message.body, Body::TimeoutNow { .. }) {
                    cluster.deliver(letter);
                }
            }
            let events = std::mem::take(&mut cluster.nodes.get_mut(&id(1)).unwrap().events);
            let hands_over = |event: &&Event| matches!(event, Event::HandsOver { .. });
            begun.extend(events.iter().find(hands_over).map(|_| cluster.now));
        }
        begun
    };
    // Long enough in office, and with acknowledgements that tell of the others' disks.
    for number in 0..40 {
        cluster.propose(1, number, "x");
        say(&mut cluster, 100);
    }
    cluster.held_disks.insert(id(1));
    cluster.propose(1, 99, "y");
    let begun = say(&mut cluster, 20_000);
    let gaps: Vec<u64> = begun.windows(2).map(|two| two[1].since(two[0]) / MS).collect();
    // An attempt lasts an election timeout of 150 ms; the wait behind it doubles.
    assert!(gaps.len() >= 5, "{gaps:?}");
    for (times, gap) in gaps[..4].iter().enumerate() {
        let expected = 150 + (150 << times);
        assert!((expected..expected + 60).contains(gap), "{gaps:?}");
    }
}

#[test]
fn small_values_are_what_they_are_called() {
    assert_eq!(
        (Incarnation::new(7).get(), Incarnation::new(255).to_string().is_empty()),
        (7, false)
    );
    assert_ne!(Incarnation::new(7).to_string(), Incarnation::new(8).to_string());
    assert_eq!(ClusterTime::ZERO.after(5).after(7), ClusterTime::new(12));
    let twice = Configuration::new(
        Voters::Stable(Majority::new([id(1)])),
        [id(1)].into(),
        configuration(&[1], &[]).members().clone(),
    );
    assert!(!twice.unwrap_err().to_string().is_empty());
    let mut cluster = led();
    let now = cluster.now;
    let raft = &mut cluster.nodes.get_mut(&id(1)).unwrap().raft;
    assert!(raft.drain(now).is_empty());
    raft.step(now, Input::Read { request: RequestId::new(1) });
    assert!(!raft.drain(now).is_empty());
    assert_eq!(raft.last(), at(2, 2));
}
