//! Verdicts over surveys that are made up.

use std::collections::BTreeSet;

use consensus::{Configuration, RoleKind, Voters};

use super::*;
use crate::cluster::reasons::no_leader_answers;
use crate::cluster::testing::{
    NOW, check, cluster_of, cut, id, majority, nobody_leads, remarked, survey, three, well,
    without_leader,
};
use crate::cluster::{Row, Silence, Survey};

#[test]
fn three_nodes_that_are_well_tolerate_one_failure() {
    let all = survey((1..=3).map(|number| Some(well(number))).collect());
    check(&all, Health::Healthy, Some(1), "");
    assert!(judge(&all, NOW).remarks.is_empty());
}

#[test]
fn a_node_that_died_just_now_is_not_counted_on() {
    let mut leader = well(1);
    leader.peers[1].heard_ms = Some(1_001);
    let one_down = survey(vec![Some(leader.clone()), Some(well(2)), None]);
    check(&one_down, Health::Degraded, Some(0), "n3: no answer in 2 s");
    assert_eq!(one_down.rows[2].id, Some(id(3)), "it keeps its row and its id");
}

#[test]
fn a_node_that_only_the_leader_reaches_counts_and_is_said_to_serve() {
    let cut_off_here = survey(vec![Some(well(1)), None, None]);
    check(&cut_off_here, Health::Degraded, Some(1), "n2: serves (the leader heard it 50 ms ago)");
    assert!(remarked(&cut_off_here)[0].starts_with("R0412 "));
}

#[test]
fn a_node_that_the_leader_does_not_hear_does_not_count() {
    let mut leader = well(1);
    leader.peers[0].heard_ms = Some(20_000);
    cut(&mut leader, 2, "handshake timed out");
    let all = survey(vec![Some(leader), Some(well(2)), Some(well(3))]);
    check(&all, Health::Degraded, Some(0), "not heard from it for 20 s: handshake timed out");
}

#[test]
fn without_a_majority_there_is_no_quorum_whoever_claims_to_lead() {
    let mut one = without_leader(1);
    cut(&mut one, 2, "timed out");
    cut(&mut one, 3, "cannot resolve n3:7400: no such name");
    let alone = survey(vec![Some(one), None, None]);
    check(&alone, Health::NoQuorum, Some(0), "1 of 3 reachable, need 2");
    let lines = nobody_leads(&alone);
    let first = "nobody can win: n2 does not answer, n3 does not answer; the rest is no majority";
    assert_eq!(lines[0], first);
    assert!(lines[1].ends_with("it does not reach n3: cannot resolve n3:7400: no such name"));
    let third = "R0401 n3: no answer in 2 s; n1 to it: cannot resolve n3:7400: no such name";
    assert_eq!(remarked(&alone), ["R0401 n2: no answer in 2 s", third]);
    let mut stale = well(1);
    for peer in &mut stale.peers {
        peer.heard_ms = Some(30_000);
    }
    let stale = survey(vec![Some(stale), None, None]);
    check(&stale, Health::NoQuorum, Some(0), "need 2: n1 claims to lead, and hears too few");
}

/// A node that was killed a moment ago is connected still, as others see it.
#[test]
fn a_connection_alone_makes_no_majority() {
    let alone = survey(vec![Some(without_leader(1)), None, None]);
    let reason = "1 of 3 reachable, need 2; other nodes have a connection still to n2 and n3";
    check(&alone, Health::NoQuorum, Some(0), reason);
}

#[test]
fn refusals_say_why_nobody_leads() {
    let mut two = without_leader(2);
    two.role = RoleKind::PreCandidate;
    two.refusals =
        vec![(id(1), consensus::Verdict::LogBehind), (id(3), consensus::Verdict::Granted)];
    let leaderless = survey(vec![Some(without_leader(1)), Some(two), Some(without_leader(3))]);
    check(&leaderless, Health::NoLeader, Some(0), "nobody leads");
    let lines = nobody_leads(&leaderless);
    assert_eq!(lines[0], "n1 does not lead: it has not campaigned yet");
    assert_eq!(lines[1], "n2 does not lead: n1 has a more recent log");
}

