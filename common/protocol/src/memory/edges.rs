//! What is remembered, and what is not: each at its edge.

use consensus::ReadRound;

use super::tests::{OWN, at, hello, id, memory};
use super::*;

const TWO: Incarnation = Incarnation::new(2);

fn code(memory: &mut Memory, ours: &Hello, theirs: &Hello) -> Option<RefusalCode> {
    memory.meet(ours, theirs).err().map(|(code, _)| code)
}

/// Node 2's process of this start, as a peer tells of it.
fn process(starts: u64, boot: u64, kept: u64) -> Remembered {
    Remembered { kept: LogIndex::new(kept), ..first(id(2), TWO, boot, at(starts, 4, 9)) }
}

fn speaker(boot: u64) -> Speaker {
    Speaker { node: id(2), incarnation: TWO, boot }
}

#[test]
fn what_was_remembered_before_a_start_is_held_against_peers_behind_it() {
    let (before, one) = memory();
    let mut after = Memory::default();
    after.recall(before.all());
    assert_eq!(after.all(), before.all());
    assert_eq!(code(&mut after, &one, &hello(2, 22, at(6, 4, 8))), Some(RefusalCode::Forgotten));
    assert_eq!(code(&mut after, &one, &hello(2, 22, at(6, 4, 9))), None);
}

/// What is acknowledged to a node that leads no longer, or again, may be cut; and a vote for a
/// directory that had this id before is nobody's.
#[test]
fn only_a_leader_is_promised_entries_and_only_this_directory_votes() {
    let last = EntryId { term: Term::new(4), index: LogIndex::new(20) };
    let bodies = [
        Body::Appended { matched: last.index, round: ReadRound::ZERO },
        Body::SnapshotInstalled { last },
    ];
    for body in bodies {
        let forgotten = Some(RefusalCode::Forgotten);
        for (leads, wanted) in [(Some(4), forgotten), (None, None), (Some(5), None)] {
            let (mut memory, one) = memory();
            let message = Message { term: last.term, body: body.clone() };
            let leads = leads.map(Term::new);
            memory.note((id(2), TWO), &message, (OWN, leads, LogIndex::new(20)));
            let met = code(&mut memory, &one, &hello(2, 22, at(6, 4, 19)));
            assert_eq!(met, wanted, "{body:?}, {leads:?}");
        }
    }
    for (candidate, wanted) in [(OWN, Some(RefusalCode::Forgotten)), (Incarnation::new(9), None)] {
        let (mut memory, one) = memory();
        let body = Body::Vote { candidate, verdict: Verdict::Granted };
        let message = Message { term: Term::new(6), body };
        memory.note((id(2), TWO), &message, (OWN, None, LogIndex::ZERO));
        assert_eq!(code(&mut memory, &one, &hello(2, 22, at(6, 6, 9))), wanted, "{candidate}");
    }
}

#[test]
fn who_has_promised_nothing_and_this_node_itself_are_not_remembered() {
    let mut memory = Memory::default();
    let one = hello(1, 11, at(3, 4, 9));
    assert_eq!(memory.meet(&one, &hello(2, 21, at(0, 4, 9))), Ok(()));
    assert_eq!(memory.meet(&one, &hello(1, 12, at(3, 4, 9))), Ok(()));
    let nameless = Hello { node: None, ..hello(2, 21, at(5, 4, 9)) };
    assert_eq!(memory.meet(&one, &nameless), Ok(()));
    assert_eq!((memory.all(), memory.news()), (Vec::new(), 0));
}

#[test]
fn peers_hear_of_each_process_and_of_each_pair_once() {
    let (mut memory, one) = memory();
    assert_eq!(memory.news(), 1, "node 2 was met");
    assert_eq!(memory.meet(&one, &hello(2, 21, at(5, 4, 9))), Ok(()));
    assert_eq!(memory.news(), 1, "it was known");
    assert_eq!(memory.meet(&one, &hello(2, 22, at(6, 4, 9))), Ok(()));
    assert_eq!(memory.news(), 2, "it was started again");
    assert_eq!(memory.told(&one, &[process(6, 22, 9)]), None);
    assert_eq!(memory.news(), 2, "that is the one");
    assert_eq!(memory.told(&one, &[process(6, 23, 9), process(6, 22, 9)]), None);
    assert_eq!(memory.news(), 3, "two run");
    assert_eq!(memory.told(&one, &[process(6, 23, 9)]), None);
    assert_eq!(memory.news(), 3, "that is known");
}

