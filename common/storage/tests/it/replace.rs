//! The state is photographed while it changes, and replaced as a whole: a crash at any point leaves
//! the old one or the new one.

use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::kit;
use crate::kit::found;
use crate::kit::snapshots::{apply, header, open};
use state_machine::{Host, Kv, KvQuery, KvResponse, QueryView};
use storage::{DataDirectory, SnapshotFile, SnapshotReader, StateStore, StorageError};
use tempfile::tempdir;

fn get(view: &QueryView, index: u64) -> Option<String> {
    let key = format!("k{index}").into();
    match KvResponse::decode(&view.query(&KvQuery::Get { key }.encode()).unwrap()).unwrap() {
        KvResponse::Value { value, .. } => Some(String::from_utf8(value.to_vec()).unwrap()),
        _ => None,
    }
}

/// Takes a snapshot of a state in another place that holds `value` up to an index.
fn snapshot(directory: &DataDirectory, to: u64, value: &str) -> SnapshotFile {
    let elsewhere = tempdir().unwrap();
    let mut host = apply(StateStore::open(elsewhere.path()).unwrap(), to, value);
    let checkpoint = host.with_store(StateStore::checkpoint).unwrap().unwrap();
    checkpoint.save(&open(directory), &header(directory, 1, to), |_| Ok(())).unwrap()
}

fn replace(host: &mut Host<StateStore>, file: &SnapshotFile) {
    let mut reader = SnapshotReader::open(&file.path).unwrap();
    host.with_store(|store| store.replace_from(&mut reader)).unwrap().unwrap();
}

fn states(path: &Path) -> Vec<String> {
    let names = path.read_dir().unwrap().map(|child| child.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("state"));
    names.sort();
    names
}

#[test]
fn a_checkpoint_shows_one_moment_while_the_state_changes() {
    let place = tempdir().unwrap();
    let mut host = apply(StateStore::open(place.path()).unwrap(), 100, "old");
    let checkpoint = host.with_store(StateStore::checkpoint).unwrap().unwrap();
    let host = apply_more(host, 300, "new");
    let seen = std::thread::spawn(move || {
        let mut keys = 0;
        checkpoint
            .for_each(|_, _| {
                keys += 1;
                Ok(())
            })
            .unwrap();
        keys
    });
    assert_eq!(seen.join().unwrap(), 100 + 1, "the keys and the record of what is applied");
    assert_eq!(get(&host.view(), 300).as_deref(), Some("new"));
    assert_eq!(place.path().join("checkpoints").read_dir().unwrap().count(), 0, "it is gone");
}

fn apply_more(host: Host<StateStore>, to: u64, value: &str) -> Host<StateStore> {
    let mut host = host;
    let from = host.applied().index.get() + 1;
    for index in from..=to {
        let entry = kit::snapshots::put(1, index, &format!("k{index}"), value);
        host.apply(&[entry]).unwrap();
    }
    host
}

#[test]
fn a_state_is_replaced_as_a_whole_and_old_views_stay_good() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let file = snapshot(&directory, 50, "new");
    let mut host = apply(StateStore::open(place.path()).unwrap(), 20, "old");
    let old = host.view();
    replace(&mut host, &file);
    assert_eq!(host.applied().index.get(), 50);
    assert_eq!(get(&host.view(), 50).as_deref(), Some("new"));
    assert_eq!((get(&old, 20).as_deref(), get(&old, 50)), (Some("old"), None));
    assert_eq!(states(place.path()), ["state", "state-1", "state-current"]);
    drop(old);
    assert_eq!(states(place.path()), ["state-1", "state-current"]);
    drop(host);
    let host = Host::open(StateStore::open(place.path()).unwrap(), Arc::new(Kv)).unwrap();
    assert_eq!(host.applied().index.get(), 50, "it was durable at once");
}

/// Where the writer writes; set for the writer only.
const WRITER: &str = "STORAGE_TEST_REPLACER";

/// The test's name, by which the binary is asked to run nothing else.
const TEST: &str = "replace::a_killed_restore_leaves_the_old_state_or_the_new_one";

