//! Asking who is at an address, before anybody relies on it: dial, exchange hellos, and hang up.

use std::time::Duration;

use certs::Expect;
use consensus::NodeId;
use protocol::Hello;
use tokio::time::timeout;

use crate::alpn::Alpn;
use crate::close::Close;
use crate::endpoint::{Accepted, Endpoint};
use crate::error::ConnectError;
use crate::handshake::{Caller, answer_hello, greet};
use crate::limits::IDLE_TIMEOUT;
use crate::reach::{Trail, called};

/// Dials a node that is no peer yet and returns what it says of itself; `ours` is what this node
/// says. The certificate over there is checked to be this node's, of this cluster, and the hello to
/// be of that node. A node without a history answers too: [`Hello::generation`] is `None` then.
///
/// The other side takes no notice of it: the caller opens no stream, so nothing is sent back on it.
///
/// # Errors
/// By phase: resolving, silence, handshake, refusal (another generation, other leases).
pub async fn identify(
    endpoint: Endpoint,
    ours: Hello,
    node: NodeId,
    address: String,
    within: Duration,
) -> Result<Hello, ConnectError> {
    let expect = Expect::Node(node.get().try_into().expect("node ids are not 0"));
    let trail = Trail::new(&address);
    let places = endpoint.places.clone();
    let attempt = |place| {
        let (endpoint, ours, trail) = (endpoint.clone(), ours.clone(), trail.clone());
        let asked = address.clone();
        async move {
            let (connection, _watched) = endpoint.dial(&asked, place, expect, Alpn::Peer).await?;
            trail.greets(place);
            let address = called(&asked, place);
            let greeted = greet(&connection, &address, &ours).await;
            connection.close(Close::Done.code(), b"only asked who is there");
            let theirs = greeted?;
            if theirs.node == Some(node) && theirs.cluster == ours.cluster {
                return Ok(theirs);
            }
            let said = theirs.node.map_or_else(|| "nobody".into(), |id| format!("node {id}"));
            let why = format!("it says it is {said}, its certificate node {node}");
            Err(ConnectError::Handshake { address, why })
        }
    };
    places.reach(&trail, within, attempt).await
}

/// Answers a peer on a node that belongs to no cluster yet: it says who it is, which has no
/// generation, and hears nothing. The peer hangs up, and comes again if it wants to send.
pub async fn answer_identify(accepted: Accepted, ours: Hello) {
    let connection = accepted.connection;
    if answer_hello(&connection, &ours, Caller::PeerOfNewNode).await.is_ok() {
        // The answer must arrive before the connection goes.
        let _ = timeout(IDLE_TIMEOUT, connection.closed()).await;
        connection.close(Close::Done.code(), b"this node is not initialised");
    }
}
