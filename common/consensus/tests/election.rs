//! §3.3, §3.4, §3.6.1: terms, votes, who may lead.
#![allow(clippy::unwrap_used)]
mod kit;
use consensus::*;
use kit::*;

fn votes(letters: &[Letter], to: u64) -> Vec<Verdict> {
    let verdict = |body| match body {
        Body::Vote { verdict } => Some(verdict),
        _ => None,
    };
    bodies(letters, to).into_iter().filter_map(verdict).collect()
}

#[test]
fn servers_start_as_followers_s3_4() {
    let cluster = Cluster::new(&[1, 2, 3]);
    for number in 1..=3 {
        assert_eq!(cluster.role(number), RoleKind::Follower);
        assert_eq!(cluster.status(number).leader, None);
    }
}

#[test]
fn every_voter_can_win_in_turn_s3_4() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    for number in 1..=5 {
        cluster.campaign(number);
        assert_eq!(cluster.leaders(), [number], "with a higher term the old leader follows");
        for other in 1..=5 {
            assert_eq!(cluster.status(other).leader, Some(id(number)));
        }
    }
}

#[test]
fn a_campaign_increments_the_term_and_votes_for_itself_s3_4() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    assert_eq!(cluster.term(1), 2);
    assert_eq!(cluster.node(1).hard_state, hard_state(2, Some(1)));
}

#[test]
fn a_server_votes_for_at_most_one_candidate_in_a_term_s3_4() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.say(2, 1, 5, request_vote(at(1, 1)));
    cluster.say(3, 1, 5, request_vote(at(1, 1)));
    let letters = cluster.take_from(1);
    assert_eq!(votes(&letters, 2), [Verdict::Granted]);
    assert_eq!(votes(&letters, 3), [Verdict::AlreadyVoted]);
    cluster.say(2, 1, 5, request_vote(at(1, 1)));
    assert_eq!(votes(&cluster.take_from(1), 2), [Verdict::Granted], "the same answer again");
}

#[test]
fn a_vote_survives_a_restart_s3_8() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.say(2, 1, 5, request_vote(at(1, 1)));
    cluster.crash(1);
    cluster.say(3, 1, 5, request_vote(at(1, 1)));
    assert_eq!(votes(&cluster.take_from(1), 3), [Verdict::AlreadyVoted]);
}

#[test]
fn a_vote_is_not_sent_before_it_is_durable_museum_a11() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.held_disks.insert(id(1));
    cluster.say(2, 1, 5, request_vote(at(1, 1)));
    assert!(cluster.take_from(1).is_empty());
    cluster.persist(1);
    assert_eq!(votes(&cluster.take_from(1), 2), [Verdict::Granted]);
}

#[test]
fn neither_vote_requests_nor_the_own_vote_precede_their_durability() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.held_disks.insert(id(1));
    cluster.campaign(1);
    assert_eq!(cluster.role(1), RoleKind::Candidate);
    assert!(cluster.take_from(1).is_empty(), "requests wait for the disk");
    cluster.say(2, 1, 2, Body::Vote { verdict: Verdict::Granted });
    assert_eq!(cluster.role(1), RoleKind::Candidate, "one vote of three: its own is not durable");
    cluster.persist(1);
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn a_single_voter_leads_only_when_its_term_is_durable_museum_d10() {
    let mut cluster = Cluster::new(&[1]);
    cluster.held_disks.insert(id(1));
    cluster.campaign(1);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Candidate, 2));
    cluster.persist(1);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Leader, 2));
}

#[test]
fn stepping_down_within_a_term_keeps_the_vote_museum_a1_a2() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.isolate(1);
    for number in [4, 5] {
        cluster.say(number, 1, 1, Body::PreVote { verdict: Verdict::LogBehind });
    }
    cluster.heal();
    cluster.pass(1_000);
    cluster.step(1, Input::Timeout(Timer::Election));
    for number in [2, 3] {
        cluster.say(number, 1, 2, Body::PreVote { verdict: Verdict::Granted });
    }
    assert_eq!(cluster.role(1), RoleKind::Candidate);
    cluster.say(2, 1, 2, heartbeat(at(2, 9), 0));
    assert_eq!(cluster.role(1), RoleKind::Follower, "the check fails, and still 2 leads");
    assert_eq!(cluster.status(1).leader, Some(id(2)));
    assert_eq!(cluster.node(1).hard_state, hard_state(2, Some(1)));
}

#[test]
fn a_leader_never_votes_for_another_in_its_term_museum_a13() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.say(2, 1, 2, request_vote(at(9, 9)));
    assert_eq!(votes(&cluster.take_from(1), 2).len(), 0, "an entry of a later term: malformed");
    cluster.say(2, 1, 2, request_vote(at(2, 9)));
    assert_ne!(votes(&cluster.take_from(1), 2), [Verdict::Granted]);
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn votes_of_another_term_or_twice_do_not_count_museum_a7() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.pass(1_000);
    cluster.step(1, Input::Timeout(Timer::Election));
    for voter in [2, 3] {
        cluster.say(voter, 1, 2, Body::PreVote { verdict: Verdict::Granted });
    }
    for (voter, term) in [(2, 1), (3, 1), (4, 1), (5, 2), (5, 2), (5, 2)] {
        cluster.say(voter, 1, term, Body::Vote { verdict: Verdict::Granted });
    }
    assert_eq!(cluster.role(1), RoleKind::Candidate, "its own and one more of five");
}

