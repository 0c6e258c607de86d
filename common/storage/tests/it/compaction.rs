//! The head of the log goes when the state is durable (§5.1), all of it when a snapshot takes its
//! place (§5): at once or not at all.

use crate::kit::{
    EVERYTHING, append, at, command, compact, configuration, found, read, record, reopen, replace,
    settle, unchained,
};
use consensus::{Configuration, EntryId, LogIndex, Write};
use storage::{LogStore, RestoredLog};
use tempfile::{TempDir, tempdir};

/// A log of one configuration and commands of these terms.
fn log(terms: &[u64]) -> (TempDir, LogStore, Configuration) {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let (mut log, _) = LogStore::open(&directory).unwrap();
    for (place, term) in terms.iter().enumerate() {
        log.write(&[append(*term, vec![command(*term, place as u64 + 2, "x")])]).unwrap();
    }
    let initial = record(directory.incarnation()).configuration;
    (place, log, initial)
}

fn again(place: &TempDir, log: LogStore) -> (LogStore, RestoredLog) {
    drop(log);
    reopen(place.path())
}

fn identities(restored: &RestoredLog) -> (EntryId, EntryId) {
    (restored.log.base(), restored.log.last())
}

#[test]
fn what_follows_the_new_head_stays_and_so_does_the_configuration() {
    let (place, mut log, initial) = log(&[2, 2, 3, 3, 5]);
    log.write(&[compact(3, 4, &initial)]).unwrap();
    let (log, restored) = again(&place, log);
    assert_eq!(identities(&restored), (at(3, 4), at(5, 6)));
    assert!(restored.log.contains(at(3, 5)) && !restored.log.contains(at(2, 3)));
    assert_eq!(restored.membership.latest(), &initial);
    assert_eq!(restored.membership.index(), LogIndex::new(1));
    assert_eq!(read(&log, 5, 6).unwrap(), [command(3, 5, "x"), command(5, 6, "x")]);
}

#[test]
fn a_reader_finds_nothing_where_the_log_was_compacted_and_no_damage() {
    let (_place, mut log, initial) = log(&[2, 2, 2, 2]);
    let reader = log.reader();
    let read = |from, to| {
        let range = LogIndex::new(from)..LogIndex::new(to);
        reader.read(range, EVERYTHING).map(unchained)
    };
    assert_eq!(read(2, 6).unwrap().len(), 4);
    log.write(&[compact(2, 3, &initial)]).unwrap();
    assert_eq!(read(2, 6).unwrap(), []);
    assert_eq!(read(4, 6).unwrap().len(), 2);
    assert!(read(4, 9).is_err(), "beyond the end is still an error");
}

#[test]
fn a_log_that_is_compacted_to_its_end_goes_on_behind_it() {
    let (place, mut log, initial) = log(&[2, 2]);
    log.write(&[compact(2, 3, &initial)]).unwrap();
    let (mut log, restored) = again(&place, log);
    assert_eq!(identities(&restored), (at(2, 3), at(2, 3)));
    log.write(&[append(2, vec![command(2, 4, "y")])]).unwrap();
    let (log, restored) = again(&place, log);
    assert_eq!(identities(&restored), (at(2, 3), at(2, 4)));
    assert_eq!(read(&log, 4, 4).unwrap(), [command(2, 4, "y")]);
}

#[test]
fn a_snapshot_beyond_the_end_takes_the_place_of_the_whole_log() {
    let (place, mut log, initial) = log(&[2, 2]);
    let write = Write { append: vec![command(7, 10, "z")], ..append(7, Vec::new()) };
    let write = Write { compact_to: compact(6, 9, &initial).compact_to, ..write };
    log.write(&[write]).unwrap();
    let (log, restored) = again(&place, log);
    assert_eq!(identities(&restored), (at(6, 9), at(7, 10)));
    assert!(restored.stamp.get() >= 100, "{}", restored.stamp);
    assert_eq!(read(&log, 10, 10).unwrap(), [command(7, 10, "z")]);
}

#[test]
fn a_snapshot_of_another_history_discards_what_follows_it_too_museum_g3() {
    let (place, mut log, _) = log(&[2, 2, 2, 2, 2]);
    let other = configuration(consensus::Incarnation::new(7), "host:9");
    let hard_state = append(3, Vec::new()).hard_state;
    log.write(&[Write { hard_state, ..compact(3, 4, &other) }]).unwrap();
    let (_log, restored) = again(&place, log);
    assert_eq!(identities(&restored), (at(3, 4), at(3, 4)));
    assert_eq!(restored.membership.latest(), &other);
}

#[test]
fn the_end_may_be_cut_down_to_the_head_and_not_below_it() {
    let (place, mut log, initial) = log(&[2, 2, 2, 2]);
    log.write(&[compact(2, 3, &initial)]).unwrap();
    log.write(&[replace(4, 4, vec![command(4, 4, "y")])]).unwrap();
    let (mut log, restored) = again(&place, log);
    assert_eq!(identities(&restored), (at(2, 3), at(4, 4)));
    let refused = log.write(&[replace(5, 3, Vec::new())]).unwrap_err().to_string();
    assert!(refused.contains("what is compacted cannot be cut off"), "{refused}");
}

#[test]
fn a_head_never_moves_back() {
    let (place, mut log, initial) = log(&[2, 2, 2, 2]);
    log.write(&[compact(2, 4, &initial)]).unwrap();
    let refused = log.write(&[compact(2, 3, &initial)]).unwrap_err().to_string();
    assert!(refused.contains("compacted further before"), "{refused}");
    let (_log, restored) = again(&place, log);
    assert_eq!(identities(&restored), (at(2, 4), at(2, 5)));
}

#[test]
fn many_compactions_in_one_call_are_one_step() {
    let (place, mut log, initial) = log(&[2]);
    let mut writes = Vec::new();
    for index in 3..=200 {
        writes.push(append(2, vec![command(2, index, "x")]));
        writes.push(compact(2, index - 1, &initial));
    }
    log.write(&writes).unwrap();
    let (log, restored) = again(&place, log);
    assert_eq!(identities(&restored), (at(2, 199), at(2, 200)));
    assert_eq!(read(&log, 200, 200).unwrap(), [command(2, 200, "x")]);
}

/// A file whose keys all lie before the head may hold a record that goes on behind it: with the
/// file, entries went that nobody had compacted.
#[test]
fn what_goes_on_behind_the_head_stays_also_when_whole_files_are_dropped() {
    for head in 1..=8 {
        let (place, mut log, initial) = log(&[]);
        let many: Vec<_> = (2..=9).map(|index| command(2, index, "x")).collect();
        log.write(&[append(2, many.clone())]).unwrap();
        drop(log);
        settle(place.path());
        let (mut log, _) = reopen(place.path());
        let term = if head == 1 { 1 } else { 2 };
        log.write(&[compact(term, head, &initial)]).unwrap();
        let kept = &many[head as usize - 1..];
        assert_eq!(read(&log, head + 1, 9).unwrap(), kept, "behind {head}");
        let (log, restored) = again(&place, log);
        assert_eq!(identities(&restored), (at(term, head), at(2, 9)));
        assert_eq!(read(&log, head + 1, 9).unwrap(), kept, "behind {head}, opened again");
    }
}
