//! How a run can end before it says anything of the cluster.

use std::path::Path;

/// Why the harness itself cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The machine lacks something, or forbids it.
    #[error("{0}")]
    Machine(String),
    /// A program could not be run, or said no.
    #[error("{command}: {why}")]
    Command {
        /// What was called.
        command: String,
        /// What came of it.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{what}: {source}")]
    File {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The cluster did not come up at all.
    #[error("{0}")]
    Cluster(String),
    /// Somebody asked the run to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What most of the harness returns.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Turns an error of a file into a failure that names it.
pub(crate) fn file<'a>(
    what: &'a str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> Failure + 'a {
    move |source| Failure::File { what: format!("{what} {}", path.display()), source }
}

/// Writes a file of artefacts.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(file("cannot write", path))
}
