//! Changes of members: nodes that a change brings in, or moves, are met before anything is written.

use crate::kit::{Node, appended, at, configuration, id, reconfigure, request};
use consensus::{
    Configuration, EntryId, Incarnation, LogIndex, Majority, Member, NodeId, Payload, Rejection,
    RequestId, Voters,
};
use replica::{Answer, ChangeRefusal, Input, Limits, Meeting, NotMet, Reply};

/// Where the configuration stands with which every test begins.
const FIRST: u64 = 1;

fn described(number: u64, address: &str) -> Member {
    let incarnation = Incarnation::new(100 + number);
    Member { incarnation, name: String::new(), address: address.to_owned() }
}

/// Nodes 1 to 3 as they are, and these others, or otherwise described ones.
fn with(changed: &[(u64, Member)]) -> Configuration {
    let present = configuration(&[1, 2, 3]);
    let mut members = present.members().clone();
    members.extend(changed.iter().map(|(number, member)| (id(*number), member.clone())));
    let voters = Majority::new([1, 2, 3].map(id));
    let learners = members.keys().copied().filter(|id| !voters.contains(*id)).collect();
    Configuration::new(Voters::Stable(voters), learners, members).unwrap()
}

fn four() -> Configuration {
    with(&[(4, described(4, "d:1"))])
}

fn change(number: u64, target: Configuration) -> Input {
    reconfigure(number, target, FIRST)
}

fn change_from(number: u64, target: Configuration, expected: u64, removed: &[(u64, u64)]) -> Input {
    let removed = removed.iter().map(|(node, index)| (id(*node), LogIndex::new(*index))).collect();
    let expected_index = LogIndex::new(expected);
    Input::Reconfigure { request: request(number), target, expected_index, removed }
}

fn met(number: u64, answers: &[(u64, Answer)]) -> Input {
    let answers = answers.iter().map(|(node, answer)| (id(*node), answer.clone())).collect();
    Input::Met { request: request(number), answers }
}

fn here(number: u64) -> (u64, Answer) {
    (number, Ok(Incarnation::new(100 + number)))
}

fn refused(number: u64, why: ChangeRefusal) -> [Reply; 1] {
    [Reply::ChangeRefused { request: request(number), why }]
}

/// A leader of three, with all that it has written applied.
fn leader() -> Node {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.hear(3, 2, appended(2));
    node
}

fn asked(node: &mut Node) -> Vec<(RequestId, Vec<NodeId>)> {
    let meetings = std::mem::take(&mut node.meetings).into_iter();
    meetings
        .map(|Meeting { request, newcomers }| (request, newcomers.into_keys().collect()))
        .collect()
}

/// The last entry of the log, and the configuration that is in force.
fn trace(node: &Node) -> (EntryId, Configuration) {
    let status = node.replica.status();
    (status.last, status.configuration.clone())
}

#[test]
fn nothing_is_written_before_a_newcomer_has_said_who_it_is() {
    let mut node = leader();
    let before = trace(&node);
    node.turn([change(1, four())]);
    assert_eq!(asked(&mut node), [(request(1), vec![id(4)])]);
    assert_eq!((trace(&node), node.take_replies()), (before, vec![]));
    node.turn([met(1, &[here(4)])]);
    assert_eq!(node.replica.status().configuration, &four());
    assert_eq!(node.log.last().unwrap().payload, Payload::Configuration(four()));
    node.hear(2, 2, appended(3));
    node.finish();
    assert_eq!(node.take_replies(), [Reply::Done { request: request(1) }]);
    assert_eq!(asked(&mut node), [], "once");
}

#[test]
fn who_moves_is_met_too_and_who_stays_or_leaves_is_not() {
    let moved = |number, member| with(&[(number, member)]);
    for (target, newcomers) in [
        (moved(2, described(2, "b:2")), vec![id(2)]),
        (moved(1, described(1, "a:2")), vec![id(1)]),
        (moved(2, Member { incarnation: Incarnation::new(7), ..described(2, "") }), vec![id(2)]),
        (with(&[(4, described(4, "")), (5, described(5, ""))]), vec![id(4), id(5)]),
    ] {
        let mut node = leader();
        node.turn([change(1, target)]);
        assert_eq!(asked(&mut node), [(request(1), newcomers)]);
    }
    let named = Member { name: "other".into(), ..described(2, "") };
    for target in [moved(2, named), configuration(&[1, 2])] {
        let mut node = leader();
        node.turn([change(1, target)]);
        assert_eq!(asked(&mut node), []);
        assert_eq!(node.replica.status().configuration_index, LogIndex::new(3));
    }
}

