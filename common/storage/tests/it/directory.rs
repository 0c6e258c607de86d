//! The data directory: whose it is, who may use it, and what its superblock survives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::corruption::copy_directory;
use crate::kit;
use crate::kit::{CLUSTER, directory, found, node, record, reopen};
use consensus::{EntryId, Incarnation, LogIndex, Term};
use protocol::Remembered;
use storage::{DataDirectory, Forgotten, LogStore, StorageError};
use tempfile::tempdir;

/// The size of one copy of the superblock.
const COPY_BYTES: usize = 130;

/// Where the second copy begins.
const SECOND_AT: usize = 4096;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Changes the superblock and says why the directory does not open then.
fn refused_after(change: impl Fn(&mut Vec<u8>)) -> StorageError {
    let place = tempdir().unwrap();
    drop(found(place.path()));
    let path = place.path().join("superblock");
    let mut bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), SECOND_AT + COPY_BYTES);
    change(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    directory(place.path()).unwrap_err()
}

#[test]
fn only_the_owner_may_enter_a_new_directory() {
    let place = tempdir().unwrap();
    let path = place.path().join("below/data");
    let _held = directory(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("superblock")), 0o600);
    assert_eq!(mode(&path.join("LOCK")), 0o600);
}

#[test]
fn a_second_user_is_told_which_process_has_it() {
    let place = tempdir().unwrap();
    let held = directory(place.path()).unwrap();
    let refused = directory(place.path()).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(&refused, StorageError::InUse { .. }));
    let text = refused.to_string();
    assert!(text.contains(&format!("is in use: raftd (pid {pid}) is running")), "{text}");
    drop(held);
    directory(place.path()).unwrap();
}

#[test]
fn a_lock_left_by_a_process_that_is_gone_is_no_hindrance() {
    let place = tempdir().unwrap();
    drop(directory(place.path()).unwrap());
    fs::write(place.path().join("LOCK"), "4194304999999\n").unwrap();
    drop(directory(place.path()).unwrap());
    let told = fs::read_to_string(place.path().join("LOCK")).unwrap();
    assert_eq!(told, format!("{}\n", std::process::id()), "the holder's pid, and nothing behind");
}

#[test]
fn another_node_is_refused_by_both_names() {
    let place = tempdir().unwrap();
    drop(directory(place.path()).unwrap());
    let refused = DataDirectory::open_or_create(place.path(), CLUSTER, node(2)).unwrap_err();
    assert!(matches!(refused, StorageError::Foreign { .. }));
    let cluster = "30313233343536373839616263646566";
    let expected = format!(
        "data directory {} belongs to node 1 of cluster {cluster}, \
         but the certificate says node 2 of cluster {cluster}",
        place.path().display()
    );
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn another_cluster_is_refused_by_both_ids() {
    let place = tempdir().unwrap();
    drop(directory(place.path()).unwrap());
    let refused = DataDirectory::open_or_create(place.path(), [0xee; 16], node(1)).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("belongs to node 1 of cluster 30313233"), "{text}");
    assert!(text.contains(&format!("says node 1 of cluster {}", "ee".repeat(16))), "{text}");
    directory(place.path()).unwrap();
}

#[test]
fn the_incarnation_is_the_same_after_each_opening() {
    let place = tempdir().unwrap();
    let first = directory(place.path()).unwrap().incarnation();
    for _ in 0..3 {
        assert_eq!(directory(place.path()).unwrap().incarnation(), first);
    }
}

#[test]
fn a_wiped_directory_has_another_incarnation() {
    let place = tempdir().unwrap();
    let path = place.path().join("data");
    let before = directory(&path).unwrap().incarnation();
    fs::remove_dir_all(&path).unwrap();
    let after = directory(&path).unwrap().incarnation();
    assert_ne!(before, after);
    assert_ne!(after, Incarnation::default());
}

#[test]
fn one_damaged_copy_of_the_superblock_is_survived() {
    let place = tempdir().unwrap();
    drop(found(place.path()));
    let path = place.path().join("superblock");
    let whole = fs::read(&path).unwrap();
    let copies = (0..COPY_BYTES).chain(SECOND_AT..SECOND_AT + COPY_BYTES);
    for at in copies {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let opened = directory(place.path()).unwrap();
        assert_eq!(opened.node(), node(1), "byte {at}");
        assert!(opened.bootstrap().unwrap().is_some(), "byte {at}");
    }
}

