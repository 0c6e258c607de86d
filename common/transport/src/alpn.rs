//! What connections are for, and which roles may use them for that.

use certs::{Right, Role};

/// What a connection is for; the TLS handshake settles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alpn {
    /// Between nodes.
    Peer,
    /// From clients and operators.
    Client,
    /// From nodes, for clients and operators.
    Forward,
}

impl Alpn {
    pub(crate) const ALL: [Self; 3] = [Self::Peer, Self::Client, Self::Forward];

    pub(crate) const fn name(self) -> &'static [u8] {
        match self {
            Self::Peer => b"raft-peer/1",
            Self::Client => b"raft-client/1",
            Self::Forward => b"raft-forward/1",
        }
    }

    /// Returns the right that using it takes.
    pub const fn right(self) -> Right {
        match self {
            Self::Peer => Right::Peer,
            Self::Client => Right::Ask,
            Self::Forward => Right::Forward,
        }
    }

    /// Says whether a certificate of this role may use it.
    pub const fn admits(self, role: &Role) -> bool {
        role.may(self.right())
    }
}
