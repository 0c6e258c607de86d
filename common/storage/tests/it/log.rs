//! The log: what was written is there after reopening, and what was cut off is not.

use std::os::unix::fs::MetadataExt as _;

use crate::kit::{
    EVERYTHING, append, at, command, configuration, found, hard_state, nothing, read, record,
    reopen, replace, unchained,
};
use bytes::Bytes;
use consensus::{ClusterTime, Entry, LogIndex, Payload, TermRun};
use storage::{LogStore, StorageError};
use tempfile::{TempDir, tempdir};

/// A founded log, open.
fn new_log() -> (TempDir, LogStore) {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let (log, _) = LogStore::open(&directory).unwrap();
    (place, log)
}

fn commands(term: u64, indexes: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    indexes.into_iter().map(|index| command(term, index, &format!("{term}.{index}"))).collect()
}

fn runs(log: &consensus::LogView) -> Vec<(u64, u64)> {
    log.runs().iter().map(|TermRun { term, first }| (term.get(), first.get())).collect()
}

#[test]
fn a_founded_log_holds_the_configuration_in_term_1() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let expected = record(directory.incarnation()).configuration;
    let (log, restored) = LogStore::open(&directory).unwrap();
    assert_eq!(restored.log.last(), at(1, 1));
    assert_eq!(restored.hard_state, hard_state(1, None));
    assert_eq!(
        (restored.membership.index(), restored.membership.latest()),
        (LogIndex::new(1), &expected)
    );
    let payload = Payload::Configuration(expected.clone());
    let first = Entry::new(at(1, 1), ClusterTime::ZERO, payload);
    assert_eq!(read(&log, 1, 1).unwrap(), [first]);
}

#[test]
fn reopening_gives_back_term_vote_entries_and_stamp() {
    let (place, mut log) = new_log();
    let mut entries = commands(2, 2..=5);
    entries[0].payload = Payload::Noop;
    entries[1].payload = Payload::Command(Bytes::new());
    entries[2].payload = Payload::Command(vec![7; 300_000].into());
    log.write(&[append(2, entries.clone())]).unwrap();
    log.write(&[consensus::Write { hard_state: Some(hard_state(9, Some(3))), ..nothing() }])
        .unwrap();
    drop(log);
    let (log, restored) = reopen(place.path());
    assert_eq!(restored.hard_state, hard_state(9, Some(3)));
    assert_eq!(restored.log.last(), at(2, 5));
    assert_eq!(restored.stamp, ClusterTime::new(50));
    assert_eq!(read(&log, 2, 5).unwrap(), entries);
}

/// Each start wrote a table, kept it open, and none was ever merged.
#[test]
fn tables_of_starts_are_merged_when_they_are_many() {
    let (place, mut log) = new_log();
    let tables = || {
        let files = std::fs::read_dir(place.path().join("log")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".sst")).count()
    };
    let mut most = 0;
    for index in 2..=61 {
        log.write(&[append(2, commands(2, index..=index))]).unwrap();
        drop(log);
        log = reopen(place.path()).0;
        most = most.max(tables());
    }
    assert!(most > 20, "a few are left alone: {most}");
    assert!(most < 50, "{most} tables after 60 starts");
    // What is merged is no longer cut off as a whole, and is read and written over as before.
    assert_eq!(read(&log, 2, 61).unwrap(), commands(2, 2..=61));
    log.write(&[replace(3, 50, commands(3, 50..=60))]).unwrap();
    drop(log);
    let (log, restored) = reopen(place.path());
    assert_eq!(restored.log.last(), at(3, 60));
    assert_eq!(
        read(&log, 2, 60).unwrap()[47..49],
        [command(2, 49, "2.49"), command(3, 50, "3.50")]
    );
}

#[test]
fn reopening_gives_back_where_each_term_starts() {
    let (place, mut log) = new_log();
    log.write(&[append(1, commands(1, [2])), append(4, commands(4, [3, 4]))]).unwrap();
    log.write(&[append(4, commands(4, [5])), append(7, commands(7, [6]))]).unwrap();
    drop(log);
    let (_log, restored) = reopen(place.path());
    assert_eq!(runs(&restored.log), [(1, 1), (4, 3), (7, 6)]);
    assert_eq!(restored.log.id(LogIndex::new(5)), Some(at(4, 5)));
}

