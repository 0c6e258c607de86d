//! A node that was removed while it took part in nothing yet hears of it. The members close the
//! connections with which it asks for what it lacks; in words for programs they say why only to
//! whoever comes as a peer.

use std::time::Duration;

use consensus::NodeId;
use protocol::{Hello, RefusalCode};
use transport::{ConnectError, Endpoint, Precision, identify};

use crate::exit::{Exit, Failure};

/// How long asking may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes the failure of a node that was removed from its cluster.
pub(crate) fn removed(why: impl Into<String>) -> Failure {
    let hint = "raftctl member history shows the change and who asked for it; to use the machine \
                again, empty its data directory and add it anew";
    Failure::new(Exit::Removed, why).hint(hint)
}

/// Returns what a member says that has refused a connection, if this node was removed. One that
/// is silent, or not there, is not asked once more.
pub(crate) async fn told_removed(
    refused: &ConnectError,
    (endpoint, hello): (&Endpoint, &Hello),
    (id, address): (NodeId, &str),
) -> Option<Failure> {
    if refused.precision() <= Precision::Rejected {
        return None;
    }
    let asked = identify(endpoint.clone(), hello.clone(), id, address.to_owned(), ASK_TIMEOUT);
    let error = asked.await.err()?;
    let (code, reason) = error.refusal()?;
    (code == RefusalCode::Removed).then(|| removed(format!("node {id} says: {reason}")))
}
