//! How a run, or a step of it, can end.

use std::path::Path;

/// Why something cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
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
    /// What should be so is not.
    #[error("{0}")]
    Wrong(String),
    /// The machine lacks what one step needs.
    #[error("{0}")]
    Lacking(String),
    /// The run has taken all the time that it was given.
    #[error("the run has taken all of its time")]
    Late,
    /// Somebody asked the run to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What most of this crate returns.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Turns an error of a file into a failure that names it.
pub(crate) fn file<'a>(
    what: &'a str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> Failure + 'a {
    move |source| Failure::File { what: format!("{what} {}", path.display()), source }
}

/// Says that something is not as it should be.
///
/// # Errors
/// If it is not so.
pub(crate) fn must(so: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if so { Ok(()) } else { Err(Failure::Wrong(otherwise())) }
}