#[test]
fn two_damaged_copies_are_refused() {
    let damage = |bytes: &mut Vec<u8>| {
        bytes[20] ^= 1;
        bytes[SECOND_AT + 60] ^= 1;
    };
    let refused = refused_after(damage);
    let refused = refused.to_string();
    assert!(refused.ends_with("/superblock is damaged: wrong checksum"), "{refused}");
}

#[test]
fn a_superblock_of_no_or_too_few_bytes_is_refused() {
    for bytes_left in [0, 1, COPY_BYTES - 1] {
        let refused = refused_after(|bytes| bytes.truncate(bytes_left));
        let refused = refused.to_string();
        assert!(refused.ends_with("/superblock is damaged: wrong size"), "{refused} {bytes_left}");
    }
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let newer = |bytes: &mut Vec<u8>| {
        for at in [0, SECOND_AT] {
            let copy = &mut bytes[at..at + COPY_BYTES];
            copy[8] = 3;
            let checksum = crc32c::crc32c(&copy[..COPY_BYTES - 4]);
            copy[COPY_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        }
    };
    let refused = refused_after(newer);
    let expected = "the superblock has format 3, this build knows 2; start a newer raftd";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn a_log_without_a_superblock_is_nobodys() {
    let place = tempdir().unwrap();
    drop(found(place.path()));
    fs::remove_file(place.path().join("superblock")).unwrap();
    let refused = directory(place.path()).unwrap_err();
    let text = refused.to_string();
    assert!(text.ends_with("superblock is damaged: it is missing beside a log"), "{text}");
}

#[test]
fn a_new_directory_has_no_history_and_its_log_cannot_be_opened() {
    let place = tempdir().unwrap();
    let new = directory(place.path()).unwrap();
    assert_eq!(new.generation(), None);
    assert_eq!(new.bootstrap().unwrap(), None);
    assert!(matches!(LogStore::open(&new), Err(StorageError::Corrupt { .. })));
}

#[test]
fn the_founding_record_is_there_after_reopening() {
    let place = tempdir().unwrap();
    let expected = {
        let founded = found(place.path());
        record(founded.incarnation())
    };
    let opened = directory(place.path()).unwrap();
    assert_eq!(opened.generation(), Some(expected.generation()));
    assert_eq!(opened.bootstrap().unwrap(), Some(expected));
}

#[test]
fn founding_twice_is_the_same_and_founding_otherwise_is_refused() {
    let place = tempdir().unwrap();
    let mut directory = found(place.path());
    let same = record(directory.incarnation());
    LogStore::bootstrap(&mut directory, &same).unwrap();
    let mut other = same.clone();
    other.machine = "register".into();
    let refused = LogStore::bootstrap(&mut directory, &other).unwrap_err();
    let expected = format!(
        "this node belongs to generation {} already, not to {}",
        same.generation(),
        other.generation()
    );
    assert_eq!(refused.to_string(), expected);
    assert_eq!(directory.bootstrap().unwrap(), Some(same));
}

/// A crash between the first write of the log and the superblock leaves a node that is not
/// initialised, and the same bootstrap finishes what was begun.
#[test]
fn a_founding_that_was_cut_off_is_repeated_museum_h8() {
    let place = tempdir().unwrap();
    drop(directory(place.path()).unwrap());
    // What was opened here is a start of its own: the file before the founding is kept by a link.
    let (superblock, before) = (place.path().join("superblock"), place.path().join("before"));
    let opened = directory(place.path()).unwrap();
    fs::hard_link(&superblock, &before).unwrap();
    let founding = record(opened.incarnation());
    let mut opened = opened;
    LogStore::bootstrap(&mut opened, &founding).unwrap();
    drop(opened);
    fs::rename(&before, &superblock).unwrap();
    assert_eq!(directory(place.path()).unwrap().generation(), None);
    drop(found(place.path()));
    let (_log, restored) = reopen(place.path());
    assert_eq!(restored.log.last(), kit::at(1, 1));
}

#[test]
fn a_founding_record_of_which_both_copies_are_gone_is_noticed() {
    let place = tempdir().unwrap();
    let founded = found(place.path());
    let copies = ["bootstrap", "bootstrap-second"].map(|name| place.path().join(name));
    let mut other = record(founded.incarnation());
    other.machine_version = 7;
    let said = || {
        let error = founded.bootstrap().unwrap_err();
        assert!(matches!(error, StorageError::RecordLost { .. }), "{error:?}");
        error.to_string()
    };
    copies.iter().for_each(|copy| fs::write(copy, other.encode()).unwrap());
    let text = said();
    assert!(text.contains("it is not the record that the superblock names"), "{text}");
    copies.iter().for_each(|copy| fs::write(copy, b"").unwrap());
    assert!(said().ends_with("bootstrap is damaged: it is empty"), "{}", said());
    copies.iter().for_each(|copy| fs::remove_file(copy).unwrap());
    assert!(said().ends_with("bootstrap is damaged: it is missing"), "{}", said());
}

/// The node would go on with one copy, and nobody would hear of it.
#[test]
fn a_copy_of_the_founding_record_that_cannot_be_made_anew_is_told() {
    let place = tempdir().unwrap();
    drop(found(place.path()));
    let copy = place.path().join("bootstrap-second");
    fs::remove_file(&copy).unwrap();
    fs::create_dir(&copy).unwrap();
    let refused = directory(place.path()).unwrap_err();
    assert!(matches!(refused, StorageError::Io { .. }), "{refused:?}");
    fs::remove_dir(&copy).unwrap();
    directory(place.path()).unwrap();
    assert!(copy.is_file());
}

/// One of them cost a healthy node its start, for good.
#[test]
fn one_lost_copy_of_the_founding_record_is_survived_and_made_anew() {
    let place = tempdir().unwrap();
    let founded = found(place.path());
    let whole = founded.bootstrap().unwrap();
    drop(founded);
    for name in ["bootstrap", "bootstrap-second"] {
        let copy = place.path().join(name);
        let bytes = fs::read(&copy).unwrap();
        let zeros = vec![0; bytes.len()];
        for damage in [Some(&zeros[..]), Some(b""), Some(&bytes[1..]), None] {
            match damage {
                Some(damage) => fs::write(&copy, damage).unwrap(),
                None => fs::remove_file(&copy).unwrap(),
            }
            let opened = directory(place.path()).unwrap();
            assert_eq!(opened.bootstrap().unwrap(), whole, "{name}");
            assert_eq!(fs::read(&copy).unwrap(), bytes, "{name}");
        }
    }
}

#[test]
fn the_reset_key_is_the_same_after_each_opening_and_its_owners_alone() {
    let place = tempdir().unwrap();
    let path = place.path().join("data");
    let first = directory(&path).unwrap().reset_key().unwrap();
    assert_eq!(mode(&path.join("reset-key")), 0o600);
    assert_eq!(directory(&path).unwrap().reset_key().unwrap(), first);
    fs::remove_dir_all(&path).unwrap();
    assert_ne!(directory(&path).unwrap().reset_key().unwrap(), first, "a wiped one has another");
}

/// All that was said is that a file exists.
#[test]
fn a_link_to_what_is_not_mounted_is_named() {
    let place = tempdir().unwrap();
    let (link, target) = (place.path().join("link"), place.path().join("mnt/data"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let words = format!("is a symbolic link to {}, and nothing is there", target.display());
    for path in [link.clone(), link.join("n1")] {
        let said = directory(&path).unwrap_err().to_string();
        assert!(said.contains(&words), "{said}");
    }
}

#[test]
fn a_directory_without_a_whole_reset_key_gets_one() {
    let place = tempdir().unwrap();
    drop(found(place.path()));
    let path = place.path().join("reset-key");
    for contents in [None, Some(&b"short"[..]), Some(&[1; 33][..])] {
        match contents {
            None => fs::remove_file(&path).unwrap(),
            Some(contents) => fs::write(&path, contents).unwrap(),
        }
        let made = directory(place.path()).unwrap().reset_key().unwrap();
        assert_eq!(fs::read(&path).unwrap(), made);
        assert_eq!(directory(place.path()).unwrap().reset_key().unwrap(), made);
    }
}

#[test]
fn a_copy_gives_up_its_name_and_can_still_read_its_log() {
    let place = tempdir().unwrap();
    let (original, copied) = (place.path().join("a"), place.path().join("b"));
    drop(found(&original));
    let name = directory(&original).unwrap().incarnation();
    copy_directory(&original, &copied);
    let taken = directory(&copied).unwrap();
    assert_ne!(taken.incarnation(), name);
    let former = taken.former().expect("it is a copy");
    assert_eq!((former.incarnation, former.why), (name, Forgotten::Copied));
    let (log, restored) = LogStore::open(&taken).unwrap();
    assert!(restored.membership.latest().recognises(node(1), name));
    drop((log, taken));
    let again = directory(&copied).unwrap();
    assert_eq!(again.former(), Some(former), "it is no copy of itself, and still unknown");
    drop(again);
    assert_eq!(directory(&original).unwrap().incarnation(), name, "the original keeps its name");
}

#[test]
fn old_files_over_new_ones_are_a_copy_and_a_renamed_directory_is_none() {
    let place = tempdir().unwrap();
    let (here, there, old) =
        (place.path().join("a"), place.path().join("b"), place.path().join("old"));
    drop(found(&here));
    copy_directory(&here, &old);
    fs::rename(&here, &there).unwrap();
    assert_eq!(directory(&there).unwrap().former(), None);
    // Written into the files that are there.
    copy_directory(&old, &there);
    let why = directory(&there).unwrap().former().map(|former| former.why);
    assert_eq!(why, Some(Forgotten::Copied));
}

#[test]
fn starts_are_counted_and_each_has_a_number_of_its_own() {
    let place = tempdir().unwrap();
    let first = directory(place.path()).unwrap();
    let (starts, boot) = (first.starts(), first.boot());
    drop(first);
    let second = directory(place.path()).unwrap();
    assert_eq!((starts, second.starts()), (1, 2));
    assert_ne!(boot, second.boot());
}

#[test]
fn a_copy_is_adopted_before_and_after_its_first_start_and_nothing_else_is() {
    let place = tempdir().unwrap();
    let original = place.path().join("a");
    drop(found(&original));
    let name = directory(&original).unwrap().incarnation();
    for started in [false, true] {
        let copied = place.path().join(format!("copy-{started}"));
        copy_directory(&original, &copied);
        if started {
            assert_ne!(directory(&copied).unwrap().incarnation(), name);
        }
        assert_eq!(DataDirectory::adopt(&copied).unwrap(), name);
        let adopted = directory(&copied).unwrap();
        assert_eq!((adopted.incarnation(), adopted.former()), (name, None));
    }
    let refused = |path: &Path| DataDirectory::adopt(path).unwrap_err().to_string();
    assert!(refused(&original).contains("it is no copy"), "{}", refused(&original));
    let mut lost = directory(&original).unwrap();
    let new = lost.forget(Forgotten::LogEnd).unwrap();
    assert!(refused(&original).contains("is in use"), "{}", refused(&original));
    drop(lost);
    assert_eq!(directory(&original).unwrap().incarnation(), new);
    assert!(refused(&original).contains("its log has lost its end"), "{}", refused(&original));
    let copied = place.path().join("copy");
    copy_directory(&original, &copied);
    let twice = directory(&copied).unwrap().former().expect("it is a copy");
    assert_eq!((twice.incarnation, twice.why), (name, Forgotten::LogEnd), "that is not mended");
}

#[test]
fn what_the_members_have_promised_is_remembered_and_nothing_when_it_is_damaged() {
    let place = tempdir().unwrap();
    let peers = directory(place.path()).unwrap().peers();
    assert_eq!(peers.load().unwrap(), []);
    let known = Remembered {
        node: node(2),
        incarnation: Incarnation::new(7),
        starts: 3,
        boot: 9,
        term: Term::new(4),
        voted: Some(Term::new(2)),
        acknowledged: EntryId { term: Term::new(4), index: LogIndex::new(8) },
        kept: LogIndex::new(6),
    };
    peers.store(&[known, Remembered { voted: None, ..known }]).unwrap();
    assert_eq!(peers.load().unwrap(), [known, Remembered { voted: None, ..known }]);
    let file = place.path().join("peers");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(peers.load().unwrap_err().to_string().contains("wrong checksum"));
}
