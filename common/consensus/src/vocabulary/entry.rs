//! Log entries: identity, cluster time and an opaque payload.

use bytes::Bytes;

use super::configuration::Configuration;
use super::ids::{ClusterTime, EntryId};

/// One entry of the replicated log (§3.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Term and index: unique for these contents.
    pub id: EntryId,
    /// Cluster time at which the leader created the entry; never decreases along a log.
    pub stamp: ClusterTime,
    /// What the entry says.
    pub payload: Payload,
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