#[test]
fn refusals_name_whom_a_vote_went_to_and_whom_a_voter_hears() {
    let mut two = without_leader(2);
    two.role = RoleKind::Candidate;
    two.refusals =
        vec![(id(1), consensus::Verdict::LeaderAlive), (id(3), consensus::Verdict::AlreadyVoted)];
    let hears = NodeStatus { leader: Some(id(3)), ..without_leader(1) };
    let all = survey(vec![Some(hears), Some(two), Some(without_leader(3))]);
    let line = "n2 does not lead: n1 hears from n3, and lets nobody disturb it; \
                n3 has voted for n1 in this term";
    assert_eq!(nobody_leads(&all)[1], line);
}

#[test]
fn a_wiped_or_failed_node_degrades() {
    let wiped = NodeStatus {
        generation: None,
        leader: None,
        configuration: Configuration::unknown(),
        ..well(3)
    };
    let with_wiped = survey(vec![Some(well(1)), Some(well(2)), Some(wiped)]);
    check(&with_wiped, Health::Degraded, Some(0), "n3: has no history, takes no part");
    let failed = NodeStatus { failure: "the disk failed".into(), ..well(3) };
    let with_failed = survey(vec![Some(well(1)), Some(well(2)), Some(failed)]);
    check(&with_failed, Health::Degraded, Some(0), "n3: does not serve: the disk failed");
}

#[test]
fn a_joint_configuration_tolerates_what_both_halves_do() {
    let joint = Voters::Joint { outgoing: majority(&[1]), incoming: majority(&[1, 2, 3]) };
    let leader = NodeStatus { configuration: three(joint.clone()), ..well(1) };
    let all = survey(vec![Some(leader), Some(well(2)), Some(well(3))]);
    check(&all, Health::Joint, Some(0), "a change of members");
    let alive: BTreeSet<NodeId> = [id(2), id(3)].into();
    assert_eq!(tolerance(&joint, &alive), 0);
    assert_eq!(
        shortage(&joint, &alive).as_deref(),
        Some("0 of 1 outgoing voters reachable, need 1")
    );
}

#[test]
fn what_ends_or_fills_up_is_remarked_and_still_healthy() {
    let tight =
        NodeStatus { certificate_not_after: NOW + 9 * 86_400, disk_free_bytes: 39, ..well(2) };
    let all = survey(vec![Some(well(1)), Some(tight), Some(well(3))]);
    let verdict = judge(&all, NOW);
    assert_eq!(verdict.health, Health::Healthy);
    let found: Vec<String> = verdict.remarks.iter().map(|(_, code)| code.to_string()).collect();
    assert_eq!(found, ["R0403", "R0404"]);
}

#[test]
fn a_disk_is_judged_by_what_the_node_needs_and_not_by_a_share() {
    let disk = |free, needed, no_room: &str| {
        let (disk_free_bytes, disk_needed_bytes, no_room) = (free, needed, no_room.to_owned());
        let tight = NodeStatus { disk_free_bytes, disk_needed_bytes, no_room, ..well(2) };
        let remarks = judge(&survey(vec![Some(well(1)), Some(tight), Some(well(3))]), NOW).remarks;
        let disks = [codes::DISK_FILLS, codes::NO_ROOM];
        remarks.into_iter().filter(|(_, code)| disks.contains(code)).collect::<Vec<_>>()
    };
    assert_eq!(disk(5, 2, ""), [], "95 % are used, and more is not needed");
    let low = disk(39, 20, "");
    assert_eq!(low[0].0, "n2: the disk fills up: 39 B free, 20 B needed in hand");
    assert_eq!(low[0].1, codes::DISK_FILLS);
    let short = disk(19, 20, "19 B are free at /d");
    assert_eq!(short[0].0, "n2: takes no new data: 19 B are free at /d");
    assert_eq!((short[0].1, short.len()), (codes::NO_ROOM, 1), "one remark a disk");
}

#[test]
fn a_second_address_of_one_node_makes_no_second_row() {
    let mut rows = survey((1..=3).map(|number| Some(well(number))).collect()).rows;
    let silence = Silence { why: "refused".into(), common: Common::Nothing };
    let answer = Err(silence);
    rows.push(Row { name: "alias".into(), id: Some(id(2)), address: "x:1".into(), answer });
    let all = Survey::of(rows);
    assert_eq!(all.rows.len(), 3);
    assert!(all.rows[1].answer.is_ok());
}

