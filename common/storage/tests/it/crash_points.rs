//! Power cuts between any two calls: whatever of it has reached the disk, what was acknowledged is
//! there, and what was under way is as before or done.
//!
//! The process that works is this test binary again, behind a library that writes its calls down.

use std::path::Path;
use std::sync::Arc;

use crate::kit;
use crate::kit::image::new_place;
use crate::kit::power::{Contents, place, watch};
use crate::kit::snapshots::{apply, fill, header, open, pairs};
use crate::kit::{
    CLUSTER, append, at, command, directory, found, node, nothing, read, record, reopen, replace,
};
use consensus::{Incarnation, LogIndex, Term, Write};
use fixtures::tell;
use protocol::BootstrapRecord;
use state_machine::{Host, Kv};
use storage::{
    DataDirectory, Forgotten, LogStore, Restoration, RestoredLog, SnapshotFile, SnapshotReader,
    SnapshotWriter, StateStore,
};

/// Founds a cluster whose log ends at entry 3.
fn prepare(path: &Path) {
    let directory = found(path);
    let (mut log, _) = LogStore::open(&directory).unwrap();
    log.write(&[append(2, vec![command(2, 2, "two"), command(2, 3, "three")])]).unwrap();
}

/// Starts as a node does whose directory has forgotten nothing.
fn start(path: &Path) -> (DataDirectory, LogStore, RestoredLog) {
    let directory = directory(path).unwrap();
    assert_eq!(directory.former(), None);
    assert!(directory.bootstrap().unwrap().is_some());
    let (log, restored) = LogStore::open(&directory).unwrap();
    assert!(restored.condition.is_whole(), "{:?}", restored.condition);
    (directory, log, restored)
}

/// Starts with a log that was prepared; returns the entry that it ends at.
fn start_prepared(path: &Path) -> LogIndex {
    let (_directory, log, restored) = start(path);
    let last = restored.log.last().index;
    let entries = read(&log, 2, last.get()).unwrap();
    assert_eq!(entries[..2], [command(2, 2, "two"), command(2, 3, "three")]);
    last
}

/// Takes a snapshot of a state in another place that holds `value` up to an index.
fn snapshot(directory: &DataDirectory, to: u64, value: &str) -> SnapshotFile {
    let elsewhere = new_place();
    let mut host = apply(StateStore::open(elsewhere.path()).unwrap(), to, value);
    let checkpoint = host.with_store(StateStore::checkpoint).unwrap().unwrap();
    checkpoint.save(&open(directory), &header(directory, 1, to), |_| Ok(())).unwrap()
}

fn has(told: &[String], word: &str) -> bool {
    told.iter().any(|told| told == word)
}

/// Returns the number that was told behind a word.
fn number(told: &[String], word: &str) -> Option<u64> {
    told.iter().find_map(|told| told.strip_prefix(word)?.parse().ok())
}

#[test]
fn a_power_cut_while_a_cluster_is_founded_leaves_none_or_all_of_it() {
    const BELOW: &str = "mnt/raft/n1";
    if let Some(place) = place() {
        let mut directory = directory(&place.join(BELOW)).unwrap();
        tell(&format!("incarnation {}", directory.incarnation().get()));
        let record = record(directory.incarnation());
        LogStore::bootstrap(&mut directory, &record).unwrap();
        tell("founded");
        return;
    }
    let place = new_place();
    let name = "crash_points::a_power_cut_while_a_cluster_is_founded_leaves_none_or_all_of_it";
    let Some(trace) = watch(name, place.path(), true) else { return };
    trace.check(|path, told| {
        let path = path.join(BELOW);
        let again = directory(&path).unwrap();
        if let Some(incarnation) = number(told, "incarnation ") {
            assert_eq!(again.incarnation(), Incarnation::new(incarnation));
        }
        assert!(!has(told, "founded") || again.generation().is_some(), "it was acknowledged");
        drop(again);
        drop(found(&path));
        assert_eq!(start(&path).2.log.last(), at(1, 1));
    });
}

