//! The shim that a raftd is started with (`shim/shim.c`), and its switches.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::command::call;
use crate::failure::{Result, file};

/// The shim's source, which is compiled for the machine that it runs on.
const SOURCE: &str = include_str!("../../shim/shim.c");

/// How many switches there are.
const WORDS: usize = 5;

/// What can be switched, in the order of the shim's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// Syncs fail with EIO.
    SyncError,
    /// Syncs do not return.
    Hang,
    /// The next write to a log is cut in half, and the process ends.
    Torn,
    /// So many nanoseconds are added to the wall clock.
    Realtime,
    /// What was not synced is lost, all (1) or half of it (2), and the process ends.
    Power,
}

/// Compiles the shim into a directory.
///
/// # Errors
/// If the compiler says no.
pub(crate) fn compile(directory: &Path) -> Result<PathBuf> {
    let (source, library) = (directory.join("shim.c"), directory.join("shim.so"));
    std::fs::write(&source, SOURCE).map_err(file("cannot write", &source))?;
    let (from, to) = (source.display().to_string(), library.display().to_string());
    call("cc", &["-O2", "-shared", "-fPIC", "-o", &to, &from, "-ldl", "-lpthread"])?;
    Ok(library)
}

/// The switches of one process.
#[derive(Debug)]
pub(crate) struct Switches {
    path: PathBuf,
    words: File,
}

impl Switches {
    /// Makes the file with all switches off.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn make(path: PathBuf) -> Result<Self> {
        let words = File::options().create(true).truncate(true).write(true).open(&path);
        let words = words.map_err(file("cannot make", &path))?;
        words.write_all_at(&[0; 8 * WORDS], 0).map_err(file("cannot write", &path))?;
        Ok(Self { path, words })
    }

    /// Returns the file that the shim is told of.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a switch; the process sees it at once.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn set(&self, switch: Switch, value: i64) -> Result<()> {
        let place: u64 = match switch {
            Switch::SyncError => 0,
            Switch::Hang => 8,
            Switch::Torn => 16,
            Switch::Realtime => 24,
            Switch::Power => 32,
        };
        let written = self.words.write_all_at(&value.to_le_bytes(), place);
        written.map_err(file("cannot write", &self.path))
    }

    /// Switches everything off.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn clear(&self) -> Result<()> {
        self.words.write_all_at(&[0; 8 * WORDS], 0).map_err(file("cannot write", &self.path))
    }
}
