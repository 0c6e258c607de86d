//! The certificates that are known here, and how one of them is named.

use std::path::{Path, PathBuf};

use crate::bundle::Bundles;
use crate::bundle::holdings::{AUTHORITY, Holding, Whose};
use crate::codes;
use crate::files::absolute;
use crate::invocation::Invocation;
use crate::report::{Report, Result};

/// Returns the directory with the authority, if it is known.
pub(crate) fn directory(invocation: &Invocation, dir: Option<&Path>) -> Result<Option<PathBuf>> {
    match dir {
        Some(dir) => absolute(dir).map(Some),
        None => invocation.bundle_directory(),
    }
}

/// What is to be written to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// Another authority, too: nobody adds nodes meanwhile.
    Authority,
    Certificates,
    Nothing,
}

/// Opens the directory with the authority, which must be there.
pub(super) async fn open(
    invocation: &Invocation,
    dir: Option<&Path>,
    writing: Writing,
) -> Result<Bundles> {
    let missing = || {
        Report::new(codes::NO_AUTHORITY, "the directory with the cluster's authority is not known")
            .help("--dir DIR    (the directory that `raftctl init` made, on its machine)")
    };
    let directory = directory(invocation, dir)?.ok_or_else(missing)?;
    let opened = match writing {
        // What writes nothing needs no right to write, and keeps nobody out.
        Writing::Nothing => {
            Bundles::look(&directory).and_then(|bundles| bundles.authority().map(|_| bundles))
        }
        Writing::Certificates => {
            Bundles::settle(&directory).and_then(|()| Bundles::beside(&directory))
        }
        Writing::Authority => Bundles::open(&directory),
    };
    let bundles = opened.map_err(|report| match report.code {
        Some(codes::NO_FILE) => Report::new(codes::NO_AUTHORITY, report.message)
            .help("bring the authority's key back to where `init` left it, or name its directory")
            .help("--dir DIR    (the directory that `raftctl init` made)"),
        _ => report,
    })?;
    let bundles = match writing {
        Writing::Nothing => bundles,
        Writing::Certificates | Writing::Authority => bundles.writing_certificates().await?,
    };
    // A context that is only the current one gives way to a directory that is named.
    if dir.is_some() && invocation.global.context.is_some() {
        invocation.target()?.check_is_of(&bundles)?;
    }
    Ok(bundles)
}

/// Returns everything that is in use, as far as is known here: of the directory, else of the
/// context.
pub(crate) fn holdings(invocation: &Invocation, dir: Option<&Path>) -> Result<Vec<Holding>> {
    all(invocation, dir, Bundles::holdings)
}

/// Returns the same with what nodes have that were removed.
pub(super) fn ever_held(invocation: &Invocation, dir: Option<&Path>) -> Result<Vec<Holding>> {
    all(invocation, dir, Bundles::ever_held)
}

fn all(
    invocation: &Invocation,
    dir: Option<&Path>,
    holdings: impl Fn(&Bundles) -> Result<Vec<Holding>>,
) -> Result<Vec<Holding>> {
    if let Some(directory) = directory(invocation, dir)? {
        let bundles = Bundles::look(&directory)?;
        let mut all = holdings(&bundles)?;
        all.extend(bundles.copies()?);
        all.extend(bundles.issued()?);
        return Ok(all);
    }
    let (ca, certificate, key) = invocation.credential_files()?;
    let authority = Holding {
        name: AUTHORITY.to_owned(),
        whose: Whose::Authority,
        ca: Some(ca.clone()),
        certificate: ca.clone(),
        key: None,
    };
    let (name, whose) = ("operator".to_owned(), Whose::Operator);
    Ok(vec![authority, Holding { name, whose, certificate, ca: Some(ca), key: Some(key) }])
}

/// Finds a holder by name, with its role or without, or a node by its id.
pub(crate) fn pick<'a>(known: &'a [Holding], what: &str) -> Option<&'a Holding> {
    let what = match what.split_once('/') {
        Some(("operator", "operator")) => "operator",
        Some(("node", name)) => name,
        Some(_) | None => what,
    };
    let is_id = |held: &&Holding| match &held.whose {
        Whose::Node(node) => node.id.to_string() == what,
        Whose::Authority | Whose::Operator | Whose::File => false,
    };
    known.iter().find(|held| held.name == what).or_else(|| known.iter().find(is_id))
}
