//! Room that is held for a full disk.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use crate::kit::{append, command, directory, found, node, reopen, settle};
use fixtures::SmallDisk;
use storage::{Reserve, Sizes, Space, StorageError};
use tempfile::tempdir;

const MIB: u64 = 1024 * 1024;

#[test]
fn it_is_really_allocated_for_its_owner_alone_and_given_back() {
    let place = tempdir().unwrap();
    let sizes = Sizes::on(24 * MIB);
    let reserve = Reserve::of(place.path(), sizes);
    assert_eq!(reserve.held_bytes(), 0);
    let before = Space::at(place.path()).unwrap().total_bytes;
    assert!(before > 100 * MIB, "this test needs some room");
    for _ in 0..2 {
        assert_eq!(reserve.make().unwrap(), sizes.reserve_bytes());
        assert_eq!(reserve.held_bytes(), sizes.reserve_bytes());
        assert_eq!(reserve.space().unwrap().reserve_bytes, sizes.reserve_bytes());
    }
    let file = fs::metadata(reserve.path()).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o600);
    assert!(file.blocks() * 512 >= sizes.reserve_bytes());
    for _ in 0..2 {
        reserve.give_back().unwrap();
        assert_eq!(reserve.held_bytes(), 0);
        assert!(!reserve.path().exists());
    }
}

#[test]
fn a_copy_without_its_blocks_holds_nothing_and_is_made_whole() {
    let place = tempdir().unwrap();
    let sizes = Sizes::on(24 * MIB);
    let reserve = Reserve::of(place.path(), sizes);
    // `cp --sparse`, tar and rsync make such ones; another disk had another size.
    let sparse = fs::File::create(reserve.path()).unwrap();
    sparse.set_len(2 * sizes.reserve_bytes()).unwrap();
    assert_eq!(reserve.held_bytes(), 0);
    reserve.make().unwrap();
    assert_eq!(reserve.held_bytes(), sizes.reserve_bytes());
    assert_eq!(fs::metadata(reserve.path()).unwrap().len(), sizes.reserve_bytes());
}

#[test]
fn a_link_in_its_place_leads_nowhere() {
    let place = tempdir().unwrap();
    let other = place.path().join("other");
    fs::write(&other, "precious").unwrap();
    let reserve = Reserve::of(place.path(), Sizes::on(24 * MIB));
    symlink(&other, reserve.path()).unwrap();
    assert!(reserve.make().is_err());
    reserve.give_back().unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"precious");
    assert!(!reserve.path().exists());
}

#[test]
fn where_there_is_no_room_for_it_nothing_is_held() {
    let place = tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(place.path(), 4) else { return };
    let reserve = Reserve::of(disk.path(), Sizes::at(disk.path()));
    let refused = reserve.make().unwrap_err();
    assert!(matches!(refused, StorageError::Full { .. }), "{refused}");
    assert_eq!(reserve.held_bytes(), 0);
    assert!(!reserve.path().exists());
}

#[test]
fn a_start_on_a_full_disk_gives_it_back_first_and_goes_on_writing() {
    let place = tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(place.path(), 24) else { return };
    let opened = found(disk.path());
    let (mut log, _) = storage::LogStore::open(&opened).unwrap();
    log.write(&[append(2, vec![command(2, 2, "before")])]).unwrap();
    drop((log, opened));
    settle(disk.path());
    let reserve = Reserve::of(disk.path(), Sizes::at(disk.path()));
    reserve.make().unwrap();
    disk.fill_up();

    let (mut log, restored) = reopen(disk.path());
    assert_eq!(restored.log.last().index.get(), 2);
    assert!(!reserve.path().exists());
    log.write(&[append(2, vec![command(2, 3, "after")])]).unwrap();
    drop(log);

    // Without it, everything stays as it is.
    disk.fill_up();
    let refused = directory(disk.path()).unwrap_err();
    assert!(matches!(refused, StorageError::Full { doing: "starting", .. }), "{refused}");
    disk.free();
    assert_eq!(directory(disk.path()).unwrap().node(), node(1));
    assert_eq!(reopen(disk.path()).1.log.last().index.get(), 3);
}