#[test]
fn a_process_is_heard_until_a_later_one_is_met_or_told_of() {
    let forgotten = Some(RefusalCode::Forgotten);
    let heard = |memory: &Memory, boot| memory.still_hears(speaker(boot)).err().map(|why| why.0);
    let (mut memory, one) = memory();
    assert_eq!((heard(&memory, 21), heard(&memory, 20)), (None, forgotten));
    // The very process, of which a peer knows more.
    assert_eq!(memory.told(&one, &[process(5, 21, 30)]), None);
    assert_eq!(heard(&memory, 21), None);
    assert_eq!(memory.told(&one, &[process(6, 22, 40)]), None);
    let (refused, why) = memory.still_hears(speaker(21)).expect_err("it was started again");
    assert_eq!(refused, RefusalCode::Forgotten);
    assert!(why.contains("its start 6"), "{why}");
    // More of that process, before this node meets it, is not held against its hello.
    assert_eq!(memory.told(&one, &[process(6, 22, 45)]), None);
    assert_eq!(code(&mut memory, &one, &hello(2, 22, at(6, 4, 30))), None);
    assert_eq!(heard(&memory, 22), None);
    assert_eq!(code(&mut memory, &one, &hello(2, 23, at(7, 4, 44))), forgotten);
    assert_eq!(code(&mut memory, &one, &hello(2, 23, at(7, 4, 45))), None);
}

#[test]
fn only_who_has_started_can_run_twice() {
    let (mut memory, _) = memory();
    let told = process(5, 22, 9);
    assert!(memory.told(&hello(2, 21, at(5, 4, 9)), &[told]).is_some());
    assert!(memory.told(&hello(2, 22, at(5, 4, 9)), &[told]).is_none(), "it is told of itself");
    assert!(memory.told(&hello(2, 21, at(0, 4, 9)), &[told]).is_none(), "it has no log yet");
}

/// A node that takes one directory after the other does not fill the memory; its own go first, and
/// those that were started least often.
#[test]
fn the_memory_is_bounded_and_forgets_what_was_started_least() {
    let one = hello(1, 11, at(3, 4, 9));
    let with = |node, directory: u64, starts| Hello {
        incarnation: Incarnation::new(directory),
        ..hello(node, directory, at(starts, 4, 9))
    };
    let mut memory = Memory::default();
    assert_eq!(memory.meet(&one, &with(3, 1, 1)), Ok(()));
    for directory in 2..=REMEMBERED_MAX as u64 {
        assert_eq!(memory.meet(&one, &with(2, directory, directory + 5)), Ok(()));
    }
    let has = |memory: &Memory, node, directory: u64| {
        memory.known.contains_key(&(id(node), Incarnation::new(directory)))
    };
    assert_eq!(memory.all().len(), REMEMBERED_MAX);
    assert!(has(&memory, 2, 2) && has(&memory, 3, 1), "up to the limit nothing is forgotten");
    assert_eq!(memory.meet(&one, &with(2, 1_000_000, 4)), Ok(()));
    assert_eq!(memory.all().len(), REMEMBERED_MAX);
    assert!(!has(&memory, 2, 2) && has(&memory, 2, 3) && has(&memory, 3, 1));
    // A node of which nothing is known takes the place of whichever was started least.
    assert_eq!(memory.meet(&one, &with(4, 1, 9)), Ok(()));
    assert_eq!(memory.all().len(), REMEMBERED_MAX);
    assert!(!has(&memory, 3, 1) && has(&memory, 4, 1));
}

/// One of the two is gone then, or is met.
#[test]
fn a_directory_that_ran_twice_is_heard_again_when_it_is_started_once() {
    let (mut memory, one) = memory();
    let code = |found: Result<(), Refusal>| found.err().map(|(code, _)| code);
    let twice = memory.meet(&one, &hello(2, 22, at(5, 4, 9)));
    assert_eq!(code(twice), Some(RefusalCode::RunsTwice));
    let hears = |memory: &Memory, boot| {
        code(memory.still_hears(Speaker { node: id(2), incarnation: Incarnation::new(2), boot }))
    };
    assert_eq!(hears(&memory, 21), Some(RefusalCode::RunsTwice));
    assert_eq!(memory.meet(&one, &hello(2, 23, at(6, 4, 9))), Ok(()));
    assert_eq!(hears(&memory, 23), None);
    assert_eq!(hears(&memory, 21), Some(RefusalCode::Forgotten));
}

/// Also where nothing but a hello has told of the term.
#[test]
fn who_was_met_in_a_later_term_has_forgotten_it_in_an_earlier_one() {
    let (mut memory, one) = memory();
    assert_eq!(memory.meet(&one, &hello(2, 22, at(6, 9, 9))), Ok(()));
    let (code, why) = memory.meet(&one, &hello(2, 23, at(7, 8, 9))).expect_err("it was in 9");
    assert_eq!(code, RefusalCode::Forgotten, "{why}");
    assert_eq!(memory.meet(&one, &hello(2, 24, at(8, 9, 9))), Ok(()));
}

/// No peer has met the two of them, and this node has met neither before.
#[test]
fn the_twin_of_a_process_that_a_peer_has_told_of_is_refused_and_so_is_that_process() {
    let twice = Some(RefusalCode::RunsTwice);
    let (mut memory, one) = memory();
    assert_eq!(memory.told(&one, &[process(6, 22, 9)]), None);
    assert_eq!(code(&mut memory, &one, &hello(2, 23, at(6, 4, 9))), twice);
    assert_eq!(code(&mut memory, &one, &hello(2, 22, at(6, 4, 9))), twice);
    for boot in [22, 23] {
        let heard = memory.still_hears(speaker(boot));
        assert_eq!(heard.err().map(|(code, _)| code), twice, "{boot}");
    }
}