#[test]
fn a_power_cut_at_a_start_or_while_a_name_is_given_up_forgets_nothing_else() {
    if let Some(place) = place() {
        let mut directory = directory(&place).unwrap();
        tell(&format!("starts {}", directory.starts()));
        directory.forget(Forgotten::PeerKnowsMore).unwrap();
        tell(&format!("incarnation {}", directory.incarnation().get()));
        tell("is known");
        directory.is_known().unwrap();
        tell("known");
        return;
    }
    let place = new_place();
    prepare(place.path());
    let name =
        "crash_points::a_power_cut_at_a_start_or_while_a_name_is_given_up_forgets_nothing_else";
    let Some(trace) = watch(name, place.path(), true) else { return };
    trace.check(|path, told| {
        let mut again = directory(path).unwrap();
        assert!(again.starts() > number(told, "starts ").unwrap_or(0));
        if let Some(incarnation) = number(told, "incarnation ") {
            assert_eq!(again.incarnation(), Incarnation::new(incarnation));
            assert!(again.former().is_some() || has(told, "is known"));
        }
        assert!(!has(told, "known") || again.former().is_none());
        let why = again.former().map(|former| former.why);
        assert!([None, Some(Forgotten::PeerKnowsMore)].contains(&why), "{why:?}");
        again.is_known().unwrap();
        drop(again);
        assert_eq!(start_prepared(path).get(), 3);
    });
}

/// Whoever put a directory there need not have synced it.
#[test]
fn what_a_start_has_found_is_durable_when_it_goes_on() {
    if let Some(place) = place() {
        drop(directory(&place).unwrap());
        tell("started");
        return;
    }
    let place = new_place();
    prepare(place.path());
    let name = "crash_points::what_a_start_has_found_is_durable_when_it_goes_on";
    let Some(trace) = watch(name, place.path(), false) else { return };
    trace.check(|path, told| {
        if has(told, "started") {
            assert_eq!(start_prepared(path).get(), 3);
        }
    });
}

/// Writes a vote, an entry, and another one in its place; and that once more in the same term, as a
/// follower does it that has voted in that term before.
fn vote_and_write(path: &Path) {
    let (mut log, _) = reopen(path);
    tell("open");
    log.write(&[append(5, Vec::new())]).unwrap();
    tell("vote");
    log.write(&[Write { append: vec![command(5, 4, "four")], ..nothing() }]).unwrap();
    tell("entry");
    log.write(&[replace(6, 4, vec![command(6, 4, "another"), command(6, 5, "five")])]).unwrap();
    tell("cut");
    let again = replace(6, 5, vec![command(6, 5, "other")]);
    log.write(&[Write { hard_state: None, ..again }]).unwrap();
    tell("cut again");
}

#[test]
fn a_power_cut_while_the_log_is_written_takes_nothing_that_was_acknowledged() {
    if let Some(place) = place() {
        return vote_and_write(&place);
    }
    let place = new_place();
    prepare(place.path());
    let name =
        "crash_points::a_power_cut_while_the_log_is_written_takes_nothing_that_was_acknowledged";
    let Some(trace) = watch(name, place.path(), true) else { return };
    trace.check(|path, told| {
        let (_directory, log, restored) = start(path);
        let (last, term) = (restored.log.last(), restored.hard_state.term);
        let promised = [("vote", 5, at(2, 3)), ("entry", 5, at(5, 4)), ("cut", 6, at(6, 5))];
        for (word, promised, entry) in promised {
            assert!(!has(told, word) || term >= Term::new(promised), "{word}: {term}");
            assert!(!has(told, word) || last >= entry, "{word}: {last}");
        }
        assert_eq!(read(&log, 1, last.index.get()).unwrap().len() as u64, last.index.get());
    });
}

/// Term and vote have a second copy: a disk that loses what the log has synced is found out.
#[test]
fn a_log_that_lost_a_vote_is_noticed_after_a_power_cut_right_behind_it() {
    if let Some(place) = place() {
        return vote_and_write(&place);
    }
    let place = new_place();
    prepare(place.path());
    let name = "crash_points::a_log_that_lost_a_vote_is_noticed_after_a_power_cut_right_behind_it";
    let Some(mut trace) = watch(name, place.path(), true) else { return };
    let mut before = trace.at("open", Contents::Lost);
    for word in ["vote", "entry", "cut", "cut again"] {
        let now = trace.at(word, Contents::Lost);
        let lied = now.with_directory_of("log", &before).write();
        before = now;
        let (_, restored) = LogStore::open(&directory(lied.path()).unwrap()).unwrap();
        // An entry alone is noted a little later.
        let is_noticed = word == "entry" || !restored.condition.losses.is_empty();
        assert!(is_noticed, "{word}");
    }
}

