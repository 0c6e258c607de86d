//! Where no node answers, or nobody leads: what is known then, and what is not.

use client::Common;
use consensus::{Configuration, RoleKind};

use super::*;
use crate::cluster::testing::{check, id, nobody_leads, survey, well, without_leader};
use crate::cluster::{Row, Silence};

/// Where nothing comes back, the way from here may be cut; a machine that says that nobody listens
/// tells of its node.
#[test]
fn silence_of_all_is_no_lack_of_a_quorum_but_refusals_of_a_majority_are() {
    let refused_by = |count: usize| {
        let mut silent = survey(vec![None, None, None]);
        for row in &mut silent.rows[..count] {
            let why = "connection refused at n1:7400 (UDP)".into();
            row.answer = Err(Silence { why, common: Common::Nothing });
        }
        silent
    };
    for (count, health) in
        [(0, Health::Unknown), (1, Health::Unknown), (2, Health::NoQuorum), (3, Health::NoQuorum)]
    {
        check(&refused_by(count), health, None, "0 of 3 nodes reachable, need 2");
    }
}

/// One that `-e` names may be dead, another cluster's, or one of many.
#[test]
fn of_nodes_that_were_named_by_hand_and_do_not_answer_nothing_is_known() {
    let by_hand = |count: usize| {
        let mut silent = survey(vec![None; count]);
        silent.rows.iter_mut().for_each(|row| row.name.clone_from(&row.address));
        silent
    };
    let one = "the node named here does not answer: others may serve";
    check(&by_hand(1), Health::Unknown, None, one);
    check(&by_hand(2), Health::Unknown, None, "none of the 2 nodes named here answers");
}

/// Votes come when the election is over, again and again.
#[test]
fn members_that_are_too_far_from_each_other_for_their_timeouts_are_named() {
    let far = |number: u64, us: u64| {
        let mut status = without_leader(number);
        status.election_timeout_ms = 300;
        status.peers.iter_mut().for_each(|peer| peer.rtt_us = Some(us + peer.id.get()));
        Some(status)
    };
    let lines = nobody_leads(&survey((1..=3).map(|number| far(number, 400_000)).collect()));
    let why = "a round trip to n3 takes 400 ms, and elections begin after 300 ms \
               (raft.election_timeout_ms must be several round trips, on all nodes)";
    assert!(lines[0].starts_with("n1 does not lead: ") && lines[0].ends_with(why), "{lines:?}");
    let lines = nobody_leads(&survey((1..=3).map(|number| far(number, 200_000)).collect()));
    assert!(!lines.iter().any(|line| line.contains("round trip")), "{lines:?}");
}

/// A name that leads to the wrong machine: nobody must take one node for two, or for all.
#[test]
fn a_member_at_whose_address_another_answers_has_not_answered() {
    let mut rows = survey((1..=3).map(|number| Some(well(number))).collect()).rows;
    let place = rows[2].address.clone();
    rows[2] = Row { address: place.clone(), ..rows[1].clone() };
    let all = Survey::of(rows);
    assert_eq!((all.rows.len(), all.rows[2].id), (3, Some(id(3))));
    let silence = all.rows[2].answer.as_ref().expect_err("it is not heard");
    assert_eq!(silence.why, format!("n2 answers at its address, {place}"));
    let reason = "n3: serves (the leader heard it 50 ms ago), but this client cannot reach it: n2 \
                  answers at its address, n3:7400";
    check(&all, Health::Degraded, Some(1), reason);
    let all = Survey::of(all.rows[..2].to_vec());
    assert_eq!(
        all.rows[2].answer.as_ref().expect_err("it is not asked").why,
        format!("nobody has asked {place} yet")
    );
}

#[test]
fn nodes_without_a_history_are_uninitialised() {
    let fresh = |number| NodeStatus {
        generation: None,
        leader: None,
        role: RoleKind::Follower,
        configuration: Configuration::unknown(),
        ..well(number)
    };
    let all = survey((1..=3).map(|number| Some(fresh(number))).collect());
    check(&all, Health::Uninitialised, None, "3 of 3 nodes answer, and none has a history");
    // The two that do not answer may serve everybody else: nothing is to be restored.
    let one = survey(vec![None, None, Some(fresh(3))]);
    let said = "1 of 3 nodes answer, and none has a history; the others do not answer here";
    check(&one, Health::Unknown, None, said);
    let two = survey(vec![None, Some(fresh(2)), Some(fresh(3))]);
    check(&two, Health::Uninitialised, None, "2 of 3 nodes answer, and none has a history");
}
