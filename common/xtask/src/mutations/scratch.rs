//! A copy of the crates that the simulator needs, as a workspace of their own, in which a bug is
//! built and searched for.
//!
//! Files are written only where their content differs, so that cargo compiles only what a bug
//! changes, and what the bug before it had changed.

use crate::cargo::cargo_command;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// The package that searches.
const SIMULATOR: &str = "simulator";

/// How long a search may take: a bug may also be one that never comes to an end.
const HUNT_MAX: Duration = Duration::from_secs(1_200);

/// How often it is looked whether a search has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Cheap to compile, and quick enough for some hundred seeds.
const PROFILE: &str = "
[profile.dev]
opt-level = 1
debug = false
debug-assertions = false
overflow-checks = false
incremental = true
";

/// The files of the crates that the simulator needs, as they are at one moment: whoever works on
/// the sources meanwhile disturbs nothing.
#[derive(Debug)]
pub(super) struct Sources {
    /// By their paths below the workspace.
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// The directories that they are in.
    crates: Vec<PathBuf>,
    /// Cargo takes out of it what the copy does not need.
    lock: Vec<u8>,
}

impl Sources {
    /// Reads all files.
    ///
    /// # Errors
    ///
    /// A sentence that says what cannot be read.
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        let manifest = read(&root.join("Cargo.toml"))?;
        let crates = closure(&local(&manifest), |path| read(&root.join(path).join("Cargo.toml")))?;
        let mut files = BTreeMap::new();
        for path in &crates {
            collect(root, path, &mut files)?;
        }
        files.insert("Cargo.toml".into(), workspace(&manifest, &crates).into_bytes());
        let lock = read(&root.join("Cargo.lock"))?.into_bytes();
        Ok(Self { files, crates, lock })
    }
}

/// A workspace of a few crates, in a directory that nobody else uses.
#[derive(Debug)]
pub(super) struct Scratch<'a> {
    sources: &'a Sources,
    directory: PathBuf,
}

impl<'a> Scratch<'a> {
    pub(super) fn new(sources: &'a Sources, directory: PathBuf) -> Self {
        Self { sources, directory }
    }

    /// Makes the copy equal to the sources, but for the files that are changed.
    ///
    /// # Errors
    ///
    /// A sentence that says which file cannot be read or written, or is not part of the copy.
    pub(super) fn fill(&self, changed: &BTreeMap<PathBuf, String>) -> Result<(), String> {
        let (sources, directory) = (self.sources, self.sources_dir());
        if let Some(path) = changed.keys().find(|path| !sources.files.contains_key(*path)) {
            return Err(format!("{} is not simulated", path.display()));
        }
        let mut there = BTreeMap::new();
        for path in sources.crates.iter().filter(|path| directory.join(path).is_dir()) {
            collect(&directory, path, &mut there)?;
        }
        for path in there.keys().filter(|path| !sources.files.contains_key(*path)) {
            fs::remove_file(directory.join(path)).map_err(|error| error.to_string())?;
        }
        for (path, content) in &sources.files {
            let content = changed.get(path).map_or(content.as_slice(), String::as_bytes);
            write_if_other(&directory.join(path), content)?;
        }
        // Cargo has shortened the copy since: it is written anew only when the original is another.
        let (lock, original) =
            (directory.join("Cargo.lock"), directory.join("Cargo.lock.original"));
        if fs::read(&original).is_ok_and(|known| known == sources.lock) {
            return Ok(());
        }
        write_if_other(&lock, &sources.lock)?;
        write_if_other(&original, &sources.lock)
    }

    /// Builds the program that searches.
    ///
    /// # Errors
    ///
    /// What the compiler says.
    pub(super) fn build(&self) -> Result<(), String> {
        let mut command = cargo_command();
        command.args(["build", "--quiet", "--package", SIMULATOR, "--bin", "hunt"]);
        command.arg("--no-default-features").current_dir(self.sources_dir());
        command.env("CARGO_TARGET_DIR", self.target());
        let output = command.output().map_err(|error| format!("cargo: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("it does not build:\n{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Searches for the bug of a diff; returns what is found, a line for each search.
    ///
    /// # Errors
    ///
    /// Why it is not found.
    pub(super) fn hunt(&self, diff: &str) -> Result<String, String> {
        let bug = self.directory.join("bug.diff");
        write_if_other(&bug, diff.as_bytes())?;
        let (found, said) = (self.directory.join("found"), self.directory.join("said"));
        let create = |path: &Path| File::create(path).map_err(|error| error.to_string());
        let mut command = Command::new(self.target().join("debug/hunt"));
        command.arg(bug).stdout(create(&found)?).stderr(create(&said)?);
        match run_until(&mut command, HUNT_MAX)? {
            Some(status) if status.success() => read(&found),
            Some(_) => Err(read(&said)?),
            None => Err(format!("nothing is found in {} s", HUNT_MAX.as_secs())),
        }
    }

    fn sources_dir(&self) -> PathBuf {
        self.directory.join("sources")
    }

    fn target(&self) -> PathBuf {
        self.directory.join("target")
    }
}

/// Runs a program; `None` if it had to be stopped.
fn run_until(command: &mut Command, most: Duration) -> Result<Option<ExitStatus>, String> {
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("hunt: {error}"))?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Some(status)),
            Ok(None) if began.elapsed() < most => std::thread::sleep(LOOK),
            Ok(None) | Err(_) => {
                // It may have ended by itself meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                return Ok(None);
            }
        }
    }
}