#[test]
fn a_newcomer_that_does_not_answer_or_is_another_is_not_met_and_nothing_is_written() {
    let five = described(5, "e:1");
    let target = with(&[(4, described(4, "d:1")), (5, five.clone())]);
    let silent = NotMet::Silent("refused".into());
    let other = NotMet::Other(Incarnation::new(9));
    for (answer, why) in [
        (Some(Err("refused".into())), silent),
        (Some(Ok(Incarnation::new(9))), other),
        (None, NotMet::Silent("no answer".into())),
    ] {
        let mut node = leader();
        let before = trace(&node);
        node.turn([change(1, target.clone())]);
        let answers: Vec<_> = [here(4)].into_iter().chain(answer.map(|a| (5, a))).collect();
        node.turn([met(1, &answers)]);
        let why = ChangeRefusal::NotMet { node: id(5), member: five.clone(), why };
        assert_eq!(node.take_replies(), refused(1, why));
        assert_eq!(trace(&node), before);
        asked(&mut node);
        node.turn([change(2, four())]);
        assert_eq!(asked(&mut node), [(request(2), vec![id(4)])], "another one may try");
    }
}

#[test]
fn one_change_at_a_time_has_its_newcomers_met() {
    let mut node = leader();
    let five = with(&[(5, described(5, "e:1"))]);
    node.turn([change(1, four()), change(2, five)]);
    assert_eq!(asked(&mut node), [(request(1), vec![id(4)])]);
    assert_eq!(node.take_replies(), refused(2, ChangeRefusal::Meeting));
    node.turn([met(2, &[here(5)])]);
    assert_eq!(node.replica.status().configuration_index, LogIndex::new(FIRST));
    node.turn([met(1, &[here(4)]), met(1, &[here(4)])]);
    assert_eq!(node.replica.status().configuration, &four());
    assert_eq!(node.take_replies(), [], "its end is awaited");
}

#[test]
fn a_change_goes_on_only_from_the_configuration_that_its_operator_has_seen() {
    let stale = |found, expected| {
        let (found, expected) = (LogIndex::new(found), LogIndex::new(expected));
        ChangeRefusal::Stale { found, expected }
    };
    let mut node = leader();
    let before = trace(&node);
    for target in [four(), configuration(&[1, 2])] {
        node.turn([change_from(1, target, 9, &[])]);
        assert_eq!(node.take_replies(), refused(1, stale(1, 9)));
    }
    assert_eq!((trace(&node), asked(&mut node)), (before, vec![]));
    // A change without newcomers is made while those of another are asked.
    node.turn([change(1, four())]);
    let learner = {
        let members = configuration(&[1, 2, 3]).members().clone();
        let voters = Voters::Stable(Majority::new([1, 2, 3].map(id)));
        let named = |(id, member): (NodeId, Member)| (id, Member { name: "new".into(), ..member });
        Configuration::new(voters, [].into(), members.into_iter().map(named).collect()).unwrap()
    };
    node.turn([change(2, learner.clone())]);
    node.turn([met(1, &[here(4)])]);
    assert_eq!(node.take_replies(), refused(1, stale(3, 1)));
    assert_eq!(node.replica.status().configuration, &learner);
}

#[test]
fn the_id_of_a_removed_member_is_never_used_again() {
    let mut node = leader();
    let before = trace(&node);
    node.turn([change_from(1, four(), FIRST, &[(4, 7)])]);
    let why = ChangeRefusal::IdUsed { node: id(4), index: LogIndex::new(7) };
    assert_eq!(node.take_replies(), refused(1, why));
    assert_eq!((trace(&node), asked(&mut node)), (before, vec![]));
    // A member that moves is no newcomer under its id, whatever the state says of an earlier one.
    let moved = with(&[(2, described(2, "b:2"))]);
    node.turn([change_from(2, moved, FIRST, &[(2, 7)])]);
    assert_eq!(asked(&mut node), [(request(2), vec![id(2)])]);
}

