//! Parts of a data directory that were put back from another time: whichever they are, either
//! nothing is missing, or the directory says so.

use std::fs;
use std::path::Path;

use crate::kit::{append, command, directory, found, reopen};
use storage::{Forgotten, LogStore, Loss, StoppedNode, StorageError};
use tempfile::{TempDir, tempdir};

/// What can be put back by itself.
const PARTS: [&str; 2] = ["log", "tail"];

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        // Into the file that is there, if there is one.
        fs::write(to, fs::read(from).unwrap()).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for child in fs::read_dir(from).unwrap().map(Result::unwrap) {
        copy(&child.path(), &to.join(child.file_name()));
    }
}

fn put_back(place: &Path, part: &str) {
    let (old, new) = (place.join("old").join(part), place.join("data").join(part));
    if new.is_dir() {
        fs::remove_dir_all(&new).unwrap();
    }
    copy(&old, &new);
}

/// A directory with entries 1 to 20, and what it was when it had 10, in the start before.
fn two_starts() -> TempDir {
    let place = tempdir().unwrap();
    let data = place.path().join("data");
    drop(found(&data));
    for (from, to) in [(2, 10), (11, 20)] {
        let (mut log, _) = reopen(&data);
        for index in from..=to {
            log.write(&[append(1, vec![command(1, index, "x")])]).unwrap();
        }
        drop(log);
        if to == 10 {
            copy(&data, &place.path().join("old"));
        }
    }
    place
}

fn verify(data: &Path) -> Result<(), StorageError> {
    StoppedNode::open(data)?.verify(|_, _, _| {}).map(drop)
}

#[test]
fn parts_of_an_earlier_start_are_noticed_together_and_each_alone() {
    for (parts, why, losses) in [
        (&PARTS[..0], None, false),
        (&["log"], None, true),
        (&["tail"], Some(Forgotten::OtherTime), false),
        (&PARTS, Some(Forgotten::OtherTime), false),
    ] {
        let place = two_starts();
        let data = place.path().join("data");
        parts.iter().for_each(|part| put_back(place.path(), part));
        let seen = verify(&data);
        assert_eq!(seen.is_err(), !parts.is_empty(), "{parts:?}: {seen:?}");
        let opened = directory(&data).unwrap();
        assert_eq!(opened.former().map(|former| former.why), why, "{parts:?}");
        let (_log, restored) = LogStore::open(&opened).unwrap();
        let found = &restored.condition.losses;
        assert_eq!(matches!(found[..], [Loss::End { .. }]), losses, "{parts:?}: {found:?}");
    }
}

#[test]
fn a_missing_tail_file_is_told_once_and_never_passed_over() {
    let place = two_starts();
    let data = place.path().join("data");
    fs::remove_file(data.join("tail")).unwrap();
    let told = verify(&data).unwrap_err().to_string();
    assert!(told.contains("the tail file is missing or damaged"), "{told}");
    let losses = || reopen(&data).1.condition.losses;
    assert_eq!(losses(), [Loss::Tail]);
    assert_eq!(losses(), [], "it is there again");
    verify(&data).unwrap();
}

/// The tail is signed before the superblock knows of the start.
#[test]
fn a_crash_between_tail_and_superblock_costs_no_name() {
    let place = two_starts();
    let data = place.path().join("data");
    let (superblock, kept) = (data.join("superblock"), place.path().join("kept"));
    // The same file, which no copy of it would be.
    fs::hard_link(&superblock, &kept).unwrap();
    let name = directory(&data).unwrap().incarnation();
    fs::rename(&kept, &superblock).unwrap();
    let again = directory(&data).unwrap();
    assert_eq!((again.incarnation(), again.former()), (name, None));
    assert!(LogStore::open(&again).unwrap().1.condition.is_whole());
}

#[test]
fn a_tail_of_a_format_before_is_refused_by_name() {
    let place = two_starts();
    let data = place.path().join("data");
    let mut tail = fs::read(data.join("tail")).unwrap();
    let now = tail[8];
    for format in 1..now {
        for slot in tail.chunks_mut(4096) {
            slot[8] = format;
        }
        fs::write(data.join("tail"), &tail).unwrap();
        let refused = directory(&data).unwrap_err();
        let wanted = u32::from(format);
        let named = matches!(refused, StorageError::NewerFormat { found, .. } if found == wanted);
        assert!(named, "{refused}");
    }
    assert!(now > 1, "there is a format before");
}

/// Opens the log's database as it is.
fn raw(data: &Path) -> rocksdb::DB {
    let (options, path) = (rocksdb::Options::default(), data.join("log"));
    let families = rocksdb::DB::list_cf(&options, &path).unwrap();
    rocksdb::DB::open_cf(&options, &path, families).unwrap()
}

/// Each of them is whole, and was written by this very node; the chain tells.
#[test]
fn an_entry_of_another_copy_of_the_log_is_no_part_of_this_one() {
    let place = two_starts();
    let (data, other) = (place.path().join("data"), place.path().join("other"));
    copy(&data, &other);
    for (path, text) in [(&data, "one"), (&other, "other")] {
        let (mut log, _) = reopen(path);
        for index in [21, 22] {
            log.write(&[append(1, vec![command(1, index, text)])]).unwrap();
        }
    }
    let theirs = |index: u64| {
        let db = raw(&other);
        let key = index.to_be_bytes();
        db.get_cf(db.cf_handle("log").unwrap(), key).unwrap().unwrap()
    };
    for (index, told) in [(21_u64, "log entry 2"), (22, "with chain value")] {
        let here = place.path().join(format!("with-{index}"));
        copy(&data, &here);
        let db = raw(&here);
        db.put_cf(db.cf_handle("log").unwrap(), index.to_be_bytes(), theirs(index)).unwrap();
        drop(db);
        let seen = verify(&here).unwrap_err().to_string();
        assert!(seen.contains(told), "{seen}");
        let opened = LogStore::open(&directory(&here).unwrap());
        assert!(opened.is_err() || !opened.unwrap().1.condition.damages.is_empty(), "{index}");
    }
}
