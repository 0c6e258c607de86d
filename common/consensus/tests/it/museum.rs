//! Rows of the museum that cannot be built in as bugs: each is played here, event by event, and the
//! right answer comes out.
use crate::kit::*;
use consensus::*;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::Config as Cases;
use proptest::{prop_assert, proptest};

fn appended(matched: u64) -> Body {
    Body::Appended { matched: LogIndex::new(matched), round: ReadRound::ZERO }
}

/// A cluster of so many voters; node 1 leads in term 2, and nothing is under way.
fn led(voters: u64) -> Cluster {
    let mut cluster = Cluster::new(&(1..=voters).collect::<Vec<u64>>());
    cluster.campaign(1);
    assert_eq!(cluster.leaders(), [1]);
    cluster
}

/// What a node answered to a candidate.
fn verdict(cluster: &mut Cluster, voter: u64, candidate: u64) -> Verdict {
    match bodies(&cluster.take_from(voter), candidate)[..] {
        [Body::Vote { candidate: _, verdict }] => verdict,
        ref other => panic!("one answer, not {other:?}"),
    }
}

/// 0 stood for "no vote" and for a node as well: who had voted for that node voted once more.
#[test]
fn there_is_no_node_0_and_every_other_gets_a_vote_that_stays_given_museum_a5() {
    assert_eq!(NodeId::new(0), None);
    let candidates = [1, 3, 1 << 40];
    for first in candidates {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        assert_eq!(cluster.node(2).hard_state.vote, None);
        cluster.say(first, 2, 5, request_vote(at(1, 1)));
        assert_eq!(verdict(&mut cluster, 2, first), Verdict::Granted);
        for restarts in [false, true] {
            if restarts {
                cluster.crash(2);
            }
            for second in candidates.into_iter().filter(|second| *second != first) {
                cluster.say(second, 2, 5, request_vote(at(1, 1)));
                assert_eq!(verdict(&mut cluster, 2, second), Verdict::AlreadyVoted);
            }
            assert_eq!(cluster.node(2).hard_state, hard_state(5, Some(first)));
        }
    }
}

/// The leader of an epoch came back as its leader, without the tail that was not on its disk, and
/// gave the same places to other entries.
#[test]
fn a_leader_that_restarts_follows_and_writes_no_more_in_its_term_museum_a14() {
    let mut cluster = led(3);
    cluster.held_disks.insert(id(1));
    cluster.propose(1, 1, "on the disk of 2 only");
    cluster.letters.retain(|letter| letter.to == id(2));
    cluster.settle();
    assert_eq!(cluster.ids(2).last(), Some(&at(2, 3)));
    cluster.crash(1);
    cluster.held_disks.clear();
    let status = cluster.status(1);
    assert_eq!((status.role, status.term, status.leader), (RoleKind::Follower, Term::new(2), None));
    assert_eq!(status.last, at(2, 2), "the tail is lost");
    for timer in [Timer::Heartbeat, Timer::QuorumCheck, Timer::Transfer] {
        cluster.step(1, Input::Timeout(timer));
    }
    cluster.propose(1, 2, "in its place");
    let request = RequestId::new(2);
    let refused = Reply::Rejected { request, reason: Rejection::NotLeader { leader: None } };
    assert_eq!(cluster.take_replies(1), [refused]);
    assert_eq!(cluster.take_from(1), [], "it says nothing in the name of a leader");
    // Elected by 3, it leads another term, and its entries have other names than the lost ones.
    cluster.isolate(2);
    cluster.campaign(1);
    assert_eq!((cluster.leaders(), cluster.term(1)), (vec![1], 3));
    assert_eq!(cluster.ids(1)[2..], [at(3, 3)]);
    cluster.heal();
    cluster.run(500);
    assert_eq!(cluster.ids(2), cluster.ids(1));
}

