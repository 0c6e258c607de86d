//! The directory with the cluster's authority, for commands that make certificates or tokens.

use std::path::{Path, PathBuf};

use crate::bundle::Bundles;
use crate::codes;
use crate::invocation::Invocation;
use crate::report::{Report, Result};
use crate::target::Target;

/// Opens the directory with the authority, to change what nodes there are.
///
/// # Errors
/// If it is not known, or is none or another cluster's, or another raftctl does so.
pub(super) fn open(
    invocation: &Invocation,
    directory: Option<&Path>,
    target: &Target,
) -> Result<Bundles> {
    let bundles = Bundles::open(&place(invocation, directory)?)?;
    target.check_is_of(&bundles).map(|()| bundles)
}

/// Opens the directory with the authority, also while nodes are being added.
///
/// # Errors
/// If it is not known, or is none or another cluster's.
pub(crate) fn look(
    invocation: &Invocation,
    directory: Option<&Path>,
    target: &Target,
) -> Result<Bundles> {
    let bundles = Bundles::beside(&place(invocation, directory)?)?;
    target.check_is_of(&bundles).map(|()| bundles)
}

fn place(invocation: &Invocation, directory: Option<&Path>) -> Result<PathBuf> {
    let missing = || {
        Report::new(codes::NO_CLUSTER, "the directory with the cluster's authority is not known")
            .help("add --dir DIR    (the directory that `raftctl init` made)")
    };
    match directory {
        Some(directory) => Ok(directory.to_owned()),
        None => invocation.bundle_directory()?.ok_or_else(missing),
    }
}