/// Clients that are cut from the leader: its followers know better.
#[test]
fn a_leader_that_only_its_followers_reach_leads() {
    let all = survey(vec![None, Some(well(2)), Some(well(3))]);
    let reason = "n1 leads in term 4 (n2 and n3 hear it, 50 ms ago), but this client cannot reach \
                  n1: no answer in 2 s";
    check(&all, Health::Degraded, Some(1), reason);
    assert!(remarked(&all)[0].starts_with("R0412 n1: leads in term 4"));
    assert_eq!(all.told().map(|told| (told.leader, told.term)), Some((id(1), 4)));
    assert_eq!(nobody_leads(&all), Vec::<String>::new());
    let (why, _) = no_leader_answers(&all);
    assert_eq!(why, "n1 leads, as n2 and n3 say, but this client cannot reach n1");
    // One follower is enough: a leader that loses its majority steps down.
    let one = survey(vec![None, Some(well(2)), None]);
    check(&one, Health::Degraded, Some(0), "n1 leads in term 4 (n2 hears it, 50 ms ago)");
    assert!(no_leader_answers(&one).0.starts_with("n1 leads, as n2 says, but"));
}

/// The node that answers is cut from the leader, and one that does not answer has told it so.
#[test]
fn whom_a_silent_voter_stands_by_is_said_to_lead() {
    let mut one = without_leader(1);
    one.role = RoleKind::PreCandidate;
    one.refusals = vec![(id(3), consensus::Verdict::LeaderAlive)];
    let alone = survey(vec![Some(one.clone()), None, None]);
    let reason = "1 of 3 reachable, need 2; somebody leads, for n3 would not elect n1 because of \
                  it, but neither this client nor n1 reaches the leader";
    check(&alone, Health::NoQuorum, Some(0), reason);
    let lines = nobody_leads(&alone);
    assert_eq!(lines, ["n1 does not lead: n3 hears from a leader, and lets nobody disturb it"]);
    assert!(no_leader_answers(&alone).0.starts_with("somebody leads, for n3 would not elect n1"));
    // Who answers here says itself what it hears.
    let both = survey(vec![Some(one), None, Some(without_leader(3))]);
    check(&both, Health::NoLeader, Some(0), "a majority answers, and nobody leads");
    assert_eq!(no_leader_answers(&both).0, "nobody leads");
}

/// With its election a leader counts everybody as heard, also a member that was killed before.
#[test]
fn who_was_not_heard_since_the_election_is_not_said_to_serve() {
    let mut leader = well(1);
    leader.leading_ms = Some(300);
    leader.peers[1].heard_ms = Some(300);
    let dead = survey(vec![Some(leader.clone()), Some(well(2)), None]);
    check(&dead, Health::Degraded, Some(0), "n3: no answer in 2 s; the leader has not heard");
    assert!(remarked(&dead)[0].starts_with("R0401 n3: "), "{:?}", remarked(&dead));
    leader.peers[1].heard_ms = Some(200);
    let alive = survey(vec![Some(leader), Some(well(2)), None]);
    check(&alive, Health::Degraded, Some(1), "n3: serves (the leader heard it 200 ms ago)");
}

#[test]
fn who_answers_here_is_not_to_be_brought_back() {
    let mut leader = well(1);
    leader.peers[1].heard_ms = Some(20_000);
    cut(&mut leader, 3, "timed out");
    let thin = |survey: &Survey| remarked(survey).last().cloned().unwrap_or_default();
    let answers = thin(&survey(vec![Some(leader.clone()), Some(well(2)), Some(well(3))]));
    assert!(answers.ends_with("ends service: mend what the other lines name"), "{answers}");
    let gone = thin(&survey(vec![Some(leader), Some(well(2)), None]));
    assert!(gone.contains("bring n3 back"), "{gone}");
}

#[test]
fn a_leader_that_was_heard_too_long_ago_is_not_said_to_lead() {
    let old = |number| Some(NodeStatus { heard_ms: Some(1_001), ..well(number) });
    let all = survey(vec![None, old(2), old(3)]);
    assert_eq!(all.told(), None);
    check(&all, Health::NoLeader, Some(0), "a majority answers, and nobody leads");
    // Unless heartbeats come as slowly as that.
    let slow =
        |number| Some(NodeStatus { heard_ms: Some(3_000), heartbeat_ms: 1_000, ..well(number) });
    assert!(survey(vec![None, slow(2), slow(3)]).told().is_some());
}