/// A node that was once asked to take over marked its later campaigns as well, so that voters
/// whose leader lived let it disturb them.
#[test]
fn the_mark_of_a_transfer_is_on_one_campaign_and_leaves_no_trace_museum_a17() {
    let mut cluster = led(3);
    let request = RequestId::new(CHANGE);
    cluster.step(1, Input::Transfer { request, to: id(2) });
    let order = cluster.take_from(1);
    assert!(bodies(&order, 2).contains(&Body::TimeoutNow { last: at(2, 2) }));
    order.into_iter().for_each(|letter| cluster.deliver(letter));
    let asks = |transfer| Body::RequestVote { last: at(2, 2), transfer };
    let campaign = cluster.take_from(2);
    assert_eq!(bodies(&campaign, 3), [asks(true)], "this one is the leader's wish");
    // Nobody hears of it. When its time is over, the node campaigns as anybody does.
    cluster.pass(1_000);
    cluster.say(1, 3, 2, heartbeat(at(2, 2), 2));
    cluster.letters.clear();
    cluster.time_out(2);
    let first = cluster.take_from(2);
    assert_eq!(bodies(&first, 3), [Body::RequestPreVote { last: at(2, 2) }]);
    cluster.say(3, 2, 4, Body::PreVote { verdict: Verdict::Granted });
    let second = cluster.take_from(2);
    assert_eq!(bodies(&second, 3), [asks(false)]);
    second.into_iter().for_each(|letter| cluster.deliver(letter));
    assert_eq!(verdict(&mut cluster, 3, 2), Verdict::LeaderAlive);
    // Nor is anything left at the leader: it gives up, and takes writes again.
    cluster.step(1, Input::Timeout(Timer::Transfer));
    let late = Reply::Rejected { request, reason: Rejection::TransferTimedOut };
    assert_eq!(cluster.take_replies(1).last(), Some(&late));
    cluster.propose(1, 1, "goes on");
    assert!(matches!(cluster.take_replies(1)[..], [Reply::Appended { .. }]));
}

/// Whoever is counted: an entry is committed when more than half of the voters have it.
fn committed_by(matched: &[u64]) -> u64 {
    let holders = |index: u64| matched.iter().filter(|matched| **matched >= index).count();
    (0..=9).rev().find(|index| holders(*index) * 2 > matched.len()).unwrap()
}

/// The indexes were kept sorted, and not sorted again when a voter beyond the quorum's place went
/// further: two of five committed.
#[test]
fn two_of_five_commit_nothing_whoever_goes_further_museum_b10() {
    let mut cluster = led(5);
    for request in 1..=4 {
        cluster.propose(1, request, "x");
    }
    cluster.letters.clear();
    for (voter, matched, commit) in [(2, 5, 2), (3, 5, 5), (2, 6, 5), (3, 5, 5), (4, 6, 6)] {
        cluster.say(voter, 1, 2, appended(matched));
        assert_eq!(cluster.commit(1), commit, "{voter} has {matched}");
    }
    // Every way in which five logs can stand, in every order.
    let five = Majority::new((1..=5).map(id));
    for number in 0..5_u64.pow(5) {
        let stand: Vec<u64> = (0..5).map(|place| number / 5_u64.pow(place) % 5).collect();
        let found = five.reached(|voter| LogIndex::new(stand[voter.get() as usize - 1]));
        assert_eq!(found.get(), committed_by(&stand), "{stand:?}");
    }
}

/// The empty quorum committed everything at once.
#[test]
fn without_voters_nothing_can_be_decided_museum_b11() {
    let (nobody, one) = (Majority::new([]), Majority::new([id(1)]));
    let members = configuration(&[1], &[]).members().clone();
    for voters in [
        Voters::Stable(nobody.clone()),
        Voters::Joint { outgoing: nobody.clone(), incoming: one.clone() },
        Voters::Joint { outgoing: one, incoming: nobody },
    ] {
        assert_eq!(voters.tally(|_| Some(true)), Tally::Lost, "{voters:?}");
        assert_eq!(voters.reached(|_| LogIndex::new(9)), LogIndex::ZERO, "{voters:?}");
        let made = Configuration::new(voters, [].into(), members.clone());
        assert_eq!(made, Err(ConfigurationError::NoVoters));
    }
    let mut cluster = led(3);
    let before = cluster.ids(1);
    let refused =
        Reply::Rejected { request: RequestId::new(CHANGE), reason: Rejection::WouldLoseQuorum };
    assert_eq!(cluster.change(1, &Configuration::unknown()), [refused]);
    assert_eq!(cluster.ids(1), before, "nothing is written");
    // A node that belongs to no cluster is such a quorum.
    cluster.start_blank(4);
    cluster.pass(10_000);
    cluster.time_out(4);
    cluster.propose(4, 1, "alone");
    let status = cluster.status(4);
    assert_eq!((status.role, status.term), (RoleKind::Follower, Term::ZERO));
    assert_eq!((status.last, status.commit), (EntryId::ZERO, LogIndex::ZERO));
}

