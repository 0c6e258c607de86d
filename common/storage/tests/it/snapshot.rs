//! Snapshot files: the bytes, what is found in them when they are damaged, and the directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kit::snapshots::{any_header, fill, header, newest_valid, open, pairs};
use crate::kit::{at, found};
use consensus::LogIndex;
use proptest::prelude::any;
use proptest::test_runner::Config;
use proptest::{collection, prop_assert, prop_assert_eq, proptest};
use storage::{
    CHUNK_BYTES_MAX, SnapshotHeader, SnapshotReader, SnapshotTotals, SnapshotWriter, StorageError,
};
use tempfile::{TempDir, tempdir};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Writes a snapshot of these pairs and returns its bytes.
fn written(place: &Path, header: &SnapshotHeader, pairs: &[(Vec<u8>, Vec<u8>)]) -> PathBuf {
    let path = place.join("a.snap");
    let mut writer = SnapshotWriter::create(&path, header).unwrap();
    fill(&mut writer, pairs);
    let file = writer.finish().unwrap();
    assert_eq!(file.bytes, fs::metadata(&path).unwrap().len());
    path
}

/// Reads everything, and says how large the chunks were.
fn read(path: &Path) -> Result<(Pairs, Vec<usize>, SnapshotTotals), StorageError> {
    let mut reader = SnapshotReader::open(path)?;
    let (mut all, mut sizes) = (Pairs::new(), Vec::new());
    while let Some(chunk) = reader.next_chunk()? {
        sizes.push(chunk.iter().map(|(key, value)| 8 + key.len() + value.len()).sum());
        all.extend(chunk.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
    Ok((all, sizes, reader.totals().unwrap().clone()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_are_those_of_this_version() {
    let place = tempdir().unwrap();
    let pairs = [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), Vec::new())];
    let path = written(place.path(), &any_header(3, 70), &pairs);
    let golden = include_str!("golden/snapshot.hex").split_whitespace().collect::<String>();
    assert_eq!(hex(&fs::read(path).unwrap()), golden);
}

#[test]
fn only_the_time_of_the_making_tells_equal_snapshots_apart() {
    let (one, other) = (tempdir().unwrap(), tempdir().unwrap());
    let early = any_header(3, 70);
    let late = SnapshotHeader { made_unix_ms: 1_800_000_000_000, ..early.clone() };
    assert_eq!(early.id(), late.id());
    let pairs = pairs(5_000, 500);
    let a = fs::read(written(one.path(), &early, &pairs)).unwrap();
    let b = fs::read(written(other.path(), &late, &pairs)).unwrap();
    let head = early.encode().len();
    assert_ne!(a[..head], b[..head]);
    assert_eq!(a[head..], b[head..]);
    let elsewhere = SnapshotHeader { machine_version: 2, ..early.clone() };
    assert_ne!(early.id(), elsewhere.id());
}

#[test]
fn chunks_are_bounded_and_a_larger_pair_has_one_of_its_own() {
    let place = tempdir().unwrap();
    let mut pairs = pairs(40, 100_000);
    pairs[20].1 = vec![1; 3 * CHUNK_BYTES_MAX];
    let (read, sizes, totals) = read(&written(place.path(), &any_header(1, 1), &pairs)).unwrap();
    assert_eq!(read, pairs);
    let large: Vec<&usize> = sizes.iter().filter(|size| **size > CHUNK_BYTES_MAX).collect();
    assert_eq!(large, [&(8 + pairs[20].0.len() + 3 * CHUNK_BYTES_MAX)]);
    assert_eq!((totals.pairs, totals.chunks), (40, sizes.len() as u64));
}

/// It was called damage, and each node that made a snapshot threw its state away for it.
#[test]
fn a_pair_that_is_too_large_for_a_snapshot_is_no_damage() {
    let place = tempdir().unwrap();
    let path = place.path().join("a.snap");
    let mut writer = SnapshotWriter::create(&path, &any_header(3, 70)).unwrap();
    let most = 64 * 1024 * 1024;
    writer.push(b"a", &vec![0; most - 1]).unwrap();
    let error = writer.push(b"b", &vec![0; most]).unwrap_err();
    let StorageError::PairTooLarge { bytes, limit } = error else { panic!("{error}") };
    assert_eq!((bytes, limit), (most + 1, most));
}

#[test]
fn a_snapshot_of_nothing_is_one() {
    let place = tempdir().unwrap();
    let (read, _, totals) = read(&written(place.path(), &any_header(1, 1), &[])).unwrap();
    assert_eq!((read.len(), totals.chunks), (0, 0));
}

/// A snapshot of several chunks and its bytes.
fn whole() -> (TempDir, PathBuf, Vec<u8>) {
    let place = tempdir().unwrap();
    let mut pairs = pairs(6, 20);
    // Two chunks of one pair, so that every part is met by few bytes.
    pairs[2].1 = vec![9; CHUNK_BYTES_MAX];
    let path = written(place.path(), &any_header(3, 70), &pairs);
    let bytes = fs::read(&path).unwrap();
    (place, path, bytes)
}

/// Says why changed bytes are refused; the place of the change is known to the error.
fn refusal(path: &Path, bytes: &[u8]) -> String {
    fs::write(path, bytes).unwrap();
    let error = read(path).expect_err("damage is found");
    let damage = matches!(error, StorageError::Corrupt { .. } | StorageError::NewerFormat { .. });
    assert!(damage, "{error:?}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    text
}

/// Every place of the parts that are not filling, and some of those that are.
fn places(bytes: usize) -> impl Iterator<Item = usize> {
    let edges = (0..2_000).chain(bytes - 600..bytes);
    edges.chain((2_000..bytes - 600).step_by(40_009))
}

#[test]
fn a_snapshot_that_is_cut_off_anywhere_is_refused_with_the_place() {
    let (_place, path, bytes) = whole();
    for at in places(bytes.len()) {
        let why = refusal(&path, &bytes[..at]);
        assert!(why.contains("the file ends within it"), "cut at {at}: {why}");
        assert!(why.contains(" at byte "), "{why}");
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (_place, path, bytes) = whole();
    for (turn, at) in places(bytes.len()).enumerate() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (turn % 8);
        refusal(&path, &damaged);
    }
}

#[test]
fn each_bit_of_a_small_snapshot_counts_and_each_byte() {
    let place = tempdir().unwrap();
    let path = written(place.path(), &any_header(3, 70), &pairs(3, 5));
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        assert!(refusal(&path, &bytes[..at]).contains("the file ends within it"), "cut at {at}");
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            refusal(&path, &damaged);
        }
    }
    fs::write(&path, &bytes).unwrap();
    read(&path).unwrap();
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let (_place, path, bytes) = whole();
    let why = refusal(&path, &[&bytes[..], b"x"].concat());
    assert!(why.contains("bytes follow"), "{why}");
}

#[test]
fn a_chunk_that_is_missing_doubled_or_anothers_is_found() {
    let (place, path, bytes) = whole();
    let head = any_header(3, 70).encode().len();
    let size = u32::from_le_bytes(bytes[head + 4..head + 8].try_into().unwrap()) as usize + 24;
    let (before, first) = (&bytes[..head], &bytes[head..head + size]);
    let after = &bytes[head + size..];
    let why = refusal(&path, &[before, after].concat());
    assert!(why.contains("chunk 0") && why.contains("numbered 1"), "{why}");
    let why = refusal(&path, &[before, first, first, after].concat());
    assert!(why.contains("chunk 1") && why.contains("numbered 0"), "{why}");
    let other = written(place.path(), &any_header(3, 71), &pairs(6, 20));
    let other = fs::read(other).unwrap();
    let why = refusal(&path, &[before, &other[head..head + size], after].concat());
    assert!(why.contains("chunk 0") && why.contains("checksum"), "{why}");
}

#[test]
fn what_is_no_snapshot_is_called_so() {
    let place = tempdir().unwrap();
    let path = place.path().join("x");
    let why = refusal(&path, b"something else, a little longer");
    assert!(why.contains("does not begin as a snapshot"), "{why}");
    assert!(refusal(&path, b"").contains("the file ends within it"));
    let newer = [b"raftsnap", &[3, 0, 0, 0, 9, 9, 9, 9][..]].concat();
    assert!(refusal(&path, &newer).contains("format 3"));
}

#[test]
fn a_writer_that_gives_up_leaves_nothing_and_one_that_is_killed_is_cleaned_up_museum_g12() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let snapshots = open(&directory);
    let mut writer = snapshots.create(&header(&directory, 1, 9)).unwrap();
    fill(&mut writer, &pairs(10, 10));
    drop(writer);
    let names = || fs::read_dir(snapshots.path()).unwrap().count();
    assert_eq!(names(), 0);
    std::mem::forget(snapshots.create(&header(&directory, 1, 9)).unwrap());
    assert_eq!(names(), 1);
    let (files, wrong) = snapshots.list().unwrap();
    assert!(files.is_empty() && wrong.is_empty());
    open(&directory);
    assert_eq!(names(), 0);
}

#[test]
fn snapshots_are_listed_newest_first_and_damaged_ones_are_told() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let snapshots = open(&directory);
    for index in [9, 100, 20] {
        let mut writer = snapshots.create(&header(&directory, 1, index)).unwrap();
        fill(&mut writer, &pairs(10, 10));
        writer.finish().unwrap();
    }
    let (files, wrong) = snapshots.list().unwrap();
    let indexes = files.iter().map(|file| file.header.meta.last.index.get());
    assert_eq!(indexes.collect::<Vec<_>>(), [100, 20, 9]);
    assert!(wrong.is_empty());
    let mut bytes = fs::read(&files[0].path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&files[0].path, bytes).unwrap();
    fs::write(&files[1].path, b"raft").unwrap();
    assert_eq!(newest_valid(&snapshots).unwrap(), files[2]);
    assert_eq!(snapshots.list().unwrap().1.len(), 1, "its header is damaged");
    assert_eq!(snapshots.find(at(1, 9)).unwrap().unwrap(), files[2]);
    assert_eq!(snapshots.find(at(2, 9)).unwrap(), None);
}