/// What is noted behind a vote goes to another place of the tail file than the vote's.
#[test]
fn a_log_that_lost_a_vote_is_noticed_though_the_note_behind_the_vote_is_torn() {
    if let Some(place) = place() {
        return vote_and_write(&place);
    }
    let place = new_place();
    prepare(place.path());
    let name =
        "crash_points::a_log_that_lost_a_vote_is_noticed_though_the_note_behind_the_vote_is_torn";
    let Some(mut trace) = watch(name, place.path(), true) else { return };
    let before = trace.at("open", Contents::Lost);
    let lied = trace.at("entry", Contents::Torn).with_directory_of("log", &before).write();
    let (_, restored) = LogStore::open(&directory(lied.path()).unwrap()).unwrap();
    assert!(!restored.condition.losses.is_empty(), "{restored:?}");
    assert_eq!(restored.hard_state.term, Term::new(5), "the vote's");
}

#[test]
fn a_power_cut_while_a_log_is_made_anew_leaves_the_old_one_or_the_new_one() {
    if let Some(place) = place() {
        let directory = directory(&place).unwrap();
        for _ in 0..2 {
            std::fs::write(place.join("log-damaged"), "something").unwrap();
            drop(LogStore::open(&directory).unwrap());
        }
        return;
    }
    let place = new_place();
    prepare(place.path());
    let name =
        "crash_points::a_power_cut_while_a_log_is_made_anew_leaves_the_old_one_or_the_new_one";
    let Some(trace) = watch(name, place.path(), true) else { return };
    trace.check(|path, _| assert_eq!(start_prepared(path).get(), 3));
}

#[test]
fn a_power_cut_while_a_node_begins_anew_leaves_one_that_goes_on_with_that() {
    if let Some(place) = place() {
        let mut directory = directory(&place).unwrap();
        directory.forget(Forgotten::LogLost).unwrap();
        tell("forgotten");
        directory.begin_anew().unwrap();
        tell("begun");
        let record = record(directory.incarnation());
        LogStore::join(&mut directory, &record).unwrap();
        tell("joined");
        return;
    }
    let place = new_place();
    prepare(place.path());
    drop(apply(StateStore::open(place.path()).unwrap(), 3, "old"));
    let name =
        "crash_points::a_power_cut_while_a_node_begins_anew_leaves_one_that_goes_on_with_that";
    let Some(trace) = watch(name, place.path(), true) else { return };
    trace.check(|path, told| {
        let mut again = directory(path).unwrap();
        assert!(!has(told, "forgotten") || again.former().is_some());
        if again.former().is_none() {
            drop(again);
            assert_eq!(start_prepared(path).get(), 3);
            return;
        }
        let had_begun = path.join("set-aside").exists();
        let is_empty = again.generation().is_none();
        assert!(!has(told, "begun") || is_empty || path.join("log").exists());
        if again.generation().is_some() && !has(told, "begun") {
            assert_eq!(again.is_half_moved(), had_begun && !path.join("log").exists());
            again.begin_anew().unwrap();
        }
        if has(told, "begun") || !is_empty {
            for name in ["log", "tail", "state"] {
                assert!(path.join("set-aside").join(name).exists(), "{name} is lost");
            }
        }
        let record = record(again.incarnation());
        if again.generation().is_none() {
            LogStore::join(&mut again, &record).unwrap();
        }
        let (_, restored) = LogStore::open(&again).unwrap();
        assert!(restored.condition.is_whole(), "{:?}", restored.condition);
    });
}

