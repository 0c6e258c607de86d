use super::*;

const PATIENCE_NS: u64 = 100;

fn index(number: u64) -> LogIndex {
    LogIndex::new(number)
}

fn at(ns: u64) -> Timestamp {
    Timestamp::new(ns)
}

/// A follower that has 3 entries of 9, and is fed.
fn fed() -> Progress {
    let mut progress = Progress::new(Incarnation::new(2), index(4), at(0));
    progress.acknowledge(index(3), index(9), at(0), PATIENCE_NS);
    progress.check(index(9), ReadRound::ZERO);
    progress
}

#[test]
fn a_window_holds_so_many_messages_with_entries_s10_2_2() {
    let mut progress = fed();
    assert!(progress.note_sent(index(4), at(1)), "it has no entries, and takes no place");
    assert!(progress.may_send(index(9), 1));
    progress.note_sent(index(6), at(1));
    assert!(!progress.may_send(index(9), 1) && progress.may_send(index(9), 2));
    progress.note_sent(index(7), at(1));
    assert!(!progress.may_send(index(9), 2) && progress.may_send(index(9), 3));
    assert!(!progress.may_send(index(6), 3), "there is nothing more");
    progress.acknowledge(index(5), index(9), at(2), PATIENCE_NS);
    assert!(progress.may_send(index(9), 2), "the first one has arrived");
}

#[test]
fn an_acknowledgement_takes_as_long_as_its_whole_message() {
    let mut progress = fed();
    progress.note_sent(index(6), at(10));
    progress.note_sent(index(8), at(20));
    progress.acknowledge(index(4), index(9), at(30), PATIENCE_NS);
    assert_eq!(progress.pace().slowest_ns(), None, "it has a part of the first message");
    progress.acknowledge(index(5), index(9), at(40), PATIENCE_NS);
    assert_eq!(progress.pace().slowest_ns(), Some(30));
}

/// Ours: after half of a heartbeat interval, then after one, two, and so on.
#[test]
fn a_follower_is_asked_for_what_is_lost_after_ever_longer_waits() {
    let mut progress = fed();
    let ask = |progress: &mut Progress, ns| progress.ask_for_lost(at(ns), PATIENCE_NS, 100);
    assert_eq!(ask(&mut progress, 10_000), None, "nothing is under way");
    progress.note_sent(index(6), at(10_000));
    for wait_ns in [50_u64, 100, 200, 400] {
        let mut ask = |ns: u64| ask(&mut progress, 10_000 + ns);
        assert_eq!(ask(wait_ns - 1), None, "{wait_ns}");
        assert_eq!(ask(wait_ns), Some(index(5)), "{wait_ns}: the last that was sent");
    }
    progress.note_sent(index(8), at(10_400));
    progress.acknowledge(index(5), index(9), at(10_500), PATIENCE_NS);
    progress.acknowledge(index(7), index(9), at(10_900), PATIENCE_NS);
    progress.note_sent(index(9), at(11_000));
    assert_eq!(ask(&mut progress, 11_799), None, "an answer may take 800");
    progress.acknowledge(index(8), index(9), at(11_801), PATIENCE_NS);
    progress.note_sent(index(10), at(12_000));
    progress.acknowledge(index(9), index(20), at(12_010), PATIENCE_NS);
    progress.note_sent(index(12), at(13_000));
    assert_eq!(ask(&mut progress, 13_049), None, "it is fast again");
    assert_eq!(ask(&mut progress, 13_050), Some(index(11)));
}

#[test]
fn an_answer_to_what_was_sent_twice_does_not_tell_how_long_one_takes() {
    let mut progress = fed();
    progress.note_sent(index(6), at(1_000));
    assert!(progress.ask_for_lost(at(1_050), PATIENCE_NS, 100).is_some());
    progress.probe(index(4), false);
    progress.note_sent(index(6), at(1_060));
    progress.acknowledge(index(5), index(9), at(1_061), PATIENCE_NS);
    progress.note_sent(index(8), at(1_062));
    assert_eq!(progress.ask_for_lost(at(1_161), PATIENCE_NS, 100), None);
    assert!(progress.ask_for_lost(at(1_162), PATIENCE_NS, 100).is_some());
}

