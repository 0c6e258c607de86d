//! Where no node answers: what is known then, and what is not.

use client::Common;

use super::*;
use crate::cluster::Silence;
use crate::cluster::testing::{check, survey};

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