/// The snapshots that take each other's place, and what each holds as a value.
const STATES: [(u64, &str); 2] = [(900, "one"), (1_300, "two")];

/// Replaces the state for ever, tells when it begins and when it has done so.
fn replace_for_ever(path: &Path) -> ! {
    let directory = kit::directory(path).unwrap();
    let (files, _) = open(&directory).list().unwrap();
    let mut state = StateStore::open(path).unwrap();
    let mut out = std::io::stdout().lock();
    // The newest comes first in the list, and last here.
    for (turn, file) in files.iter().rev().cycle().enumerate() {
        writeln!(out, "begun {turn}").unwrap();
        out.flush().unwrap();
        state.replace_from(&mut SnapshotReader::open(&file.path).unwrap()).unwrap();
        writeln!(out, "done {turn}").unwrap();
        out.flush().unwrap();
    }
    unreachable!("the list is not empty");
}

/// Lets a writer work until some moments after it has told so many things, kills it, and returns
/// the last things that it told: the turns that were begun and done.
fn kill_after(path: &Path, lines: usize, then_us: u64) -> (usize, Option<usize>) {
    let mut writer = Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(WRITER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(writer.stdout.take().unwrap());
    let (mut begun, mut done, mut seen) = (0, None, 0);
    for line in out.lines() {
        let line = line.unwrap();
        if let Some((_, turn)) = line.split_once("begun ") {
            begun = turn.parse().unwrap();
        } else if let Some((_, turn)) = line.split_once("done ") {
            done = Some(turn.parse().unwrap());
        } else {
            // The test harness talks too.
            continue;
        }
        seen += 1;
        if seen == lines {
            std::thread::sleep(Duration::from_micros(then_us));
            writer.kill().unwrap();
        }
    }
    writer.wait().unwrap();
    (begun, done)
}

#[test]
fn a_killed_restore_leaves_the_old_state_or_the_new_one() {
    if let Some(path) = env::var_os(WRITER) {
        replace_for_ever(Path::new(&path));
    }
    let place = tempdir().unwrap();
    let directory = found(place.path());
    for (to, value) in STATES {
        snapshot(&directory, to, value);
    }
    drop(directory);
    let mut before = 0;
    for round in 0..24 {
        let lines = 1 + (round * 7 % 5) as usize;
        let (begun, done) = kill_after(place.path(), lines, round * round * 211);
        let state = StateStore::open(place.path()).unwrap();
        let host = Host::open(state, Arc::new(Kv)).unwrap();
        let applied = host.applied().index.get();
        // What was told to be done is in force, or else what was begun then.
        let after = |turn: usize| STATES[turn % 2].0;
        let allowed = [done.map_or(before, after), after(begun)];
        assert!(allowed.contains(&applied), "round {round}: {applied}, not {allowed:?}");
        if let Some((to, value)) = STATES.iter().find(|(to, _)| *to == applied) {
            for index in 1..=*to {
                assert_eq!(get(&host.view(), index).as_deref(), Some(*value), "round {round}");
            }
        }
        assert!(states(place.path()).len() <= 2, "{:?}", states(place.path()));
        before = applied;
    }
    assert_ne!(before, 0, "some were done");
}

/// Copies a directory, as a crash at this moment would leave it.
fn freeze(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for child in from.read_dir().unwrap().map(Result::unwrap) {
        let target = to.join(child.file_name());
        if child.file_type().unwrap().is_dir() {
            freeze(&child.path(), &target);
        } else {
            std::fs::copy(child.path(), target).unwrap();
        }
    }
}

fn applied(path: &Path) -> u64 {
    let state = StateStore::open(path).unwrap();
    Host::open(state, Arc::new(Kv)).unwrap().applied().index.get()
}

#[test]
fn each_step_of_a_restore_may_be_the_last() {
    let (place, copies) = (tempdir().unwrap(), tempdir().unwrap());
    let directory = found(place.path());
    let file = snapshot(&directory, 50, "new");
    let mut host = apply(StateStore::open(place.path()).unwrap(), 20, "old");
    host.persist().unwrap();
    let old = host.view();
    replace(&mut host, &file);
    drop(directory);
    let copy = |name: &str| {
        let copy = copies.path().join(name);
        freeze(place.path(), &copy);
        copy
    };
    // The new one is filled and not yet named; then half filled; then its name is half written.
    let filled = copy("filled");
    std::fs::remove_file(filled.join("state-current")).unwrap();
    let half = copy("half");
    std::fs::remove_file(half.join("state-current")).unwrap();
    std::fs::remove_file(half.join("state-1/CURRENT")).unwrap();
    let unnamed = copy("unnamed");
    std::fs::rename(unnamed.join("state-current"), unnamed.join("state-current.new")).unwrap();
    for crashed in [filled, half, unnamed] {
        assert_eq!(applied(&crashed), 20, "{}", crashed.display());
        assert!(!states(&crashed).contains(&"state-1".to_owned()));
    }
    // It is named, and the old one is still there; then half removed.
    let named = copy("named");
    let removed = copy("removed");
    std::fs::remove_file(removed.join("state/CURRENT")).unwrap();
    for crashed in [named, removed] {
        assert_eq!(applied(&crashed), 50, "{}", crashed.display());
        assert_eq!(states(&crashed), ["state-1", "state-current"]);
    }
    drop(old);
}

#[test]
fn a_damaged_snapshot_changes_nothing_museum_h9() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let file = snapshot(&directory, 50, "new");
    let bytes = std::fs::read(&file.path).unwrap();
    let mut host = apply(StateStore::open(place.path()).unwrap(), 20, "old");
    for cut in [bytes.len() - 1, bytes.len() / 2] {
        std::fs::write(&file.path, &bytes[..cut]).unwrap();
        let mut reader = SnapshotReader::open(&file.path).unwrap();
        let done = host.with_store(|store| store.replace_from(&mut reader)).unwrap();
        assert!(matches!(done, Err(StorageError::Corrupt { .. })));
        assert_eq!((host.applied().index.get(), states(place.path()).len()), (20, 1));
        assert_eq!(get(&host.view(), 20).as_deref(), Some("old"));
    }
}