/// A port that is closed says so at once: contact of before proves nothing.
#[test]
fn contact_of_before_a_node_was_asked_proves_nothing() {
    let took = std::time::Duration::from_millis(40);
    let follower = Survey { took, ..survey(vec![Some(well(1)), Some(well(2)), None]) };
    check(&follower, Health::Degraded, Some(0), "n3: no answer in 2 s");
    let leader = Survey { took, ..survey(vec![None, Some(well(2)), Some(well(3))]) };
    check(&leader, Health::NoLeader, Some(0), "nobody leads");
    let took = std::time::Duration::from_millis(300);
    let follower = Survey { took, ..follower };
    check(&follower, Health::Degraded, Some(1), "n3: serves (the leader heard it 50 ms ago)");
}

#[test]
fn a_leader_that_was_succeeded_is_not_believed() {
    let newer = |number| Some(NodeStatus { term: 5, leader: Some(id(3)), ..well(number) });
    // Its successor is not reached from here, but followed by the one that is.
    let all = survey(vec![Some(well(1)), newer(2), None]);
    assert!(all.leader().is_none());
    check(&all, Health::Degraded, Some(1), "n3 leads in term 5 (n2 hears it, 50 ms ago)");
    let claims = "R0415 n1: claims to lead in term 4, but n3 leads in term 5";
    assert!(remarked(&all)[0].starts_with(claims), "{:?}", remarked(&all));
    // The same where it answers.
    let mut successor = NodeStatus { node: id(3), name: "n3".into(), boot: 1_003, ..well(1) };
    successor.term = 5;
    successor.leader = Some(id(3));
    successor.peers = vec![well(1).peers[0].clone()];
    let all = survey(vec![Some(well(1)), newer(2), Some(successor)]);
    assert_eq!(all.leader().map(|leader| leader.node), Some(id(3)));
    check(&all, Health::Degraded, Some(0), "n1: claims to lead in term 4, but n3 leads in term 5");
}

#[test]
fn one_and_two_voters_are_healthy_and_told_what_one_more_failure_does() {
    let line = |voters: u64| {
        let all = cluster_of(voters);
        let verdict = judge(&all, NOW);
        assert_eq!(verdict.health, Health::Healthy, "{verdict:?}");
        remarked(&all)
    };
    let one = "R0419 one voter tolerates no failure: add two more: raftctl member add n2=HOST:PORT";
    assert_eq!(line(1), [one]);
    let two = "R0419 two voters tolerate no failure: add a third: raftctl member add n3=HOST:PORT";
    assert_eq!(line(2), [two]);
    assert_eq!(line(3), Vec::<String>::new());
    assert!(line(4)[0].starts_with("R0419 4 voters tolerate no more failures than 3"));
    assert_eq!(line(5), Vec::<String>::new());
    check(&cluster_of(2), Health::Healthy, Some(0), "");
    check(&cluster_of(4), Health::Healthy, Some(1), "");
    check(&cluster_of(5), Health::Healthy, Some(2), "");
}

#[test]
fn where_the_next_failure_ends_service_the_operator_is_told() {
    let mut leader = well(1);
    leader.peers[1].heard_ms = Some(9_000);
    let one_down = survey(vec![Some(leader), Some(well(2)), None]);
    check(&one_down, Health::Degraded, Some(0), "n3: no answer in 2 s");
    let said = remarked(&one_down);
    let help = "bring n3 back; if it is gone for good: raftctl member replace n3 n4=HOST:PORT";
    assert_eq!(said[1], format!("R0419 one more failure ends service: {help}"));
}

