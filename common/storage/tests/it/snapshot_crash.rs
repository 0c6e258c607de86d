//! Writers and receivers of snapshots that are killed at any moment: a file with a snapshot's name
//! is whole, and a transfer goes on from what is checked (museum G11, G12).
//!
//! The one that is killed is this test binary again, told by an environment variable what to do.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::kit::snapshots::{any_header, fill, header, newest_valid, open, pairs};
use crate::kit::{directory, found};
use storage::{SnapshotReader, SnapshotWriter};
use tempfile::tempdir;

/// Where the victim works; set for the victim only.
const PLACE: &str = "STORAGE_TEST_SNAPSHOTS";

const WRITES: &str = "snapshot_crash::a_killed_writer_leaves_whole_snapshots_only";
const RECEIVES: &str = "snapshot_crash::a_killed_receiver_goes_on_and_ends_with_the_sender_s_file";

/// How large a piece of a transfer is, in bytes: no divisor of a chunk.
const PIECE: usize = 70_001;

/// Tells the parent something.
fn tell(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}").unwrap();
    out.flush().unwrap();
}

/// Lets a victim run until some moments after it has told so many things, and kills it.
fn kill_after(test: &str, place: &Path, words: usize, then: Duration) {
    let mut victim = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(PLACE, place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(victim.stdout.take().unwrap());
    // The test harness talks too.
    let told = out.lines().map(Result::unwrap).filter(|line| line.ends_with("victim works"));
    for (count, _) in (1..).zip(told) {
        if count == words {
            std::thread::sleep(then);
            victim.kill().unwrap();
        }
    }
    victim.wait().unwrap();
}

/// Writes snapshots of growing indexes for ever.
fn write_for_ever(place: &Path) -> ! {
    let directory = directory(place).unwrap();
    let snapshots = open(&directory);
    let pairs = pairs(40, 100_000);
    let (files, _) = snapshots.list().unwrap();
    let newest = files.first().map_or(0, |file| file.header.meta.last.index.get());
    for index in newest + 1.. {
        let mut writer = snapshots.create(&header(&directory, 1, index)).unwrap();
        tell("victim works");
        fill(&mut writer, &pairs);
        tell("victim works");
        writer.finish().unwrap();
        snapshots.keep(3, consensus::LogIndex::new(index)).unwrap();
    }
    unreachable!("indexes do not end");
}

#[test]
fn a_killed_writer_leaves_whole_snapshots_only() {
    if let Some(place) = env::var_os(PLACE) {
        write_for_ever(Path::new(&place));
    }
    let place = tempdir().unwrap();
    drop(found(place.path()));
    let mut before = 0;
    for round in 0..12_u64 {
        let then = Duration::from_micros(round * 1_700);
        kill_after(WRITES, place.path(), 1 + (round % 5) as usize, then);
        let directory = directory(place.path()).unwrap();
        let snapshots = open(&directory);
        let (files, wrong) = snapshots.list().unwrap();
        assert!(wrong.is_empty(), "round {round}: {wrong:?}");
        for file in &files {
            let verified = SnapshotReader::open(&file.path).unwrap().verify(|_| {}).unwrap();
            assert_eq!(verified.pairs, 40, "round {round}");
        }
        let count = fs::read_dir(snapshots.path()).unwrap().count();
        assert_eq!(count, files.len(), "round {round}: nothing else is left");
        let newest = files.first().map_or(0, |file| file.header.meta.last.index.get());
        assert!(newest >= before, "round {round}: {newest} after {before}");
        before = newest;
    }
    assert!(before > 0, "some were written");
}

fn sent(place: &Path) -> PathBuf {
    place.join("sent.snap")
}

/// Receives what there is still to receive, a little at a time.
fn receive(place: &Path) {
    let snapshots = open(&directory(place).unwrap());
    let bytes = fs::read(sent(place)).unwrap();
    let id = SnapshotReader::open(&sent(place)).unwrap().id();
    let mut receiver = snapshots.receive(id).unwrap();
    while !receiver.is_whole() {
        let from = usize::try_from(receiver.offset()).unwrap();
        let end = bytes.len().min(from + PIECE);
        receiver.write(from as u64, &bytes[from..end]).unwrap();
        tell("victim works");
        std::thread::sleep(Duration::from_millis(1));
    }
    receiver.finish().unwrap();
}

#[test]
fn a_killed_receiver_goes_on_and_ends_with_the_sender_s_file() {
    if let Some(place) = env::var_os(PLACE) {
        receive(Path::new(&place));
        return;
    }
    let place = tempdir().unwrap();
    let owner = found(place.path());
    let header = header(&owner, 1, 9);
    assert_ne!(header.generation, any_header(1, 9).generation);
    let mut writer = SnapshotWriter::create(&sent(place.path()), &header).unwrap();
    fill(&mut writer, &pairs(120, 100_000));
    let bytes = fs::read(writer.finish().unwrap().path).unwrap();
    drop(owner);
    let mut before = 0;
    for round in 0..8_u64 {
        kill_after(RECEIVES, place.path(), 25, Duration::from_micros(round * 300));
        let snapshots = open(&directory(place.path()).unwrap());
        if let Some(file) = snapshots.list().unwrap().0.first() {
            assert_eq!(fs::read(&file.path).unwrap(), bytes, "round {round}");
            continue;
        }
        let offset = snapshots.receive(header.id()).unwrap().offset();
        // At most the chunk that was not whole comes again: each round brings 25 pieces.
        assert!(offset > before, "round {round}: {offset} after {before}");
        before = offset;
    }
    receive(place.path());
    let snapshots = open(&directory(place.path()).unwrap());
    let file = newest_valid(&snapshots).unwrap();
    assert_eq!(fs::read(file.path).unwrap(), bytes);
}
