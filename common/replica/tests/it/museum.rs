//! Rows of the museum that cannot be built in as bugs: each is played here, event by event, and the
//! right answer comes out.

use std::ops::Range;

use crate::kit::{Node, appended, applied, at, entry, id, proposal, reconfigure, request};
use consensus::{
    Configuration, Entry, Incarnation, LogIndex, Majority, Member, Payload, RoleKind, Voters,
};
use replica::{Input, Limits, Reply};

/// What entries say, in memory of its own.
fn bytes(entries: &[Entry]) -> Vec<(u64, u64, Vec<u8>)> {
    let copy = |entry: &Entry| match &entry.payload {
        Payload::Command(bytes) => {
            Some((entry.id.term.get(), entry.id.index.get(), bytes.to_vec()))
        }
        Payload::Noop | Payload::Configuration(_) => None,
    };
    entries.iter().filter_map(copy).collect()
}

fn places(from: u64, to: u64) -> Range<LogIndex> {
    LogIndex::new(from)..LogIndex::new(to)
}

/// Entries were handed out as a slice of the log's memory, to the disk and to a sender; another
/// leader's entries then took their places in that memory while it was read.
#[test]
fn what_was_handed_out_stays_as_it_was_when_the_log_is_overwritten_museum_b28() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.propose([1, 2, 3]);
    let written = node.writes[0].append.clone();
    let sent = node.replica.entries(places(3, 6), usize::MAX).unwrap();
    let was = bytes(&sent);
    assert_eq!(was.len(), 3);
    assert_eq!(bytes(&written), was);
    // Another leader's three, and of a third leader the last two.
    let mut expected = Vec::new();
    for (term, from) in [(3, 3), (4, 4)] {
        let theirs: Vec<Entry> = (from..=5).map(|at| entry(term, at, "theirs")).collect();
        expected.truncate(from as usize - 3);
        expected.extend(bytes(&theirs));
        node.follow(term, at(term - 1, from - 1), theirs, 2);
        assert_eq!(bytes(&sent), was, "on its way to a peer");
        assert_eq!(bytes(&written), was, "on its way to the disk");
        let now = node.replica.entries(places(3, 6), usize::MAX).unwrap();
        assert_eq!(bytes(&now), expected, "who asks now gets what stands there now");
    }
}

/// Writes waited while their server was being removed; between the append and the note of who
/// waits for it, the entry was committed: one client heard nothing, another was told twice.
#[test]
fn who_waits_while_the_leader_is_removed_is_told_once_museum_j12() {
    let members = [2, 3].map(|number| {
        let incarnation = Incarnation::new(100 + number);
        (id(number), Member { incarnation, name: String::new(), address: String::new() })
    });
    let voters = Voters::Stable(Majority::new([2, 3].map(id)));
    let target = Configuration::new(voters, [].into(), members.into()).unwrap();
    let change = || reconfigure(9, target.clone(), 1);
    let done = Reply::Done { request: request(9) };
    // Whatever comes in one turn, and whatever in the next: the change stands at 4 or 5, its end
    // behind it, and writes before, between and behind them.
    for whole in [false, true] {
        let mut node = Node::leader(&[1, 2, 3], Limits::default());
        node.hear(3, 2, appended(2));
        let inputs = [proposal(1, "before"), change(), proposal(2, "behind")];
        if whole {
            node.turn(inputs);
        } else {
            inputs.into_iter().for_each(|input| node.turn([input]));
        }
        let joint = node.replica.status().configuration_index.get();
        let writes: Vec<u64> = (3..=5).filter(|index| *index != joint).collect();
        assert_eq!((node.replies.len(), node.replica.waiting().0), (0, 2));
        // Both halves have all of it before this node's own disk has any.
        node.hear(2, 2, appended(5));
        node.hear(3, 2, appended(5));
        let last = node.replica.status().last.index.get();
        assert_eq!(last, 6, "the joint configuration is left at once");
        node.propose([3]);
        node.hear(2, 2, appended(7));
        node.hear(3, 2, appended(7));
        assert_eq!(node.replica.status().role, RoleKind::Follower, "it is removed");
        let first = [done.clone()];
        assert_eq!(node.take_replies(), first, "nothing is applied yet");
        node.finish();
        let expected =
            [applied(1, writes[0], "before"), applied(2, writes[1], "behind"), applied(3, 7, "3")];
        assert_eq!(node.take_replies(), expected, "in one turn: {whole}");
        node.turn([Input::Abandon]);
        assert_eq!(node.take_replies(), [], "nobody is told twice");
        assert_eq!(node.replica.waiting(), (0, 0));
    }
}

/// What was cut off and taken anew was counted, and kept, for ever.
#[test]
fn memory_holds_what_is_in_the_log_and_no_more_than_its_limit_museum_i9() {
    let limits = Limits { cache_bytes_max: 10_000, ..Limits::default() };
    let mut node = Node::leader(&[1], limits);
    for round in 0..200 {
        node.propose(10 * round..10 * round + 10);
        node.finish();
        let bytes = node.replica.cache_bytes();
        assert!(bytes <= 10_000, "{bytes} bytes after {round} rounds");
    }
    // Nothing of this is committed, and so nothing may be dropped: it is what the log holds.
    let mut node = Node::new(&[1, 2, 3], limits);
    let entries = |term| (2..=301).map(|at| entry(term, at, "eight by")).collect::<Vec<Entry>>();
    node.follow(2, at(1, 1), entries(2), 1);
    node.finish();
    let bytes = node.replica.cache_bytes();
    assert!((300 * 8..300 * 200).contains(&bytes), "{bytes}");
    for term in 3..50 {
        node.follow(term, at(1, 1), entries(term), 1);
        node.finish();
        assert_eq!(node.replica.cache_bytes(), bytes, "term {term}");
    }
    node.follow(49, at(49, 301), vec![], 301);
    node.finish();
    node.turn([]);
    assert!(node.replica.cache_bytes() <= 10_000);
}
