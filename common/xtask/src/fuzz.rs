//! `cargo xtask fuzz`: searches for bytes of which something falls over, led by coverage.
//!
//! libFuzzer needs code that tells what it reaches. cargo-fuzz compiles everything for that,
//! RocksDB included, and needs a nightly compiler for the address sanitiser, which safe code has no
//! use for. Here a wrapper around rustc asks for coverage in our crates alone; all else is what is
//! compiled already.

use crate::cargo::Cargo;
use crate::failure::Failure;
use crate::progress::say;
use std::fs;
use std::path::{Path, PathBuf};

/// Where inputs are kept that are worth it, one directory a target.
const CORPUS: &str = "common/fuzz/corpus";

/// No input is longer, in bytes.
const INPUT_BYTES_MAX: u32 = 4_096;

/// Searches each target for so many seconds, all of them if none is named. What is found on the way
/// stays in the target directory; bytes of which something fell over are named by libFuzzer.
///
/// # Errors
///
/// [`Failure::Usage`] if no target is called so; [`Failure::Stage`] if something fell over.
pub(crate) fn run(cargo: &Cargo, targets: &[String], seconds: u32) -> Result<(), Failure> {
    let root = root();
    let all = known(&root)?;
    if let Some(unknown) = targets.iter().find(|target| !all.contains(target)) {
        let names = all.join(", ");
        return Err(Failure::Usage(format!("no target is called \"{unknown}\": {names}")));
    }
    let chosen = if targets.is_empty() { &all[..] } else { targets };
    let wrapper = root.join("common/fuzz/instrument.sh");
    let build = ["build", "--release", "--locked", "-p", "fuzz", "--bins"];
    cargo.run_with("fuzz", &build, ("RUSTC_WORKSPACE_WRAPPER", &wrapper))?;
    let found = cargo.target_dir().map_or_else(|| root.join("target"), Path::to_owned).join("fuzz");
    for target in chosen {
        say(&format!("{target}: {seconds} s"));
        let (new, kept) = (found.join(target), root.join(CORPUS).join(target));
        fs::create_dir_all(&new).map_err(|source| start(&new, source))?;
        let time = format!("-max_total_time={seconds}");
        let length = format!("-max_len={INPUT_BYTES_MAX}");
        let artefacts = format!("-artifact_prefix={}/{target}-", found.display());
        let (new, kept) = (new.display().to_string(), kept.display().to_string());
        // The first directory takes what is new.
        let arguments = [&new, &kept, &time, &length, &artefacts, "-print_final_stats=1"];
        let name = format!("fuzz-{target}");
        cargo.run_built(&name, &name, &arguments)?;
    }
    Ok(())
}

/// Returns the targets: each has a corpus.
fn known(root: &Path) -> Result<Vec<String>, Failure> {
    let corpus = root.join(CORPUS);
    let entries = fs::read_dir(&corpus).map_err(|source| start(&corpus, source))?;
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.flatten().map(name).collect();
    names.sort();
    Ok(names)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn start(path: &Path, source: std::io::Error) -> Failure {
    Failure::Start { program: path.display().to_string(), source }
}