#[test]
fn a_lost_or_damaged_name_of_the_state_in_force_is_told() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let file = snapshot(&directory, 50, "new");
    let mut host = apply(StateStore::open(place.path()).unwrap(), 20, "old");
    replace(&mut host, &file);
    drop(host);
    let current = place.path().join("state-current");
    let bytes = std::fs::read(&current).unwrap();
    let refused = || match StateStore::open(place.path()) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    };
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 2;
        std::fs::write(&current, damaged).unwrap();
        assert!(refused().contains("state-current is damaged"), "byte {at}: {}", refused());
    }
    std::fs::remove_file(&current).unwrap();
    assert!(refused().contains("it is missing beside a state"), "{}", refused());
    std::fs::write(&current, bytes).unwrap();
    assert_eq!(applied(place.path()), 50);
}

#[test]
fn checkpoints_that_a_crash_left_are_removed() {
    let place = tempdir().unwrap();
    let mut host = apply(StateStore::open(place.path()).unwrap(), 20, "old");
    let checkpoint = host.with_store(StateStore::checkpoint).unwrap().unwrap();
    std::mem::forget(checkpoint);
    drop(host);
    assert_eq!(place.path().join("checkpoints").read_dir().unwrap().count(), 1);
    assert_eq!(applied(place.path()), 20);
    assert!(!place.path().join("checkpoints").exists());
}

#[test]
fn a_pointer_that_was_not_put_in_force_is_removed_at_the_next_start() {
    let place = tempdir().unwrap();
    drop(StateStore::open(place.path()).unwrap());
    let aside = place.path().join("state-current.new");
    std::fs::write(&aside, b"state-14 ").unwrap();
    drop(StateStore::open(place.path()).unwrap());
    assert!(!aside.exists());
}
