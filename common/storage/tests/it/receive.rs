//! Receiving a snapshot: in order, checked chunk by chunk, gone on with after a crash (museum G11).

use std::fs;

use crate::kit;
use crate::kit::found;
use crate::kit::snapshots::{fill, header, newest_valid, open, pairs};
use proptest::prelude::Strategy;
use proptest::test_runner::Config;
use proptest::{collection, prop_assert, prop_assert_eq, prop_oneof, proptest};
use storage::{DataDirectory, SnapshotFile, SnapshotId, Snapshots, StorageError};
use tempfile::{TempDir, tempdir};

/// A receiver's directory, and a snapshot of several chunks that a sender of the same history has.
struct World {
    _places: (TempDir, TempDir),
    directory: DataDirectory,
    snapshots: Snapshots,
    sent: SnapshotFile,
    bytes: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let (sender, receiver) = (tempdir().unwrap(), tempdir().unwrap());
        let directory = found(receiver.path());
        let path = sender.path().join("a.snap");
        let mut writer = storage::SnapshotWriter::create(&path, &header(&directory, 1, 9)).unwrap();
        fill(&mut writer, &pairs(30, 100_000));
        let sent = writer.finish().unwrap();
        let (bytes, snapshots) = (fs::read(&sent.path).unwrap(), open(&directory));
        Self { _places: (sender, receiver), directory, snapshots, sent, bytes }
    }

    fn id(&self) -> SnapshotId {
        self.sent.id
    }
}

#[test]
fn pieces_of_any_size_make_the_same_file() {
    for size in [1_000, 65_536, 3_000_000, 10_000_000] {
        let world = World::new();
        let mut receiver = world.snapshots.receive(world.id()).unwrap();
        let mut next = 0;
        while next < world.bytes.len() {
            assert!(!receiver.is_whole());
            let end = world.bytes.len().min(next + size);
            next = receiver.write(next as u64, &world.bytes[next..end]).unwrap() as usize;
        }
        assert!(receiver.is_whole());
        let file = receiver.finish().unwrap();
        assert_eq!(fs::read(&file.path).unwrap(), world.bytes);
        assert_eq!(newest_valid(&world.snapshots), Some(file));
        assert_eq!(fs::read_dir(world.snapshots.path()).unwrap().count(), 1);
    }
}

#[test]
fn behind_a_gap_nothing_is_taken_and_what_is_known_is_skipped_museum_g11() {
    let world = World::new();
    let mut receiver = world.snapshots.receive(world.id()).unwrap();
    assert_eq!(receiver.write(5_000, &world.bytes[5_000..6_000]).unwrap(), 0);
    assert_eq!(receiver.write(0, &world.bytes[..4_000]).unwrap(), 4_000);
    assert_eq!(receiver.write(5_000, &world.bytes[5_000..6_000]).unwrap(), 4_000);
    assert_eq!(receiver.write(0, &world.bytes[..3_000]).unwrap(), 4_000);
    assert_eq!(receiver.write(3_000, &world.bytes[3_000..9_000]).unwrap(), 9_000);
}

#[test]
fn after_a_crash_it_goes_on_where_the_last_whole_chunk_ended() {
    let world = World::new();
    let mut receiver = world.snapshots.receive(world.id()).unwrap();
    let half = world.bytes.len() / 2;
    receiver.write(0, &world.bytes[..half]).unwrap();
    drop(receiver);
    let snapshots = open(&world.directory);
    let mut receiver = snapshots.receive(world.id()).unwrap();
    let offset = receiver.offset() as usize;
    assert!(offset > 1_000_000 && offset <= half, "{offset}");
    assert_eq!(receiver.header().unwrap(), &world.sent.header);
    receiver.write(offset as u64, &world.bytes[offset..]).unwrap();
    let file = receiver.finish().unwrap();
    assert_eq!(fs::read(&file.path).unwrap(), world.bytes);
}

#[test]
fn what_a_power_cut_damaged_comes_again() {
    let world = World::new();
    let mut receiver = world.snapshots.receive(world.id()).unwrap();
    receiver.write(0, &world.bytes[..3_000_000]).unwrap();
    drop(receiver);
    let part = fs::read_dir(world.snapshots.path()).unwrap().next().unwrap().unwrap().path();
    for (at, least) in [(2_500_000, 2_000_000), (1_500_000, 1_000_000), (60, 0)] {
        let mut bytes = fs::read(&part).unwrap();
        bytes[at..].fill(0);
        fs::write(&part, bytes).unwrap();
        let receiver = world.snapshots.receive(world.id()).unwrap();
        let offset = receiver.offset() as usize;
        assert!(least <= offset && offset <= at, "{offset}");
    }
}

#[test]
fn another_snapshot_takes_the_place_of_a_partial_one() {
    let world = World::new();
    let mut receiver = world.snapshots.receive(world.id()).unwrap();
    receiver.write(0, &world.bytes[..2_000_000]).unwrap();
    drop(receiver);
    let other = SnapshotId::new([1; 32]);
    assert_eq!(world.snapshots.receive(other).unwrap().offset(), 0);
    assert_eq!(world.snapshots.receive(world.id()).unwrap().offset(), 0, "it is gone");
}

