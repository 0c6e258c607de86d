//! Log entries: identity, cluster time and an opaque payload.

use bytes::Bytes;

use super::configuration::Configuration;
use super::ids::{Chain, ClusterTime, EntryId};

/// One entry of the replicated log (§3.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Term and index: unique for these contents.
    pub id: EntryId,
    /// Cluster time at which the leader created the entry; never decreases along a log.
    pub stamp: ClusterTime,
    /// A checksum over this entry and all before it, which the leader's driver makes when the entry
    /// is to be written; 0 before.
    pub chain: Chain,
    /// What the entry says.
    pub payload: Payload,
}

impl Entry {
    /// Makes an entry that has no chain value yet.
    pub const fn new(id: EntryId, stamp: ClusterTime, payload: Payload) -> Self {
        Self { id, stamp, chain: Chain::ZERO, payload }
    }
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Says nothing: a leader's first entry, whose commitment commits all before it (§3.6.2).
    Noop,
    /// A command for the state machine. The bytes pass through and are never read here.
    Command(Bytes),
    /// A configuration, in force as soon as it stands in a node's log (§4.1).
    Configuration(Configuration),
}
