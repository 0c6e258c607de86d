//! Who has forgotten what it promised is marked in the configuration while it comes back.

use consensus::{Configuration, NodeId};

use crate::broken::Broken;

/// Who is to vote again stays marked until it votes or is no member any more.
pub(crate) fn returns_until_it_votes(
    before: &Configuration,
    after: &Configuration,
) -> Result<(), Broken> {
    let marked = |id: &&NodeId| after.returning().contains(*id);
    let ends = |id: &&NodeId| after.is_voter(**id) || after.member(**id).is_none();
    match before.returning().iter().find(|id| !marked(id) && !ends(id)) {
        Some(id) => {
            let why = format!("node {id} learns, and nobody knows that it is to vote again");
            Err(Broken::new("who returns is known until it votes", why))
        }
        None => Ok(()),
    }
}
