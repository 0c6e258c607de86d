//! The certificates that are known here, and how one of them is named.

use std::path::{Path, PathBuf};

use crate::bundle::Bundles;
use crate::bundle::holdings::{AUTHORITY, Holding, Whose};
use crate::files::absolute;
use crate::invocation::Invocation;
use crate::report::Result;

/// Returns the directory with the authority, if it is known.
pub(crate) fn directory(invocation: &Invocation, dir: Option<&Path>) -> Result<Option<PathBuf>> {
    match dir {
        Some(dir) => absolute(dir).map(Some),
        None => invocation.bundle_directory(),
    }
}

/// Returns everything that is known here: of the directory, else of the context.
pub(crate) fn holdings(invocation: &Invocation, dir: Option<&Path>) -> Result<Vec<Holding>> {
    if let Some(directory) = directory(invocation, dir)? {
        let bundles = Bundles::look(&directory)?;
        let mut all = bundles.holdings()?;
        all.extend(bundles.copies()?);
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

/// Finds a holder by name, or a node by its id.
pub(crate) fn pick<'a>(known: &'a [Holding], what: &str) -> Option<&'a Holding> {
    let is_id = |held: &&Holding| match &held.whose {
        Whose::Node(node) => node.id.to_string() == what,
        Whose::Authority | Whose::Operator | Whose::File => false,
    };
    known.iter().find(|held| held.name == what).or_else(|| known.iter().find(is_id))
}