#[test]
fn the_up_to_date_check_is_lexicographic_s3_6_1_museum_a8_a9() {
    // (voter's log behind the bootstrap entry, candidate's last entry, granted?)
    let cases: [(&[u64], EntryId, bool); 7] = [
        (&[], at(1, 1), true),
        (&[2], at(2, 2), true),
        (&[2], at(1, 9), false),
        (&[2, 2], at(2, 2), false),
        (&[2, 2, 2], at(3, 2), true),
        (&[2, 3], at(2, 9), false),
        (&[2, 3], at(3, 3), true),
    ];
    for (terms, last, granted) in cases {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.start(1, terms, hard_state(3, None));
        cluster.say(2, 1, 4, request_vote(last));
        let expected = if granted { Verdict::Granted } else { Verdict::LogBehind };
        assert_eq!(votes(&cluster.take_from(1), 2), [expected], "{terms:?} against {last}");
    }
}

#[test]
fn a_stale_request_is_refused_and_told_the_newer_term_s3_3() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(1, &[], hard_state(7, None));
    cluster.say(2, 1, 5, request_vote(at(1, 1)));
    cluster.say(2, 1, 5, heartbeat(at(1, 1), 1));
    let letters = cluster.take_from(1);
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| letter.message.term == Term::new(7)));
    assert_eq!(cluster.commit(1), 0, "nothing of an older term is believed");
}

#[test]
fn a_higher_term_makes_everyone_a_follower_s3_3() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.say(2, 1, 9, heartbeat(at(1, 1), 0));
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Follower, 9));
    assert_eq!(cluster.status(1).leader, Some(id(2)));
}

#[test]
fn a_candidate_concedes_to_the_leader_of_its_own_term_s3_4_museum_a20() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.step(1, Input::Timeout(Timer::Election));
    cluster.pass(1_000);
    cluster.step(1, Input::Timeout(Timer::Election));
    cluster.say(2, 1, 2, Body::PreVote { verdict: Verdict::Granted });
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Candidate, 2));
    cluster.say(3, 1, 2, heartbeat(at(1, 1), 0));
    assert_eq!(cluster.role(1), RoleKind::Follower);
}

#[test]
fn granting_puts_off_the_own_election_and_refusing_does_not_museum_a22() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let deadline = |cluster: &Cluster| cluster.node(1).raft.deadline().unwrap().0;
    cluster.start(1, &[2], hard_state(2, None));
    let before = deadline(&cluster);
    cluster.pass(100);
    cluster.say(2, 1, 3, request_vote(at(1, 1)));
    assert_eq!(deadline(&cluster), before, "refused");
    cluster.say(3, 1, 4, request_vote(at(2, 2)));
    assert!(deadline(&cluster) > before, "granted");
}

#[test]
fn election_timeouts_are_drawn_over_the_whole_range_s3_4() {
    let mut drawn: Vec<u64> = Vec::new();
    let mut cluster = Cluster::new(&[1, 2, 3]);
    for _ in 0..200 {
        cluster.pass(1_000);
        cluster.step(1, Input::Timeout(Timer::Election));
        let (deadline, _) = cluster.node(1).raft.deadline().unwrap();
        drawn.push(deadline.since(cluster.now));
        cluster.letters.clear();
    }
    assert!(drawn.iter().all(|ns| (150 * MS..300 * MS).contains(ns)));
    let low = drawn.iter().filter(|ns| **ns < 225 * MS).count();
    assert!((60..=140).contains(&low), "about half in each half: {low} of 200");
}

#[test]
fn a_node_with_another_data_directory_neither_votes_nor_campaigns() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let message = Message { term: Term::new(5), body: request_vote(at(1, 1)) };
    let wiped = Incarnation::new(999);
    cluster.step(1, Input::Receive { from: id(2), incarnation: wiped, message });
    assert_eq!(cluster.term(1), 1);
    let ignored = Event::Ignored { from: id(2), why: Ignored::OtherIncarnation };
    assert!(cluster.node(1).events.contains(&ignored));
}

#[test]
fn a_learner_votes_but_never_campaigns_museum_c10_c12() {
    let mut cluster = Cluster::with(configuration(&[1, 2], &[3]), Config::new(1));
    cluster.say(1, 3, 5, request_vote(at(1, 1)));
    assert_eq!(votes(&cluster.take_from(3), 1), [Verdict::Granted]);
    assert_eq!(cluster.node(3).raft.deadline(), None);
    cluster.campaign(3);
    assert_eq!(cluster.role(3), RoleKind::Follower);
}

#[test]
fn absurd_terms_and_indexes_are_ignored() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let before = cluster.node(1).raft.clone();
    cluster.say(2, 1, u64::MAX, request_vote(at(1, 1)));
    cluster.say(2, 1, 5, request_vote(at(1, u64::MAX)));
    cluster.say(2, 1, 1, append(at(1, 1), vec![entry(1, 3)], 0));
    cluster.say(2, 1, 1, append(at(1, 1), vec![entry(2, 2)], 0));
    cluster.say(1, 1, 5, request_vote(at(1, 1)));
    cluster.say(9, 1, 5, Body::Vote { verdict: Verdict::Granted });
    assert_eq!(cluster.node(1).raft, before, "refused input changes nothing");
    assert_eq!(cluster.node(1).events.len(), 6);
}
