//! Members whose data directory has forgotten: a leader takes them in again by three changes.

use std::collections::BTreeMap;

use crate::kit::{MS, Node, appended, configuration, id, reconfigure};
use consensus::{
    Body, Configuration, Incarnation, Input as Raw, LogIndex, Majority, Member, Message, NodeId,
    RequestId, Term, Voters,
};
use replica::{Answer, Input, Limits, Meeting};

/// The directory that node 3 has now.
const NEW: Incarnation = Incarnation::new(999);

fn seen(third: Incarnation) -> Input {
    let seen = BTreeMap::from([(id(2), Incarnation::new(102)), (id(3), third)]);
    Input::Directories { seen }
}

/// Node 2 has all up to here.
fn commits(node: &mut Node, index: u64) {
    node.finish();
    node.hear(2, 2, appended(index));
    node.finish();
}

/// A leader of three that has not heard from node 3 for seconds, and whose other follower writes.
fn leader() -> Node {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.now = node.now.after(4_000 * MS);
    node.propose([1]);
    commits(&mut node, 3);
    node.take_replies();
    node
}

/// It is elected, and node 3 has caught up with its new directory.
fn leads_and_sees(node: &mut Node) {
    node.campaign();
    let term = node.replica.status().term.get();
    node.finish();
    let last_index = last(node);
    node.hear(2, term, appended(last_index));
    node.finish();
    let message = Message { term: Term::new(term), body: appended(last_index) };
    node.turn([Input::Raft(Raw::Receive { from: id(3), incarnation: NEW, message })]);
    node.turn([seen(NEW)]);
}

fn last(node: &Node) -> u64 {
    node.replica.status().last.index.get()
}

#[test]
fn who_has_forgotten_is_demoted_recorded_anew_and_promoted_and_no_client_hears_of_it() {
    let mut node = leader();
    node.turn([seen(NEW)]);
    let configuration = node.replica.status().configuration.clone();
    assert!(configuration.voters().is_joint() && configuration.learners().contains(&id(3)));
    node.turn([seen(NEW)]);
    assert_eq!(last(&node), 4, "one change at a time");
    commits(&mut node, 4);
    commits(&mut node, 5);
    let configuration = node.replica.status().configuration.clone();
    assert!(!configuration.is_voter(id(3)) && configuration.recognises(id(3), id_of(103)));

    node.turn([seen(NEW)]);
    let [Meeting { request, .. }] = node.meetings.drain(..).collect::<Vec<_>>()[..] else {
        panic!("it is met at its address first")
    };
    let answers = BTreeMap::from([(id(3), Ok(NEW))]);
    node.turn([Input::Met { request, answers }]);
    commits(&mut node, 6);
    assert!(node.replica.status().configuration.recognises(id(3), NEW));
    node.turn([seen(NEW)]);
    assert_eq!(last(&node), 6, "it has not caught up");

    let message = Message { term: Term::new(2), body: appended(6) };
    node.turn([Input::Raft(Raw::Receive { from: id(3), incarnation: NEW, message })]);
    node.turn([seen(NEW)]);
    assert!(node.replica.status().configuration.is_voter(id(3)));
    assert_eq!(node.take_replies(), []);
}

#[test]
fn a_directory_that_still_answers_is_not_given_up_for_another_one() {
    let mut node = leader();
    node.hear(3, 2, appended(3));
    node.turn([seen(NEW)]);
    assert_eq!(last(&node), 3);
    node.turn([seen(id_of(103))]);
    assert_eq!(last(&node), 3, "it is the one that is recorded");
}

#[test]
fn another_leader_goes_on_where_the_first_one_stopped() {
    let mut node = leader();
    node.turn([seen(NEW)]);
    commits(&mut node, 4);
    commits(&mut node, 5);
    node.turn([seen(NEW)]);
    let Some(Meeting { request, .. }) = node.meetings.pop() else { panic!("it is met") };
    node.turn([Input::Met { request, answers: BTreeMap::from([(id(3), Ok(NEW))]) }]);
    commits(&mut node, 6);
    // Another term of office: nothing is left of the first one but the log.
    let body = Body::RequestVote { last: node.replica.status().last, transfer: true };
    let message = Message { term: Term::new(4), body };
    let incarnation = Incarnation::new(102);
    node.turn([Input::Raft(Raw::Receive { from: id(2), incarnation, message })]);
    node.finish();
    leads_and_sees(&mut node);
    assert!(node.replica.status().configuration.is_voter(id(3)));
    assert!(node.replica.status().configuration_index > LogIndex::new(6));
}

/// A restart of all members forgets everything that is not in the log.
#[test]
fn a_leader_that_was_restarted_midway_goes_on_and_a_plain_learner_stays_one() {
    let mut node = leader();
    node.turn([seen(NEW)]);
    commits(&mut node, 4);
    commits(&mut node, 5);
    let marked = node.replica.status().configuration.clone();
    let third = marked.member(id(3)).expect("a member").clone();
    assert!(marked.returning().contains(&id(3)) && !marked.is_voter(id(3)));
    for (returning, votes) in [(vec![id(3)], true), (Vec::new(), false)] {
        let mut members = marked.members().clone();
        members.insert(id(3), Member { incarnation: NEW, ..third.clone() });
        let learners = marked.learners().clone();
        let restored = Configuration::new(marked.voters().clone(), learners, members)
            .expect("it is valid")
            .with_returning(returning);
        let mut node = Node::restarted(restored, Limits::default());
        leads_and_sees(&mut node);
        assert_eq!(node.replica.status().configuration.is_voter(id(3)), votes);
    }
}