/// Each is as large as the state, and one shows as much as many.
#[test]
fn of_damaged_snapshots_the_last_one_is_kept_for_people() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let snapshots = open(&directory);
    for index in [10, 30, 20] {
        let writer = snapshots.create(&header(&directory, 1, index)).unwrap();
        let aside = snapshots.set_aside(&writer.finish().unwrap()).unwrap();
        assert_eq!(snapshots.damaged().unwrap().as_ref(), Some(&aside));
        let files = fs::read_dir(snapshots.path()).unwrap().map(|file| file.unwrap().path());
        assert_eq!(files.collect::<Vec<_>>(), [aside]);
    }
}

#[test]
fn old_snapshots_go_but_for_those_that_the_state_needs_museum_g14() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let snapshots = open(&directory);
    for index in [10, 20, 30, 40] {
        snapshots.create(&header(&directory, 1, index)).unwrap().finish().unwrap();
    }
    let left = || -> Vec<u64> {
        let (files, _) = snapshots.list().unwrap();
        files.iter().map(|file| file.header.meta.last.index.get()).collect()
    };
    snapshots.keep(2, LogIndex::new(15)).unwrap();
    assert_eq!(left(), [40, 30, 20], "the state is durable up to 15 only");
    snapshots.keep(1, LogIndex::new(40)).unwrap();
    assert_eq!(left(), [40]);
    snapshots.delete(&snapshots.list().unwrap().0[0]).unwrap();
    assert_eq!(left(), [0; 0]);
}

