//! Chooses the directory in which cargo builds.
//!
//! RocksDB takes up to 25 minutes to compile, so a fresh clone must find what another one has
//! built: unless `CARGO_TARGET_DIR` says otherwise, everything is built in the user's cache
//! directory. Given up:
//! `target/` in the clone, where some editors look for binaries.

use crate::progress::say;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Chooses the target directory from the environment and says on standard error where it is.
///
/// Returns `None` when cargo's own default is left alone.
pub(crate) fn choose_and_say() -> Option<PathBuf> {
    let chosen = choose(
        std::env::var_os("CARGO_TARGET_DIR").as_deref(),
        std::env::var_os("XDG_CACHE_HOME").as_deref(),
        std::env::home_dir().as_deref(),
    );
    match &chosen {
        Choice::Told(_) => {}
        Choice::Cache(path) => say(&format!(
            "building in {}, shared by all clones (CARGO_TARGET_DIR changes it)",
            path.display()
        )),
        Choice::Default => say("no home directory: building in ./target"),
    }
    chosen.path()
}

/// Where to build, and why there.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// `CARGO_TARGET_DIR` says so.
    Told(PathBuf),
    /// The user's cache directory.
    Cache(PathBuf),
    /// Neither is known.
    Default,
}

impl Choice {
    fn path(self) -> Option<PathBuf> {
        match self {
            Choice::Told(path) | Choice::Cache(path) => Some(path),
            Choice::Default => None,
        }
    }
}

/// Empty variables count as unset; a relative `XDG_CACHE_HOME` is ignored, as its specification
/// says.
fn choose(told: Option<&OsStr>, cache: Option<&OsStr>, home: Option<&Path>) -> Choice {
    if let Some(told) = told.filter(|told| !told.is_empty()) {
        return Choice::Told(PathBuf::from(told));
    }
    let cache = cache.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.filter(|home| home.is_absolute()).map(|home| home.join(".cache"));
    match cache.or(home) {
        Some(base) => Choice::Cache(base.join("raftd/target")),
        None => Choice::Default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_directory_wins() {
        let choice = choose(Some("t".as_ref()), Some("/c".as_ref()), Some("/h".as_ref()));
        assert_eq!(choice, Choice::Told("t".into()));
    }

    #[test]
    fn the_cache_directory_is_shared_by_all_clones() {
        let check =
            |told: Option<&str>, cache: Option<&str>, home: Option<&str>, expected: &str| {
                let choice =
                    choose(told.map(OsStr::new), cache.map(OsStr::new), home.map(Path::new));
                assert_eq!(choice, Choice::Cache(expected.into()));
            };
        check(None, Some("/c"), Some("/h"), "/c/raftd/target");
        check(None, None, Some("/h"), "/h/.cache/raftd/target");
        check(Some(""), Some(""), Some("/h"), "/h/.cache/raftd/target");
        check(None, Some("relative"), Some("/h"), "/h/.cache/raftd/target");
    }

    #[test]
    fn without_a_home_cargo_decides() {
        assert_eq!(choose(None, None, None), Choice::Default);
        assert_eq!(choose(None, None, Some("".as_ref())).path(), None);
    }
}
