//! Disks whose syncs fail, or take their time: nobody is told that something is durable then.
//!
//! The process with such a disk is this test binary again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::kit::image::new_place;
use crate::kit::power;
use crate::kit::{append, command, found, nothing, reopen};
use consensus::Write;
use fixtures::DiskShim;
use tempfile::tempdir;

/// Where the process with the disk works; set for that one only.
const PLACE: &str = "STORAGE_TEST_SYNCS";

/// In the process with the disk: where it works, and what its syncs pass through.
fn place() -> Option<(PathBuf, DiskShim)> {
    let place = PathBuf::from(env::var_os(PLACE)?);
    Some((place, DiskShim::of_this_process().expect("it passes through one")))
}

/// Runs a test in a process whose syncs can be told what to do, if there is a C compiler.
fn run_behind_a_shim(test: &str, place: &Path) {
    let tools = tempdir().unwrap();
    let Some(shim) = DiskShim::compile(tools.path()) else { return };
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(PLACE, place);
    shim.stand_before(&mut command);
    power::run(&mut command);
}

/// A write of one entry, without term and vote.
fn entry(index: u64) -> Write {
    Write { append: vec![command(1, index, "text")], ..nothing() }
}

/// The tail file is synced a little later than the log: whoever writes next hears of it.
#[test]
fn a_sync_of_the_tail_alone_that_fails_ends_the_log() {
    if let Some((place, disk)) = place() {
        let (mut log, _) = reopen(&place);
        let mut indexes = 2..;
        // On a busy machine the sync may come before it is told to fail.
        let has_failed = (0..20).any(|_| {
            log.write(&[entry(indexes.next().unwrap())]).unwrap();
            disk.fail();
            std::thread::sleep(Duration::from_millis(250));
            disk.heal();
            log.write(&[entry(indexes.next().unwrap())]).is_err()
        });
        assert!(has_failed, "it goes on");
        assert!(log.write(&[entry(indexes.next().unwrap())]).is_err(), "and it never writes again");
        return;
    }
    let place = new_place();
    drop(found(place.path()));
    run_behind_a_shim(
        "failing_syncs::a_sync_of_the_tail_alone_that_fails_ends_the_log",
        place.path(),
    );
}

/// What it held is in memory alone until then.
#[test]
fn another_write_ahead_log_is_begun_when_the_tables_are_durable() {
    if let Some((place, disk)) = place() {
        let (mut log, _) = reopen(&place);
        log.write(&[append(2, vec![command(2, 2, "two")])]).unwrap();
        let reader = log.reader();
        reader.check_files().unwrap();
        let files = fs::read_dir(place.join("log")).unwrap().map(|file| file.unwrap().path());
        let is_log = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "log");
        files.filter(is_log).for_each(|path| fs::remove_file(path).unwrap());
        disk.hang();
        let renewed = std::thread::spawn(move || reader.check_files());
        std::thread::sleep(Duration::from_millis(500));
        let was_early = renewed.is_finished();
        disk.heal();
        renewed.join().unwrap().unwrap();
        assert!(!was_early, "nothing was durable yet");
        return;
    }
    let place = new_place();
    drop(found(place.path()));
    run_behind_a_shim(
        "failing_syncs::another_write_ahead_log_is_begun_when_the_tables_are_durable",
        place.path(),
    );
}

/// A node that waits for it neither writes nor ends: nobody would take it for a failed one.
#[test]
fn a_log_that_cannot_write_out_what_it_holds_is_given_up_after_a_while() {
    if let Some((place, disk)) = place() {
        let (mut log, _) = reopen(&place);
        disk.hang_tables();
        let (to, failed) = channel();
        let writing = std::thread::spawn(move || {
            let text = "x".repeat(1 << 20);
            let mut indexes = 2..1_000;
            let failed = indexes.find_map(|index| {
                log.write(&[Write { append: vec![command(1, index, &text)], ..nothing() }]).err()
            });
            // Nobody waits any more who has given up.
            let _ = to.send(failed);
        });
        let failed = failed.recv_timeout(fixtures::PATIENCE);
        disk.heal();
        let failed = failed.expect("it is not waited for").expect("it holds all that is written");
        assert!(failed.to_string().contains("it has taken no writes for 10 s"), "{failed}");
        writing.join().unwrap();
        return;
    }
    let place = new_place();
    drop(found(place.path()));
    run_behind_a_shim(
        "failing_syncs::a_log_that_cannot_write_out_what_it_holds_is_given_up_after_a_while",
        place.path(),
    );
}