#[test]
fn a_snapshot_of_another_cluster_or_history_is_told_by_name() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let snapshots = open(&directory);
    let ours = header(&directory, 1, 9);
    let cluster = SnapshotHeader { cluster: [1; 16], ..ours.clone() };
    let Err(error) = snapshots.create(&cluster) else { panic!("it is foreign") };
    assert!(error.to_string().contains("is of cluster 0101"), "{error}");
    let Err(error) = snapshots.create(&any_header(1, 9)) else { panic!("it is foreign") };
    assert!(error.to_string().contains("is of generation 0707"), "{error}");
    let mut writer = SnapshotWriter::create(&snapshots.path().join("x.snap"), &cluster).unwrap();
    fill(&mut writer, &pairs(1, 1));
    writer.finish().unwrap();
    let (files, wrong) = snapshots.list().unwrap();
    assert!(files.is_empty() && wrong[0].to_string().contains("is of cluster"), "{wrong:?}");
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn what_is_written_is_read(
        state in collection::btree_map(
            collection::vec(any::<u8>(), 0..40),
            collection::vec(any::<u8>(), 0..90_000),
            0..60,
        ),
        flip in any::<(usize, u8)>(),
    ) {
        let place = tempdir().unwrap();
        let pairs: Pairs = state.into_iter().collect();
        let path = written(place.path(), &any_header(1, 1), &pairs);
        let (found, sizes, totals) = read(&path).unwrap();
        prop_assert_eq!(&found, &pairs);
        prop_assert!(sizes.iter().all(|size| *size <= CHUNK_BYTES_MAX));
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        prop_assert_eq!((totals.pairs, totals.bytes), (pairs.len() as u64, bytes as u64));
        let mut bytes = fs::read(&path).unwrap();
        let at = flip.0 % bytes.len();
        bytes[at] ^= 1 << (flip.1 % 8);
        fs::write(&path, bytes).unwrap();
        prop_assert!(read(&path).is_err());
    }
}
