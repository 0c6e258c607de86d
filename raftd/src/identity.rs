//! Who this node is: from its certificate, its data directory and its history.

use certs::Credentials;
use consensus::{Incarnation, NodeId};
use protocol::Generation;

use crate::exit::{Exit, Failure};

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The node's id, as in its certificate.
    pub(crate) node: NodeId,
    /// Its cluster, as in its certificate.
    pub(crate) cluster: [u8; 16],
    /// Its data directory.
    pub(crate) incarnation: Incarnation,
    /// Its history; `None` before the bootstrap.
    pub(crate) generation: Option<Generation>,
    /// When its certificate ends, in seconds since 1970.
    pub(crate) certificate_not_after: i64,
}

/// Returns the node that a certificate names.
///
/// # Errors
/// Exit 78 if it names somebody else.
pub(crate) fn node_of(credentials: &Credentials) -> Result<NodeId, Failure> {
    let identity = credentials.identity();
    identity.node_id().map(NodeId::from).ok_or_else(|| {
        Failure::new(Exit::Config, format!("the certificate is that of {identity}, not of a node"))
            .hint("identity.certificate must name a node's certificate")
    })
}