#[test]
fn reopening_gives_back_the_configurations_where_they_stand() {
    let (place, mut log) = new_log();
    let mut entries = commands(2, 2..=6);
    let incarnation = consensus::Incarnation::new(1);
    for index in [3, 5] {
        let configuration = configuration(incarnation, &format!("host{index}:7400"));
        entries[index - 2].payload = Payload::Configuration(configuration);
    }
    log.write(&[append(2, entries)]).unwrap();
    drop(log);
    let (mut log, restored) = reopen(place.path());
    assert_eq!(restored.membership.index(), LogIndex::new(5));
    assert_eq!(restored.membership.at(LogIndex::new(4)).0, LogIndex::new(3));
    assert_eq!(restored.membership.at(LogIndex::new(2)).0, LogIndex::new(1));
    log.write(&[replace(3, 5, commands(3, [5]))]).unwrap();
    drop(log);
    let (_log, restored) = reopen(place.path());
    assert_eq!(restored.membership.index(), LogIndex::new(3), "the one that was cut is forgotten");
}

#[test]
fn another_leaders_entries_replace_ours_and_all_behind_them() {
    let (place, mut log) = new_log();
    log.write(&[append(2, commands(2, 2..=9))]).unwrap();
    log.write(&[replace(3, 5, commands(3, 5..=6))]).unwrap();
    let expected = [commands(2, 2..=4), commands(3, 5..=6)].concat();
    assert_eq!(read(&log, 2, 6).unwrap(), expected);
    assert!(read(&log, 2, 7).is_err(), "entry 7 was cut");
    drop(log);
    let (log, restored) = reopen(place.path());
    assert_eq!(runs(&restored.log), [(1, 1), (2, 2), (3, 5)]);
    assert_eq!(read(&log, 2, 6).unwrap(), expected);
}

/// A few are deleted one by one, many by a range: neither may leave anything behind.
#[test]
fn what_was_cut_off_never_comes_back() {
    for (cut_from, written) in [(60, 70), (3, 500)] {
        let (place, mut log) = new_log();
        log.write(&[append(2, commands(2, 2..=written))]).unwrap();
        let cut = consensus::Write { truncate_from: Some(LogIndex::new(cut_from)), ..nothing() };
        log.write(&[cut]).unwrap();
        drop(log);
        let (mut log, restored) = reopen(place.path());
        assert_eq!(restored.log.last(), at(2, cut_from - 1));
        log.write(&[append(3, commands(3, [cut_from]))]).unwrap();
        drop(log);
        let (log, restored) = reopen(place.path());
        assert_eq!(restored.log.last(), at(3, cut_from));
        assert_eq!(read(&log, cut_from, cut_from).unwrap(), commands(3, [cut_from]));
        assert!(read(&log, cut_from, cut_from + 1).is_err());
    }
}

#[test]
fn the_whole_log_can_be_replaced() {
    let (place, mut log) = new_log();
    log.write(&[append(2, commands(2, 2..=4))]).unwrap();
    log.write(&[replace(5, 1, commands(5, 1..=2))]).unwrap();
    drop(log);
    let (log, restored) = reopen(place.path());
    assert_eq!(runs(&restored.log), [(5, 1)]);
    assert_eq!(restored.membership.index(), LogIndex::ZERO);
    assert_eq!(read(&log, 1, 2).unwrap(), commands(5, 1..=2));
}

#[test]
fn queued_writes_are_done_in_order_by_one_call() {
    let (place, mut log) = new_log();
    log.write(&[
        append(2, commands(2, 2..=4)),
        replace(3, 3, commands(3, [3])),
        append(3, commands(3, 4..=5)),
        replace(4, 5, commands(4, 5..=6)),
    ])
    .unwrap();
    let expected = [commands(2, [2]), commands(3, 3..=4), commands(4, 5..=6)].concat();
    assert_eq!(read(&log, 2, 6).unwrap(), expected);
    drop(log);
    let (log, restored) = reopen(place.path());
    assert_eq!(restored.hard_state, hard_state(4, Some(1)));
    assert_eq!(runs(&restored.log), [(1, 1), (2, 2), (3, 3), (4, 5)]);
    assert_eq!(read(&log, 2, 6).unwrap(), expected);
}