/// The completion of a later write overtook that of an earlier one, which then took back what was
/// known to be durable; or was waited for, for ever.
#[test]
fn completions_in_any_order_lose_nothing_that_is_durable_museum_b23() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.held_disks.insert(id(1));
        for index in 2..=4 {
            cluster.say(2, 1, 1, append(at(1, index - 1), vec![entry(1, index)], 0));
        }
        let writes: Vec<WriteId> = cluster.node(1).writes.iter().map(|write| write.id).collect();
        let mut highest = 0;
        for place in order {
            highest = highest.max(place);
            cluster.step(1, Input::Persisted { write: writes[place] });
            let durable = LogIndex::new(highest as u64 + 2);
            assert_eq!(cluster.status(1).durable, durable, "{order:?}");
        }
        let answers = bodies(&cluster.take_from(1), 2);
        assert_eq!(answers, [2, 3, 4].map(appended), "{order:?}: each once, in order");
    }
}

/// A change made the quorum smaller, so that an entry had it already; but whether it had was only
/// asked when an acknowledgement came, and none came any more.
#[test]
fn a_smaller_quorum_commits_without_another_acknowledgement_museum_b25() {
    let mut cluster = led(4);
    cluster.isolate(4);
    let (request, target) = (RequestId::new(CHANGE), configuration(&[1, 2, 3], &[]));
    cluster.step(1, Input::Reconfigure { request, target: target.clone() });
    let joint = cluster.take_from(1);
    cluster.propose(1, 1, "on 1 and 2: two of four, and two of three");
    let joint_on_3 = joint.iter().filter(|letter| letter.to == id(3)).cloned();
    let joint_on_3: Vec<Letter> = joint_on_3.collect();
    joint.into_iter().filter(|letter| letter.to == id(2)).for_each(|l| cluster.deliver(l));
    cluster.letters.retain(|letter| letter.to != id(3));
    cluster.settle();
    assert_eq!((cluster.status(2).last.index.get(), cluster.commit(1)), (4, 2));
    // 3 says that it has the joint configuration: that is committed, the new one is appended, and
    // under it two are enough. Nothing else arrives from anybody.
    joint_on_3.into_iter().for_each(|letter| cluster.deliver(letter));
    let answers = cluster.take_from(3);
    cluster.cut.extend([2, 3].map(|peer| (id(peer), id(1))));
    cluster.cut.remove(&(id(3), id(1)));
    answers.into_iter().for_each(|letter| cluster.deliver(letter));
    assert_eq!(cluster.status(1).configuration, &target);
    assert_eq!(cluster.commit(1), 4);
    cluster.pass(50);
    cluster.tick(1);
    cluster.settle();
    assert_eq!(cluster.commit(2), 4, "and the others are told");
}

/// A node that was just made a voter counted as one that had not been heard of for long: the check
/// of the quorum ended its leader.
#[test]
fn a_new_voter_has_an_election_timeout_to_answer_museum_c19() {
    for voters in [&[1][..], &[1, 2]] {
        for silent_ms in [0, 100, 200, 240] {
            let mut cluster = Cluster::with(configuration(voters, &[9]), Config::new(1));
            cluster.campaign(1);
            cluster.run(60);
            cluster.cut.insert((id(9), id(1)));
            cluster.run(silent_ms);
            let (request, mut all) = (RequestId::new(CHANGE), voters.to_vec());
            all.push(9);
            let target = configuration(&all, &[]);
            cluster.step(1, Input::Reconfigure { request, target: target.clone() });
            // What it says at first is lost as well; what it says then is heard.
            cluster.run(90);
            assert_eq!(cluster.role(1), RoleKind::Leader, "{voters:?}, {silent_ms} ms");
            cluster.heal();
            cluster.run(200);
            assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Leader, 2));
            assert_eq!(cluster.status(1).configuration, &target);
        }
    }
}