#[test]
fn nodes_that_are_no_members_do_not_make_a_cluster_degraded() {
    let mut rows = survey((1..=3).map(|number| Some(well(number))).collect()).rows;
    let removed = NodeStatus { node: id(4), boot: 4, ..without_leader(3) };
    let answer = Ok(Box::new(removed));
    rows.push(Row { name: "n4".into(), id: Some(id(4)), address: "n4:7400".into(), answer });
    let answer = Err(Silence { why: "refused".into(), common: Common::Nothing });
    rows.push(Row { name: "n5".into(), id: None, address: "n5:7400".into(), answer });
    let all = Survey::of(rows);
    check(&all, Health::Healthy, Some(1), "");
    let said = remarked(&all);
    assert_eq!(said[0], "R0418 n4: is no member (any more), and raftd still runs there");
    assert_eq!(
        said[1],
        "R0418 n5: does not answer, and no member has this name or address: refused"
    );
}

#[test]
fn nodes_that_have_moved_are_named_with_both_addresses() {
    let lost = |number: u64| {
        let mut status = well(number);
        (status.role, status.leader) = (RoleKind::Candidate, None);
        for peer in &mut status.peers {
            (peer.connected, peer.trouble) = (false, format!("no answer from n{}:7400", peer.id));
        }
        status
    };
    let row = |number: u64| Row {
        name: format!("n{number}"),
        id: Some(id(number)),
        address: format!("10.1.0.{number}:7400"),
        answer: Ok(Box::new(lost(number))),
    };
    let verdict = judge(&Survey::of((1..=3).map(row).collect()), NOW);
    assert_eq!(verdict.health, Health::NoLeader);
    assert!(verdict.reason.starts_with("3 nodes answer elsewhere"), "{}", verdict.reason);
    let wanted = "n2 answers at 10.1.0.2:7400, and the configuration has it at n2:7400; n1 does \
                  not reach it: no answer from n2:7400";
    let is_told = verdict.remarks.contains(&(wanted.to_owned(), codes::MISPLACED));
    assert!(is_told, "{:?}", verdict.remarks);

    // One that is asked by another name, and that the others reach, is where it should be.
    let reached = |number: u64| Row { answer: Ok(Box::new(well(number))), ..row(number) };
    let verdict = judge(&Survey::of((1..=3).map(reached).collect()), NOW);
    assert_eq!((verdict.health, verdict.remarks.len()), (Health::Healthy, 0));
}

#[test]
fn a_node_without_room_and_an_expired_certificate_make_a_cluster_degraded() {
    let with = |change: fn(&mut NodeStatus)| {
        let mut second = well(2);
        change(&mut second);
        survey(vec![Some(well(1)), Some(second), Some(well(3))])
    };
    let full = with(|node| node.no_room = "8.0 M free, 20 M needed".into());
    check(&full, Health::Degraded, Some(0), "n2: takes no new data: 8.0 M free, 20 M needed");
    let ended = with(|node| node.certificate_not_after = NOW - 2 * 86_400);
    let reason = "n2: the certificate ended 2 days ago: raftctl cert renew --all";
    check(&ended, Health::Degraded, Some(0), reason);
    let ending = with(|node| node.certificate_not_after = NOW + 2 * 86_400);
    check(&ending, Health::Healthy, Some(1), "");
    assert!(remarked(&ending)[0].starts_with("R0403 n2: the certificate ends in 2 days"));
}

#[test]
fn alarms_are_told_with_what_follows_from_them() {
    let led = |change: fn(&mut NodeStatus)| {
        let mut leader = well(1);
        change(&mut leader);
        survey(vec![Some(leader), Some(well(2)), Some(well(3))])
    };
    let stopped = led(|leader| {
        (leader.alarms, leader.shortage) = (vec![id(2), id(3)], vec![id(2), id(3)]);
    });
    let reason = "new data is refused: n2 and n3 have no room on disk, and the other voters are no \
                  majority";
    check(&stopped, Health::Degraded, Some(1), reason);
    assert!(remarked(&stopped)[0].starts_with("R0490 "));
    let silent = led(|leader| leader.alarms = vec![id(3)]);
    check(&silent, Health::Degraded, Some(1), "n3: no room on disk when last heard");
    let mut full = well(3);
    full.no_room = "8.0 M free, 20 M needed".into();
    let mut leader = well(1);
    leader.alarms = vec![id(3)];
    let told = remarked(&survey(vec![Some(leader), Some(well(2)), Some(full)]));
    assert_eq!(told.iter().filter(|line| line.contains("n3: ")).count(), 1, "{told:?}");
}

