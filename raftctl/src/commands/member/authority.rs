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
/// If it is not known, or is none, or another raftctl does so.
pub(super) fn open(
    invocation: &Invocation,
    directory: Option<&Path>,
    target: &Target,
) -> Result<Bundles> {
    let (directory, name) = place(invocation, directory, target)?;
    Bundles::open(&directory, &name)
}

/// Opens the directory with the authority, also while nodes are being added.
///
/// # Errors
/// If it is not known, or is none.
pub(crate) fn look(
    invocation: &Invocation,
    directory: Option<&Path>,
    target: &Target,
) -> Result<Bundles> {
    let (directory, name) = place(invocation, directory, target)?;
    Bundles::beside(&directory, &name)
}

fn place(
    invocation: &Invocation,
    directory: Option<&Path>,
    target: &Target,
) -> Result<(PathBuf, String)> {
    let missing = || {
        Report::new(codes::NO_CLUSTER, "the directory with the cluster's authority is not known")
            .help("add --dir DIR    (the directory that `raftctl init` made)")
    };
    let directory = match directory {
        Some(directory) => directory.to_owned(),
        None => invocation.bundle_directory()?.ok_or_else(missing)?,
    };
    Ok((directory, target.name.clone().ok_or_else(missing)?))
}
