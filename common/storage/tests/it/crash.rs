//! A writer that is killed at any moment: what it acknowledged is there, and the log has no holes.
//!
//! The writer is this test binary again, told by an environment variable to be one.

use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::kit::{append, command, directory, found, hard_state, read, reopen, replace};
use storage::LogStore;
use tempfile::tempdir;

/// Where the writer writes; set for the writer only.
const WRITER: &str = "STORAGE_TEST_WRITER";

/// The test's name, by which the binary is asked to run nothing else.
const TEST: &str = "crash::what_a_killed_writer_acknowledged_is_there_museum_b29_h12";

const ROUNDS: u64 = 20;

/// How many entries a new leader's replace.
const CUT: u64 = 2;

/// The text of an entry follows from its term and index, and its size varies up to two blocks.
fn text(term: u64, index: u64) -> String {
    let bytes = if index.is_multiple_of(13) { 50_000 } else { 10 + (index * 37 % 900) };
    format!("{term}.{index} {}", "x".repeat(usize::try_from(bytes).unwrap()))
}

/// Writes for ever, beginning in a new term; tells of each write when it is durable.
fn write_for_ever(path: &Path) -> ! {
    let (mut log, restored) = reopen(path);
    let mut term = restored.hard_state.term.get() + 1;
    let mut last = restored.log.last().index.get();
    let mut out = std::io::stdout().lock();
    let mut turn = 0_u64;
    loop {
        turn += 1;
        // Every now and then a new leader's entries replace the last two.
        let cut = if turn.is_multiple_of(7) { CUT } else { 0 };
        term += u64::from(cut > 0);
        let first = last + 1 - cut;
        last = first + turn % 4;
        let entries = (first..=last).map(|index| command(term, index, &text(term, index)));
        let entries = entries.collect();
        let write = if cut > 0 { replace(term, first, entries) } else { append(term, entries) };
        log.write(&[write]).unwrap();
        writeln!(out, "durable {term} {first} {last}").unwrap();
        out.flush().unwrap();
    }
}

fn start_writer(path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(WRITER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a writer acknowledge some writes, kills it at once, and returns term and last index of the
/// last acknowledged write, with everything that was still in the pipe.
fn kill_after(path: &Path, writes: u64) -> (u64, u64) {
    let mut writer = start_writer(path);
    let out = BufReader::new(writer.stdout.take().unwrap());
    let mut acknowledged = None;
    let mut seen = 0;
    for line in out.lines() {
        let line = line.unwrap();
        // The test harness talks too.
        let Some(numbers) = line.split_once("durable ").map(|(_, numbers)| numbers) else {
            continue;
        };
        let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        let [term, first, last] = numbers[..] else { panic!("{line}") };
        assert!(first <= last);
        acknowledged = Some((term, last));
        seen += 1;
        if seen == writes {
            writer.kill().unwrap();
        }
    }
    writer.wait().unwrap();
    acknowledged.expect("the writer acknowledged something")
}

/// Checks that the log is contiguous, that each entry is what was written, and returns its end.
fn check(path: &Path, round: u64) -> (u64, u64) {
    let (log, restored) = LogStore::open(&directory(path).unwrap()).unwrap();
    let last = restored.log.last();
    let entries = read(&log, 1, last.index.get()).unwrap();
    assert_eq!(entries.len() as u64, last.index.get());
    for entry in &entries[1..] {
        let (term, index) = (entry.id.term.get(), entry.id.index.get());
        assert_eq!(entry, &command(term, index, &text(term, index)), "round {round}");
        assert!(restored.log.contains(entry.id), "round {round}: {}", entry.id);
    }
    assert_eq!(restored.hard_state, hard_state(last.term.get(), Some(1)), "round {round}");
    (last.term.get(), last.index.get())
}

#[test]
fn what_a_killed_writer_acknowledged_is_there_museum_b29_h12() {
    if let Some(path) = env::var_os(WRITER) {
        write_for_ever(Path::new(&path));
    }
    let place = tempdir().unwrap();
    drop(found(place.path()));
    for round in 1..=ROUNDS {
        // From a kill within the first write up to one behind hundreds of them.
        let (term, last) = kill_after(place.path(), 1 + round * round * 7 % 400);
        let (found_term, found_last) = check(place.path(), round);
        assert!([term, term + 1].contains(&found_term), "round {round}: term {found_term}");
        // Besides, at most the one write is there that was not acknowledged yet.
        let expected = match found_term == term {
            true => last..=last + 4,
            false => last + 1 - CUT..=last + 4,
        };
        assert!(
            expected.contains(&found_last),
            "round {round}: {last} acknowledged, the log ends at {found_last}"
        );
    }
}