/// It comes soon after the second was sent, as if that one had taken no time: what is slow would be
/// sent again and again.
#[test]
fn an_answer_to_the_first_of_two_copies_makes_no_wait_shorter() {
    let mut progress = fed();
    progress.note_sent(index(6), at(1_000));
    progress.note_sent(index(8), at(1_000));
    assert!(progress.ask_for_lost(at(1_050), PATIENCE_NS, 100).is_some(), "from here on it is 100");
    progress.probe(index(4), false);
    progress.note_sent(index(6), at(1_060));
    progress.acknowledge(index(5), index(20), at(1_061), PATIENCE_NS);
    progress.note_sent(index(8), at(1_062));
    progress.acknowledge(index(7), index(20), at(1_063), PATIENCE_NS);
    progress.note_sent(index(10), at(1_064));
    assert_eq!(progress.ask_for_lost(at(1_163), PATIENCE_NS, 100), None);
    progress.acknowledge(index(9), index(20), at(1_163), PATIENCE_NS);
    progress.note_sent(index(12), at(2_000));
    progress.acknowledge(index(11), index(20), at(2_010), PATIENCE_NS);
    progress.note_sent(index(14), at(3_000));
    assert!(progress.ask_for_lost(at(3_050), PATIENCE_NS, 100).is_some(), "these went out once");
}

/// Its window is never empty, for the next message goes out before the last one is answered.
#[test]
fn a_stream_that_is_answered_is_neither_asked_for_nor_sent_again_s10_2_2() {
    let mut progress = fed();
    for step in 0..1_000_u64 {
        let (now, last) = (at(10 * step), index(10_000));
        assert!(progress.may_send(last, 8), "{step}");
        progress.note_sent(index(step + 5), now);
        // Each answer takes as long as two messages.
        progress.acknowledge(index((step + 4).saturating_sub(2)), last, now, PATIENCE_NS);
        progress.note_heard(now, ReadRound::ZERO);
        progress.retry(now, PATIENCE_NS, 100);
        assert_eq!(progress.next(), index(step + 5), "nothing is sent again");
        assert_eq!(progress.ask_for_lost(now, PATIENCE_NS, 100), None, "{step}");
    }
}

/// What is refused because it is still on its way is sent again, and no second time before it
/// can have arrived.
#[test]
fn what_is_slow_is_not_taken_for_lost_again_and_again() {
    let mut progress = fed();
    let mut copies = 0;
    for ns in (0..100_000_u64).step_by(100) {
        if progress.may_send(index(9), 8) {
            progress.note_sent(index(10), at(ns));
            copies += 1;
        }
        progress.note_heard(at(ns + 1), ReadRound::ZERO);
        progress.retry(at(ns), PATIENCE_NS, 100);
        // The follower has not got it yet, and says so.
        if progress.ask_for_lost(at(ns), PATIENCE_NS, 100).is_some() {
            progress.probe(index(4), false);
        }
    }
    assert!(
        (2..=130).contains(&copies),
        "{copies} copies in 1,000 heartbeats, and no more than one in eight"
    );
}

#[test]
fn only_a_refusal_of_what_was_sent_last_moves_the_search_s3_5() {
    let awaited = |progress: &Progress| {
        (0..10).filter(|refused| progress.awaits_refusal(index(*refused))).collect::<Vec<_>>()
    };
    let mut progress = fed();
    assert_eq!(awaited(&progress), [4, 5, 6, 7, 8, 9], "never what matches (museum B7)");
    progress.probe(index(8), true);
    assert_eq!(awaited(&progress), [7], "the place before the probed entry");
    progress.note_heard(at(1), ReadRound::ZERO);
    assert!(progress.await_snapshot(at(1), PATIENCE_NS));
    assert_eq!(awaited(&progress), [], "it waits for a snapshot");
}

/// It holds the place before the entries, and not their end: it had no room for them.
#[test]
fn a_probe_whose_entries_were_not_taken_is_refused_at_its_end_s3_5() {
    let mut progress = Progress::new(Incarnation::new(2), index(4), at(0));
    assert!(!progress.note_sent(index(8), at(1)), "one at a time");
    let refused = |number| progress.awaits_refusal(index(number));
    assert_eq!([2, 3, 5, 7, 8].map(refused), [false, true, false, true, false]);
}

#[test]
fn a_search_that_goes_back_by_chance_stays_behind_what_matches_s3_5() {
    let drawn = |next, draws: u64| {
        (0..draws).map(|draw| fed().drawn_back(index(next), draw).get()).collect::<Vec<_>>()
    };
    assert_eq!(drawn(8, 7), [4, 5, 6, 7, 8, 4, 5]);
    assert_eq!(drawn(4, 3), [4; 3]);
    assert_eq!(drawn(3, 3), [4; 3], "nothing is before what matches");
}

#[test]
fn a_follower_answers_for_an_election_timeout_after_each_answer() {
    let mut progress = fed();
    assert!(!progress.answers(at(1), PATIENCE_NS), "it has not been heard of");
    progress.note_heard(at(10), ReadRound::ZERO);
    assert!(progress.answers(at(109), PATIENCE_NS));
    assert!(!progress.answers(at(110), PATIENCE_NS));
}

#[test]
#[should_panic(expected = "nobody agrees beyond the log")]
fn a_follower_that_agrees_beyond_the_log_ends_a_leader() {
    fed().check(index(2), ReadRound::ZERO);
}