/// All of the log was discarded behind a snapshot; the term of the last entry was not known any
/// more, and reads waited for ever for one of the leader's own.
#[test]
fn a_leader_whose_log_is_all_compacted_reads_and_writes_museum_f13() {
    let mut cluster = led(3);
    cluster.propose(1, 1, "x");
    cluster.settle();
    let meta = cluster.node(1).raft.snapshot_meta(LogIndex::new(3)).unwrap();
    cluster.step(1, Input::SnapshotTaken { meta: meta.clone() });
    assert_eq!((cluster.status(1).base, cluster.status(1).last), (at(2, 3), at(2, 3)));
    cluster.take_replies(1);
    cluster.read(1, 2);
    cluster.settle();
    let (request, index, basis) = (RequestId::new(2), LogIndex::new(3), Basis::Round);
    assert_eq!(cluster.take_replies(1), [Reply::ReadAt { request, index, basis }]);
    // A single voter whose log is empty behind its snapshot, too, after a restart.
    let mut cluster = Cluster::new(&[1]);
    cluster.campaign(1);
    let meta = cluster.node(1).raft.snapshot_meta(LogIndex::new(2)).unwrap();
    cluster.step(1, Input::SnapshotTaken { meta });
    cluster.crash(1);
    cluster.campaign(1);
    cluster.propose(1, 1, "y");
    cluster.read(1, 2);
    let replies = cluster.take_replies(1);
    let index = LogIndex::new(4);
    assert_eq!(replies.last(), Some(&Reply::ReadAt { request, index, basis }));
}

/// A leader slept, and when it woke it ended what its successor had prolonged meanwhile, by its own
/// clock.
#[test]
fn a_leader_that_overslept_decides_nothing_when_it_wakes_museum_j10() {
    let mut cluster = led(3);
    cluster.isolate(1);
    for _ in 0..2_000 {
        cluster.pass(1);
        [2, 3].into_iter().for_each(|awake| cluster.tick(awake));
        cluster.settle();
    }
    let successor = *cluster.leaders().iter().find(|number| **number != 1).unwrap();
    cluster.propose(successor, 1, "prolonged");
    cluster.settle();
    let prolonged = cluster.status(successor).last;
    assert_eq!(cluster.commit(successor), prolonged.index.get());
    // It wakes: what comes first is a client, and then its timers.
    cluster.propose(1, 2, "over");
    let over = cluster.status(1).last;
    assert_eq!(over.term, Term::new(2), "it still takes itself for the leader");
    cluster.heal();
    cluster.run(500);
    for number in 1..=3 {
        let applied = &cluster.node(number).applied;
        assert!(applied.contains(&prolonged) && !applied.contains(&over), "node {number}");
        let stamps: Vec<ClusterTime> =
            cluster.node(number).log.iter().map(|entry| entry.stamp).collect();
        assert!(stamps.is_sorted(), "time never moves back: {stamps:?}");
    }
    assert_eq!(cluster.ids(1), cluster.ids(successor));
}

proptest! {
    #![proptest_config(Cases { cases: 200, failure_persistence: None, ..Cases::default() })]

    /// Late, doubled and lost answers moved the next index below what was known to match, and the
    /// same entries went out for ever.
    #[test]
    fn nothing_is_sent_that_is_known_to_match_in_whatever_order_answers_come_museum_b8(
        script in vec((0_u8..8, any::<usize>()), 1..60),
    ) {
        let config = Config { entries_max: 2, inflight_max: 3, ..Config::new(1) };
        let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[]), config);
        cluster.campaign(1);
        for (request, (action, draw)) in script.into_iter().enumerate() {
            let place = draw % cluster.letters.len().max(1);
            let letter = cluster.letters.get(place).cloned();
            if action < 5 && action > 0 && letter.is_some() {
                cluster.letters.remove(place);
            }
            let before = cluster.letters.len();
            match (action, letter) {
                // Once more later, or now for the last time, or never.
                (0..=3, Some(letter)) => cluster.deliver(letter),
                (4, Some(_)) | (0..=4, None) => {}
                (5, _) => cluster.propose(1, request as u64, "x"),
                (6, _) => {
                    cluster.pass(50);
                    cluster.tick(1);
                }
                _ => cluster.step(1, Input::Unreachable { peer: id(2 + draw as u64 % 2) }),
            }
            for peer in cluster.status(1).peers {
                prop_assert!(peer.next > peer.matched);
                let sent = cluster.letters.iter().skip(before).filter(|sent| sent.to == peer.id);
                for letter in sent {
                    if let Body::AppendEntries { prev, entries, .. } = &letter.message.body {
                        prop_assert!(entries.is_empty() || prev.index >= peer.matched);
                    }
                }
            }
        }
        cluster.run(2_000);
        prop_assert!(cluster.leaders().len() == 1);
        prop_assert!(cluster.ids(2) == cluster.ids(1) && cluster.ids(3) == cluster.ids(1));
        prop_assert!(cluster.commit(1) == cluster.ids(1).len() as u64);
    }
}
