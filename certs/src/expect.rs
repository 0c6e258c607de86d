//! What is expected of the other side of a connection.

use std::fmt;
use std::num::NonZeroU64;

use crate::Role;

/// The node that a client expects at the other end; always of its own cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This node.
    Node(NonZeroU64),
    /// Any node.
    AnyNode,
}

impl Expect {
    /// Whether `role` is what was expected.
    #[must_use]
    pub fn admits(self, role: &Role) -> bool {
        match self {
            Expect::Node(expected) => role.node_id() == Some(expected),
            Expect::AnyNode => role.node_id().is_some(),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Node(id) => write!(f, "node {id}"),
            Expect::AnyNode => f.write_str("a node"),
        }
    }
}

/// The side of a connection on which a certificate is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The side that was connected to.
    Server,
    /// The side that connects.
    Client,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Purpose::Server => "server",
            Purpose::Client => "client",
        })
    }
}