#[test]
fn a_power_cut_while_a_state_is_replaced_leaves_the_old_one_or_the_new_one() {
    if let Some(place) = place() {
        let mut state = StateStore::open(&place).unwrap();
        let mut reader = SnapshotReader::open(&place.join("new.snap")).unwrap();
        state.replace_from(&mut reader).unwrap();
        tell("replaced");
        return;
    }
    let place = new_place();
    let directory = found(place.path());
    let file = snapshot(&directory, 50, "new");
    std::fs::rename(file.path, place.path().join("new.snap")).unwrap();
    let mut host = apply(StateStore::open(place.path()).unwrap(), 20, "old");
    host.with_store(|state| state.flush_later().run()).unwrap().unwrap();
    drop((host, directory));
    let name =
        "crash_points::a_power_cut_while_a_state_is_replaced_leaves_the_old_one_or_the_new_one";
    let Some(trace) = watch(name, place.path(), true) else { return };
    trace.check(|path, told| {
        let host = Host::open(StateStore::open(path).unwrap(), Arc::new(Kv)).unwrap();
        let applied = host.applied().index.get();
        assert!(applied == 50 || applied == 20 && !has(told, "replaced"), "{applied}");
    });
}

/// Fills an empty directory with a snapshot that lies above it.
fn restore(path: &Path) {
    let restoration = Restoration::begin(&path.join("n1"), CLUSTER, node(1)).unwrap();
    let mut reader = SnapshotReader::open(&path.join("old.snap")).unwrap();
    let parent = Some(reader.header().generation);
    let record = BootstrapRecord { parent, ..record(restoration.incarnation()) };
    restoration.fill(&record, &mut reader).unwrap();
}

#[test]
fn a_power_cut_while_a_directory_is_restored_leaves_an_empty_one_or_a_full_one() {
    if let Some(place) = place() {
        restore(&place);
        tell("restored");
        return;
    }
    let (place, elsewhere) = (new_place(), new_place());
    let directory = found(elsewhere.path());
    let file = snapshot(&directory, 50, "old");
    std::fs::rename(file.path, place.path().join("old.snap")).unwrap();
    let name =
        "crash_points::a_power_cut_while_a_directory_is_restored_leaves_an_empty_one_or_a_full_one";
    let Some(trace) = watch(name, place.path(), true) else { return };
    trace.check(|path, told| {
        let again = kit::directory(&path.join("n1")).unwrap();
        let is_full = again.generation().is_some();
        assert!(is_full || !has(told, "restored"));
        drop(again);
        if !is_full {
            restore(path);
        }
        assert_eq!(start(&path.join("n1")).2.log.last(), at(2, 51));
        let state = StateStore::open(&path.join("n1")).unwrap();
        assert_eq!(Host::open(state, Arc::new(Kv)).unwrap().applied(), at(1, 50));
    });
}

#[test]
fn a_power_cut_while_snapshots_are_written_and_received_leaves_whole_ones_only() {
    if let Some(place) = place() {
        let directory = directory(&place).unwrap();
        let snapshots = open(&directory);
        let mut writer = snapshots.create(&header(&directory, 1, 8)).unwrap();
        fill(&mut writer, &pairs(3, 1_000));
        writer.finish().unwrap();
        tell("8");
        let sent = place.join("sent.snap");
        let mut receiver = snapshots.receive(SnapshotReader::open(&sent).unwrap().id()).unwrap();
        let bytes = std::fs::read(sent).unwrap();
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        receiver.write(0, first).unwrap();
        receiver.write(first.len() as u64, rest).unwrap();
        receiver.finish().unwrap();
        tell("9");
        return;
    }
    let place = new_place();
    let directory_before = found(place.path());
    let header = header(&directory_before, 1, 9);
    let mut writer = SnapshotWriter::create(&place.path().join("sent.snap"), &header).unwrap();
    fill(&mut writer, &pairs(3, 1_000));
    writer.finish().unwrap();
    drop(directory_before);
    let name =
        "crash_points::a_power_cut_while_snapshots_are_written_and_received_leaves_whole_ones_only";
    let Some(trace) = watch(name, place.path(), true) else { return };
    trace.check(|path, told| {
        let directory = directory(path).unwrap();
        let snapshots = open(&directory);
        let (files, wrong) = snapshots.list().unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
        for file in &files {
            SnapshotReader::open(&file.path).unwrap().verify(|_| {}).unwrap();
        }
        for word in told {
            let is_it = |index: u64| index.to_string() == *word;
            assert!(files.iter().any(|file| is_it(file.header.meta.last.index.get())), "{word}");
        }
    });
}
