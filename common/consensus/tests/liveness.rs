//! §4.2.3, §6.2, §6.4, §9.6: pre-vote, check-quorum, stickiness, reads.
mod kit;
use consensus::*;
use kit::*;

fn read_at(request: u64, index: u64) -> Reply {
    let (request, index) = (RequestId::new(request), LogIndex::new(index));
    Reply::ReadAt { request, index, basis: Basis::Round }
}

#[test]
fn a_partitioned_node_does_not_raise_its_term_s9_6_museum_a23() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.isolate(3);
    cluster.run(5_000);
    assert_eq!(cluster.term(3), 2);
    cluster.heal();
    cluster.run(1_000);
    assert_eq!((cluster.leaders(), cluster.term(1)), (vec![1], 2), "nobody was disturbed");
}

#[test]
fn a_pre_vote_changes_neither_term_nor_vote_nor_timer_s9_6() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let before = cluster.node(1).raft.clone();
    cluster.say(2, 1, 2, Body::RequestPreVote { last: at(1, 1) });
    assert_eq!(cluster.node(1).raft, before);
    let answer = cluster.take_from(1).remove(0).message;
    let granted = Body::PreVote { verdict: Verdict::Granted };
    assert_eq!(answer, Message { term: Term::new(2), body: granted }, "museum D1");
}

#[test]
fn a_pre_vote_tells_why_it_is_refused() {
    let cases = [(1, at(1, 1), Verdict::StaleTerm), (4, at(1, 9), Verdict::LogBehind)];
    for (term, last, verdict) in cases {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.start(1, &[3], hard_state(3, None));
        cluster.say(2, 1, term, Body::RequestPreVote { last });
        let answer = cluster.take_from(1).remove(0).message;
        assert_eq!(answer, Message { term: Term::new(3), body: Body::PreVote { verdict } });
    }
}

#[test]
fn who_hears_from_a_leader_ignores_candidates_s4_2_3_museum_c15() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.say(3, 2, 9, request_vote(at(2, 9)));
    assert_eq!(cluster.term(2), 2, "the term is left alone as well");
    cluster.say(3, 2, 9, Body::RequestVote { last: at(2, 9), transfer: true });
    assert_eq!(cluster.term(2), 9, "unless the leader asked for it (§3.10, museum E1)");
}

#[test]
fn the_lost_leader_itself_may_be_elected_again_museum_d7() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.say(1, 2, 3, Body::RequestPreVote { last: at(2, 2) });
    let answer = cluster.take_from(2).pop().map(|letter| letter.message.body);
    assert_eq!(answer, Some(Body::PreVote { verdict: Verdict::Granted }));
}

#[test]
fn a_leader_without_a_quorum_steps_down_within_an_election_timeout_s6_2() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.run(500);
    assert_eq!(cluster.leaders(), [1], "contact keeps it in office");
    cluster.isolate(1);
    cluster.run(201);
    assert_ne!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn a_stuck_candidate_of_a_higher_term_is_freed_museum_d4() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.start(3, &[], hard_state(9, Some(3)));
    cluster.run(2_000);
    assert_eq!(cluster.leaders().len(), 1);
    assert!(cluster.term(3) >= 9);
    assert_eq!(cluster.ids(3), cluster.ids(1));
}

#[test]
fn a_partial_partition_does_not_unseat_the_leader_for_ever_museum_d5() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.campaign(3);
    for (a, b) in [(4, 1), (4, 3), (4, 5), (5, 1), (5, 2)] {
        cluster.cut.insert((id(a), id(b)));
        cluster.cut.insert((id(b), id(a)));
    }
    cluster.run(5_000);
    assert_eq!((cluster.leaders(), cluster.term(3)), (vec![3], 2));
}

#[test]
fn reads_wait_for_the_first_commit_of_the_term_s6_4_museum_f1_f6() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.pass(1_000);
    cluster.step(1, Input::Timeout(Timer::Election));
    cluster.say(2, 1, 2, Body::PreVote { verdict: Verdict::Granted });
    cluster.say(2, 1, 2, Body::Vote { verdict: Verdict::Granted });
    assert_eq!(cluster.role(1), RoleKind::Leader);
    cluster.read(1, 7);
    assert_eq!(cluster.take_replies(1), []);
    cluster.settle();
    assert_eq!(cluster.take_replies(1), [read_at(7, 2)]);
}

#[test]
fn a_read_needs_a_round_that_began_after_it_s6_4_museum_f3() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.read(1, 1);
    cluster.letters.clear();
    cluster.read(1, 2);
    let round =
        |number| Body::Appended { matched: LogIndex::new(2), round: ReadRound::new(number) };
    cluster.say(2, 1, 2, round(0));
    assert_eq!(cluster.take_replies(1), []);
    cluster.say(2, 1, 2, round(1));
    assert_eq!(
        cluster.take_replies(1),
        [read_at(1, 2)],
        "the second has its own round to wait for"
    );
    cluster.say(2, 1, 2, round(2));
    assert_eq!(cluster.take_replies(1), [read_at(2, 2)]);
    cluster.say(3, 1, 2, round(9));
    let told = Event::Ignored { from: id(3), why: Ignored::Malformed };
    assert!(cluster.node(1).events.contains(&told), "no such round ever began");
}

#[test]
fn a_single_voter_reads_at_once_museum_f10() {
    let mut cluster = Cluster::new(&[1]);
    cluster.campaign(1);
    cluster.read(1, 1);
    assert_eq!(cluster.take_replies(1), [read_at(1, 2)]);
}

#[test]
fn a_leader_that_lost_its_quorum_serves_no_read() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.isolate(1);
    cluster.read(1, 1);
    cluster.run(1_000);
    let refused = Reply::Rejected { request: RequestId::new(1), reason: Rejection::NoQuorum };
    assert_eq!(cluster.take_replies(1), [refused], "refused once, never served (museum F12)");
}

#[test]
fn learners_do_not_confirm_reads_museum_f9() {
    let mut cluster = Cluster::with(configuration(&[1, 2], &[3, 4, 5]), Config::new(1));
    cluster.campaign(1);
    cluster.isolate(2);
    cluster.read(1, 1);
    cluster.settle();
    assert_eq!(cluster.take_replies(1), []);
}

#[test]
fn a_cold_cluster_elects_and_serves() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.run(2_000);
    assert_eq!(cluster.leaders().len(), 1);
    let leader = cluster.leaders()[0];
    cluster.propose(leader, 1, "x");
    cluster.read(leader, 2);
    cluster.settle();
    assert!(cluster.take_replies(leader).len() >= 2);
    assert_eq!(cluster.term(leader), 2, "one election is enough on a quiet network");
}