/// The state does not tell of a removal that is committed and not applied yet.
#[test]
fn no_node_is_added_before_the_last_removal_is_applied() {
    let mut node = leader();
    let two = configuration(&[1, 2]);
    node.turn([change(1, two)]);
    for last in [3, 4] {
        node.persist();
        node.hear(2, 2, appended(last));
        node.hear(3, 2, appended(last));
    }
    assert_eq!(node.take_replies(), [Reply::Done { request: request(1) }], "it is committed");
    assert!(node.replica.status().applied < LogIndex::new(4));
    node.turn([change_from(2, configuration(&[1, 2, 3]), 4, &[])]);
    assert_eq!(node.take_replies(), refused(2, ChangeRefusal::UnderWay));
    node.finish();
    node.turn([change_from(3, configuration(&[1, 2, 3]), 4, &[(3, 4)])]);
    let why = ChangeRefusal::IdUsed { node: id(3), index: LogIndex::new(4) };
    assert_eq!(node.take_replies(), refused(3, why));
}

#[test]
fn who_leads_no_more_begins_nothing_and_who_does_not_lead_asks_nobody() {
    let mut node = leader();
    node.turn([change(1, four())]);
    asked(&mut node);
    node.follow(3, at(2, 2), vec![], 2);
    node.take_replies();
    let not_leader = |number| {
        let reason = Rejection::NotLeader { leader: Some(id(3)) };
        [Reply::Refused { request: request(number), reason }]
    };
    let before = trace(&node);
    for answers in [vec![here(4)], vec![]] {
        node.turn([met(1, &answers)]);
        node.turn([change_from(2, four(), 99, &[(4, 7)])]);
        let replies = node.take_replies();
        assert_eq!(replies.last(), not_leader(2).last());
        assert!(replies.len() == 1 || replies[..1] == not_leader(1), "{replies:?}");
    }
    assert_eq!((trace(&node), asked(&mut node)), (before, vec![]));
}

/// While the newcomers were asked, the log was cut and another leader's configuration stands at the
/// same place: it is not the one that the change was judged by.
#[test]
fn another_configuration_at_the_same_place_is_another() {
    let mut node = leader();
    let seen = with(&[(2, described(2, "b:2"))]);
    node.turn([change(1, seen), met(1, &[here(2)])]);
    node.turn([change_from(9, with(&[(3, described(3, "c:2"))]), 3, &[])]);
    assert_eq!(asked(&mut node).len(), 2);
    // Node 3 leads and puts another configuration at 3; then node 1 leads again.
    let other = with(&[(2, described(2, "b:3"))]);
    let payload = Payload::Configuration(other.clone());
    let entry = consensus::Entry::new(at(3, 3), consensus::ClusterTime::ZERO, payload);
    node.follow(3, at(2, 2), vec![entry], 2);
    node.finish();
    node.campaign();
    assert_eq!(node.replica.status().configuration, &other);
    node.take_replies();
    node.turn([met(9, &[here(2), here(3)])]);
    assert_eq!(node.take_replies(), refused(9, ChangeRefusal::UnderWay));
    assert_eq!(node.replica.status().configuration, &other);
}

#[test]
fn a_node_that_stops_tells_the_operator_that_nothing_was_begun() {
    let mut node = leader();
    node.turn([change(1, four())]);
    node.turn([Input::Abandon]);
    let reason = Rejection::NotLeader { leader: None };
    assert_eq!(node.take_replies(), [Reply::Refused { request: request(1), reason }]);
    node.turn([met(1, &[here(4)])]);
    assert_eq!(node.take_replies(), []);
    assert_eq!(node.replica.status().configuration_index, LogIndex::new(FIRST));
}

/// Two operators ask for what is in force, in one turn of the node.
#[test]
fn who_asks_for_the_members_that_are_there_is_told_so_each_s4_1() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    let present = node.replica.status().configuration.clone();
    node.turn([change(1, present.clone()), change(2, present)]);
    let done = |number| Reply::Done { request: request(number) };
    assert_eq!(node.take_replies(), [done(1), done(2)]);
}