/// Changes what node 3 says of its data directory.
fn third(change: impl Fn(&mut client::NodeStatus)) -> Survey {
    let mut status = well(3);
    status.incarnation = consensus::Incarnation::new(99);
    change(&mut status);
    survey(vec![Some(well(1)), Some(well(2)), Some(status)])
}

#[test]
fn a_member_with_another_data_directory_is_named_at_once_and_does_not_count() {
    let former = |why| client::FormerReport { incarnation: consensus::Incarnation::new(3), why };
    let wiped = third(|status| status.generation = None);
    check(&wiped, Health::Degraded, Some(0), "n3: its data directory was wiped or replaced");
    assert!(remarked(&wiped)[0].starts_with("R0433 "), "{:?}", remarked(&wiped));
    let copied = third(|status| status.former = Some(former(1)));
    check(&copied, Health::Degraded, Some(0), "n3: its data directory is a copy");
    assert!(remarked(&copied)[0].starts_with("R0432 "), "{:?}", remarked(&copied));
    let lost = third(|status| status.former = Some(former(2)));
    check(&lost, Health::Degraded, Some(0), "n3: its log has lost its end");
    assert!(remarked(&lost)[0].contains("raftctl member heal n3"), "{:?}", remarked(&lost));
}

#[test]
fn a_member_that_comes_back_is_named_until_it_votes() {
    let returns = |marked: bool| {
        let learner = three(Voters::Stable(majority(&[1, 2, 3])));
        let voters = Voters::Stable(majority(&[1, 2]));
        let learner = Configuration::new(voters, [id(3)].into(), learner.members().clone());
        let learner = learner.expect("it is valid").with_returning(marked.then_some(id(3)));
        let with = |number| client::NodeStatus { configuration: learner.clone(), ..well(number) };
        judge(&survey((1..=3).map(|number| Some(with(number))).collect()), NOW)
    };
    let verdict = returns(true);
    assert_eq!((verdict.health, verdict.tolerates), (Health::Degraded, Some(0)));
    assert!(verdict.reason.starts_with("n3: it had forgotten what it promised"), "{verdict:?}");
    assert_eq!(verdict.remarks.len(), 1, "it votes again by itself: {verdict:?}");
    assert_eq!(returns(false).health, Health::Healthy, "an operator wants it to learn");
}

#[test]
fn a_forgetful_member_that_only_the_leader_reaches_is_named_too() {
    let mut leader = well(1);
    leader.peers[1].incarnation = Some(consensus::Incarnation::new(99));
    let all = survey(vec![Some(leader), Some(well(2)), None]);
    check(&all, Health::Degraded, Some(0), "n3: the leader n1 meets it with data directory");
}

#[test]
fn copies_do_not_make_a_quorum_and_are_told_the_word_that_is_needed() {
    let copy = |number| {
        let mut status = without_leader(number);
        let incarnation =
            std::mem::replace(&mut status.incarnation, consensus::Incarnation::new(99));
        status.former = Some(client::FormerReport { incarnation, why: 1 });
        Some(status)
    };
    let moved = survey((1..=3).map(copy).collect());
    let reason = "3 of 3 answer, and none of them votes, need 2";
    check(&moved, Health::NoQuorum, Some(0), reason);
    assert!(remarked(&moved).iter().all(|line| line.contains("raftctl adopt DATA_DIR")));
}

#[test]
fn two_processes_of_one_member_are_named_when_it_is_no_restart() {
    let doubled = |ms| {
        let mut leader = well(1);
        leader.peers[1].doubled_ms = Some(ms);
        survey(vec![Some(leader), Some(well(2)), Some(well(3))])
    };
    check(&doubled(4_999), Health::Healthy, Some(1), "");
    check(
        &doubled(5_000),
        Health::Degraded,
        Some(1),
        "n3: two processes have been connected to n1",
    );
}

/// Whoever watches the exit code by a page waited in vain for one that was never there.
#[test]
fn a_page_says_the_exit_code_that_its_remark_makes() {
    for page in codes::pages().filter(|page| page.code.to_string().starts_with("R04")) {
        let is_grave = GRAVE.contains(&page.code);
        assert!(is_grave || page.exit != Exit::Degraded, "{}: nothing is degraded", page.code);
        assert!(!is_grave || page.exit != Exit::Done, "{}: it is degraded", page.code);
    }
}