/// Returns the packages of the workspace that its manifest names, with their paths.
fn local(manifest: &str) -> BTreeMap<String, PathBuf> {
    let entry = |line: &str| {
        let (name, rest) = line.split_once(" = { path = \"")?;
        Some((name.to_owned(), PathBuf::from(rest.split_once('"')?.0)))
    };
    manifest.lines().filter_map(entry).collect()
}

/// Returns the paths of the simulator and of all packages that it needs.
fn closure(
    local: &BTreeMap<String, PathBuf>,
    manifest: impl Fn(&Path) -> Result<String, String>,
) -> Result<Vec<PathBuf>, String> {
    let mut paths = vec![PathBuf::from("common").join(SIMULATOR)];
    let mut done = 0;
    while let Some(path) = paths.get(done) {
        let text = manifest(path)?;
        for line in text.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if let Some(path) = local.get(name).filter(|path| !paths.contains(path)) {
                paths.push(path.clone());
            }
        }
        done += 1;
    }
    Ok(paths)
}

/// Makes a manifest for the copied crates of the workspace's own: versions and lints stay, members
/// and profiles are others.
fn workspace(manifest: &str, crates: &[PathBuf]) -> String {
    let members: BTreeSet<String> =
        crates.iter().map(|path| format!("{:?}", path.to_string_lossy())).collect();
    let members = members.into_iter().collect::<Vec<_>>().join(", ");
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n");
    let mut stays = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            stays = line.starts_with("[workspace.");
        }
        if stays {
            text.push('\n');
            text.push_str(line);
        }
    }
    text + "\n" + PROFILE
}

/// Reads all files below a directory.
fn collect(
    root: &Path,
    directory: &Path,
    files: &mut BTreeMap<PathBuf, Vec<u8>>,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(root.join(directory)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = directory.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.insert(path, fs::read(entry.path()).map_err(failed)?);
        }
    }
    Ok(())
}

fn write_if_other(path: &Path, content: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(path.parent().expect("a file lies in a directory")).map_err(failed)?;
    fs::write(path, content).map_err(failed)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "\
[workspace]
members = [\"a\"]

[workspace.dependencies]
consensus = { path = \"common/consensus\" }
replica = { path = \"common/replica\", default-features = false }
bytes = \"1\"

[profile.release]
incremental = true
";

    #[test]
    fn all_that_the_simulator_needs_is_copied() {
        let manifest = |path: &Path| match path.to_str() {
            Some("common/simulator") => Ok("replica.workspace = true\nbytes = \"1\"\n".to_owned()),
            Some("common/replica") => Ok("consensus = { workspace = true }\n".to_owned()),
            Some("common/consensus") => Ok(String::new()),
            _ => Err(format!("{} is not needed", path.display())),
        };
        let crates = closure(&local(MANIFEST), manifest).expect("all are known");
        let expected = ["common/simulator", "common/replica", "common/consensus"];
        assert_eq!(crates, expected.map(PathBuf::from));
    }

    #[test]
    fn versions_stay_and_members_and_profiles_do_not() {
        let text = workspace(MANIFEST, &["common/b".into(), "common/a".into()]);
        assert!(text.contains("members = [\"common/a\", \"common/b\"]"), "{text}");
        assert!(text.contains("bytes = \"1\"") && !text.contains("profile.release"), "{text}");
        assert!(text.contains("opt-level = 1"), "{text}");
    }

    #[test]
    fn a_search_without_an_end_is_stopped() {
        let ended = run_until(Command::new("sleep").arg("60"), Duration::from_millis(1));
        assert_eq!(ended, Ok(None));
        let ended = run_until(&mut Command::new("true"), Duration::from_secs(60));
        assert!(ended.is_ok_and(|status| status.is_some_and(|status| status.success())));
    }
}
