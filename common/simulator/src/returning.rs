//! Who has forgotten what it promised is marked in the configuration while it comes back.

use consensus::{Configuration, NodeId};

use crate::broken::Broken;
use crate::node::Node;

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

/// Who asks for votes has the directory that its own log names: a wiped one does not. Others judge
/// the request by its log, whatever directory they know.
pub(crate) fn names_itself(node: &Node) -> Result<(), Broken> {
    let own = node.memory.configuration().1.and_then(|own| own.member(node.id));
    match own {
        Some(own) if own.incarnation != node.incarnation => {
            let why = format!("node {} asks for votes with a directory not in its log", node.id);
            Err(Broken::new("who has forgotten does not stand (§4.1)", why))
        }
        Some(_) | None => Ok(()),
    }
}