#[test]
fn damage_on_the_way_is_found_and_only_its_chunk_comes_again() {
    let world = World::new();
    let mut receiver = world.snapshots.receive(world.id()).unwrap();
    let mut damaged = world.bytes.clone();
    damaged[2_500_000] ^= 1;
    let error = receiver.write(0, &damaged).unwrap_err().to_string();
    assert!(error.contains("chunk 2 at byte") && error.contains("checksum"), "{error}");
    let offset = receiver.offset() as usize;
    assert!((2_000_000..2_500_000).contains(&offset), "{offset}");
    receiver.write(offset as u64, &world.bytes[offset..]).unwrap();
    receiver.finish().unwrap();
}

#[test]
fn an_unfinished_snapshot_gets_no_name() {
    let world = World::new();
    let mut receiver = world.snapshots.receive(world.id()).unwrap();
    receiver.write(0, &world.bytes[..world.bytes.len() - 1]).unwrap();
    assert!(receiver.finish().is_err());
    assert_eq!(world.snapshots.list().unwrap().0, []);
    let receiver = world.snapshots.receive(world.id()).unwrap();
    assert!(receiver.finish().is_err(), "an empty one neither");
}

#[test]
fn a_snapshot_of_another_history_or_with_another_name_is_refused_at_its_header() {
    let world = World::new();
    let foreign = tempdir().unwrap();
    let path = foreign.path().join("a.snap");
    let header = kit::snapshots::any_header(1, 9);
    let mut writer = storage::SnapshotWriter::create(&path, &header).unwrap();
    fill(&mut writer, &pairs(1, 1));
    writer.finish().unwrap();
    let bytes = fs::read(&path).unwrap();
    let mut receiver = world.snapshots.receive(header.id()).unwrap();
    let error = receiver.write(0, &bytes).unwrap_err();
    assert!(matches!(error, StorageError::ForeignSnapshot { .. }), "{error}");
    assert_eq!(receiver.offset(), 0);
    let mut receiver = world.snapshots.receive(SnapshotId::new([1; 32])).unwrap();
    let error = receiver.write(0, &world.bytes).unwrap_err().to_string();
    assert!(error.contains("not the announced"), "{error}");
}

/// What happens to a transfer.
#[derive(Clone, Debug)]
enum Step {
    /// The sender sends so many bytes from where it believes the receiver is, or a little off.
    Send { bytes: usize, off: i64 },
    /// A bit is flipped on the way.
    Damaged { bytes: usize, at: usize },
    /// The receiver starts again, and has lost so many of the last bytes.
    Crash { lost: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = 1_usize..900_000;
    prop_oneof![
        4 => bytes.clone().prop_map(|bytes| Step::Send { bytes, off: 0 }),
        2 => (bytes.clone(), -5_000_i64..5_000).prop_map(|(bytes, off)| Step::Send { bytes, off }),
        1 => (bytes, 0_usize..900_000).prop_map(|(bytes, at)| Step::Damaged { bytes, at }),
        1 => (0_u64..2_000_000).prop_map(|lost| Step::Crash { lost }),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 24, failure_persistence: None, ..Config::default() })]

    #[test]
    fn however_it_goes_the_file_is_the_senders(steps in collection::vec(step(), 1..40)) {
        let world = World::new();
        let mut receiver = world.snapshots.receive(world.id()).unwrap();
        for step in steps {
            let here = receiver.offset();
            match step {
                Step::Send { bytes, off } => {
                    let from = here.saturating_add_signed(off).min(world.bytes.len() as u64);
                    let end = world.bytes.len().min(from as usize + bytes);
                    let next = receiver.write(from, &world.bytes[from as usize..end]).unwrap();
                    prop_assert_eq!(next, if from > here { here } else { here.max(end as u64) });
                }
                Step::Damaged { bytes, at } => {
                    let end = world.bytes.len().min(here as usize + bytes);
                    let mut piece = world.bytes[here as usize..end].to_vec();
                    let Some(byte) = piece.get_mut(at) else { continue };
                    *byte ^= 4;
                    // Found now, or with the rest of its chunk.
                    let _ = receiver.write(here, &piece);
                    drop(receiver);
                    receiver = world.snapshots.receive(world.id()).unwrap();
                    prop_assert!(receiver.offset() <= here + at as u64);
                }
                Step::Crash { lost } => {
                    drop(receiver);
                    let path = world.snapshots.path().join(format!("{}.part", world.id()));
                    let file = fs::File::options().write(true).open(path).unwrap();
                    file.set_len(file.metadata().unwrap().len().saturating_sub(lost)).unwrap();
                    receiver = world.snapshots.receive(world.id()).unwrap();
                    prop_assert!(receiver.offset() <= here);
                }
            }
        }
        let here = receiver.offset() as usize;
        receiver.write(here as u64, &world.bytes[here..]).unwrap();
        prop_assert_eq!(fs::read(receiver.finish().unwrap().path).unwrap(), world.bytes);
    }
}