/// The one with the lower id was asked for again and again, and the other one never voted.
#[test]
fn who_has_caught_up_does_not_wait_for_another_one_that_does_not() {
    let all = configuration(&[1, 2, 3, 4]);
    let voters = Voters::Stable(Majority::new([id(1), id(2)]));
    let learners = [id(3), id(4)].into();
    let restored = Configuration::new(voters, learners, all.members().clone())
        .expect("it is valid")
        .with_returning([id(3), id(4)]);
    let mut node = Node::restarted(restored, Limits::default());
    node.campaign();
    node.finish();
    let (term, last) = (node.replica.status().term.get(), last(&node));
    node.hear(2, term, appended(last));
    node.finish();
    node.hear(3, term, appended(1));
    node.hear(4, term, appended(last));
    let seen = (2..=4).map(|member| (id(member), id_of(100 + member))).collect();
    node.turn([Input::Directories { seen }]);
    let configuration = node.replica.status().configuration.clone();
    assert!(configuration.is_voter(id(4)), "{configuration:?}");
    assert!(!configuration.is_voter(id(3)));
}

/// A leader that has demoted node 3.
fn demoted() -> Node {
    let mut node = leader();
    node.turn([seen(NEW)]);
    commits(&mut node, 4);
    commits(&mut node, 5);
    assert!(!node.replica.status().configuration.is_voter(id(3)));
    node
}

/// Node 3 is to be met under its new directory; returns what that is called.
fn meets(node: &mut Node) -> RequestId {
    node.turn([seen(NEW)]);
    assert_eq!(node.meetings.len(), 1, "{:?}", node.meetings);
    node.meetings.pop().unwrap().request
}

fn answers(node: &mut Node, request: RequestId, answer: Answer) {
    node.turn([Input::Met { request, answers: BTreeMap::from([(id(3), answer)]) }]);
}

#[test]
fn nobody_is_met_while_a_change_of_an_operators_is_under_way() {
    let mut node = demoted();
    // A name of another member: no voter changes, so there is no joint configuration.
    let before = node.replica.status().configuration.clone();
    let mut members = before.members().clone();
    members.get_mut(&id(2)).unwrap().name = "second".to_owned();
    let voters = before.voters().clone();
    let renamed = Configuration::new(voters, before.learners().clone(), members).unwrap();
    node.turn([reconfigure(7, renamed, 5)]);
    assert_eq!((last(&node), node.replica.status().configuration.voters().is_joint()), (6, false));
    node.turn([seen(NEW)]);
    assert_eq!(node.meetings, [], "it is not committed");
    commits(&mut node, 6);
    meets(&mut node);
}

#[test]
fn who_is_met_under_a_new_directory_does_not_vote_under_the_old_one_meanwhile() {
    let mut node = demoted();
    let request = meets(&mut node);
    // The old one is back, and has caught up.
    node.hear(3, 2, appended(5));
    node.turn([seen(id_of(103))]);
    assert_eq!(last(&node), 5, "the new one may answer yet");
    answers(&mut node, request, Err("nobody is there".to_owned()));
    assert_eq!(last(&node), 5);
    node.turn([seen(id_of(103))]);
    assert!(node.replica.status().configuration.is_voter(id(3)));
}

/// Each time that it is met has a name of its own.
#[test]
fn what_was_answered_to_an_earlier_question_is_not_taken_for_an_answer_to_the_present_one() {
    let mut node = demoted();
    let mut earlier = Vec::new();
    for _ in 0..4 {
        let request = meets(&mut node);
        for late in &earlier {
            answers(&mut node, *late, Ok(NEW));
        }
        assert_eq!(last(&node), 5, "it was given up before");
        answers(&mut node, request, Err("no answer".to_owned()));
        earlier.push(request);
    }
    let request = meets(&mut node);
    answers(&mut node, request, Ok(NEW));
    assert_eq!(last(&node), 6);
    assert_eq!(node.take_replies(), [], "no client has asked for it");
}

const fn id_of(number: u64) -> Incarnation {
    Incarnation::new(number)
}

/// The first one was dialled where it is not any more, for ever, and the other one stayed out.
#[test]
fn who_cannot_be_met_does_not_keep_another_one_out() {
    let mut node = Node::new(&[1, 2, 3, 4, 5], Limits::default());
    node.campaign();
    let commits = |node: &mut Node| {
        for _ in 0..3 {
            node.finish();
            let last_index = last(node);
            for peer in [2, 3] {
                node.hear(peer, 2, appended(last_index));
            }
        }
        node.finish();
    };
    commits(&mut node);
    node.now = node.now.after(4_000 * MS);
    commits(&mut node);
    let (away, back) = (Incarnation::new(994), Incarnation::new(995));
    let seen: BTreeMap<_, _> = [(2, id_of(102)), (3, id_of(103)), (4, away), (5, back)]
        .map(|(peer, directory)| (id(peer), directory))
        .into();
    for _ in 0..12 {
        node.turn([Input::Directories { seen: seen.clone() }]);
        commits(&mut node);
        for Meeting { request, newcomers } in std::mem::take(&mut node.meetings) {
            let answer = |peer: NodeId| match peer == id(5) {
                true => Ok(back),
                false => Err("nobody answers there".to_owned()),
            };
            let answers = newcomers.keys().map(|peer| (*peer, answer(*peer))).collect();
            node.turn([Input::Met { request, answers }]);
            commits(&mut node);
        }
        let message = Message { term: Term::new(2), body: appended(last(&node)) };
        node.turn([Input::Raft(Raw::Receive { from: id(5), incarnation: back, message })]);
        commits(&mut node);
    }
    let configuration = node.replica.status().configuration.clone();
    assert!(configuration.is_voter(id(5)) && configuration.recognises(id(5), back));
    assert!(!configuration.is_voter(id(4)), "it has not come back");
}
