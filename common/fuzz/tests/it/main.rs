//! The corpus, and a bounded number of changes of it: a slice of what `cargo xtask fuzz` does.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};

/// How many changed inputs each target is given.
const CHANGED: usize = 2_000;

#[test]
fn every_target_takes_its_corpus() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for (file, bytes) in inputs {
            check(target, &bytes, &file.display().to_string());
        }
    }
}

#[test]
fn every_target_takes_what_its_corpus_becomes_by_changes() {
    for (name, target) in TARGETS {
        let inputs: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for round in 0..CHANGED {
            let bytes = changed(&inputs, &mut random);
            check(target, &bytes, &format!("{name}, round {round}"));
        }
    }
}

/// Runs a target, and shows the bytes of which it panics.
fn check(target: Target, bytes: &[u8], what: &str) {
    let ended = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    assert!(ended.is_ok(), "{what}: a panic of {bytes:02x?}");
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&directory).expect("every target has a corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    let read = |file: PathBuf| (file.clone(), fs::read(&file).expect("readable"));
    files.into_iter().map(read).collect()
}

/// Puts two inputs together, and changes some bytes.
fn changed(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let (first, second) =
        (&inputs[random.below(inputs.len())], &inputs[random.below(inputs.len())]);
    let mut bytes = first[..random.below(first.len() + 1)].to_vec();
    if random.below(2) == 0 {
        bytes = first.clone();
    } else {
        bytes.extend_from_slice(&second[random.below(second.len() + 1)..]);
    }
    for _ in 0..random.below(6) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][random.below(5)],
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, bytes[at]),
        }
    }
    bytes
}

/// Marsaglia's xorshift64: the same inputs in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("below a length")
    }
}