#[test]
fn cutting_behind_the_end_changes_nothing() {
    let (_place, mut log) = new_log();
    log.write(&[append(2, commands(2, 2..=3))]).unwrap();
    log.write(&[replace(2, 4, commands(2, [4]))]).unwrap();
    assert_eq!(read(&log, 2, 4).unwrap(), commands(2, 2..=4));
}

#[test]
fn a_read_gives_as_many_as_fit_and_at_least_one() {
    let (_place, mut log) = new_log();
    let large = |index| Entry {
        payload: Payload::Command(vec![b'x'; 1_000].into()),
        ..command(2, index, "")
    };
    log.write(&[append(2, (2..=11).map(large).collect())]).unwrap();
    let reader = log.reader();
    let count =
        |bytes_max| reader.read(LogIndex::new(2)..LogIndex::new(12), bytes_max).unwrap().len();
    assert_eq!(count(0), 1);
    assert_eq!(count(1_500), 1);
    assert_eq!(count(3_500), 3);
    assert_eq!(count(EVERYTHING), 10);
    let none = reader.read(LogIndex::new(5)..LogIndex::new(5), 0).unwrap();
    assert_eq!(none, []);
}

#[test]
fn a_read_beyond_either_end_is_an_error_that_names_the_entry_museum_h14() {
    let (_place, mut log) = new_log();
    log.write(&[append(2, commands(2, 2..=3))]).unwrap();
    for (from, last, missing) in [(0, 2, 0), (2, 4, 4), (9, 12, 9)] {
        let refused = read(&log, from, last).unwrap_err();
        let expected = format!("log entry {missing} is damaged: it is missing");
        assert_eq!(refused.to_string(), expected);
    }
}

#[test]
fn what_does_not_follow_is_refused_and_nothing_is_written_after_it() {
    for (term, index) in [(2, 4), (2, 2), (1, 3)] {
        let (place, mut log) = new_log();
        log.write(&[append(2, commands(2, [2]))]).unwrap();
        let refused = log.write(&[append(2, commands(term, [index]))]).unwrap_err();
        let entry = at(term, index);
        let expected = format!("entry {entry} behind 2@t2 is damaged: it does not follow");
        assert_eq!(refused.to_string(), expected);
        let later = log.write(&[append(2, commands(2, [3]))]).unwrap_err();
        assert!(matches!(later, StorageError::Poisoned(_)), "{later}");
        drop(log);
        let (log, restored) = reopen(place.path());
        assert_eq!(restored.log.last(), at(2, 2));
        assert_eq!(read(&log, 2, 2).unwrap(), commands(2, [2]));
    }
}

#[test]
fn a_gap_inside_a_write_is_refused_as_well() {
    let (_place, mut log) = new_log();
    let refused = log.write(&[append(2, commands(2, [2, 4]))]).unwrap_err();
    assert_eq!(refused.to_string(), "entry 4@t2 behind 2@t2 is damaged: it does not follow");
}

#[test]
fn a_failed_call_leaves_none_of_its_writes() {
    let (place, mut log) = new_log();
    let writes = [append(2, commands(2, 2..=3)), append(2, commands(2, [7]))];
    assert!(log.write(&writes).is_err());
    drop(log);
    let (_log, restored) = reopen(place.path());
    assert_eq!(restored.log.last(), at(1, 1));
    assert_eq!(restored.hard_state, hard_state(1, None));
}

#[test]
fn readers_see_each_write_at_once_from_any_thread() {
    let (_place, mut log) = new_log();
    let reader = log.reader();
    for index in 2..=20 {
        log.write(&[append(2, commands(2, [index]))]).unwrap();
        let reader = reader.clone();
        let range = LogIndex::new(index)..LogIndex::new(index + 1);
        let found = std::thread::spawn(move || reader.read(range, EVERYTHING));
        assert_eq!(unchained(found.join().unwrap().unwrap()), commands(2, [index]));
    }
    assert!(log.reader().bytes() > 0);
}

#[test]
fn an_empty_log_takes_no_more_of_a_large_disk_than_a_small_memtable() {
    let (place, log) = new_log();
    let files = place.path().join("log").read_dir().unwrap();
    let taken = files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum::<u64>();
    assert!(taken < 12 << 20, "{taken} bytes on the disk");
    drop(log);
}
